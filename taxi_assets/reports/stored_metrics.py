"""What is stored of each month, as far as it can be read, for the report."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from taxi_assets.durations.drift import distances, parse_profile
from taxi_assets.errors import command, first_line
from taxi_assets.storage.files import Storage
from taxi_assets.storage.formats import Json
from taxi_assets.storage.layout import stored_file
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


def stored_metrics(storage: Storage, fleet: Fleet) -> "tuple[pd.DataFrame, list[str]]":
    """A row for each month that has any of the assets, in order of the months.

    Args:
        storage: where they are.
        fleet: whose months.

    Returns:
        The rows by month, with columns such as ``metrics.rmse``, ``backtest.models.linear.rmse``
        and ``champion.decision``, and with ``drift``, the largest distance of the month's trips
        from those of the month before; and a sentence for each file that cannot be read.

    Raises:
        UnreachableStorageError: the storage does not answer.
        OSError: a folder of a local storage cannot be read.
    """
    import pandas as pd

    problems: list[str] = []

    def read(path: str, month: Month, parse: Callable[[Mapping[str, Any]], Any] = dict) -> Any:
        """What is in a file; None if it is not there, or if it cannot be read."""
        try:
            return parse(Json().load(storage.open(path)))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            again = command(["/".join(path.split("/")[:2])], month.partition_key)
            problems.append(
                f"{storage.shown_path(path)} cannot be read: {first_line(error)}. The report "
                f"leaves it out. Make it again: {again}"
            )
            return None

    rows: dict[Month, dict[str, Any]] = {}
    for asset in ASSETS:
        for month in stored_months(storage, fleet, asset):
            stored = read(stored_file(fleet.name, asset, month), month)
            if stored is not None:
                rows.setdefault(month, {})[asset] = stored
    months = sorted(rows)
    profiles = {
        month: read(profile_note(fleet, month), month, parse_profile)
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
    return metrics, problems
