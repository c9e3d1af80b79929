"""What is stored of other months, for a month to be compared with, or trained on.

An asset that declared another month of one as its input would have Dagster cut a backfill into
several runs, and materialize a month before the first. So these are loaded undeclared.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from taxi_assets.checks.thresholds import DECAY_MONTHS, EARLIER_MONTHS
from taxi_assets.durations.drift import Profile, parse_profile
from taxi_assets.errors import NotStoredError, UnusableValueError, command
from taxi_assets.storage.files import Storage
from taxi_assets.storage.formats import Json
from taxi_assets.storage.layout import months_among, note, stored_file
from taxi_assets.tlc.fleets import Fleet
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.parquet import ParquetError, open_parquet

if TYPE_CHECKING:
    import pandas as pd

    from taxi_assets.durations.window import Window


Load = Callable[[str, Month], Any]
"""Loads an asset's value of a month; raises NotStoredError, UnusableValueError, ServiceError."""

Report = Callable[[str], None]


def neighbouring_trips(storage: Storage, fleet: Fleet, month: Month) -> dict[Month, int]:
    """Numbers of trips in the months before and after, where they are stored."""
    trips = {}
    for near in (month - 1, month + 1):
        try:
            with open_parquet(storage.open(stored_file(fleet.name, "raw_trips", near))) as opened:
                trips[near] = opened.metadata.num_rows
        except (OSError, ParquetError):
            continue
    return trips


def readable(
    asset: str, months: Iterable[Month], load: Load, report: Report = lambda _: None
) -> Iterator[tuple[Month, Any]]:
    """Those months of an asset that are stored, with their values.

    Args:
        asset: its name.
        months: which months are looked for.
        load: loads an asset's value of a month.
        report: takes a sentence about each month that cannot be read.

    Raises:
        ServiceError: the storage does not answer.
    """
    for month in months:
        try:
            yield month, load(asset, month)
        except NotStoredError:
            continue
        except UnusableValueError as error:
            report(f"{asset} {month} is passed over: {error}")


def earlier_rmses(month: Month, load: Load, report: Report) -> dict[Month, float]:
    """RMSEs (minutes) of the months before one, where they are stored; see ``readable``."""
    before = [month - back for back in range(EARLIER_MONTHS, 0, -1)]
    return {each: float(of["rmse"]) for each, of in readable("metrics", before, load, report)}


def stored_decisions(
    storage: Storage,
    fleet: Fleet,
    load: Load,
    report: Report,
    until: Month | None = None,
    through: str = "",
) -> dict[str, Mapping[str, Any]]:
    """What ``champion`` has stored of months, in order of the months; see ``readable``.

    Args:
        storage: where the decisions are.
        fleet: whose.
        load: loads one.
        report: takes a sentence about each that cannot be read.
        until: the last month that is looked for; None for all.
        through: the newest month that the aliases have followed. Of the months up to it, only the
            last few are given.
    """
    stored = stored_months(storage, fleet, "champion")
    months = [month for month in stored if until is None or month <= until]
    waiting = sum(str(month) > through for month in months)
    wanted = months[-max(waiting + 1, DECAY_MONTHS) - 1 :]
    return {str(month): value for month, value in readable("champion", wanted, load, report)}


def note_profile(storage: Storage, fleet: Fleet, month: Month, profile: Profile) -> None:
    """Note what kind of month the cleaned trips are of which have just been stored."""
    with storage.replacing(profile_note(fleet, month)) as temporary:
        Json().dump(profile, temporary)


def profile_note(fleet: Fleet, month: Month) -> str:
    """Where that is noted, beside the month's cleaned trips."""
    return note(stored_file(fleet.name, "cleaned_trips", month), "profile")


def earlier_profiles(
    storage: Storage, fleet: Fleet, month: Month, report: Report
) -> dict[Month, Profile]:
    """What kind of months the one before and the one a year before are, if that is readable.

    Args:
        storage: where it is noted.
        fleet: whose months.
        month: the month itself.
        report: takes a sentence of each that cannot be read.
    """
    profiles = {}
    for before in (month - 1, month - 12):
        try:
            profiles[before] = parse_profile(Json().load(storage.open(profile_note(fleet, before))))
        except FileNotFoundError:
            continue
        except (OSError, ValueError, KeyError, TypeError) as error:
            again = command([f"{fleet.name}/cleaned_trips"], before.partition_key)
            report(f"the profile of {before} is passed over: {error}. Make it anew: {again}")
    return profiles


