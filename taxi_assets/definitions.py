"""Everything that Dagster loads."""

import os
import warnings
from collections.abc import Collection

import dagster as dg

from taxi_assets.assets.graph import GRAPH
from taxi_assets.resources import resources
from taxi_assets.runs.months import fleet_months
from taxi_assets.runs.sensor import new_months
from taxi_assets.settings import Settings

in_process_by_default = dg.multi_or_in_process_executor.configured(
    lambda config: config,
    name="in_process_by_default",
    config_schema=dg.Field(
        dg.multi_or_in_process_executor.config_schema.config_type,
        default_value={"in_process": {}},
    ),
)
"""Dagster's executor, with the run's process as the default: a process for a step costs more than
a month."""


def build_definitions(settings: Settings, variables: Collection[str] = ()) -> dg.Definitions:
    """The graph of each fleet, wired to source, storage and MLflow.

    Args:
        settings: what to load, and the values of what is configured.
        variables: names of those variables of the environment that the values come from.
    """
    # A run for each contiguous range of months, or for as many months as the settings say.
    runs = dg.BackfillPolicy.single_run()
    if settings.months_per_run is not None:
        runs = dg.BackfillPolicy.multi_run(settings.months_per_run)
    with warnings.catch_warnings():
        # Dagster marks much of what it documents as beta, and the months of checks as a preview.
        # The lock pins it, the tests notice changes.
        for kind in (dg.BetaWarning, dg.PreviewWarning):
            warnings.simplefilter("ignore", kind)
        return dg.Definitions(
            assets=[fleet_months(fleet, GRAPH, runs) for fleet in settings.fleets],
            resources=resources(settings, variables),
            sensors=[new_months(fleet, GRAPH) for fleet in settings.fleets],
            executor=in_process_by_default,
        )


defs = build_definitions(
    Settings.from_environment(), [name for name, value in os.environ.items() if value]
)
