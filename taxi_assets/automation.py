"""How backfills are cut into runs."""

import sys

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
