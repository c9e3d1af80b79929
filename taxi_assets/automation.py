"""How runs are cut and executed."""

import sys
from typing import Any

import dagster as dg

from taxi_assets.settings import Settings, SettingsError


def backfills(settings: Settings) -> dg.BackfillPolicy:
    """A run for each contiguous range of months, or for as many months as the settings say.

    Raises:
        SettingsError: the command line asks for a range of months, which is always one run, and
            the settings for something else. Dagster would refuse it too, in other words.
    """
    if settings.months_per_run is None:
        return dg.BackfillPolicy.single_run()
    if "--partition-range" in sys.argv:
        raise SettingsError(
            f"TAXI_MONTHS_PER_RUN is {settings.months_per_run}, and --partition-range is always "
            "one run; set TAXI_MONTHS_PER_RUN to all, or backfill the range in Dagster's pages."
        )
    return dg.BackfillPolicy.multi_run(settings.months_per_run)


@dg.configured(
    dg.multi_or_in_process_executor,
    config_schema=dg.Field(
        dg.Selector(
            {
                "in_process": dg.in_process_executor.config_schema.as_field(),
                "multiprocess": dg.multiprocess_executor.config_schema.as_field(),
            }
        ),
        # A process for each step costs more than all the work of a month.
        default_value={"in_process": {}},
    ),
)
def in_process_by_default(config: dict[str, Any]) -> dict[str, Any]:
    """Dagster's own executors; all steps run in the run's process unless the launch config asks."""
    return config
