"""The model of the month before, which its IO manager loads without Dagster asking for it.

A backtest that declared last month's model as its input would have Dagster cut a backfill into
several runs, and materialize a month before the first.
"""

from typing import NamedTuple

import dagster as dg

from taxi_assets.durations.backtest import Predictor
from taxi_assets.storage.io_managers import MonthlyIOManager
from taxi_assets.tlc.fleets import Fleet
from taxi_assets.tlc.months import Month


class PreviousModel(NamedTuple):
    """The model of the month before, or why there is none."""

    predictor: Predictor | None = None
    mlflow_run_id: str | None = None
    why_missing: str | None = None


def load_previous_model(estimators: MonthlyIOManager, fleet: Fleet, month: Month) -> PreviousModel:
    """Load the model of the month before, if it is stored and readable."""
    before = month - 1
    try:
        vectorizer, trained = (
            estimators.load(dg.AssetKey([fleet.name, asset]), before)
            for asset in ("vectorizer", "model")
        )
    except dg.Failure as failure:
        reason = f"Last month's model cannot be scored: {failure.description}"
        return PreviousModel(why_missing=reason)
    if len(vectorizer.feature_names_) != len(trained["model"].coef_):
        reason = (
            f"Last month's model cannot be scored: vectorizer and model of {before} are not of one "
            "training. Materialize the model of that month again."
        )
        return PreviousModel(why_missing=reason)
    return PreviousModel(Predictor(vectorizer, trained["model"]), trained["mlflow_run_id"])
