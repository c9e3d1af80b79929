"""The one place where dagster-mlflow, and with it MLflow's global state, is let in."""

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import dagster as dg

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlflow.entities import Run


@contextmanager
def active_run(
    context: dg.AssetExecutionContext, tracking_uri: str, experiment_name: str, run: "Run"
) -> "Iterator[Any]":
    """Make an existing MLflow run the active one, through dagster-mlflow, for a block.

    dagster-mlflow's constructor sets MLflow's tracking URI, experiment and active run for the
    whole process, writes to ``os.environ``, renames the run after the Dagster job and takes away
    MLflow's own ending at exit. It is therefore constructed here and nowhere else, with the run
    handed to it, and what it set is put back when the block ends. Its tag for the Dagster run goes,
    as the run has one. The run stays RUNNING: ending it is for the caller.

    Args:
        context: of the asset that logs to the run.
        tracking_uri: MLflow's database or server.
        experiment_name: the experiment that the run belongs to.
        run: the run.

    Yields:
        dagster-mlflow's ``MlFlow``, which has MLflow's functions as its methods.
    """
    import mlflow
    from dagster_mlflow import mlflow_tracking
    from mlflow.tracking import fluent

    variables = {name: os.environ[name] for name in os.environ if name.startswith("MLFLOW_")}
    tracking_uri_before = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
    experiment_before = fluent._active_experiment_id
    config = {
        "experiment_name": experiment_name,
        "mlflow_tracking_uri": tracking_uri,
        "mlflow_run_id": run.info.run_id,
    }
    try:
        with dg.build_resources(
            {"mlflow": mlflow_tracking},
            instance=context.instance,
            resource_config={"mlflow": {"config": config}},
            dagster_run=context.run,
            # It would log that it starts a new run, and for many runs it does not.
            log_manager=dg.DagsterLogManager.create(loggers=[]),
        ) as resources:
            client = resources.mlflow.tracking_client
            client.update_run(run.info.run_id, name=run.info.run_name)
            client.delete_tag(run.info.run_id, "dagster_run_id")
            yield resources.mlflow
    finally:
        fluent._active_run_stack.get().clear()
        fluent._active_experiment_id = experiment_before
        mlflow.set_tracking_uri(tracking_uri_before)  # type: ignore[arg-type]
        for name in {name for name in os.environ if name.startswith("MLFLOW_")} - variables.keys():
            del os.environ[name]
        os.environ.update(variables)
