"""The months of a fleet, as Dagster partitions and in Dagster commands."""

from collections.abc import Iterable

import dagster as dg

from taxi_assets.tlc.fleets import Fleet
from taxi_assets.tlc.months import Month


def monthly_partitions(fleet: Fleet) -> dg.MonthlyPartitionsDefinition:
    """Every whole month since the fleet's first, keyed by its first day: ``2023-03-01``."""
    return dg.MonthlyPartitionsDefinition(start_date=fleet.first_month.partition_key)


def command(assets: Iterable[dg.AssetKey], first: Month, last: Month | None = None) -> str:
    """The command that materializes assets of a month, or of all months from one to another."""
    select = ",".join(key.to_user_string() for key in assets)
    months = (
        f"--partition {first.partition_key}"
        if last in (None, first)
        else f"--partition-range {first.partition_key}...{last.partition_key}"
    )
    return f"dagster asset materialize -m taxi_assets.definitions --select '{select}' {months}"
