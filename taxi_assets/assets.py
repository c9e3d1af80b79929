"""The graph: what is made of each month of trips, and from what.

raw_trips → cleaned_trips → zone_pairs → vectorizer → model → metrics, backtest
"""

from typing import TYPE_CHECKING, TypedDict

from taxi_assets.checks import data as data_checks
from taxi_assets.checks import model as model_checks
from taxi_assets.checks.history import earlier_rmses, neighbouring_trips
from taxi_assets.durations import cleaning, regression, scoring
from taxi_assets.durations import zone_pairs as pairs
from taxi_assets.durations.backtest import Predictor, compare_models
from taxi_assets.durations.survey import survey_trips
from taxi_assets.reporting import charts, gallery
from taxi_assets.reporting.gallery import Gallery
from taxi_assets.spans import MonthContext, MonthOutput, monthly_asset
from taxi_assets.storage.origins import stored_origin
from taxi_assets.storage.previous_model import load_previous_model
from taxi_assets.storage.space import check_space, month_file
from taxi_assets.tlc.fetch import fetch_month
from taxi_assets.tlc.parquet import open_parquet

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow.parquet as pq
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.linear_model import LinearRegression

    from taxi_assets.storage.files import Storage
    from taxi_assets.storage.io_managers import MonthlyIOManager
    from taxi_assets.storage.zone_names import ZoneNames
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
    checks=[
        data_checks.number_of_trips,
        data_checks.trips_without_zone,
        data_checks.pickups_in_month,
    ],
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
    with (
        fetched.refused_if_damaged(),
        open_parquet(fetched.path or storage.open(path)) as opened,
    ):
        survey = survey_trips(opened, context.fleet, context.month)
    neighbours = neighbouring_trips(storage, context.fleet, context.month)
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
        checks=[
            data_checks.number_of_trips(origin.trips, neighbours),
            data_checks.trips_without_zone(survey),
            data_checks.pickups_in_month(survey),
        ],
    )


