"""The exercise: one month, one-hot zones, a linear regression, its metrics."""

import pickle
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import dagster as dg

from taxi_assets.checks import model as model_checks
from taxi_assets.durations import intervals, regression, scoring, sums
from taxi_assets.durations.regression import TrainedModel
from taxi_assets.reports import plots
from taxi_assets.reports.plot_files import store_plots
from taxi_assets.runs.monthly_asset import MonthContext, monthly_asset
from taxi_assets.storage.files import Storage
from taxi_assets.storage.layout import stored_file
from taxi_assets.storage.origins import stored_origin
from taxi_assets.storage.stored_months import earlier_rmses
from taxi_assets.tracking.runs import LINEAR, Tracking
from taxi_assets.tracking.tags import month_parameters
from taxi_assets.tracking.tracked_run import TrackedRun

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow.parquet as pq
    from sklearn.feature_extraction import DictVectorizer


@monthly_asset(kinds={"pandas", "parquet"}, io_manager="frames", code_version="1")
def zone_pairs(
    context: MonthContext, cleaned_trips: "pd.DataFrame"
) -> "dg.MaterializeResult[pd.DataFrame]":
    """Sums of the trips by split and zone pair, which are all that the fit needs.

    Look at the number of rows: a few hundred or thousand stand for all trips.
    """
    summed = sums.group_by_zone_pair(cleaned_trips)
    trips = {name: int(sums.split(summed, name)["trips"].sum()) for name in sums.SPLITS}
    return dg.MaterializeResult(
        value=summed,
        metadata={
            "summary": f"{sum(trips.values()):,} trips in {len(summed):,} rows",
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
    """scikit-learn's DictVectorizer, fitted on the zones of the training trips.

    Look at `feature_count`: one for each zone in which a trip began, and one for each in which one
    ended. *Plots*, beside *Table*, draws it over the months.
    """
    fitted = regression.fit_vectorizer(zone_pairs)
    features = len(fitted.feature_names_)
    return dg.MaterializeResult(
        value=fitted,
        metadata={"summary": f"{features:,} features", "feature_count": features},
        check_results=[model_checks.known_zones(fitted)],
    )


TLC_RHYTHM = dg.FreshnessPolicy.time_window(
    warn_window=timedelta(days=45), fail_window=timedelta(days=75)
)
"""TLC publishes a month each month, some two months after its end, and now and then two at once."""


def tracked_run(context: MonthContext, mlflow: dg.ResourceParam[Tracking]) -> TrackedRun:
    """The month's MLflow run, which model and metrics share where they are made together."""
    return TrackedRun(mlflow, context, LINEAR)


@monthly_asset(
    kinds={"scikitlearn", "mlflow"},
    io_manager="estimators",
    code_version="3",
    for_month={"tracked_run": tracked_run},
    imports=["sklearn.linear_model", "mlflow", "dagster_mlflow"],
    freshness=TLC_RHYTHM,
    checks=[model_checks.thin_zones],
)
def model(
    context: MonthContext,
    cleaned_trips: "pd.DataFrame",
    zone_pairs: "pd.DataFrame",
    vectorizer: "DictVectorizer",
    storage: dg.ResourceParam[Storage],
    tracked_run: TrackedRun,
) -> "dg.MaterializeResult[TrainedModel]":
    """scikit-learn's LinearRegression of duration on zones, recorded in an MLflow run.

    Look at `mlflow_run`, which links to parameters, metrics and the model to be served. *Plots*,
    beside *Table*, draws the intercept over the months.
    """
    from taxi_assets.durations.inference import part

    fitted = regression.fit_model(zone_pairs, vectorizer)
    servable = intervals.servable_linear(vectorizer, fitted, cleaned_trips)
    origin = stored_origin(storage, stored_file(context.fleet.name, "raw_trips", context.month))
    tracked_run.begin({"model_type": regression.MODEL_TYPE, **month_parameters(context)}, origin)
    # As the exercise does; nothing here unpickles it.
    tracked_run.log_files({"dv.pkl": pickle.dumps(vectorizer)})
    tracked_run.log_model(servable)
    context.when_stored(
        lambda: tracked_run.supersede_others(
            lambda: str(context.load("model", context.month)["mlflow_run_id"])
        )
    )
    return dg.MaterializeResult(
        value=TrainedModel(
            model=fitted,
            vocabulary=regression.vocabulary(vectorizer),
            interval=part(servable, "interval"),
            mlflow_run_id=tracked_run.run_id,
        ),
        metadata={
            "summary": f"{regression.MODEL_TYPE}, intercept {fitted.intercept_:.2f}",
            "intercept": float(fitted.intercept_),
            **tracked_run.links(),
        },
        check_results=[model_checks.thin_zones(zone_pairs)],
    )


@monthly_asset(
    kinds={"json", "mlflow"},
    io_manager="metrics",
    code_version="1",
    for_month={"tracked_run": tracked_run},
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
    tracked_run: TrackedRun,
) -> "dg.MaterializeResult[dict[str, float]]":
    """The month's metrics on its validation trips, in minutes; also in the model's MLflow run.

    Look at `rmse`, and at `baseline_rmse`, the RMSE of always predicting the mean; then at the
    plots. *Plots*, beside *Table*, draws each metric over the months.
    """
    fitted = regression.bind(vectorizer, model)
    validation = scoring.validate_model(cleaned_trips, zone_pairs, vectorizer, fitted)
    drawn = plots.model_plots(validation, context.title)
    tracked_run.reopen(model["mlflow_run_id"])
    metrics = {
        "records_loaded": raw_trips.metadata.num_rows,
        "records_cleaned": len(cleaned_trips),
        **scoring.score_model(zone_pairs, vectorizer, fitted, validation),
        "model_size_bytes": tracked_run.model_size_bytes(),
    }
    tracked_run.log_metrics(metrics)
    context.when_stored(partial(store_plots, storage, context.fleet, context.month, drawn))
    context.when_stored(partial(tracked_run.log_plots, drawn))
    context.when_stored(partial(tracked_run.complete, metrics["rmse"]))
    earlier = earlier_rmses(context.month, context.load, context.report)
    return dg.MaterializeResult(
        value=metrics,
        metadata={
            "summary": f"RMSE {metrics['rmse']:.3f} minutes, intercept {metrics['intercept']:.2f}",
            # What a reader looks for stands at the top.
            "rmse": metrics["rmse"],
            **metrics,
            **tracked_run.links(),
        },
        check_results=[
            model_checks.better_than_mean(metrics),
            model_checks.rmse_of_earlier_months(metrics["rmse"], earlier),
        ],
    )
