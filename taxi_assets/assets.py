"""The graph: what is made of each month of trips, and from what.

raw_trips → cleaned_trips → zone_pairs → vectorizer → model → metrics       the exercise: one month
            cleaned_trips → hourly_pairs → boosted_model → boosted_metrics  a month, those before it
            models of earlier months, cleaned_trips → backtest              the next month's truth
"""

import hashlib
import json
from functools import partial
from typing import TYPE_CHECKING, Any

import dagster as dg

from taxi_assets.checks import data as data_checks
from taxi_assets.checks import model as model_checks
from taxi_assets.durations import cleaning, intervals, regression, scoring
from taxi_assets.durations import zone_pairs as pairs
from taxi_assets.durations.hourly_pairs import group_by_hourly_pair
from taxi_assets.durations.regression import TrainedModel
from taxi_assets.history import (
    Training,
    earlier_models,
    earlier_rmses,
    neighbouring_trips,
    outdated_windows,
    training_months,
)
from taxi_assets.incoming import fetched_months
from taxi_assets.monthly_assets import MonthContext, monthly_asset
from taxi_assets.reporting import charts
from taxi_assets.reporting.gallery import BOOSTED_PICTURES, PICTURES, Gallery
from taxi_assets.reporting.painter import painter
from taxi_assets.reporting.zone_names import zone_names
from taxi_assets.storage.files import Storage
from taxi_assets.storage.layout import month_file
from taxi_assets.storage.origins import note_trained, stored_origin
from taxi_assets.tracking.runs import BOOSTED, LINEAR, Tracking
from taxi_assets.tracking.tracked_run import TrackedRun

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow.parquet as pq
    from sklearn.feature_extraction import DictVectorizer

    from taxi_assets.incoming import Incoming
    from taxi_assets.reporting.painter import Painter
    from taxi_assets.reporting.zone_names import ZoneNames
    from taxi_assets.tlc.ahead import FetchAhead
    from taxi_assets.tlc.fetch import FetchedMonth


@monthly_asset(
    kinds={"parquet"},
    io_manager="month_files",
    code_version="1",
    per_run=[fetched_months],
    stays_in_memory=False,
    imports=["pyarrow.parquet"],
    checks=[
        data_checks.number_of_trips,
        data_checks.trips_without_zone,
        data_checks.pickups_in_month,
    ],
)
def raw_trips(
    context: MonthContext,
    fetched_months: "FetchAhead[Incoming]",
    storage: dg.ResourceParam[Storage],
) -> "dg.MaterializeResult[FetchedMonth]":
    """The month's trip records, byte for byte as TLC published them."""
    fetched, survey = fetched_months.take(context.month, context.report)
    origin = fetched.origin
    neighbours = neighbouring_trips(storage, context.fleet, context.month)
    return dg.MaterializeResult(
        value=fetched,
        metadata={
            "summary": f"{origin.trips:,} trips, {origin.size / 1e6:,.1f} MB, "
            f"from {origin.location}",
            "records_loaded": origin.trips,
            "size_bytes": origin.size,
            "source": origin.location,
            "sha256": origin.sha256,
        },
        data_version=dg.DataVersion(origin.sha256),
        check_results=[
            data_checks.number_of_trips(origin.trips, neighbours),
            data_checks.trips_without_zone(survey),
            data_checks.pickups_in_month(survey),
        ],
    )


@monthly_asset(
    kinds={"pandas", "parquet"},
    io_manager="frames",
    code_version="2",
    per_run=[painter],
    imports=["pandas", "sklearn.model_selection"],
    checks=[
        data_checks.readable_values,
        data_checks.share_kept,
        data_checks.usual_durations,
    ],
)
def cleaned_trips(
    context: MonthContext,
    raw_trips: "pq.ParquetFile",
    storage: dg.ResourceParam[Storage],
    painter: "Painter",
) -> "dg.MaterializeResult[pd.DataFrame]":
    """Trips of 1 to 60 minutes between two known zones: zones, duration (minutes), hour, miles."""
    cleaned = cleaning.clean_trips(raw_trips, context.fleet, context.month)
    kept = len(cleaned.trips)
    durations = cleaned.trips[cleaning.DURATION]
    drawn = painter.draw(charts.cleaning_charts(cleaned.durations, context.title))
    pictures = Gallery(storage, context.fleet, context.month)
    context.when_stored(lambda: pictures.add(drawn()))
    return dg.MaterializeResult(
        value=cleaned.trips,
        metadata={
            "summary": f"{kept:,} of {cleaned.loaded:,} trips kept",
            "records_loaded": cleaned.loaded,
            "records_cleaned": kept,
            "share_kept": cleaned.share_kept,
            "null_zones": cleaned.null_zones,
            "null_times": cleaned.null_times,
            "unreadable_values": cleaned.unreadable.counts.total(),
            "mean_duration_minutes": float(durations.mean()),
        },
        check_results=[
            data_checks.readable_values(cleaned.unreadable),
            data_checks.share_kept(kept, cleaned.loaded),
            data_checks.usual_durations(durations),
        ],
    )


