"""The MLflow run of a trained month: begun when it is trained, completed with its metrics."""

import logging
import pickle
import platform
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taxi_assets.spans import MonthContext
from taxi_assets.tracking.packaging import (
    INPUT_EXAMPLE,
    requirements,
    servable_pipeline,
    signature,
)
from taxi_assets.tracking.resource import active_run

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.linear_model import LinearRegression

VERSIONED_PACKAGES = ("dagster", "dagster-mlflow", "mlflow", "scikit-learn")


@dataclass(frozen=True)
class TrackedRun:
    """The MLflow run of a month while it is open."""

    run_id: str
    mlflow: Any

    def log_training(
        self,
        parameters: Mapping[str, object],
        vectorizer: "DictVectorizer",
        model: "LinearRegression",
    ) -> None:
        """Log the parameters, the servable model and the vectorizer (``dv.pkl``)."""
        import pandas as pd

        self.mlflow.log_params(dict(parameters))
        with _known_warnings_silenced():
            self.mlflow.sklearn.log_model(
                servable_pipeline(vectorizer, model),
                name="model",
                pip_requirements=requirements(),
                signature=signature(),
                input_example=pd.DataFrame([INPUT_EXAMPLE]),
                serialization_format="cloudpickle",
            )
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "dv.pkl"
            path.write_bytes(pickle.dumps(vectorizer))
            self.mlflow.log_artifact(str(path))

    def model_size_bytes(self) -> int:
        """The logged model's size, as its ``MLmodel`` file states it."""
        from mlflow.models import Model

        client = self.mlflow.tracking_client
        (output,) = client.get_run(self.run_id).outputs.model_outputs
        location = client.get_logged_model(output.model_id).artifact_location
        return int(Model.load(location).to_dict()["model_size_bytes"])

    def log_metrics(self, figures: Mapping[str, float]) -> None:
        """Log the month's figures."""
        self.mlflow.log_metrics(dict(figures))


class Tracking:
    """Where models are tracked: an MLflow database or server, and an experiment there."""

    def __init__(self, uri: str, experiment_name: str) -> None:
        self.uri = uri
        self.experiment_name = experiment_name

    @contextmanager
    def new_run(self, context: MonthContext) -> Iterator[TrackedRun]:
        """Begin the run of a month that is being trained; it ends FINISHED or FAILED."""
        client = self._client()
        run = client.create_run(
            self._experiment_id(client),
            run_name=f"{context.fleet.name} {context.month}",
            tags={"python": platform.python_version()}
            | {package: version(package) for package in VERSIONED_PACKAGES},
        )
        with self._open(context, client, run.info.run_id) as tracked:
            yield tracked

    @contextmanager
    def existing_run(self, context: MonthContext, run_id: str) -> Iterator[TrackedRun]:
        """Open the run again that trained a month's model; it ends FINISHED or FAILED."""
        with self._open(context, self._client(), run_id) as tracked:
            yield tracked

    @contextmanager
    def _open(
        self, context: MonthContext, client: "MlflowClient", run_id: str
    ) -> Iterator[TrackedRun]:
        run = client.get_run(run_id)
        experiment = client.get_experiment(run.info.experiment_id).name
        try:
            with active_run(context.dagster, self.uri, experiment, run) as mlflow:
                yield TrackedRun(run_id, mlflow)
        except BaseException:
            client.set_terminated(run_id, "FAILED")
            raise
        client.set_terminated(run_id, "FINISHED")

    def _client(self) -> "MlflowClient":
        from mlflow import MlflowClient

        return MlflowClient(self.uri)

    def _experiment_id(self, client: "MlflowClient") -> str:
        experiment = client.get_experiment_by_name(self.experiment_name)
        if experiment is None:
            return str(client.create_experiment(self.experiment_name))
        return str(experiment.experiment_id)


@contextmanager
def _known_warnings_silenced() -> Iterator[None]:
    """Keep two warnings off every month's log.

    MLflow warns that its copy of the model is a pickle (this project never loads it back), and,
    in an environment without pip, that it cannot pin pip.
    """
    loggers = [logging.getLogger(name) for name in ("mlflow.sklearn", "mlflow.utils.environment")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
