"""The models as MLflow keeps them: code and arrays, without a pickle, and without this project."""

import hashlib
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taxi_assets.tracking.tags import version

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

PACKAGES = ("mlflow", "numpy", "pandas")
"""What every logged model needs to answer."""

TREES = ("lightgbm",)
"""What boosted trees need more."""

ANSWERS = ("minutes", "minutes_p10", "minutes_p90")


def requirements(arrays: "Mapping[str, NDArray[Any]]") -> list[str]:
    """The packages, pinned to the versions in use; left to itself MLflow infers them in 7 s."""
    trees = any(name.startswith("boosted.") for name in arrays)
    return [f"{package}=={version(package)}" for package in (*PACKAGES, *(TREES if trees else ()))]


def write_model(folder: Path, arrays: "Mapping[str, NDArray[Any]]") -> dict[str, Any]:
    """Write what a servable model consists of; return how MLflow is to log it.

    Args:
        folder: where the files are written; MLflow copies them.
        arrays: of one model and its interval, by name: ``linear.pickup``, ``interval.low``.
    """
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **dict(arrays))
    (folder / "model.npz").write_bytes(content.getvalue())
    (folder / "trip_duration.py").write_text(code(), encoding="utf-8")
    return {
        "python_model": str(folder / "trip_duration.py"),
        "artifacts": {"model": str(folder / "model.npz")},
        "model_config": {"model_sha256": hashlib.sha256(content.getvalue()).hexdigest()},
        "pip_requirements": requirements(arrays),
        # What goes in the model checks itself.
        "signature": ModelSignature(
            outputs=Schema([ColSpec(DataType.double, name) for name in ANSWERS])
        ),
    }


def code() -> str:
    """The served model's code: how models answer, and how questions are read."""
    package = Path(__file__).parents[1]
    answers, served = (
        (package / path).read_text(encoding="utf-8")
        for path in ("durations/inference.py", "tracking/served_model.py")
    )
    alone = re.sub(r"^from taxi_assets[^)]*\)\n", "", served, flags=re.MULTILINE)
    return f"{answers}\n\n{alone}"
