"""The MLflow run of a month while it is open: from training to metrics, in one block."""

import json
import tempfile
import warnings
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import dagster as dg

from taxi_assets.errors import mask
from taxi_assets.tracking.packaging import write_model
from taxi_assets.tracking.registry import Registry
from taxi_assets.tracking.resource import active_run
from taxi_assets.tracking.runs import DELETED, DeletedRunError, Tracking
from taxi_assets.tracking.server import TrackingError, unless_gone
from taxi_assets.tracking.tags import (
    DAGSTER_RUN,
    DATA_VERSION,
    REASON,
    SUPERSEDED,
    SUPERSEDED_BY,
    TrainedMonth,
    run_tags,
    with_tags,
)

if TYPE_CHECKING:
    from mlflow.entities import Run
    from numpy.typing import NDArray

    from taxi_assets.tlc.fetch import Origin

DIGEST_LENGTH = 36
"""Longest digest of a dataset that MLflow takes; the whole digest is a tag."""


class TrackedRun:
    """A block in which a month's MLflow run is begun or opened again, filled, and ended truthfully.

    If the block is left without an error the run is FINISHED, else FAILED, or KILLED if it was
    interrupted. It is finished and registered before that, when the month's metrics are stored.
    """

    def __init__(self, tracking: Tracking, context: TrainedMonth, family: str) -> None:
        self._family = family
        self._tracking = tracking
        self._server = tracking.server
        self._context = context
        self._active = ExitStack()
        self._mlflow: Any = None
        self._run: Run | None = None
        self._model_id = ""
        self._ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._run is None:
            return
        status, reason = "FINISHED", None
        if error is not None:
            status = "FAILED" if isinstance(error, Exception) else "KILLED"
            reason = f"{type(error).__name__}: {error}".removesuffix(": ")
        try:
            with self._server.turn():
                self._end(status, reason)
        except TrackingError as unreachable:
            if error is None:
                raise
            self._context.report(f"MLflow run {self.run_id} may be left RUNNING: {unreachable}")

    @property
    def run_id(self) -> str:
        """The run's id."""
        assert self._run is not None
        return str(self._run.info.run_id)

    def begin(self, parameters: Mapping[str, object], origin: "Origin | None") -> None:
        """Begin the run of a month that has been trained on trips of this origin.

        Raises:
            TrackingError: MLflow does not do its part.
        """
        from mlflow.entities import Dataset, DatasetInput

        context, family = self._context, self._family
        with self._server.turn():
            client, experiment_id = self._server.client, self._tracking.experiment_id()
            self._tracking.end_left_runs(experiment_id, context.dagster.instance)
            tags = run_tags(context, family, self._tracking.dagster_ui_url)
            if origin is not None:
                tags[DATA_VERSION] = origin.sha256
            name = f"{context.fleet.name} {context.month} {family}"
            run = client.create_run(experiment_id, run_name=name, tags=tags)
            if origin is not None:
                file = context.fleet.file_name(context.month)
                source = json.dumps({"url": origin.location})
                dataset = Dataset(file, origin.sha256[:DIGEST_LENGTH], "url", source)
                client.log_inputs(run.info.run_id, [DatasetInput(dataset)])
            self._open(run)
            self._mlflow.log_params(dict(parameters))

    def reopen(self, run_id: str) -> None:
        """Open the run that has trained the month's model, unless it is open.

        Raises:
            TrackingError: MLflow does not do its part.
            DeletedRunError: somebody has deleted the run.
        """
        if self._run is not None:
            return
        with self._server.turn():
            client = self._server.client
            run = unless_gone(client.get_run, run_id)
            if run is not None:
                self._tracking.refuse_deleted(client.get_experiment(run.info.experiment_id))
            if run is None or run.info.lifecycle_stage == DELETED:
                raise DeletedRunError(run_id, self._family)
            client.set_tag(run_id, DAGSTER_RUN, self._context.dagster.run_id)
            assert run.outputs is not None
            (output,) = run.outputs.model_outputs
            self._model_id = str(output.model_id)
            self._open(run)

    def log_files(self, files: Mapping[str, bytes], folder: str | None = None) -> None:
        """Log files by their names, to a folder of the run's artifacts or beside its folders."""
        with self._server.turn(), tempfile.TemporaryDirectory() as place:
            for name, content in files.items():
                (Path(place) / name).write_bytes(content)
            self._mlflow.log_artifacts(place, folder)

    def log_model(self, arrays: "Mapping[str, NDArray[Any]]") -> None:
        """Log the servable model that arrays make up, see ``packaging``."""
        with (
            self._server.turn(),
            tempfile.TemporaryDirectory() as folder,
            warnings.catch_warnings(),
        ):
            # MLflow misses the types of the model's input, a schema of it, and an example.
            warnings.simplefilter("ignore")
            logged = self._mlflow.pyfunc.log_model(
                name=f"{self._context.fleet.name}-{self._context.month}-{self._family}",
                **write_model(Path(folder), arrays),
            )
            self._model_id = str(logged.model_id)

    def model_size_bytes(self) -> int:
        """The logged model's size, as its ``MLmodel`` file states it.

        Raises:
            TrackingError: MLflow does not do its part.
            DeletedRunError: somebody has deleted the logged model.
        """
        from mlflow.models import Model

        with self._server.turn():
            logged = unless_gone(self._server.client.get_logged_model, self._model_id)
            model = None if logged is None else unless_gone(Model.load, logged.artifact_location)
        if model is None:
            raise DeletedRunError(self.run_id, self._family)
        return int(model.to_dict()["model_size_bytes"])

    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        """Log the month's metrics."""
        with self._server.turn():
            self._mlflow.log_metrics(dict(metrics))

    def log_plots(self, plots: Mapping[str, bytes]) -> None:
        """Keep plots (PNG), by name, with the run."""
        self.log_files({f"{name}.png": plot for name, plot in plots.items()}, "plots")

    def supersede_others(self, stored_run_id: Callable[[], str]) -> None:
        """Tag the month's runs whose model is not the one that is stored.

        Args:
            stored_run_id: reads whose model is stored: another run may have stored its own
                meanwhile, before or after this one.
        """
        assert self._run is not None
        of_model = with_tags(self._context.fleet, self._context.month, self._family)
        with self._server.turn():
            client, stored = self._server.client, stored_run_id()
            for run in client.search_runs([self._run.info.experiment_id], of_model):
                run_id, superseded = run.info.run_id, run.info.run_id != stored
                if superseded == (SUPERSEDED_BY in run.data.tags):
                    continue
                client.set_tag(run_id, SUPERSEDED, str(superseded).lower())
                if superseded:
                    client.set_tag(run_id, SUPERSEDED_BY, stored)
                else:
                    # By a run whose model was stored for a moment.
                    client.delete_tag(run_id, SUPERSEDED_BY)

    def complete(self, rmse: float) -> dict[str, Any]:
        """Finish the run and register its model; return the version.

        Args:
            rmse: the model's, in minutes, as its stored metrics have it.
        """
        with self._server.turn():
            self._end("FINISHED")
            registry = Registry(self._server.client, self._context.fleet.name)
            version = registry.add(
                self.run_id, self._model_id, self._context.month, self._family, rmse
            )
        return {"model_version": version}

    def links(self) -> dict[str, Any]:
        """Metadata for Dagster's pages that lead to the run."""
        metadata: dict[str, Any] = {"mlflow_run_id": self.run_id}
        pages = self._server.pages or self._tracking.mlflow_ui_url
        if pages is not None and self._run is not None:
            experiment = self._run.info.experiment_id
            address = f"{pages.rstrip('/')}/#/experiments/{experiment}/runs/{self.run_id}"
            metadata["mlflow_run"] = dg.MetadataValue.url(address)
        return metadata

    def _open(self, run: "Run") -> None:
        """Make a run the active one, which dagster-mlflow logs to."""
        self._run = run
        experiment = self._server.client.get_experiment(run.info.experiment_id).name
        block = active_run(self._context.dagster, self._server.uri, experiment, run)
        self._mlflow = self._active.enter_context(block)

    def _end(self, status: str, reason: str | None = None) -> None:
        if self._ended:
            return
        self._active.close()
        client = self._server.client
        if reason is not None:
            client.set_tag(self.run_id, REASON, mask(reason)[:500])
        elif self._run is not None and REASON in self._run.data.tags:
            client.delete_tag(self.run_id, REASON)
        client.set_terminated(self.run_id, status)
        self._ended = True
