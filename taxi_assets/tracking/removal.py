"""Removing what this project has recorded in MLflow of a fleet, or of one of its months.

In MLflow 3 a model and its registered version outlive their run. MLflow's public calls mark runs
and models as deleted; ``mlflow gc`` then frees what they take.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from taxi_assets.tlc.fleets import Fleet
from taxi_assets.tlc.months import Month
from taxi_assets.tracking.registry import ALL_VERSIONS, Registry, find_model, registered_name
from taxi_assets.tracking.server import TrackingServer
from taxi_assets.tracking.tags import FLEET, PARTITION

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion


MANY = 10_000
"""Experiments that are looked through."""


@dataclass(frozen=True)
class Tracked:
    """What MLflow keeps of a fleet, or of a month.

    Attributes:
        runs: of all trainings, in whichever experiment, and those too that are marked as deleted.
        versions: of the registered model, by these runs.
        others: versions that somebody else has registered under its name.
    """

    runs: "list[Run]"
    versions: "list[ModelVersion]"
    others: "list[ModelVersion]"


def find_tracked(server: TrackingServer, fleet: Fleet, month: Month | None) -> Tracked:
    """Find what MLflow keeps of a month, or of all months.

    Raises:
        TrackingError: MLflow does not do its part.
    """
    from mlflow.entities import ViewType

    condition = f"tags.`{FLEET}` = '{fleet.name}'"
    if month is not None:
        condition += f" and tags.`{PARTITION}` = '{month.partition_key}'"
    with server.turn():
        client = server.client
        # An experiment may have been renamed or deleted since.
        found = client.search_experiments(ViewType.ALL, max_results=MANY)
        experiments = [each.experiment_id for each in found]
        runs: list[Run] = []
        token: str | None = ""
        while token is not None:
            page = client.search_runs(
                experiments, condition, ViewType.ALL, page_token=token or None
            )
            runs += page
            token = page.token or None
        ids = {run.info.run_id for run in runs}
        registered = client.search_model_versions(
            f"name = '{registered_name(fleet.name)}'", max_results=ALL_VERSIONS
        )
    named = [one for one in registered if month is None or one.tags.get("month") == str(month)]
    versions = [one for one in named if {"month", "family"} <= one.tags.keys()]
    versions = [one for one in versions if one.run_id in ids or _is_orphan(server.client, one)]
    return Tracked(runs, versions, [one for one in registered if one not in versions])


def _is_orphan(client: "MlflowClient", version: "ModelVersion") -> bool:
    """Whether the run of a version of ours is gone for good."""
    return _unless_gone(client.get_run, str(version.run_id)) is None


def remove_tracked(
    server: TrackingServer, fleet: Fleet, tracked: Tracked, month: Month | None
) -> None:
    """Remove it, and the registered model with its last version.

    Raises:
        TrackingError: MLflow does not do its part.
    """
    with server.turn():
        client = server.client
        for version in tracked.versions:
            _unless_gone(client.delete_model_version, version.name, version.version)
        if month is None and not tracked.others:
            _unless_gone(client.delete_registered_model, registered_name(fleet.name))
        elif find_model(client, fleet.name) is not None:
            for family in sorted({one.tags["family"] for one in tracked.versions}):
                Registry(client, fleet.name).point_to_newest(family)
        for run in tracked.runs:
            for output in [] if run.outputs is None else run.outputs.model_outputs:
                _unless_gone(client.delete_logged_model, output.model_id)
            if run.info.lifecycle_stage != "deleted":
                _unless_gone(client.delete_run, run.info.run_id)


def _unless_gone(call: Callable[..., Any], *arguments: str) -> Any:
    """What a call gives; None where somebody, or an interrupted removal, has removed its object."""
    from mlflow.exceptions import MlflowException

    try:
        return call(*arguments)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