@monthly_asset(
    group="trips",
    kinds={"pandas", "parquet"},
    io_manager="frames",
    code_version="1",
    resources={"storage"},
    checks=[data_checks.share_kept, data_checks.usual_durations],
)
def cleaned_trips(
    context: MonthContext, raw_trips: "pq.ParquetFile", storage: "Storage"
) -> MonthOutput:
    """Trips of 1 to 60 minutes between two known zones: zone ids and duration (minutes)."""
    cleaned = cleaning.clean_trips(raw_trips, context.fleet, context.month)
    kept = len(cleaned.trips)
    durations = cleaned.trips[cleaning.DURATION]
    title = f"How long {context.fleet.name} taxi trips took, {context.month}"
    pictures = {gallery.DURATIONS: charts.durations_chart(cleaned.durations, title)}
    return MonthOutput(
        cleaned.trips,
        f"{kept:,} of {cleaned.loaded:,} trips kept",
        {
            "records_loaded": cleaned.loaded,
            "records_cleaned": kept,
            "share_kept": cleaned.share_kept,
            "null_zones": cleaned.null_zones,
            "null_times": cleaned.null_times,
            "mean_duration_minutes": float(durations.mean()),
            **Gallery(storage, context.fleet, context.month).add(pictures),
        },
        checks=[
            data_checks.share_kept(kept, cleaned.loaded),
            data_checks.usual_durations(durations),
        ],
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


@monthly_asset(
    group="durations",
    kinds={"scikitlearn"},
    io_manager="estimators",
    code_version="1",
    checks=[model_checks.known_zones],
)
def vectorizer(context: MonthContext, zone_pairs: "pd.DataFrame") -> MonthOutput:
    """scikit-learn's DictVectorizer, fitted on the zones of the training trips."""
    fitted = regression.fit_vectorizer(zone_pairs)
    features = len(fitted.feature_names_)
    return MonthOutput(
        fitted,
        f"{features:,} features",
        {"feature_count": features},
        checks=[model_checks.known_zones(fitted)],
    )


@monthly_asset(
    group="durations",
    kinds={"scikitlearn", "mlflow"},
    io_manager="estimators",
    code_version="1",
    resources={"storage", "tracking"},
    checks=[model_checks.finite_coefficients, model_checks.thin_zones],
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
        checks=[
            model_checks.finite_coefficients(fitted),
            model_checks.thin_zones(zone_pairs),
        ],
    )


@monthly_asset(
    group="durations",
    kinds={"json", "mlflow"},
    io_manager="figures",
    code_version="1",
    resources={"storage", "tracking", "zone_names"},
    checks=[model_checks.better_than_mean, model_checks.rmse_of_earlier_months],
)
def metrics(
    context: MonthContext,
    raw_trips: "pq.ParquetFile",
    cleaned_trips: "pd.DataFrame",
    zone_pairs: "pd.DataFrame",
    vectorizer: "DictVectorizer",
    model: TrainedModel,
    tracking: "Tracking",
    storage: "Storage",
    zone_names: "ZoneNames",
) -> MonthOutput:
    """The month's figures on its validation trips, in minutes; also in the model's MLflow run."""
    validation = scoring.validate_model(cleaned_trips, zone_pairs, vectorizer, model["model"])
    figures = {
        "records_loaded": raw_trips.metadata.num_rows,
        "records_cleaned": len(cleaned_trips),
        **scoring.score_model(zone_pairs, vectorizer, model["model"], validation),
    }
    pictures = Gallery(storage, context.fleet, context.month)
    drawn = pictures.add(
        charts.model_charts(validation, zone_names, f"{context.fleet.name} {context.month}")
    )
    with tracking.existing_run(context, model["mlflow_run_id"]) as run:
        figures["model_size_bytes"] = run.model_size_bytes()
        version = run.log_metrics(figures)
        run.log_pictures(pictures.all())
    return MonthOutput(
        figures,
        f"{figures['records_loaded']:,} records loaded, {figures['records_cleaned']:,} after "
        f"preparation, intercept {figures['intercept']:.2f}, RMSE {figures['rmse']:.2f} minutes",
        {**figures, "model_version": version, **tracking.links(run.run_id), **drawn},
        checks=[
            model_checks.better_than_mean(figures),
            model_checks.rmse_of_earlier_months(
                figures["rmse"], earlier_rmses(storage, context.fleet, context.month)
            ),
        ],
    )


@monthly_asset(
    group="durations",
    kinds={"json", "mlflow"},
    io_manager="figures",
    code_version="1",
    resources={"estimators", "tracking"},
    checks=[model_checks.last_months_model],
)
def backtest(
    context: MonthContext,
    cleaned_trips: "pd.DataFrame",
    zone_pairs: "pd.DataFrame",
    vectorizer: "DictVectorizer",
    model: TrainedModel,
    tracking: "Tracking",
    estimators: "MonthlyIOManager",
) -> MonthOutput:
    """Last month's model on all trips of this month, none of which it could know."""
    own = Predictor(vectorizer, model["model"])
    previous = load_previous_model(estimators, context.fleet, context.month)
    figures = {
        "scored_model": previous.predictor and str(context.month - 1),
        "why_not_scored": previous.why_missing,
        **compare_models(cleaned_trips, zone_pairs, own, previous.predictor),
    }
    links = {}
    if previous.mlflow_run_id is not None:
        tracking.log_backtest(context, previous.mlflow_run_id, figures)
        links = tracking.links(previous.mlflow_run_id)
    return MonthOutput(
        figures,
        previous.why_missing
        or f"the model of {context.month - 1} has RMSE {figures['previous_rmse']:.2f} minutes, "
        f"the month's own {figures['own_rmse']:.2f}, the mean {figures['mean_rmse']:.2f}",
        {**{name: value for name, value in figures.items() if value is not None}, **links},
        checks=[model_checks.last_months_model(figures)],
    )


def _parameters(context: MonthContext) -> dict[str, object]:
    return {
        "model_type": regression.MODEL_TYPE,
        "fleet": context.fleet.name,
        "month": str(context.month),
        "test_size": cleaning.TEST_SIZE,
        "random_state": cleaning.RANDOM_STATE,
        "min_duration": cleaning.MIN_DURATION,
        "max_duration": cleaning.MAX_DURATION,
    }


GRAPH = (raw_trips, cleaned_trips, zone_pairs, vectorizer, model, metrics, backtest)
