"""What is stored of each month, as far as it can be read, for the report."""

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from taxi_assets.durations.drift import distances, parse_profile
from taxi_assets.errors import command, first_line
from taxi_assets.storage.files import Storage
from taxi_assets.storage.formats import Json, UnreadableFileError
from taxi_assets.storage.layout import stored_file
from taxi_assets.storage.stored_months import profile_note, stored_months
from taxi_assets.tlc.fleets import Fleet
from taxi_assets.tlc.months import Month

if TYPE_CHECKING:
    import pandas as pd

ASSETS = ("metrics", "boosted_metrics", "backtest", "champion")

LARGEST = 1e15
"""What is more is no metric of a month."""


def stored_metrics(
    storage: Storage, fleet: Fleet, numbers: Collection[str]
) -> "tuple[pd.DataFrame, list[str]]":
    """A row for each month that has any of the assets, in order of the months.

    Args:
        storage: where they are.
        fleet: whose months.
        numbers: names of the metrics that are numbers.

    Returns:
        The rows by month, with columns such as ``metrics.rmse``, ``backtest.models.linear.rmse``
        and ``champion.decision``, and with ``drift``, the largest distance of the month's trips
        from those of the month before; and a sentence for each file that cannot be read.

    Raises:
        UnreachableStorageError: the storage does not answer.
        OSError: a folder of a local storage cannot be read.
    """
    import pandas as pd

    rows: dict[Month, dict[str, Any]] = {}
    problems: list[str] = []

    def read(path: str, month: Month, parse: Callable[[Mapping[str, Any]], Any]) -> Any:
        """What is in a file; None if it is not there, or if it cannot be read."""
        try:
            return parse(Json().load(storage.open(path)))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            again = command(["/".join(path.split("/")[:2])], month.partition_key)
            advice = f"Make it again: {again}"
            if isinstance(error, PermissionError):
                advice = "Give whoever makes the report access to it"
            problems.append(
                f"{storage.shown_path(path)} cannot be read: {first_line(error)}. The report "
                f"leaves it out. {advice}"
            )
            return None

    for asset in ASSETS:
        for month in stored_months(storage, fleet, asset):
            path = stored_file(fleet.name, asset, month)
            found = read(path, month, partial(_metrics, asset, numbers))
            if found is not None:
                rows.setdefault(month, {}).update(found)
    months = sorted(rows)
    profiles = {
        month: read(profile_note(fleet, month), month, parse_profile)
        for month in sorted({*months, *(month - 1 for month in months)})
    }
    for month, row in rows.items():
        before, own = profiles[month - 1], profiles[month]
        if before and own:
            row["drift"] = max(distances(before, own).values())
    index = pd.Index(map(str, months))
    return pd.DataFrame([rows[month] for month in months], index, dtype=object), problems


def _metrics(asset: str, numbers: Collection[str], stored: Mapping[str, Any]) -> dict[str, Any]:
    """What is stored by name, such as ``backtest.models.linear.rmse``.

    Raises:
        UnreadableFileError: a metric that is to be a number is none that a month can have.
    """
    metrics = {name: value for name, value in _leaves(stored, asset) if value is not None}
    for name, value in metrics.items():
        above, last = name.split(".")[-2:]
        is_number = isinstance(value, int | float) and abs(value) < LARGEST
        is_wanted = last in numbers or above.endswith("_by_bin")
        if above in numbers or (is_wanted and not is_number):
            raise UnreadableFileError(f"{name} is not a number")
    return metrics


def _leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """The values within mappings and lists, by dotted names; places in lists count from 1."""
    inner = dict(enumerate(value, 1)) if isinstance(value, list) else value
    if isinstance(inner, dict):
        for key, each in inner.items():
            yield from _leaves(each, f"{name}.{key}")
    else:
        yield name, value