@dataclass(frozen=True)
class Training:
    """How far back the boosted model looks.

    Attributes:
        months: calendar months, the month's own among them; those around the predicted month a
            year before are taken as well, where they are stored.
    """

    months: int


class TrainingMonths(NamedTuple):
    """The months that a model is trained on.

    Attributes:
        window: their sums.
        versions: the sha256 of what is stored of each, by month.
        missing: recent months of the window that are not stored, or cannot be read. Months before
            the fleet's first stored one are not missed.
        alone: whether nothing is stored of any earlier month.
    """

    window: "Window"
    versions: dict[str, str]
    missing: list[Month]
    alone: bool


def training_months(
    storage: Storage,
    fleet: Fleet,
    newest: Month,
    load: Load,
    training: Training,
    hourly_pairs: "Callable[[], pd.DataFrame]",
) -> TrainingMonths:
    """The months of the window that are stored; a month after the model's is never among them.

    Raises:
        ServiceError: the storage does not answer.
    """
    from taxi_assets.durations.window import training_window

    before = window_before(fleet, newest, training)
    trained: list[Month] = []

    def months() -> "Iterator[tuple[Month, pd.DataFrame]]":
        for month, sums in readable("hourly_pairs", before, load):
            trained.append(month)
            yield month, sums
        yield newest, hourly_pairs()

    window = training_window(newest, months())
    first = min([*stored_months(storage, fleet, "hourly_pairs"), newest])
    recent = [month for month in before if month >= max(first, newest - training.months + 1)]
    missing = [month for month in recent if month not in trained]
    versions = {str(month): _sha256(storage, fleet, month) for month in [*trained, newest]}
    return TrainingMonths(window, versions, missing, alone=first == newest)


def window_before(fleet: Fleet, month: Month, training: Training) -> list[Month]:
    """The months before one that its model looks at, in order."""
    from taxi_assets.durations.window import months_before

    before = months_before(month, training.months)
    return [each for each in before if each >= fleet.first_month]


class LaterWindow(NamedTuple):
    """A stored model of a later month, by what is stored of its window now.

    Attributes:
        month: the model's.
        trained_on: the months that it was trained on.
        missing: months of its window that are not stored, as in ``TrainingMonths``.
        since: those that were stored or changed since.
    """

    month: Month
    trained_on: list[str]
    missing: list[Month]
    since: list[Month]


def later_windows(
    storage: Storage, fleet: Fleet, month: Month, load: Load, training: Training
) -> Iterator[LaterWindow]:
    """The stored models of later months whose windows a month belongs to, in order."""
    stored = stored_months(storage, fleet, "boosted_model")
    later = [each for each in stored if month in window_before(fleet, each, training)]
    first = min(stored_months(storage, fleet, "hourly_pairs"), default=month)
    for each, model in readable("boosted_model", later, load):
        try:
            months = map(str, model["training_months"])
            versions = dict(zip(months, model["training_versions"], strict=True))
        except (KeyError, ValueError):
            continue
        since, missing = [], []
        for before in window_before(fleet, each, training):
            if not storage.exists(stored_file(fleet.name, "hourly_pairs", before)):
                if before >= max(first, each - training.months + 1):
                    missing.append(before)
            elif _sha256(storage, fleet, before) != versions.get(str(before)):
                since.append(before)
        yield LaterWindow(each, list(versions), missing, since)


def _sha256(storage: Storage, fleet: Fleet, month: Month) -> str:
    """The digest of what is stored of a month's hourly pairs."""
    with storage.open(stored_file(fleet.name, "hourly_pairs", month)) as file:
        return hashlib.sha256(file.read()).hexdigest()


def stored_months(storage: Storage, fleet: Fleet, asset: str) -> list[Month]:
    """The months that are stored of an asset, in order."""
    return months_among(storage.names(f"{fleet.name}/{asset}"), asset)
