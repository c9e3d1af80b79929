"""Removing what this project has recorded in MLflow of a fleet, or of one of its months.

In MLflow 3 a model and its registered version outlive their run. MLflow's public calls mark runs
and models as deleted; ``mlflow gc`` then frees what they take.
"""

from typing import TYPE_CHECKING, NamedTuple

from taxi_assets.tlc.fleets import Fleet
from taxi_assets.tlc.months import Month
from taxi_assets.tracking.registry import Registry, find_model, find_versions, registered_name
from taxi_assets.tracking.server import TrackingServer, unless_gone
from taxi_assets.tracking.tags import with_tags

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion


ALL_EXPERIMENTS, ALL_RUNS = 10_000, 50_000
"""The most that MLflow looks through at once."""


class Tracked(NamedTuple):
    """What MLflow keeps of a fleet, or of a month.

    Attributes:
        runs: of all trainings, in whichever experiment, and those too that are marked as deleted.
        versions: of the registered model, by their tags ``month`` and ``family``.
        others: versions of other months, and those that somebody else has registered.
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

    with server.turn():
        client = server.client
        # An experiment may have been renamed or deleted since.
        experiments = client.search_experiments(ViewType.ALL, max_results=ALL_EXPERIMENTS)
        runs = client.search_runs(
            [each.experiment_id for each in experiments],
            with_tags(fleet, month),
            ViewType.ALL,
            max_results=ALL_RUNS,
        )
        registered = find_versions(client, fleet.name)
    ours = [one for one in registered if {"month", "family"} <= one.tags.keys()]
    versions = [one for one in ours if month is None or one.tags["month"] == str(month)]
    return Tracked(list(runs), versions, [one for one in registered if one not in versions])


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
            unless_gone(client.delete_model_version, version.name, version.version)
        if month is None and not tracked.others:
            unless_gone(client.delete_registered_model, registered_name(fleet.name))
        elif find_model(client, fleet.name) is not None:
            for family in sorted({one.tags["family"] for one in tracked.versions}):
                Registry(client, fleet.name).point_to_newest(family)
        for run in tracked.runs:
            for output in [] if run.outputs is None else run.outputs.model_outputs:
                unless_gone(client.delete_logged_model, output.model_id)
            if run.info.lifecycle_stage != "deleted":
                unless_gone(client.delete_run, run.info.run_id)
