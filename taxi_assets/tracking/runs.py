"""The MLflow run of a trained month: begun, completed, ended truthfully, and put right."""

import json
import platform
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from taxi_assets.spans import MonthContext
from taxi_assets.tlc.fetch import Origin
from taxi_assets.tracking.owners import OWNER, Owner
from taxi_assets.tracking.registry import Registry
from taxi_assets.tracking.resource import active_run
from taxi_assets.tracking.servers import TrackingServer
from taxi_assets.tracking.tracked_run import TrackedRun

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

VERSIONED_PACKAGES = ("dagster", "dagster-mlflow", "mlflow", "numpy", "pandas", "scikit-learn")

# Tags of a run.
DAGSTER_RUN = "dagster.run_id"
PARTITION = "dagster.partition"
FLEET = "taxi_assets.fleet"
REASON = "taxi_assets.reason"
BACKTEST_MONTH = "taxi_assets.backtest_month"
SUPERSEDED_BY = "taxi_assets.superseded_by"
DESCRIPTION = "mlflow.note.content"


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

    @contextmanager
    def new_run(
        self, context: MonthContext, origin: Origin | None, completed_by: str
    ) -> Iterator[TrackedRun]:
        """Begin the run of a month that is being trained.

        When the block ends, older runs of the month are tagged as superseded. The run itself ends
        if the Dagster run does not go on to the asset that completes it.

        Args:
            context: of the month.
            origin: of the month's trips.
            completed_by: name of the asset that logs to the run later.

        Raises:
            TrackingError: MLflow does not do its part.
        """
        with self.server.explained(), self.server.alone():
            client = self.server.client
            experiment_id = self._experiment_id(client)
            self._repair(client, experiment_id, context.dagster.instance)
            run = client.create_run(
                experiment_id,
                run_name=f"{context.fleet.name} {context.month}",
                tags=self._tags(context),
            )
            ends = not context.materializes(completed_by)
            with self._open(context, run.info.run_id, ends) as tracked:
                if origin is not None:
                    _log_origin(client, run.info.run_id, context, origin)
                yield tracked
            for older in _runs(client, experiment_id, _same_month(context)):
                if older.info.run_id != run.info.run_id and SUPERSEDED_BY not in older.data.tags:
                    client.set_tag(older.info.run_id, SUPERSEDED_BY, run.info.run_id)

    @contextmanager
    def existing_run(self, context: MonthContext, run_id: str) -> Iterator[TrackedRun]:
        """Open the run again that trained a month's model.

        Raises:
            TrackingError: MLflow does not do its part.
        """
        with self.server.explained(), self.server.alone():
            owner = Owner.of_run(context.dagster.run_id)
            self.server.client.set_tag(run_id, OWNER, owner.to_tag())
            with self._open(context, run_id, ends=True) as tracked:
                yield tracked

    def log_backtest(
        self, context: MonthContext, run_id: str, figures: Mapping[str, float | None]
    ) -> None:
        """Log to a model's run how the model does on the month after its own.

        Nothing is logged to a run that somebody has deleted.

        Raises:
            TrackingError: MLflow does not do its part.
        """
        from mlflow.exceptions import MlflowException
        from mlflow.protos.databricks_pb2 import (
            INVALID_PARAMETER_VALUE,
            RESOURCE_DOES_NOT_EXIST,
            ErrorCode,
        )

        with self.server.explained(), self.server.alone():
            try:
                self.server.client.set_tag(run_id, BACKTEST_MONTH, str(context.month))
            except MlflowException as error:
                gone = (RESOURCE_DOES_NOT_EXIST, INVALID_PARAMETER_VALUE)
                if error.error_code not in map(ErrorCode.Name, gone):
                    raise
                context.report(f"MLflow run {run_id} was deleted; its backtest is not logged")
                return
            for name, value in figures.items():
                scored, _, figure = name.partition("previous_")
                if not scored and value is not None:
                    self.server.client.log_metric(run_id, f"backtest_{figure}", value)

    def close_runs(self, dagster_run_id: str, status: str) -> None:
        """End what a Dagster run has left RUNNING when it ends, for instance between two steps."""
        with self.server.explained(), self.server.alone():
            client = self.server.client
            experiment = client.get_experiment_by_name(self.experiment_name)
            for run in _runs(client, experiment.experiment_id, RUNNING) if experiment else []:
                owner = Owner.from_tag(run.data.tags.get(OWNER))
                if owner is not None and owner.dagster_run_id == dagster_run_id:
                    overtaken = SUPERSEDED_BY in run.data.tags
                    reason = (
                        "the month was trained by another Dagster run before this one's metrics"
                        if overtaken
                        else "the Dagster run ended before its metrics"
                    )
                    _end(client, run.info.run_id, status, reason)

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

    @contextmanager
    def _open(self, context: MonthContext, run_id: str, ends: bool) -> Iterator[TrackedRun]:
        """Make the run active for a block; it ends with the block, or if the block fails."""
        client = self.server.client
        run = client.get_run(run_id)
        experiment = client.get_experiment(run.info.experiment_id).name
        try:
            with active_run(context.dagster, self.server.uri, experiment, run) as mlflow:
                yield TrackedRun(run_id, mlflow, Registry(client, context.fleet.name))
        except Exception as error:
            _end(client, run_id, "FAILED", f"{type(error).__name__}: {error}")
            raise
        except BaseException as interrupt:
            _end(client, run_id, "KILLED", type(interrupt).__name__)
            raise
        if REASON in run.data.tags:
            client.delete_tag(run_id, REASON)
        if ends:
            client.set_terminated(run_id, "FINISHED")

    def _experiment_id(self, client: "MlflowClient") -> str:
        from mlflow.exceptions import MlflowException

        experiment = client.get_experiment_by_name(self.experiment_name)
        if experiment is not None:
            return str(experiment.experiment_id)
        try:
            return str(client.create_experiment(self.experiment_name))
        except MlflowException as error:
            # On a server, another machine may have made it meanwhile.
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            return self._experiment_id(client)

    def _repair(
        self, client: "MlflowClient", experiment_id: str, instance: dg.DagsterInstance
    ) -> None:
        """End the runs whose owners are provably gone."""
        for run in _runs(client, experiment_id, RUNNING):
            owner = Owner.from_tag(run.data.tags.get(OWNER))
            fate = owner.fate(instance) if owner else None
            if fate is not None:
                status = "FAILED" if fate.endswith("FAILURE") else "KILLED"
                _end(client, run.info.run_id, status, fate)

    def _tags(self, context: MonthContext) -> dict[str, str]:
        dagster = context.dagster
        spec = dagster.assets_def.get_asset_spec(dagster.asset_key)
        tags = {
            DAGSTER_RUN: dagster.run_id,
            PARTITION: context.month.partition_key,
            FLEET: context.fleet.name,
            OWNER: Owner.of_run(dagster.run_id).to_tag(),
            "taxi_assets.code_version": str(spec.code_version),
            "python": platform.python_version(),
            **{package: version(package) for package in VERSIONED_PACKAGES},
        }
        if self.dagster_ui_url is not None:
            url = f"{self.dagster_ui_url.rstrip('/')}/runs/{dagster.run_id}"
            tags["dagster.url"] = url
            # The only text on a run's page that can have a link.
            tags[DESCRIPTION] = f"Trained by [Dagster run {dagster.run_id[:8]}]({url})."
        if (commit := _git_commit()) is not None:
            tags["mlflow.source.git.commit"] = commit
        return tags


