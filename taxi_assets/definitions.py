"""Everything that Dagster loads."""

import os
import warnings
from collections.abc import Collection

import dagster as dg

from taxi_assets.automation import backfills, in_process_by_default, new_months
from taxi_assets.graph import GRAPH
from taxi_assets.months import fleet_months
from taxi_assets.resources import resources
from taxi_assets.settings import Settings


def build_definitions(settings: Settings, variables: Collection[str] = ()) -> dg.Definitions:
    """The graph of each fleet, wired to source, storage and MLflow.

    Args:
        settings: what to load, and the values of what is configured.
        variables: names of those variables of the environment that the values come from.
    """
    with warnings.catch_warnings():
        # Dagster marks much of what it documents as beta, and the months of checks as a preview.
        # The lock pins it, the tests notice changes.
        for kind in (dg.BetaWarning, dg.PreviewWarning):
            warnings.simplefilter("ignore", kind)
        return dg.Definitions(
            assets=[fleet_months(fleet, GRAPH, backfills(settings)) for fleet in settings.fleets],
            resources=resources(settings, variables),
            sensors=[new_months(fleet, GRAPH) for fleet in settings.fleets],
            executor=in_process_by_default,
        )


defs = build_definitions(
    Settings.from_environment(), [name for name, value in os.environ.items() if value]
)
