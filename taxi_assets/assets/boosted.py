"""Boosted trees: the sums of a month and of those before it, and the model's metrics."""

from functools import partial
from typing import TYPE_CHECKING, Any

import dagster as dg

from taxi_assets.checks import model as model_checks
from taxi_assets.durations.sums import group_by_hourly_pair
from taxi_assets.reports import plots
from taxi_assets.reports.plot_files import store_plots
from taxi_assets.runs.monthly_asset import MonthContext, data_version, monthly_asset
from taxi_assets.storage.files import Storage
from taxi_assets.storage.layout import stored_file
from taxi_assets.storage.origins import stored_origin
from taxi_assets.storage.stored_months import (
    Training,
    later_windows,
    training_months,
)
from taxi_assets.tracking.runs import BOOSTED, Tracking
from taxi_assets.tracking.tags import month_parameters
from taxi_assets.tracking.tracked_run import TrackedRun

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd
    import pyarrow.parquet as pq


AFTER_BOOSTED_MODEL = ("boosted_metrics", "backtest", "champion", "predictions")
"""What follows from the boosted model, and is to be made again with it."""


@monthly_asset(
    kinds={"pandas", "parquet"},
    io_manager="frames",
    code_version="1",
    on_demand=["cleaned_trips"],
)
def hourly_pairs(
    context: MonthContext,
    cleaned_trips: "Callable[[], pd.DataFrame]",
    storage: dg.ResourceParam[Storage],
    training: dg.ResourceParam[Training],
) -> "dg.MaterializeResult[pd.DataFrame]":
    """The trips summed up by split, zone pair and hour of the week; sums of months add up.

    Look at how many rows stand for how many trips.
    """
    summed = group_by_hourly_pair(dict(cleaned_trips().items()))

    def judge_later_models() -> None:
        for later in later_windows(storage, context.fleet, context.month, context.load, training):
            again = context.command("boosted_model", *AFTER_BOOSTED_MODEL, month=later.month)
            result = model_checks.window_complete(
                later.trained_on, later.missing, since=later.since, command=again
            )
            context.judged_anew.append(("boosted_model", later.month, result))

    context.when_stored(judge_later_models)
    return dg.MaterializeResult(
        value=summed,
        metadata={
            "summary": f"{summed['trips'].sum():,} trips in {len(summed):,} rows",
            "trips": int(summed["trips"].sum()),
        },
    )


def boosted_run(context: MonthContext, mlflow: dg.ResourceParam[Tracking]) -> TrackedRun:
    """The month's MLflow run, which boosted_model and boosted_metrics share."""
    return TrackedRun(mlflow, context, BOOSTED)


@monthly_asset(
    kinds={"lightgbm", "mlflow"},
    io_manager="arrays",
    code_version="4",
    for_month={"boosted_run": boosted_run},
    imports=["lightgbm", "mlflow", "dagster_mlflow"],
    looks_back=True,
    checks=[model_checks.window_complete],
    on_demand=["cleaned_trips", "hourly_pairs"],
)
def boosted_model(
    context: MonthContext,
    cleaned_trips: "Callable[[], pd.DataFrame]",
    hourly_pairs: "Callable[[], pd.DataFrame]",
    storage: dg.ResourceParam[Storage],
    training: dg.ResourceParam[Training],
    boosted_run: TrackedRun,
) -> "dg.MaterializeResult[dict[str, Any]]":
    """Gradient-boosted trees on the sums of this month and those before it, with intervals.

    Look at `training_months`, and at `mlflow_run`, which leads to the model to be served.
    """
    from taxi_assets.durations.boosted_month import PARAMETERS, fit_boosted_month, servable_boosted

    trained = training_months(
        storage, context.fleet, context.month, context.load, training, hourly_pairs
    )
    arrays = fit_boosted_month(trained.window, cleaned_trips)
    origin = stored_origin(storage, stored_file(context.fleet.name, "raw_trips", context.month))
    boosted_run.begin(
        {
            **month_parameters(context),
            **PARAMETERS,
            "training_months": " ".join(f"{m}:{v[:12]}" for m, v in trained.versions.items()),
        },
        origin,
    )
    boosted_run.log_model(servable_boosted(arrays))
    context.when_stored(
        lambda: boosted_run.supersede_others(
            lambda: str(context.load("boosted_model", context.month)["mlflow_run_id"])
        )
    )
    months = list(trained.versions)
    return dg.MaterializeResult(
        value={
            **arrays,
            "mlflow_run_id": boosted_run.run_id,
            "training_months": months,
            "training_versions": list(trained.versions.values()),
        },
        metadata={
            "summary": f"trained on {', '.join(months)}",
            "training_months": trained.versions,
            **boosted_run.links(),
        },
        data_version=data_version(trained.versions),
        check_results=[
            model_checks.window_complete(
                months,
                trained.missing,
                alone=trained.alone,
                command=context.command("boosted_model", *AFTER_BOOSTED_MODEL),
            )
        ],
    )


@monthly_asset(
    kinds={"json", "mlflow"},
    io_manager="metrics",
    code_version="1",
    for_month={"boosted_run": boosted_run},
    checks=[model_checks.better_than_mean],
)
def boosted_metrics(
    context: MonthContext,
    raw_trips: "pq.ParquetFile",
    cleaned_trips: "pd.DataFrame",
    boosted_model: "dict[str, Any]",
    storage: dg.ResourceParam[Storage],
    boosted_run: TrackedRun,
) -> "dg.MaterializeResult[dict[str, float]]":
    """The boosted model's metrics on the month's validation trips, the same rows as in metrics.

    Look at `rmse` beside that of metrics; then at the plots. *Plots*, beside *Table*,
    draws each metric over the months.
    """
    from taxi_assets.durations.boosted_month import validate_boosted

    validation = validate_boosted(boosted_model, cleaned_trips)
    drawn = plots.boosted_plots(validation, context.title)
    boosted_run.reopen(str(boosted_model["mlflow_run_id"]))
    metrics = {
        "records_loaded": raw_trips.metadata.num_rows,
        "records_cleaned": len(cleaned_trips),
        **validation.score(cleaned_trips),
        "model_size_bytes": boosted_run.model_size_bytes(),
    }
    boosted_run.log_metrics(metrics)
    context.when_stored(partial(store_plots, storage, context.fleet, context.month, drawn))
    context.when_stored(partial(boosted_run.log_plots, drawn))
    context.when_stored(partial(boosted_run.complete, metrics["rmse"]))
    return dg.MaterializeResult(
        value=metrics,
        metadata={
            "summary": f"RMSE {metrics['rmse']:.3f} minutes, MAE {metrics['mae']:.3f}",
            "rmse": metrics["rmse"],
            **metrics,
            **boosted_run.links(),
        },
        check_results=[model_checks.better_than_mean(metrics)],
    )