@monthly_asset(kinds={"pandas", "parquet"}, io_manager="frames", code_version="1")
def zone_pairs(
    context: MonthContext, cleaned_trips: "pd.DataFrame"
) -> "dg.MaterializeResult[pd.DataFrame]":
    """The trips summed up by split and zone pair: all that the fit needs to know of them."""
    summed = pairs.group_by_zone_pair(cleaned_trips)
    trips = {name: int(pairs.split(summed, name)["trips"].sum()) for name in pairs.SPLITS}
    return dg.MaterializeResult(
        value=summed,
        metadata={
            "summary": f"{trips[pairs.TRAIN]:,} training and {trips[pairs.VALIDATION]:,} "
            f"validation trips in {len(summed):,} rows",
            **{f"{name}_trips": count for name, count in trips.items()},
        },
    )


@monthly_asset(
    kinds={"scikitlearn"},
    io_manager="estimators",
    code_version="1",
    imports=["sklearn.feature_extraction"],
    checks=[model_checks.known_zones],
)
def vectorizer(
    context: MonthContext, zone_pairs: "pd.DataFrame"
) -> "dg.MaterializeResult[DictVectorizer]":
    """scikit-learn's DictVectorizer, fitted on the zones of the training trips."""
    fitted = regression.fit_vectorizer(zone_pairs)
    features = len(fitted.feature_names_)
    return dg.MaterializeResult(
        value=fitted,
        metadata={"summary": f"{features:,} features", "feature_count": features},
        check_results=[model_checks.known_zones(fitted)],
    )


def tracked_run(context: MonthContext, mlflow: dg.ResourceParam[Tracking]) -> TrackedRun:
    """The month's MLflow run, which model and metrics share where they are made together."""
    return TrackedRun(mlflow, context, LINEAR)


def boosted_run(context: MonthContext, mlflow: dg.ResourceParam[Tracking]) -> TrackedRun:
    """The same for boosted_model and boosted_metrics."""
    return TrackedRun(mlflow, context, BOOSTED)


@monthly_asset(
    kinds={"scikitlearn", "mlflow"},
    io_manager="estimators",
    code_version="2",
    per_month=tracked_run,
    imports=["sklearn.linear_model", "mlflow", "dagster_mlflow"],
    checks=[model_checks.finite_coefficients, model_checks.thin_zones],
)
def model(
    context: MonthContext,
    zone_pairs: "pd.DataFrame",
    vectorizer: "DictVectorizer",
    storage: dg.ResourceParam[Storage],
    tracked_run: TrackedRun,
) -> "dg.MaterializeResult[TrainedModel]":
    """scikit-learn's LinearRegression of duration on zones, and the MLflow run that has it."""
    fitted = regression.fit_model(zone_pairs, vectorizer)
    origin = stored_origin(storage, month_file(context.fleet, context.month))
    tracked_run.begin({"model_type": regression.MODEL_TYPE, **_parameters(context)}, origin)
    tracked_run.log_vectorizer(vectorizer)
    tracked_run.log_model(intervals.servable_linear(vectorizer, fitted, zone_pairs))
    context.when_stored(tracked_run.supersede_older)
    if origin is not None:
        context.when_stored(partial(note_trained, storage, context.fleet, context.month, origin))
    return dg.MaterializeResult(
        value=TrainedModel(
            model=fitted,
            vocabulary=regression.vocabulary(vectorizer),
            mlflow_run_id=tracked_run.run_id,
        ),
        metadata={
            "summary": f"intercept {fitted.intercept_:.2f} minutes, "
            f"MLflow run {tracked_run.run_id}",
            "intercept": float(fitted.intercept_),
            **tracked_run.links(),
        },
        check_results=[
            model_checks.finite_coefficients(fitted),
            model_checks.thin_zones(zone_pairs),
        ],
    )


