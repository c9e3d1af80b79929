"""The model as MLflow keeps it: from zone ids to minutes, without any code of this project."""

import operator
from importlib.metadata import version
from typing import TYPE_CHECKING

from taxi_assets.tlc.fleets import DROPOFF_ZONE, PICKUP_ZONE

if TYPE_CHECKING:
    from mlflow.models import ModelSignature
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import Pipeline

PACKAGES = ("cloudpickle", "mlflow", "numpy", "pandas", "scikit-learn", "scipy")
"""What the logged model needs to predict."""

INPUT_EXAMPLE = {PICKUP_ZONE: 132, DROPOFF_ZONE: 230}
"""From John F. Kennedy airport to Times Square; names the features in the order they come in."""


def requirements() -> list[str]:
    """``PACKAGES``, pinned to the versions in use; left to itself MLflow infers them in 7 s."""
    return [f"{package}=={version(package)}" for package in PACKAGES]


def servable_pipeline(vectorizer: "DictVectorizer", model: "LinearRegression") -> "Pipeline":
    """A fitted pipeline from a DataFrame of zone ids, numbers or strings, to minutes.

    Its steps come from the standard library and scikit-learn, so that it loads where
    ``taxi_assets`` is not installed.
    """
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import FunctionTransformer

    def step(method: str, *arguments: object, **options: object) -> FunctionTransformer:
        return FunctionTransformer(operator.methodcaller(method, *arguments, **options))

    return Pipeline(
        [
            ("whole_numbers", step("astype", int)),
            ("strings", step("astype", str)),
            ("records", step("to_dict", orient="records")),
            ("vectorizer", vectorizer),
            ("model", model),
        ]
    )


def signature() -> "ModelSignature":
    """Two zone ids in, of any type that reads as a number; minutes out."""
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec
    from mlflow.types.schema import AnyType

    return ModelSignature(
        inputs=Schema([ColSpec(AnyType(), feature) for feature in INPUT_EXAMPLE]),
        outputs=Schema([TensorSpec(np.dtype("float64"), (-1,))]),
    )
