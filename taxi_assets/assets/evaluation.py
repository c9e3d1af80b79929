"""Which model serves: earlier months' models on this month's trips, and the champion's answers."""

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import dagster as dg

from taxi_assets.checks import data as data_checks
from taxi_assets.checks import model as model_checks
from taxi_assets.durations.predictions import predict_trips
from taxi_assets.errors import MonthError
from taxi_assets.reports import plots
from taxi_assets.reports.plot_files import store_plots
from taxi_assets.runs.monthly_asset import MonthContext, data_version, monthly_asset
from taxi_assets.storage.earlier_models import earlier_models
from taxi_assets.storage.files import Storage
from taxi_assets.storage.stored_months import stored_decisions
from taxi_assets.tracking.champions import Champions
from taxi_assets.tracking.runs import Tracking
from taxi_assets.tracking.versions import UnusableVersionError, load_version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pandas as pd

    from taxi_assets.durations.backtest import HeldOutTrips

    MakeHeldOut = Callable[[Callable[[], pd.DataFrame]], HeldOutTrips]


@contextmanager
def held_out(_context: MonthContext) -> "Iterator[MakeHeldOut]":
    """Makes ``HeldOutTrips`` of the month's trips, once for the three assets that share them."""
    from taxi_assets.durations.backtest import HeldOutTrips

    made: list[HeldOutTrips] = []

    def of(cleaned_trips: "Callable[[], pd.DataFrame]") -> HeldOutTrips:
        if not made:
            made.append(HeldOutTrips(cleaned_trips()))
        return made[0]

    yield of


@monthly_asset(
    kinds={"json", "mlflow"},
    io_manager="metrics",
    code_version="3",
    for_month={"held_out": held_out},
    on_demand=["cleaned_trips"],
    looks_back=True,
    checks=[model_checks.boosted_better_than_linear, model_checks.interval_coverage],
)
def backtest(
    context: MonthContext,
    cleaned_trips: "Callable[[], pd.DataFrame]",
    storage: dg.ResourceParam[Storage],
    mlflow: dg.ResourceParam[Tracking],
    held_out: "MakeHeldOut",
) -> "dg.MaterializeResult[dict[str, Any]]":
    """Metrics of each family's newest earlier model on all trips of this month, unseen by it.

    Look at `boosted_rmse` and `linear_rmse`; then at how many trips the intervals held. *Plots*,
    beside *Table*, draws them over the months.
    """
    trips = held_out(cleaned_trips)
    earlier = earlier_models(storage, context.fleet, context.month, context.load, context.report)
    models = {name: model.score(trips) for name, model in earlier.items()}
    if models:
        family = "boosted" if "boosted" in models else "linear"
        by_zone = trips.errors_by_pickup(str(models[family]["mlflow_run_id"]))
        drawn = plots.backtest_plots(family, by_zone, context.title)
        context.when_stored(partial(store_plots, storage, context.fleet, context.month, drawn))
    for model in models.values():
        if model["mlflow_run_id"] is not None:
            mlflow.log_backtest(context, model["mlflow_run_id"], model)
    metrics = {
        "month": str(context.month),
        "trips": trips.trips,
        "failed_checks": context.failed_checks(data_checks.CORRECTNESS),
        "models": models,
    }
    rmses = {name: model["rmse"] for name, model in models.items()}
    two_best = [f"{name} {rmses[name]:.3f}" for name in sorted(rmses, key=rmses.__getitem__)[:2]]
    return dg.MaterializeResult(
        value=metrics,
        metadata={
            "summary": f"RMSE {', '.join(two_best)}" if models else "no earlier model to score",
            **{f"{name}_rmse": rmse for name, rmse in rmses.items()},
            "trips": trips.trips,
            "metrics": dg.MetadataValue.json(metrics),
        },
        # Models of earlier months are no declared inputs that Dagster could derive a version from.
        data_version=data_version(metrics),
        check_results=[
            model_checks.boosted_better_than_linear(models),
            model_checks.interval_coverage(models),
        ],
    )


@monthly_asset(
    kinds={"json", "mlflow"},
    io_manager="metrics",
    code_version="2",
    for_month={"held_out": held_out},
    on_demand=["cleaned_trips"],
    looks_back=True,
    checks=[model_checks.model_decays],
)
def champion(
    context: MonthContext,
    cleaned_trips: "Callable[[], pd.DataFrame]",
    backtest: "dict[str, Any]",
    storage: dg.ResourceParam[Storage],
    mlflow: dg.ResourceParam[Tracking],
    held_out: "MakeHeldOut",
) -> "dg.MaterializeResult[dict[str, Any]]":
    """The registered version that serves from this month on, and why.

    Look at the summary, which is the decision. *Plots*, beside *Table*, draws `version` over
    the months.
    """
    champions = Champions(mlflow.server, context.fleet.name)
    # MLflow before the files: what others decide meanwhile is noticed when the aliases follow.
    standing = champions.standing()
    decided = stored_decisions(
        storage,
        context.fleet,
        context.load,
        context.report,
        context.month,
        standing.judged_through,
    )
    decision = champions.judge(standing, backtest, decided, held_out(cleaned_trips))

    def follow() -> dict[str, str]:
        told = champions.follow(standing, decision)
        for line in told:
            context.report(line)
        return {"aliases": "; ".join(told)} if told else {}

    context.when_stored(follow)
    stored = decision.to_json()
    earlier = [of for name, of in reversed(decided.items()) if name < decision.month]
    return dg.MaterializeResult(
        value=stored,
        metadata={
            "summary": decision.decision,
            **({"version": decision.champion.number} if decision.champion else {}),
            **({"relative_rmse": decision.relative_rmse} if decision.relative_rmse else {}),
            "metrics": dg.MetadataValue.json(stored),
        },
        # What MLflow says is no declared input that Dagster could derive a version from.
        data_version=data_version(stored),
        check_results=[model_checks.model_decays(stored, earlier)],
    )


@monthly_asset(
    kinds={"pandas", "parquet"},
    io_manager="frames",
    code_version="1",
    for_month={"held_out": held_out},
    on_demand=["cleaned_trips"],
)
def predictions(
    context: MonthContext,
    cleaned_trips: "Callable[[], pd.DataFrame]",
    champion: "dict[str, Any]",
    mlflow: dg.ResourceParam[Tracking],
    held_out: "MakeHeldOut",
) -> "dg.MaterializeResult[pd.DataFrame]":
    """The answers of the months before's champion for each kept trip: minutes and their bounds.

    Look at `model_version`. *Plots*, beside *Table*, draws `mean_minutes` over the months.
    """
    serving, trips = champion["before"], held_out(cleaned_trips)
    if serving is None:
        return dg.MaterializeResult(
            value=predict_trips(trips.cell_of_trip, None, None),
            metadata={"summary": f"no earlier champion: {trips.trips:,} trips empty"},
        )
    try:
        served = load_version(mlflow.server, context.fleet.name, serving["version"])
    except UnusableVersionError as error:
        making = context.command("champion", "predictions")
        raise MonthError(f"{error} Make the champion again: {making}") from None
    answers = trips.ask(serving["mlflow_run_id"], served.answer_cells)
    predicted = predict_trips(trips.cell_of_trip, answers, serving["version"])
    return dg.MaterializeResult(
        value=predicted,
        metadata={
            "summary": f"{trips.trips:,} trips, by {serving['family']} {serving['month']}",
            "mean_minutes": float(predicted["minutes"].mean()),
            "model_version": serving["version"],
        },
    )