@monthly_asset(
    kinds={"json", "mlflow"},
    io_manager="figures",
    code_version="1",
    per_run=[painter, zone_names],
    per_month=tracked_run,
    checks=[model_checks.better_than_mean, model_checks.rmse_of_earlier_months],
)
def metrics(
    context: MonthContext,
    raw_trips: "pq.ParquetFile",
    cleaned_trips: "pd.DataFrame",
    zone_pairs: "pd.DataFrame",
    vectorizer: "DictVectorizer",
    model: TrainedModel,
    storage: dg.ResourceParam[Storage],
    zone_names: "ZoneNames",
    painter: "Painter",
    tracked_run: TrackedRun,
) -> "dg.MaterializeResult[dict[str, float]]":
    """The month's figures on its validation trips, in minutes; also in the model's MLflow run."""
    predictor = regression.bind(vectorizer, model)
    validation = scoring.validate_model(cleaned_trips, zone_pairs, *predictor)
    drawn = painter.draw(charts.model_charts(validation, zone_names.zones, context.title))
    tracked_run.reopen(model["mlflow_run_id"])
    figures = {
        "records_loaded": raw_trips.metadata.num_rows,
        "records_cleaned": len(cleaned_trips),
        **scoring.score_model(zone_pairs, *predictor, validation),
        "model_size_bytes": tracked_run.model_size_bytes(),
    }
    tracked_run.log_metrics(figures)
    pictures = Gallery(storage, context.fleet, context.month)
    context.when_stored(lambda: pictures.add(drawn()))
    context.when_stored(lambda: tracked_run.log_pictures(pictures.all(PICTURES)))
    context.when_stored(tracked_run.complete)
    earlier = earlier_rmses(storage, context.fleet, context.month)
    return dg.MaterializeResult(
        value=figures,
        metadata={
            "summary": f"RMSE {figures['rmse']:.3f} minutes, intercept {figures['intercept']:.2f}, "
            f"{figures['records_loaded']:,} records loaded, "
            f"{figures['records_cleaned']:,} after preparation",
            **figures,
            **tracked_run.links(),
        },
        check_results=[
            model_checks.better_than_mean(figures),
            model_checks.rmse_of_earlier_months(figures["rmse"], earlier),
        ],
    )


@monthly_asset(
    kinds={"pandas", "parquet"},
    io_manager="frames",
    code_version="1",
    judges_others=outdated_windows,
)
def hourly_pairs(
    context: MonthContext, cleaned_trips: "pd.DataFrame"
) -> "dg.MaterializeResult[pd.DataFrame]":
    """The trips summed up by split, zone pair and hour of the week; sums of months add up."""
    summed = group_by_hourly_pair(cleaned_trips)
    return dg.MaterializeResult(
        value=summed,
        metadata={
            "summary": f"{summed['trips'].sum():,} trips in {len(summed):,} rows, "
            f"{summed['distance_trips'].sum():,} of them with a distance",
            "trips": int(summed["trips"].sum()),
        },
    )


@monthly_asset(
    kinds={"lightgbm", "mlflow"},
    io_manager="arrays",
    code_version="1",
    per_month=boosted_run,
    imports=["lightgbm", "mlflow", "dagster_mlflow"],
    looks_back=True,
    checks=[model_checks.window_complete],
)
def boosted_model(
    context: MonthContext,
    cleaned_trips: "pd.DataFrame",
    hourly_pairs: "pd.DataFrame",
    storage: dg.ResourceParam[Storage],
    training: dg.ResourceParam[Training],
    boosted_run: TrackedRun,
) -> "dg.MaterializeResult[dict[str, Any]]":
    """Gradient-boosted trees on the sums of this month and those before it, with intervals."""
    from taxi_assets.durations.boosted_month import PARAMETERS, fit_boosted_month, servable_boosted

    trained = training_months(context, storage, training, hourly_pairs)
    arrays = fit_boosted_month(trained.window, cleaned_trips)
    origin = stored_origin(storage, month_file(context.fleet, context.month))
    boosted_run.begin(
        {
            **_parameters(context),
            **PARAMETERS,
            "training_months": " ".join(f"{m}:{v[:12]}" for m, v in trained.versions.items()),
        },
        origin,
    )
    boosted_run.log_model(servable_boosted(arrays))
    context.when_stored(boosted_run.supersede_older)
    months = list(trained.versions)
    return dg.MaterializeResult(
        value={
            **arrays,
            "mlflow_run_id": boosted_run.run_id,
            "training_months": months,
            "training_versions": list(trained.versions.values()),
        },
        metadata={
            "summary": f"trained on {', '.join(months)}, MLflow run {boosted_run.run_id}",
            "training_months": trained.versions,
            **boosted_run.links(),
        },
        data_version=_version(trained.versions),
        check_results=[model_checks.window_complete(months, trained.missing, alone=trained.alone)],
    )


