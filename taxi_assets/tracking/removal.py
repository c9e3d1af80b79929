"""Removing what MLflow keeps of a fleet, or of one of its months, and of nothing else.

In MLflow 3 a model and its registered version outlive their run. And ``mlflow gc`` also removes
whatever anybody else has marked as deleted, so it is not used here.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from taxi_assets.tlc.fleets import Fleet
from taxi_assets.tlc.months import Month
from taxi_assets.tracking.registry import ALL_VERSIONS, Registry, registered_name
from taxi_assets.tracking.servers import TrackingServer
from taxi_assets.tracking.tags import FLEET, PARTITION

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion


@dataclass(frozen=True)
class Tracked:
    """What MLflow keeps of a fleet, or of a month.

    Attributes:
        runs: of all trainings; of a database, those too that somebody has marked as deleted.
        versions: of the registered model.
    """

    runs: "list[Run]"
    versions: "list[ModelVersion]"


def find_tracked(
    server: TrackingServer, experiment_name: str, fleet: Fleet, month: Month | None
) -> Tracked:
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
        experiment = client.get_experiment_by_name(experiment_name)
        # A server can do no more than mark them.
        kinds = ViewType.ALL if _database(client) else ViewType.ACTIVE_ONLY
        runs: list[Run] = []
        token: str | None = ""
        while experiment is not None and token is not None:
            page = client.search_runs(
                [experiment.experiment_id],
                condition,
                run_view_type=kinds,
                page_token=token or None,
            )
            runs += page
            token = page.token or None
        ids = {run.info.run_id for run in runs}
        versions = client.search_model_versions(
            f"name = '{registered_name(fleet.name)}'", max_results=ALL_VERSIONS
        )
        return Tracked(
            runs,
            [
                version
                for version in versions
                if month is None or version.run_id in ids or version.tags.get("month") == str(month)
            ],
        )


def remove_tracked(
    server: TrackingServer, fleet: Fleet, tracked: Tracked, month: Month | None
) -> bool:
    """Remove it; return whether the artifacts are gone, too, which a server keeps.

    Raises:
        TrackingError: MLflow does not do its part.
    """
    with server.turn():
        client = server.client
        for version in tracked.versions:
            with _perhaps_gone():
                client.delete_model_version(version.name, version.version)
        if month is None:
            with _perhaps_gone():
                client.delete_registered_model(registered_name(fleet.name))
        else:
            families = {version.tags.get("family", "") for version in tracked.versions}
            for family in sorted(families):
                Registry(client, fleet.name).point_to_newest(family)
        for run in tracked.runs:
            _remove_run(client, run)
        return _database(client) is not None


def _database(client: Any) -> Any:
    """MLflow's own store of a database, which alone can remove what is marked; None of a server."""
    store = client._tracking_client.store
    return store if hasattr(store, "_hard_delete_run") else None


def _remove_run(client: Any, run: "Run") -> None:
    """Mark a run and its models as deleted, and have a database remove them for good."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    run_id, store = run.info.run_id, _database(client)
    for output in [] if run.outputs is None else run.outputs.model_outputs:
        with _perhaps_gone():
            if store is None:
                client.delete_logged_model(output.model_id)
            else:
                model = store.get_logged_model(output.model_id, allow_deleted=True)
                get_artifact_repository(model.artifact_location).delete_artifacts()
                store._hard_delete_logged_model(output.model_id)
    if run.info.lifecycle_stage != "deleted":
        client.delete_run(run_id)
    if store is not None:
        get_artifact_repository(run.info.artifact_uri).delete_artifacts()
        store._hard_delete_run(run_id)


@contextmanager
def _perhaps_gone() -> Iterator[None]:
    """Go on where somebody, or a removal that was interrupted, has removed something already."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
