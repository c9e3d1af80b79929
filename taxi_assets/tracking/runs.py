"""The MLflow runs of trained months: each begun once, ended truthfully, or put right."""

import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg

from taxi_assets.errors import MonthError
from taxi_assets.tlc.fetch import Origin
from taxi_assets.tracking.run_ownership import OWNER, Owner
from taxi_assets.tracking.server import TrackingError, TrackingServer
from taxi_assets.tracking.tags import (
    BACKTEST_MONTH,
    DATA_VERSION,
    FAMILY,
    REASON,
    SUPERSEDED_BY,
    TrainedMonth,
    run_tags,
    same_month,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

DIGEST_LENGTH = 36
"""Longest digest that MLflow takes; the whole one is a tag."""

LINEAR, BOOSTED = "linear", "boosted"
"""The families of models that are tracked."""

MODEL_ASSETS = {LINEAR: "model", BOOSTED: "boosted_model"}
"""The assets that train them."""

DELETED = "deleted"
"""MLflow's word for the life cycle of what somebody has deleted and may still restore."""

RUNNING = "attributes.status = 'RUNNING'"


class DeletedRunError(MonthError):
    """Somebody has deleted the run that trained the month's model, or what it has logged."""

    def __init__(self, message: str, family: str) -> None:
        super().__init__(message)
        self.remake = (MODEL_ASSETS[family],)


class Tracking:
    """Where models are tracked: an MLflow database or server, and an experiment there."""

    def __init__(
        self,
        uri: str,
        experiment_name: str,
        dagster_ui_url: str | None = None,
        mlflow_ui_url: str | None = None,
    ) -> None:
        self.server = TrackingServer(uri)
        self.experiment_name = experiment_name
        self.dagster_ui_url = dagster_ui_url
        self.mlflow_ui_url = mlflow_ui_url

    def create_run(self, context: TrainedMonth, family: str, origin: Origin | None) -> "Run":
        """Create the run of a month, after those are put right that nobody can end any more."""
        client = self.server.client
        experiment_id = self._experiment_id(client)
        self._repair(client, experiment_id, context.dagster.instance)
        tags = run_tags(context, family, self.dagster_ui_url)
        if origin is not None:
            tags[DATA_VERSION] = origin.sha256
        name = f"{context.fleet.name} {context.month} {family}"
        run = client.create_run(experiment_id, run_name=name, tags=tags)
        if origin is not None:
            _log_dataset(client, run.info.run_id, context, origin)
        return run

    def own_run(self, context: TrainedMonth, family: str, run_id: str) -> "Run":
        """Take over the run of a family's model from whoever has ended it.

        Raises:
            DeletedRunError: there is no such run any more.
        """
        from mlflow.exceptions import MlflowException

        client = self.server.client
        try:
            run = client.get_run(run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            raise DeletedRunError(
                f"MLflow has no run {run_id}, which trained the model.", family
            ) from None
        self._refuse_deleted(client.get_experiment(run.info.experiment_id))
        if run.info.lifecycle_stage == DELETED:
            raise DeletedRunError(
                f"MLflow run {run_id}, which trained the model, was deleted.", family
            )
        client.set_tag(run_id, OWNER, Owner.of_run(context.dagster.run_id).to_text())
        return run

    def supersede_others(
        self, context: TrainedMonth, family: str, experiment_id: str, run_id: str
    ) -> None:
        """Tag all runs of a month's model but the one whose model is stored."""
        client = self.server.client
        for run in client.search_runs([experiment_id], same_month(context)):
            # Runs of earlier versions do not say what they trained.
            if run.data.tags.get(FAMILY, LINEAR) != family:
                continue
            superseded = SUPERSEDED_BY in run.data.tags
            if run.info.run_id != run_id and not superseded:
                client.set_tag(run.info.run_id, SUPERSEDED_BY, run_id)
            elif run.info.run_id == run_id and superseded:
                # By a run whose model was stored for a moment.
                client.delete_tag(run_id, SUPERSEDED_BY)

    def log_backtest(self, context: TrainedMonth, run_id: str, metrics: Mapping[str, Any]) -> None:
        """Log to a model's run how the model does on a later month.

        Nothing is logged to a run that somebody has deleted.

        Raises:
            TrackingError: MLflow does not do its part.
        """
        from mlflow.entities import Metric
        from mlflow.exceptions import MlflowException

        with self.server.turn():
            try:
                self.server.client.set_tag(run_id, BACKTEST_MONTH, str(context.month))
            except MlflowException as error:
                if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                    raise
                context.report(f"MLflow run {run_id} was deleted; its backtest is not logged")
                return
            now = int(time.time() * 1000)
            self.server.client.log_batch(
                run_id,
                [
                    Metric(f"backtest_{name}", value, now, 0)
                    for name, value in metrics.items()
                    if isinstance(value, float)
                ],
            )

    def links(self, run_id: str) -> dict[str, Any]:
        """Metadata for Dagster's pages that lead to a run."""
        metadata: dict[str, Any] = {"mlflow_run_id": run_id}
        pages = self.server.pages or self.mlflow_ui_url
        if pages is not None:
            with self.server.explained():
                experiment = self.server.client.get_run(run_id).info.experiment_id
            address = f"{pages.rstrip('/')}/#/experiments/{experiment}/runs/{run_id}"
            metadata["mlflow_run"] = dg.MetadataValue.url(address)
        return metadata

    def _experiment_id(self, client: "MlflowClient") -> str:
        from mlflow.exceptions import MlflowException

        experiment = client.get_experiment_by_name(self.experiment_name)
        if experiment is not None:
            self._refuse_deleted(experiment)
            return str(experiment.experiment_id)
        folder = self.server.artifact_folder(self.experiment_name)
        try:
            return str(client.create_experiment(self.experiment_name, folder))
        except MlflowException as error:
            # On a server, another machine may have made it meanwhile.
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            return self._experiment_id(client)

    def _refuse_deleted(self, experiment: Any) -> None:
        """Raises TrackingError if somebody has deleted the experiment."""
        if experiment.lifecycle_stage == DELETED:
            raise TrackingError(
                f"The experiment {experiment.name} at {self.server.shown} was deleted. Restore it: "
                f"mlflow experiments restore --experiment-id {experiment.experiment_id} (with "
                "MLFLOW_TRACKING_URI set), or set MLFLOW_EXPERIMENT_NAME to another."
            )

    def _repair(
        self, client: "MlflowClient", experiment_id: str, instance: dg.DagsterInstance
    ) -> None:
        """End the runs whose owners are provably gone."""
        for run in client.search_runs([experiment_id], RUNNING):
            owner = Owner.from_text(run.data.tags.get(OWNER))
            fate = owner.fate(instance) if owner else None
            if fate is not None:
                client.set_tag(run.info.run_id, REASON, fate)
                status = "FAILED" if fate.endswith("FAILURE") else "KILLED"
                client.set_terminated(run.info.run_id, status)


def _log_dataset(
    client: "MlflowClient", run_id: str, context: TrainedMonth, origin: Origin
) -> None:
    """Record the month's file as the run's dataset."""
    from mlflow.entities import Dataset, DatasetInput

    dataset = Dataset(
        name=context.fleet.file_name(context.month),
        digest=origin.sha256[:DIGEST_LENGTH],
        source_type="url",
        source=json.dumps({"url": origin.location}),
    )
    client.log_inputs(run_id, [DatasetInput(dataset)])
