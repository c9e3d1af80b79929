"""Versions of a fleet's registered model: which there are, and what each answers."""

from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from taxi_assets.durations.promotion import FAMILIES, Version
from taxi_assets.errors import MonthError, first_line, mask
from taxi_assets.tlc.months import Month
from taxi_assets.tracking.registry import find_versions, registered_name
from taxi_assets.tracking.server import OUTAGES, TrackingServer, unless_gone

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

    from taxi_assets.tracking.served_model import TripDuration


GONE = (
    "nothing is there, the folder was moved or removed. If it was moved, tell MLflow's database "
    "in the new place: taxi-assets relocate /where/it/was"
)
"""Why a version cannot be read whose folder is not on this machine."""


class UnusableVersionError(MonthError):
    """A version of the registered model is not there, or cannot be read."""


def registered_versions(server: TrackingServer, fleet: str) -> list[Version]:
    """All versions of a fleet's registered model, in order of their numbers.

    Raises:
        TrackingError: MLflow does not do its part.
    """
    with server.explained():
        registered = find_versions(server.client, fleet)
    return sorted(map(_as_version, registered), key=lambda version: version.number)


def _as_version(registered: "ModelVersion") -> Version:
    """What MLflow says of a version; without a month and a family if somebody else made it."""
    month, family = None, registered.tags.get("family")
    with suppress(ValueError):
        month = Month.parse(registered.tags.get("month", ""))
    if month is None or family not in FAMILIES:
        month = family = None
    created = registered.creation_timestamp / 1000
    return Version(int(registered.version), month, family, registered.run_id or None, created)


def load_version(server: TrackingServer, fleet: str, number: int) -> "TripDuration":
    """A version as it is served, read from what MLflow keeps of it; no code of it is run.

    Raises:
        UnusableVersionError: it is not there, damaged, or another project's.
        UnreachableTrackingError: MLflow, or the place of its artifacts, does not answer.
        TrackingError: MLflow does not do its part.
    """
    name = registered_name(fleet)
    with server.explained():
        version = unless_gone(server.client.get_model_version, name, str(number))
        if version is None:
            raise UnusableVersionError(f"{name} has no version {number}.")
        # A number is used again where somebody deletes the registered model.
        return _load(server.uri, f"{name} {number}", str(version.source))


@lru_cache(maxsize=3)
def _load(tracking_uri: str, name: str, source: str) -> "TripDuration":
    import requests
    import yaml
    from mlflow.artifacts import download_artifacts, list_artifacts
    from mlflow.exceptions import MlflowException
    from mlflow.models import Model

    from taxi_assets.tracking.served_model import TripDuration

    try:
        if not list_artifacts(artifact_uri=source, tracking_uri=tracking_uri):
            folder = Path(source.removeprefix("file://"))
            is_local = tracking_uri.startswith("sqlite:") and folder.is_absolute()
            is_gone = is_local and not folder.exists()
            raise FileNotFoundError(GONE if is_gone else "nothing is there")
        with TemporaryDirectory() as place:
            folder = Path(
                download_artifacts(artifact_uri=source, dst_path=place, tracking_uri=tracking_uri)
            )
            flavor: dict[str, Any] = Model.load(str(folder)).flavors["python_function"]
            served = TripDuration()
            served.load_context(
                SimpleNamespace(
                    artifacts={"model": folder / flavor["artifacts"]["model"]["path"]},
                    model_config=flavor["config"],
                )
            )
    except requests.RequestException:
        raise
    except (
        *(OSError, KeyError, ValueError, TypeError, AttributeError),
        *(yaml.YAMLError, MlflowException),
    ) as error:
        # What is there, and cannot be fetched.
        if isinstance(error, MlflowException) and error.error_code in OUTAGES:
            raise
        raise UnusableVersionError(
            mask(f"{name} cannot be read from {source}: {first_line(error)}.")
        ) from None
    return served
