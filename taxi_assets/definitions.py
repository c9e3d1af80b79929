"""Everything that Dagster loads."""

import gc
import inspect
import os
import warnings
from collections.abc import Mapping
from typing import Any

import dagster as dg

from taxi_assets.assets import GRAPH
from taxi_assets.automation import backfills, in_process_by_default, new_months
from taxi_assets.console import show_brief_lines
from taxi_assets.months import fleet_months
from taxi_assets.settings import Settings
from taxi_assets.storage.files import Storage
from taxi_assets.storage.io_managers import io_managers
from taxi_assets.storage.zone_names import ZoneNames
from taxi_assets.tlc.source import trip_source
from taxi_assets.tracking.runs import Tracking

# MLflow tries a server that is away for minutes, unless it is told otherwise; Dagster stops showing
# a run's output before the last lines, unless it is told to wait.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("DAGSTER_COMPUTE_LOG_TAIL_WAIT_AFTER_FINISH", "0.3")

# Dagster marks much of what it documents as beta, and the months of checks as a preview. The lock
# pins it, the tests notice changes.
for kind in (dg.BetaWarning, dg.PreviewWarning):
    warnings.filterwarnings("ignore", category=kind)

# scikit-learn and MLflow bring a million objects that stay. Looking for garbage among them every
# 700 allocations, as Python does by default, is a twentieth of the time that a month takes.
gc.freeze()
gc.set_threshold(100_000, 50, 100)

show_brief_lines()


def build_definitions(settings: Settings) -> dg.Definitions:
    """The graph of one fleet, wired to its source, its storage and its tracking."""
    storage = Storage(settings.storage)
    source = trip_source(settings.trip_source, settings.synthetic_trips)
    tracking = Tracking(
        settings.tracking_uri,
        settings.experiment_name,
        settings.dagster_ui_url,
        settings.mlflow_ui_url,
    )
    return dg.Definitions(
        assets=[fleet_months(settings.fleet, GRAPH, backfills(settings))],
        resources=_described(
            {
                **io_managers(storage),
                "storage": storage,
                "tracking": tracking,
                "trip_source": source,
                "zone_names": ZoneNames(source, storage),
            }
        ),
        sensors=[new_months(settings.fleet, source, storage)],
        executor=in_process_by_default,
    )


def _described(resources: Mapping[str, Any]) -> dict[str, dg.ResourceDefinition]:
    """The resources with their docstrings, for Dagster's pages."""
    return {
        name: (
            dg.IOManagerDefinition.hardcoded_io_manager
            if isinstance(resource, dg.IOManager)
            else dg.ResourceDefinition.hardcoded_resource
        )(resource, description=inspect.getdoc(resource))
        for name, resource in resources.items()
    }


defs = build_definitions(Settings.from_environment())