@monthly_asset(
    kinds={"json", "mlflow"},
    io_manager="figures",
    code_version="1",
    per_run=[painter],
    per_month=boosted_run,
    checks=[model_checks.better_than_mean],
)
def boosted_metrics(
    context: MonthContext,
    raw_trips: "pq.ParquetFile",
    cleaned_trips: "pd.DataFrame",
    boosted_model: "dict[str, Any]",
    storage: dg.ResourceParam[Storage],
    painter: "Painter",
    boosted_run: TrackedRun,
) -> "dg.MaterializeResult[dict[str, float]]":
    """The boosted model's figures on the month's validation trips, the same rows as in metrics."""
    from taxi_assets.durations.boosted_month import validate_boosted

    validation = validate_boosted(boosted_model, cleaned_trips)
    drawn = painter.draw(charts.boosted_charts(validation, context.title))
    boosted_run.reopen(str(boosted_model["mlflow_run_id"]))
    figures = {
        "records_loaded": raw_trips.metadata.num_rows,
        "records_cleaned": len(cleaned_trips),
        **validation.score(cleaned_trips),
        "model_size_bytes": boosted_run.model_size_bytes(),
    }
    boosted_run.log_metrics(figures)
    pictures = Gallery(storage, context.fleet, context.month)
    context.when_stored(lambda: pictures.add(drawn()))
    context.when_stored(lambda: boosted_run.log_pictures(pictures.all(BOOSTED_PICTURES)))
    context.when_stored(boosted_run.complete)
    return dg.MaterializeResult(
        value=figures,
        metadata={
            "summary": f"RMSE {figures['rmse']:.3f} minutes, MAE {figures['mae']:.3f}, on "
            f"{figures['validation_trips']:,} validation trips",
            **figures,
            **boosted_run.links(),
        },
        check_results=[model_checks.better_than_mean(figures)],
    )


@monthly_asset(
    kinds={"json", "mlflow"},
    io_manager="figures",
    code_version="2",
    per_run=[painter],
    looks_back=True,
    checks=[model_checks.boosted_better_than_linear, model_checks.interval_coverage],
)
def backtest(
    context: MonthContext,
    cleaned_trips: "pd.DataFrame",
    storage: dg.ResourceParam[Storage],
    mlflow: dg.ResourceParam[Tracking],
    painter: "Painter",
) -> "dg.MaterializeResult[dict[str, Any]]":
    """Every family's newest model of earlier months, on all trips of this month: the truth."""
    from taxi_assets.durations.backtest import HeldOutTrips

    trips = HeldOutTrips(cleaned_trips)
    earlier = earlier_models(context, storage)
    models = {
        name: {**model.describe(), **trips.score(model.model, model.interval)}
        for name, model in earlier.items()
    }
    drawn = painter.draw(charts.backtest_charts(models, context.title) if models else {})
    for model in models.values():
        if model["mlflow_run_id"] is not None:
            mlflow.log_backtest(context, model["mlflow_run_id"], model)
    figures = {"month": str(context.month), "trips": trips.trips, "models": models}
    pictures = Gallery(storage, context.fleet, context.month)
    context.when_stored(lambda: pictures.add(drawn()))
    rmses = {name: model["rmse"] for name, model in models.items()}
    said = ", ".join(f"{name} {rmse:.3f}" for name, rmse in sorted(rmses.items(), key=_by_value))
    return dg.MaterializeResult(
        value=figures,
        metadata={
            "summary": f"RMSE {said} minutes, on {trips.trips:,} trips"
            if models
            else "there is no earlier model to score",
            "trips": trips.trips,
            **{f"{name}_rmse": rmse for name, rmse in rmses.items()},
            "figures": dg.MetadataValue.json(figures),
        },
        # Models of earlier months are no declared inputs that Dagster could derive a version from.
        data_version=_version(figures),
        check_results=[
            model_checks.boosted_better_than_linear(models),
            model_checks.interval_coverage(models),
        ],
    )


def _version(of: Any) -> dg.DataVersion:
    return dg.DataVersion(hashlib.sha256(json.dumps(of).encode()).hexdigest())


def _by_value(item: tuple[str, float]) -> float:
    return item[1]


def _parameters(context: MonthContext) -> dict[str, object]:
    return {
        "fleet": context.fleet.name,
        "month": str(context.month),
        "test_size": cleaning.TEST_SIZE,
        "random_state": cleaning.RANDOM_STATE,
        "min_duration": cleaning.MIN_DURATION,
        "max_duration": cleaning.MAX_DURATION,
    }


GRAPH = (
    *(raw_trips, cleaned_trips, zone_pairs, vectorizer, model, metrics),
    *(hourly_pairs, boosted_model, boosted_metrics, backtest),
)
