"""What is logged to a month's MLflow run while it is open."""

import logging
import pickle
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taxi_assets.tracking.packaging import (
    INPUT_EXAMPLE,
    requirements,
    servable_pipeline,
    signature,
)
from taxi_assets.tracking.registry import Registry

if TYPE_CHECKING:
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.linear_model import LinearRegression


@dataclass(frozen=True)
class TrackedRun:
    """The MLflow run of a month while it is open."""

    run_id: str
    mlflow: Any
    registry: Registry

    def log_training(
        self,
        parameters: Mapping[str, object],
        vectorizer: "DictVectorizer",
        model: "LinearRegression",
    ) -> str:
        """Log parameters, servable model and vectorizer (``dv.pkl``); return the model's id."""
        import pandas as pd

        self.mlflow.log_params(dict(parameters))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "dv.pkl"
            path.write_bytes(pickle.dumps(vectorizer))
            self.mlflow.log_artifact(str(path))
        with _known_warnings_silenced():
            logged = self.mlflow.sklearn.log_model(
                servable_pipeline(vectorizer, model),
                name="model",
                pip_requirements=requirements(),
                signature=signature(),
                input_example=pd.DataFrame([INPUT_EXAMPLE]),
                serialization_format="cloudpickle",
            )
        return str(logged.model_id)

    def model_size_bytes(self) -> int:
        """The logged model's size, as its ``MLmodel`` file states it."""
        from mlflow.models import Model

        client = self.mlflow.tracking_client
        (output,) = client.get_run(self.run_id).outputs.model_outputs
        return int(Model.load(f"models:/{output.model_id}").to_dict()["model_size_bytes"])

    def log_metrics(self, figures: Mapping[str, float]) -> str | None:
        """Log the month's figures; return the version of the registered model, if there is one."""
        self.mlflow.log_metrics(dict(figures))
        return self.registry.tag_rmse(self.run_id, figures["rmse"])

    def log_pictures(self, pictures: Mapping[str, bytes]) -> None:
        """Keep pictures (PNG), by name, with the run."""
        with tempfile.TemporaryDirectory() as folder:
            for name, picture in pictures.items():
                (Path(folder) / f"{name}.png").write_bytes(picture)
            self.mlflow.log_artifacts(folder, "pictures")


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
