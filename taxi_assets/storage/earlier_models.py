"""The newest stored models of earlier months, to be scored on a later one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from taxi_assets.durations.regression import VocabularyError, bind
from taxi_assets.errors import MonthError, NotStoredError, UnusableValueError, command
from taxi_assets.storage.files import Storage
from taxi_assets.storage.stored_months import Load, Report, stored_months
from taxi_assets.tlc.fleets import Fleet
from taxi_assets.tlc.months import Month

if TYPE_CHECKING:
    from taxi_assets.durations.backtest import HeldOutTrips
    from taxi_assets.durations.inference import DurationModel, Interval


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
        from taxi_assets.durations.inference import answer

        if self.interval is None or self.mlflow_run_id is None:
            return trips.score(self.model.predict(trips.cells))
        interval = self.interval
        minutes, low, high = trips.ask(
            self.mlflow_run_id, lambda cells: answer(self.model, interval, cells)
        )
        return trips.score(minutes, (low, high))

    def describe(self) -> dict[str, Any]:
        """What metrics say of the model beside its score."""
        return {
            "trained_through": str(self.trained_through),
            "training_months": list(self.training_months),
            "mlflow_run_id": self.mlflow_run_id,
        }


def earlier_models(
    storage: Storage, fleet: Fleet, month: Month, load: Load, report: Report
) -> dict[str, EarlierModel]:
    """Each family's newest model of an earlier month, by the family's name.

    Args:
        storage: where they are.
        fleet: whose.
        month: they are of months before this one.
        load: loads an asset's value of a month.
        report: takes a sentence of each that cannot be read.

    Raises:
        MonthError: a model's vectorizer is another's.
        ServiceError: the storage does not answer.
    """
    from taxi_assets.durations.inference import TreesError

    found: dict[str, EarlierModel] = {}
    for asset, read in (("model", _linear), ("boosted_model", _boosted)):
        for before in reversed(stored_months(storage, fleet, asset)):
            if before >= month:
                continue
            try:
                found |= read(fleet, before, load)
                break
            except (NotStoredError, UnusableValueError, TreesError, KeyError) as error:
                report(f"{asset} {before} is passed over: {error}")
    return found


def _linear(fleet: Fleet, month: Month, load: Load) -> dict[str, EarlierModel]:
    from taxi_assets.durations.inference import Interval, Linear
    from taxi_assets.durations.intervals import linear_arrays

    vectorizer, trained = load("vectorizer", month), load("model", month)
    try:
        model = Linear(linear_arrays(vectorizer, bind(vectorizer, trained)))
    except VocabularyError as error:
        assets = [f"{fleet.name}/{asset}" for asset in error.remake]
        again = command(assets, month.partition_key)
        raise MonthError(f"The model of {month}: {error} Make it again: {again}") from None
    run_id, interval = trained["mlflow_run_id"], Interval(trained["interval"])
    return {"linear": EarlierModel(month, [str(month)], run_id, model, interval)}


def _boosted(_fleet: Fleet, month: Month, load: Load) -> dict[str, EarlierModel]:
    from taxi_assets.durations.inference import Interval, part
    from taxi_assets.durations.models import read_models

    arrays: Mapping[str, Any] = load("boosted_model", month)
    models, interval = read_models(arrays), Interval(part(arrays, "interval"))
    months = [str(trained) for trained in arrays["training_months"]]
    recorded = {"boosted": (str(arrays["mlflow_run_id"]), interval)}
    return {
        name: EarlierModel(month, months, run_id, model, bounds)
        for name, model in models.items()
        for run_id, bounds in [recorded.get(name, (None, None))]
    }
