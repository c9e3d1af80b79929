"""The months of a fleet, as Dagster partitions."""

import dagster as dg

from taxi_assets.tlc.fleets import Fleet


def monthly_partitions(fleet: Fleet) -> dg.MonthlyPartitionsDefinition:
    """Every whole month since the fleet's first, keyed by its first day: ``2023-03-01``."""
    return dg.MonthlyPartitionsDefinition(start_date=fleet.first_month.partition_key)
