"""What is stored of other months, for a month to be compared with, or trained on.

An asset that declared another month of one as its input would have Dagster cut a backfill into
several runs, and materialize a month before the first. So these are loaded undeclared.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import dagster as dg

from taxi_assets.checks.model import window_complete
from taxi_assets.checks.thresholds import DECAY_MONTHS, EARLIER_MONTHS
from taxi_assets.durations.profiles import Profile
from taxi_assets.durations.regression import VocabularyError, bind
from taxi_assets.errors import MonthError, NotStoredError, UnusableValueError
from taxi_assets.monthly_assets import MonthContext
from taxi_assets.storage.files import Storage
from taxi_assets.storage.formats import Json
from taxi_assets.storage.io_managers import load_stored
from taxi_assets.storage.layout import (
    boosted_file,
    figures_file,
    folder,
    hourly_file,
    model_file,
    month_file,
    months_among,
    profile_note,
)
from taxi_assets.tlc.fleets import Fleet
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.parquet import ParquetError, open_parquet

if TYPE_CHECKING:
    import pandas as pd

    from taxi_assets.durations.answers import DurationModel, Interval
    from taxi_assets.durations.backtest import HeldOutTrips
    from taxi_assets.durations.window import Window


PROFILES_BACK = 48
"""How many months back may say what drift is usual."""


def neighbouring_trips(storage: Storage, fleet: Fleet, month: Month) -> dict[Month, int]:
    """Numbers of trips in the months before and after, where they are stored."""
    trips = {}
    for near in (month - 1, month + 1):
        try:
            with open_parquet(storage.open(month_file(fleet, near))) as opened:
                trips[near] = opened.metadata.num_rows
        except (OSError, ParquetError):
            continue
    return trips


def earlier_rmses(storage: Storage, fleet: Fleet, month: Month) -> dict[Month, float]:
    """RMSEs (minutes) of the months before, where they are stored and readable."""
    found = {}
    for back in range(EARLIER_MONTHS, 0, -1):
        try:
            with storage.open(figures_file(fleet, "metrics", month - back)) as file:
                found[month - back] = float(Json().load(file)["rmse"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return found


def stored_decisions(
    storage: Storage,
    fleet: Fleet,
    until: Month | None = None,
    through: str = "",
    report: Callable[[str], None] = print,
) -> dict[str, Mapping[str, Any]]:
    """What ``champion`` has stored of months, in order of the months.

    Args:
        storage: where they are.
        fleet: whose.
        until: the last month that is asked for; None if all are.
        through: the newest month that the aliases have followed: of the months up to it only the
            last few are given.
        report: takes a sentence of each that cannot be read.
    """
    like = figures_file(fleet, "champion", fleet.first_month)
    months = [month for month in _stored(storage, like) if until is None or month <= until]
    waiting = sum(str(month) > through for month in months)
    found = {}
    for month in months[-max(waiting + 1, DECAY_MONTHS) - 1 :]:
        try:
            found[str(month)] = load_stored(storage, fleet, "champion", month)
        except (NotStoredError, UnusableValueError) as error:
            report(f"the decision of {month} is passed over: {error}")
    return found


def note_profile(storage: Storage, fleet: Fleet, month: Month, profile: Profile) -> None:
    """Note what kind of month the cleaned trips are of which have just been stored."""
    with storage.replacing(profile_note(fleet, month)) as temporary:
        Json().dump(profile.to_json(), temporary)


def earlier_profiles(storage: Storage, fleet: Fleet, month: Month) -> dict[Month, Profile]:
    """What kind of months those before are, as far as it is noted and readable."""
    found = {}
    for before in _stored(storage, profile_note(fleet, month)):
        if month - PROFILES_BACK <= before < month:
            try:
                read = Json().load(storage.open(profile_note(fleet, before)))
                found[before] = Profile.from_json(read)
            except (OSError, ValueError, KeyError, TypeError):
                continue
    return found


@dataclass(frozen=True)
class Training:
    """How far back the boosted model looks.

    Attributes:
        months: calendar months, the month's own among them.
    """

    months: int


class TrainingMonths(NamedTuple):
    """The months that a model is trained on.

    Attributes:
        window: their sums.
        versions: the sha256 of what is stored of each, by month.
        missing: months of the window that are not stored, or cannot be read.
        alone: whether nothing is stored of any earlier month.
    """

    window: "Window"
    versions: dict[str, str]
    missing: list[Month]
    alone: bool


def training_months(
    context: MonthContext, storage: Storage, training: Training, hourly_pairs: "pd.DataFrame"
) -> TrainingMonths:
    """The months of the window that are stored; a month after the own one is never among them.

    Raises:
        ServiceError: the storage does not answer.
    """
    fleet, own = context.fleet, context.month
    from taxi_assets.durations.window import training_window

    trained: list[Month] = []
    missing: list[Month] = []

    def months() -> "Iterator[tuple[Month, pd.DataFrame]]":
        for month in window_before(fleet, own, training):
            try:
                sums = context.load("hourly_pairs", month)
            except (NotStoredError, UnusableValueError):
                missing.append(month)
            else:
                trained.append(month)
                yield month, sums
        yield own, hourly_pairs

    window = training_window(own, months())
    alone = not any(month < own for month in _stored(storage, hourly_file(fleet, own)))
    versions = {str(month): _sha256(storage, fleet, month) for month in [*trained, own]}
    return TrainingMonths(window, versions, missing, alone)


def window_before(fleet: Fleet, month: Month, training: Training) -> list[Month]:
    """The months before one that its model looks at, in order."""
    months = [month - back for back in range(training.months - 1, 0, -1)]
    return [before for before in months if before >= fleet.first_month]


def outdated_windows(
    context: MonthContext, storage: dg.ResourceParam[Storage], training: dg.ResourceParam[Training]
) -> Iterator[tuple[str, Month, dg.AssetCheckResult]]:
    """What ``window_complete`` finds of later months' models, now that sums of this are stored."""
    fleet = context.fleet
    later = {context.month + ahead for ahead in range(1, training.months)}
    for month in sorted(later & set(_stored(storage, boosted_file(fleet, context.month)))):
        try:
            model: Mapping[str, Any] = context.load("boosted_model", month)
            versions = dict(
                zip(map(str, model["training_months"]), model["training_versions"], strict=True)
            )
        except (NotStoredError, UnusableValueError, KeyError, ValueError):
            continue
        since, missing = [], []
        for before in window_before(fleet, month, training):
            if not storage.exists(hourly_file(fleet, before)):
                missing.append(before)
            elif _sha256(storage, fleet, before) != versions.get(str(before)):
                since.append(before)
        found = window_complete(list(versions), missing, since=since)
        yield "boosted_model", month, found