DIGEST_LENGTH = 36
"""Longest digest that MLflow takes; the whole one is a tag."""

RUNNING = "attributes.status = 'RUNNING'"


def _same_month(context: MonthContext) -> str:
    month = context.month.partition_key
    return f"tags.`{FLEET}` = '{context.fleet.name}' and tags.`{PARTITION}` = '{month}'"


def _runs(client: "MlflowClient", experiment_id: str, condition: str) -> "list[Run]":
    return list(client.search_runs([experiment_id], condition))


def _end(client: "MlflowClient", run_id: str, status: str, reason: str) -> None:
    client.set_tag(run_id, REASON, reason[:500])
    client.set_terminated(run_id, status)


def _log_origin(client: "MlflowClient", run_id: str, context: MonthContext, origin: Origin) -> None:
    """Record the month's file as the run's dataset, and its digest as the trips' data version."""
    from mlflow.entities import Dataset, DatasetInput

    dataset = Dataset(
        name=context.fleet.file_name(context.month),
        digest=origin.sha256[:DIGEST_LENGTH],
        source_type="url",
        source=json.dumps({"url": origin.location}),
    )
    client.log_inputs(run_id, [DatasetInput(dataset)])
    client.set_tag(run_id, "taxi_assets.data_version", origin.sha256)


@cache
def _git_commit() -> str | None:
    """The commit of the project's checkout, if it is one."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
