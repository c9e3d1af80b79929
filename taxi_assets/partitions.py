"""The months of a fleet, as Dagster partitions and in Dagster commands."""

from collections.abc import Iterable, Sequence

import dagster as dg

from taxi_assets.tlc.fleets import DEFAULT_FLEET, Fleet
from taxi_assets.tlc.months import Month


def monthly_partitions(fleet: Fleet) -> dg.MonthlyPartitionsDefinition:
    """Every whole month since the fleet's first, keyed by its first day: ``2023-03-01``."""
    return dg.MonthlyPartitionsDefinition(start_date=fleet.first_month.partition_key)


def stretches(months: Iterable[Month]) -> list[list[Month]]:
    """Cut sorted months where one is missing between them."""
    cut: list[list[Month]] = []
    for month in months:
        if cut and cut[-1][-1] + 1 == month:
            cut[-1].append(month)
        else:
            cut.append([month])
    return cut


def commands(assets: Sequence[dg.AssetKey], months: Iterable[Month]) -> list[str]:
    """Ready commands that materialize the assets, one for each stretch of months."""
    select = ",".join(key.to_user_string() for key in assets)
    command = f"dagster asset materialize -m taxi_assets.definitions --select '{select}'"
    fleet = assets[0].path[0]
    if fleet != DEFAULT_FLEET:
        command = f"TAXI_FLEET={fleet} {command}"
    return [
        f"{command} --partition {first.partition_key}"
        if first == last
        else f"{command} --partition-range {first.partition_key}...{last.partition_key}"
        for first, last in ((stretch[0], stretch[-1]) for stretch in stretches(months))
    ]