def _sha256(storage: Storage, fleet: Fleet, month: Month) -> str:
    """The digest of what is stored of a month's hourly pairs."""
    with storage.open(hourly_file(fleet, month)) as file:
        return hashlib.sha256(file.read()).hexdigest()


@dataclass(frozen=True)
class EarlierModel:
    """A model of an earlier month, to be scored on a later one.

    Attributes:
        trained_through: the last month that it was trained on.
        training_months: all of them.
        mlflow_run_id: of the run that recorded its training; None for those that none has.
        model: predicts minutes.
        interval: its bounds, if it has any.
    """

    trained_through: Month
    training_months: Sequence[str]
    mlflow_run_id: str | None
    model: "DurationModel"
    interval: "Interval | None"

    def score(self, trips: "HeldOutTrips") -> dict[str, Any]:
        """Score what the model would have answered."""
        from taxi_assets.durations.answers import answer

        if self.interval is None or self.mlflow_run_id is None:
            return trips.score(self.model.predict(trips.cells))
        interval = self.interval
        minutes, low, high = trips.ask(
            self.mlflow_run_id, lambda cells: answer(self.model, interval, cells)
        )
        return trips.score(minutes, (low, high))

    def describe(self) -> dict[str, Any]:
        """What figures say of the model beside its score."""
        return {
            "trained_through": str(self.trained_through),
            "training_months": list(self.training_months),
            "mlflow_run_id": self.mlflow_run_id,
        }


def earlier_models(context: MonthContext, storage: Storage) -> dict[str, EarlierModel]:
    """Each family's newest model of an earlier month, by the family's name.

    Raises:
        MonthError: a model's vectorizer is another's.
        ServiceError: the storage does not answer.
    """
    return _earlier_linear(context, storage) | _earlier_boosted(context, storage)


def _earlier_linear(context: MonthContext, storage: Storage) -> dict[str, EarlierModel]:
    from taxi_assets.durations.answers import Interval, Linear
    from taxi_assets.durations.intervals import fit_linear_interval, linear_arrays

    for month in _newest_first(context, storage, model_file(context.fleet, context.month)):
        try:
            pairs, vectorizer, trained = (
                context.load(asset, month) for asset in ("zone_pairs", "vectorizer", "model")
            )
            arrays = linear_arrays(*bind(vectorizer, trained))
        except (NotStoredError, UnusableValueError, FileNotFoundError) as error:
            context.report(f"the linear model of {month} is passed over: {error}")
            continue
        except VocabularyError as error:
            command = context.command(*error.remake, month=month)
            raise MonthError(f"The model of {month}: {error} Make it again: {command}") from None
        interval = Interval(fit_linear_interval(arrays, pairs))
        run_id = trained["mlflow_run_id"]
        return {"linear": EarlierModel(month, [str(month)], run_id, Linear(arrays), interval)}
    return {}


def _earlier_boosted(context: MonthContext, storage: Storage) -> dict[str, EarlierModel]:
    from taxi_assets.durations.answers import Interval, TreesError
    from taxi_assets.durations.models import part, read_models

    for month in _newest_first(context, storage, boosted_file(context.fleet, context.month)):
        try:
            arrays: Mapping[str, Any] = context.load("boosted_model", month)
            models, interval = read_models(arrays), Interval(part(arrays, "interval"))
        except (NotStoredError, UnusableValueError, TreesError, KeyError) as error:
            context.report(f"the boosted model of {month} is passed over: {error}")
            continue
        months = [str(trained) for trained in arrays["training_months"]]
        run_id = str(arrays["mlflow_run_id"])
        return {
            name: EarlierModel(
                month,
                months,
                run_id if name == "boosted" else None,
                model,
                interval if name == "boosted" else None,
            )
            for name, model in models.items()
        }
    return {}


def _newest_first(context: MonthContext, storage: Storage, like: str) -> list[Month]:
    return [month for month in reversed(_stored(storage, like)) if month < context.month]


def _stored(storage: Storage, like: str) -> list[Month]:
    """The months that are stored of the asset that a path is of, in order."""
    return months_among(storage.names(folder(like)), like)
