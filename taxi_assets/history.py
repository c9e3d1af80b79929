"""What is stored of other months, for a month to be compared with.

An asset that declared another month of one as its input would have Dagster cut a backfill into
several runs, and materialize a month before the first. So these are loaded undeclared.
"""

from typing import NamedTuple

from taxi_assets.checks.thresholds import EARLIER_MONTHS
from taxi_assets.durations.regression import Predictor, VocabularyError, bind
from taxi_assets.errors import MonthError, NotStoredError, UnusableValueError
from taxi_assets.monthly_assets import MonthContext
from taxi_assets.storage.files import Storage
from taxi_assets.storage.formats import Json
from taxi_assets.storage.layout import figures_file, month_file
from taxi_assets.tlc.fleets import Fleet
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.parquet import ParquetError, open_parquet


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


class PreviousModel(NamedTuple):
    """The model of the month before, or why there is none."""

    predictor: Predictor | None = None
    mlflow_run_id: str | None = None
    why_missing: str | None = None


def previous_model(context: MonthContext) -> PreviousModel:
    """The model of the month before.

    Raises:
        MonthError: its vectorizer is another's.
        ServiceError: the storage does not answer.
    """
    before = context.month - 1
    try:
        vectorizer, trained = (context.load(asset, before) for asset in ("vectorizer", "model"))
    except (NotStoredError, UnusableValueError, FileNotFoundError) as error:
        return PreviousModel(why_missing=f"Last month's model cannot be scored: {error}")
    try:
        return PreviousModel(bind(vectorizer, trained), trained["mlflow_run_id"])
    except VocabularyError as error:
        command = context.command(*error.remake, month=before)
        raise MonthError(f"The model of {before}: {error} Make it again: {command}") from None
