"""The graph: what is made of each month of trips, and from what.

raw_trips → cleaned_trips → zone_pairs → vectorizer → model → metrics
"""

from typing import TYPE_CHECKING, TypedDict

from taxi_assets.durations import cleaning, regression, scoring
from taxi_assets.durations import zone_pairs as pairs
from taxi_assets.spans import MonthContext, MonthOutput, monthly_asset
from taxi_assets.storage.origins import stored_origin
from taxi_assets.storage.space import check_space, month_file
from taxi_assets.tlc.fetch import fetch_month

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow.parquet as pq
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.linear_model import LinearRegression

    from taxi_assets.storage.files import Storage
    from taxi_assets.tlc.source import TripSource
    from taxi_assets.tracking.runs import Tracking


class TrainedModel(TypedDict):
    """A month's model, and the MLflow run that recorded its training."""

    model: "LinearRegression"
    mlflow_run_id: str


@monthly_asset(
    group="trips",
    kinds={"parquet"},
    io_manager="month_files",
    code_version="1",
    resources={"trip_source", "storage"},
    before_span=check_space,
)
def raw_trips(context: MonthContext, trip_source: "TripSource", storage: "Storage") -> MonthOutput:
    """The month's trip records, byte for byte as TLC published them."""
    path = month_file(context.fleet, context.month)
    fetched = fetch_month(
        trip_source,
        context.fleet,
        context.month,
        path=storage.temporary_file(path.rpartition("/")[0]),
        report=context.report,
        stored=stored_origin(storage, path),
    )
    origin = fetched.origin
    return MonthOutput(
        fetched,
        f"{origin.trips:,} trips, {origin.size / 1e6:,.1f} MB, from {origin.location}",
        {
            "records_loaded": origin.trips,
            "size_bytes": origin.size,
            "source": origin.location,
            "sha256": origin.sha256,
        },
        data_version=origin.sha256,
    )


@monthly_asset(group="trips", kinds={"pandas", "parquet"}, io_manager="frames", code_version="1")
def cleaned_trips(context: MonthContext, raw_trips: "pq.ParquetFile") -> MonthOutput:
    """Trips of 1 to 60 minutes between two known zones: zone ids and duration (minutes)."""
    cleaned = cleaning.clean_trips(raw_trips, context.fleet, context.month)
    kept = len(cleaned.trips)
    return MonthOutput(
        cleaned.trips,
        f"{kept:,} of {cleaned.loaded:,} trips kept",
        {
            "records_loaded": cleaned.loaded,
            "records_cleaned": kept,
            "share_kept": cleaned.share_kept,
            "null_zones": cleaned.null_zones,
            "null_times": cleaned.null_times,
            "mean_duration_minutes": float(cleaned.trips[cleaning.DURATION].mean()),
        },
    )


@monthly_asset(group="trips", kinds={"pandas", "parquet"}, io_manager="frames", code_version="1")
def zone_pairs(context: MonthContext, cleaned_trips: "pd.DataFrame") -> MonthOutput:
    """The trips summed up by split and zone pair: all that the fit needs to know of them."""
    summed = pairs.group_by_zone_pair(cleaned_trips)
    trips = {name: int(pairs.split(summed, name)["trips"].sum()) for name in pairs.SPLITS}
    return MonthOutput(
        summed,
        f"{trips[pairs.TRAIN]:,} training and {trips[pairs.VALIDATION]:,} validation trips "
        f"in {len(summed):,} rows",
        {f"{name}_trips": count for name, count in trips.items()},
    )


@monthly_asset(group="durations", kinds={"scikitlearn"}, io_manager="estimators", code_version="1")
def vectorizer(context: MonthContext, zone_pairs: "pd.DataFrame") -> MonthOutput:
    """scikit-learn's DictVectorizer, fitted on the zones of the training trips."""
    fitted = regression.fit_vectorizer(zone_pairs)
    features = len(fitted.feature_names_)
    return MonthOutput(fitted, f"{features:,} features", {"feature_count": features})


@monthly_asset(
    group="durations",
    kinds={"scikitlearn", "mlflow"},
    io_manager="estimators",
    code_version="1",
    resources={"storage", "tracking"},
)
def model(
    context: MonthContext,
    zone_pairs: "pd.DataFrame",
    vectorizer: "DictVectorizer",
    tracking: "Tracking",
    storage: "Storage",
) -> MonthOutput:
    """scikit-learn's LinearRegression of duration on zones, and the MLflow run that has it."""
    fitted = regression.fit_model(zone_pairs, vectorizer)
    origin = stored_origin(storage, month_file(context.fleet, context.month))
    with tracking.new_run(context, origin, completed_by="metrics") as run:
        model_id = run.log_training(_parameters(context), vectorizer, fitted)
        version = run.registry.add(run.run_id, model_id, context.month)
    return MonthOutput(
        TrainedModel(model=fitted, mlflow_run_id=run.run_id),
        f"intercept {fitted.intercept_:.2f} minutes, MLflow run {run.run_id}",
        {
            "intercept": float(fitted.intercept_),
            "model_version": version,
            **tracking.links(run.run_id),
        },
    )


@monthly_asset(
    group="durations",
    kinds={"json", "mlflow"},
    io_manager="figures",
    code_version="1",
    resources={"tracking"},
)
def metrics(
    context: MonthContext,
    raw_trips: "pq.ParquetFile",
    cleaned_trips: "pd.DataFrame",
    zone_pairs: "pd.DataFrame",
    vectorizer: "DictVectorizer",
    model: TrainedModel,
    tracking: "Tracking",
) -> MonthOutput:
    """The month's figures on its validation trips, in minutes; also in the model's MLflow run."""
    figures = {
        "records_loaded": raw_trips.metadata.num_rows,
        "records_cleaned": len(cleaned_trips),
        **scoring.score_model(cleaned_trips, zone_pairs, vectorizer, model["model"]),
    }
    with tracking.existing_run(context, model["mlflow_run_id"]) as run:
        figures["model_size_bytes"] = run.model_size_bytes()
        version = run.log_metrics(figures)
    return MonthOutput(
        figures,
        f"{figures['records_loaded']:,} records loaded, {figures['records_cleaned']:,} after "
        f"preparation, intercept {figures['intercept']:.2f}, RMSE {figures['rmse']:.2f} minutes",
        {**figures, "model_version": version, **tracking.links(run.run_id)},
    )


def _parameters(context: MonthContext) -> dict[str, object]:
    return {
        "model_type": "LinearRegression",
        "fleet": context.fleet.name,
        "month": str(context.month),
        "test_size": cleaning.TEST_SIZE,
        "random_state": cleaning.RANDOM_STATE,
        "min_duration": cleaning.MIN_DURATION,
        "max_duration": cleaning.MAX_DURATION,
    }


GRAPH = (raw_trips, cleaned_trips, zone_pairs, vectorizer, model, metrics)
