"""The MLflow run of a month while it is open: from training to metrics, in one block."""

import logging
import pickle
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from taxi_assets.errors import mask
from taxi_assets.tracking.packaging import write_model
from taxi_assets.tracking.registry import Registry
from taxi_assets.tracking.resource import active_run
from taxi_assets.tracking.runs import DeletedRunError, Tracking
from taxi_assets.tracking.server import TrackingError
from taxi_assets.tracking.tags import REASON, TrainedMonth

if TYPE_CHECKING:
    from mlflow.entities import Run
    from numpy.typing import NDArray
    from sklearn.feature_extraction import DictVectorizer

    from taxi_assets.tlc.fetch import Origin


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
        with self._server.turn():
            self._open(self._tracking.create_run(self._context, self._family, origin))
            self._mlflow.log_params(dict(parameters))

    def reopen(self, run_id: str) -> None:
        """Open the run that has trained the month's model, unless it is open.

        Raises:
            TrackingError: MLflow does not do its part.
            DeletedRunError: somebody has deleted the run.
        """
        if self._run is None:
            with self._server.turn():
                run = self._tracking.own_run(self._context, self._family, run_id)
                assert run.outputs is not None
                (output,) = run.outputs.model_outputs
                self._model_id = str(output.model_id)
                self._open(run)

    def log_vectorizer(self, vectorizer: "DictVectorizer") -> None:
        """Log the vectorizer (``dv.pkl``), as the exercise does."""
        with self._server.turn(), tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "dv.pkl"
            path.write_bytes(pickle.dumps(vectorizer))
            self._mlflow.log_artifact(str(path))

    def log_model(self, arrays: "Mapping[str, NDArray[Any]]") -> None:
        """Log the servable model that arrays make up, see ``packaging``."""
        with (
            self._server.turn(),
            tempfile.TemporaryDirectory() as folder,
            _known_warnings_silenced(),
        ):
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
        from mlflow.exceptions import MlflowException
        from mlflow.models import Model

        with self._server.turn():
            try:
                logged = self._server.client.get_logged_model(self._model_id)
                model = Model.load(logged.artifact_location)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                raise DeletedRunError(
                    f"The model that MLflow run {self.run_id} has logged was deleted.", self._family
                ) from None
        return int(model.to_dict()["model_size_bytes"])

    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        """Log the month's metrics."""
        with self._server.turn():
            self._mlflow.log_metrics(dict(metrics))

    def log_plots(self, plots: Mapping[str, bytes]) -> None:
        """Keep plots (PNG), by name, with the run."""
        with self._server.turn(), tempfile.TemporaryDirectory() as folder:
            for name, plot in plots.items():
                (Path(folder) / f"{name}.png").write_bytes(plot)
            self._mlflow.log_artifacts(folder, "plots")

    def supersede_others(self, stored_run_id: Callable[[], str]) -> None:
        """Tag the month's runs whose model is not the one that is stored.

        Args:
            stored_run_id: reads whose model is stored: another run may have stored its own
                meanwhile, before or after this one.
        """
        with self._server.turn():
            assert self._run is not None
            experiment = str(self._run.info.experiment_id)
            stored = stored_run_id()
            self._tracking.supersede_others(self._context, self._family, experiment, stored)

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
        return self._tracking.links(self.run_id)

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


@contextmanager
def _known_warnings_silenced() -> Iterator[None]:
    """Keep off every month's log what cannot be otherwise.

    MLflow warns that the model's input has no types, no schema and no example, and, in an
    environment without pip, that it cannot pin pip.
    """
    loggers = [
        logging.getLogger(name)
        for name in ("mlflow.pyfunc", "mlflow.models.model", "mlflow.utils.environment")
    ]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
