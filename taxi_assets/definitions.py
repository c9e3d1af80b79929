"""Everything that Dagster loads."""

import gc
import warnings

import dagster as dg

from taxi_assets.assets import GRAPH
from taxi_assets.automation import backfills
from taxi_assets.console import show_brief_lines
from taxi_assets.settings import Settings
from taxi_assets.storage.files import Storage
from taxi_assets.storage.io_managers import io_managers
from taxi_assets.tlc.source import trip_source
from taxi_assets.tracking.executor import tracked_executor
from taxi_assets.tracking.runs import Tracking

# Dagster marks much of what it documents as beta. The lock pins it, the tests notice changes.
warnings.filterwarnings("ignore", category=dg.BetaWarning)

# scikit-learn and MLflow bring a million objects that stay. Looking for garbage among them every
# 700 allocations, as Python does by default, is a twentieth of the time that a month takes.
gc.freeze()
gc.set_threshold(100_000, 50, 100)

show_brief_lines()


def build_definitions(settings: Settings) -> dg.Definitions:
    """The graph of one fleet, wired to its source, its storage and its tracking."""
    storage = Storage(settings.storage)
    tracking = Tracking(settings.tracking_uri, settings.experiment_name, settings.dagster_ui_url)
    return dg.Definitions(
        assets=[asset.build(settings.fleet, backfills(settings)) for asset in GRAPH],
        resources={
            **io_managers(storage),
            "storage": storage,
            "tracking": tracking,
            "trip_source": trip_source(settings.trip_source, settings.synthetic_trips),
        },
        executor=tracked_executor(tracking),
    )


defs = build_definitions(Settings.from_environment())
