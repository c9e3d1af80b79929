"""What is stored of each month, as far as it can be read, for the report."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from taxi_assets.durations.drift import Profile, distances, parse_profile
from taxi_assets.errors import command, first_line
from taxi_assets.reports.plot_files import inline, read_plot
from taxi_assets.storage.files import Storage
from taxi_assets.storage.formats import Json
from taxi_assets.storage.layout import plot_file, stored_file
from taxi_assets.storage.stored_months import profile_note, stored_months
from taxi_assets.tlc.fleets import Fleet
from taxi_assets.tlc.months import Month

if TYPE_CHECKING:
    import pandas as pd

ASSETS = ("metrics", "boosted_metrics", "backtest", "champion")

NUMBERS = {
    "records_loaded": "{:,.0f}",
    "records_cleaned": "{:,.0f}",
    "version": "{:.0f}",
    "intercept": "{:.2f}",
    **dict.fromkeys(("baseline_rmse", "rmse", "mae", "drift"), "{:.3f}"),
    **dict.fromkeys(("within_5_minutes", "interval_coverage"), "{:.1%}"),
}
"""How numbers are shown, by the last part of their columns' names."""


class StoredFleet(NamedTuple):
    """What is stored of a fleet.

    Attributes:
        metrics: a row for each month that has any of the assets, in order of the months, with
            columns such as ``metrics.rmse``, ``backtest.models.linear.rmse`` and
            ``champion.decision``, and with ``drift``, the largest distance of the month's trips
            from those of the month before.
        zone_errors: the newest month that has a map of the errors by pick-up zone, and the map as
            a URL that contains it; None without one that can be read.
        problems: a sentence for each file that cannot be read.
    """

    metrics: "pd.DataFrame"
    zone_errors: tuple[Month, str] | None
    problems: list[str]


def stored_fleet(storage: Storage, fleet: Fleet) -> StoredFleet:
    """Read what is stored of a fleet.

    Raises:
        UnreachableStorageError: the storage does not answer.
        OSError: a folder of a local storage cannot be read.
    """
    import pandas as pd

    problems: list[str] = []

    def read_profile(file: BinaryIO) -> Profile:
        return parse_profile(Json().load(file))

    def read(asset: str, path: str, month: Month, parse: Callable[[BinaryIO], Any]) -> Any:
        """What an asset has in a file; None if it is not there, or if it cannot be read."""
        try:
            with storage.open(path) as file:
                return parse(file)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            again = command([f"{fleet.name}/{asset}"], month.partition_key)
            problems.append(
                f"{storage.shown_path(path)} cannot be read: {first_line(error)}. The report "
                f"leaves it out. Make it again: {again}"
            )
            return None

    rows: dict[Month, dict[str, Any]] = {}
    for asset in ASSETS:
        for month in stored_months(storage, fleet, asset):
            stored = read(asset, stored_file(fleet.name, asset, month), month, Json().load)
            if stored is not None:
                rows.setdefault(month, {})[asset] = stored
    months = sorted(rows)
    profiles = {
        month: read("cleaned_trips", profile_note(fleet, month), month, read_profile)
        for month in sorted({*months, *(month - 1 for month in months)})
    }
    for month, row in rows.items():
        before, present = profiles[month - 1], profiles[month]
        if before and present:
            row["drift"] = max(distances(before, present).values())
    metrics = pd.json_normalize([rows[month] for month in months])
    metrics.index = pd.Index(map(str, months))
    # A file that somebody has edited may have anything in their place.
    numbers = [column for column in metrics if column.rpartition(".")[2] in NUMBERS]
    metrics[numbers] = metrics[numbers].apply(pd.to_numeric, errors="coerce")
    zone_errors = None
    maps = {month: plot_file(fleet.name, month, "zone_errors") for month in reversed(months)}
    newest = next((month for month, path in maps.items() if storage.exists(path)), None)
    if newest is not None:
        plot = read("backtest", maps[newest], newest, read_plot)
        zone_errors = plot and (newest, inline(plot))
    return StoredFleet(metrics, zone_errors, problems)
