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
        training_months: the months that it was trained on; the last is the model's own.
        mlflow_run_id: the run that recorded its training; None for models without a run.
        model: predicts minutes.
        interval: its bounds, if it has any.
    """

    training_months: Sequence[str]
    mlflow_run_id: str | None
    model: "DurationModel"
    interval: "Interval | None"

    def score(self, trips: "HeldOutTrips") -> dict[str, Any]:
        """Which model it is, and the metrics of what it would have answered."""
        from taxi_assets.durations.inference import answer

        if self.interval is None or self.mlflow_run_id is None:
            metrics = trips.score(self.model.predict(trips.cells))
        else:
            interval = self.interval
            minutes, low, high = trips.ask(
                self.mlflow_run_id, lambda cells: answer(self.model, interval, cells)
            )
            metrics = trips.score(minutes, (low, high))
        return {
            "trained_through": self.training_months[-1],
            "training_months": list(self.training_months),
            "mlflow_run_id": self.mlflow_run_id,
            **metrics,
        }


def earlier_models(
    storage: Storage, fleet: Fleet, month: Month, load: Load, report: Report
) -> dict[str, EarlierModel]:
    """Each family's newest model of an earlier month, by the family's name.

    Args:
        storage: where the models are.
        fleet: whose models.
        month: the models are of months before this one.
        load: loads an asset's value of a month.
        report: takes a sentence about each model that cannot be read.

    Raises:
        MonthError: a model's vectorizer is another's.
        ServiceError: the storage does not answer.
    """
    from taxi_assets.durations.inference import TreesError

    models: dict[str, EarlierModel] = {}
    for asset, read in (("model", _linear), ("boosted_model", _boosted)):
        for before in reversed(stored_months(storage, fleet, asset)):
            if before >= month:
                continue
            try:
                models |= read(fleet, before, load)
                break
            except (NotStoredError, UnusableValueError, TreesError, KeyError) as error:
                report(f"{asset} {before} is passed over: {error}")
    return models


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
    return {"linear": EarlierModel([str(month)], run_id, model, interval)}


def _boosted(_fleet: Fleet, month: Month, load: Load) -> dict[str, EarlierModel]:
    from taxi_assets.durations.inference import Interval, part
    from taxi_assets.durations.models import read_models

    arrays: Mapping[str, Any] = load("boosted_model", month)
    interval = Interval(part(arrays, "interval"))
    months = [str(trained) for trained in arrays["training_months"]]
    models = {
        name: EarlierModel(months, None, model, None) for name, model in read_models(arrays).items()
    }
    run_id, boosted = str(arrays["mlflow_run_id"]), models["boosted"].model
    return models | {"boosted": EarlierModel(months, run_id, boosted, interval)}
