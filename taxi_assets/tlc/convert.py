"""CSV files of trips, of any of TLC's years with zones, as the month files that the project reads.

A file of one month stays whole, with the few trips of other months that TLC's own files have, too.
A file of several is split by the month of pick-up. What is left out is counted.
"""

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from taxi_assets.tlc.coercion import TIMES, plain, read_numbers, read_times, read_zone_ids
from taxi_assets.tlc.csv_files import CsvError, CsvTrips
from taxi_assets.tlc.fleets import DROPOFF_ZONE, PICKUP_ZONE, Fleet
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.schema import CONGESTION_PRICING, month_schema

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

MIN_SHARE = 0.01
"""Trips of a month, beside the month with the most, from which a file is said to have the month."""


@dataclass(frozen=True)
class Plan:
    """What a file has.

    Attributes:
        file: the file.
        trips: number of trips by month of pick-up; None are those whose time cannot be read.
        months: that get a file.
        whole: whether all trips belong to the only month, whenever they were picked up.
    """

    file: CsvTrips
    trips: "Counter[Month | None]"
    months: Sequence[Month]
    whole: bool

    @property
    def outside(self) -> int:
        """Number of trips of other months, or without a pick-up time."""
        return self.trips.total() - sum(self.trips[month] for month in self.months)


class MonthFiles:
    """Month files that are being written, in a folder of their own until all are complete."""

    def __init__(self, folder: Path, opened: ExitStack) -> None:
        self._folder = folder
        self._opened = opened
        self._writers: dict[str, pq.ParquetWriter] = {}

    def add(self, fleet: Fleet, month: Month, trips: "pa.Table") -> None:
        """Add trips to a month's file."""
        import pyarrow.parquet as pq

        name = fleet.file_name(month)
        if name not in self._writers:
            writer = pq.ParquetWriter(self._folder / name, trips.schema, compression="zstd")
            self._writers[name] = self._opened.enter_context(writer)
        if self._writers[name].schema != trips.schema:
            raise CsvError(f"{name} would have trips of files with other columns. Convert apart.")
        self._writers[name].write_table(trips)


def plan(file: CsvTrips, wanted: Sequence[Month] | None, progress: Callable[[int], object]) -> Plan:
    """Count a file's trips by month, and choose the months that get a file.

    Raises:
        CsvError: no pick-up time can be read, or no trip is of the wanted months.
    """
    import pyarrow.compute as pc

    counts: Counter[Month | None] = Counter()
    example = None
    column = file.fleet.pickup_time
    for batch in file.batches([column], progress):
        times = read_times(batch[column])
        example = example or times.example
        for entry in pc.value_counts(pc.strftime(times.values, format="%Y-%m")).to_pylist():
            counts[entry["values"] and Month.parse(entry["values"])] += entry["counts"]
    found = {month: trips for month, trips in counts.items() if month is not None}
    if not found:
        raise CsvError(
            f"{file.path}: no time in column {column} can be read. The first is {example}. "
            f"Understood are {TIMES}."
            if example
            else f"{file.path} has no trips."
        )
    if wanted is not None:
        months = [month for month in wanted if month in found]
        if not months:
            raise CsvError(
                f"{file.path} has no trips of these months, but of {min(found)} to {max(found)}."
            )
        return Plan(file, counts, months, whole=False)
    enough = MIN_SHARE * max(found.values())
    months = sorted(month for month, trips in found.items() if trips >= enough)
    return Plan(file, counts, months, whole=len(months) == 1)


def convert(planned: Plan, files: MonthFiles, progress: Callable[[int], object]) -> Counter[str]:
    """Write a file's trips to its months' files.

    Returns:
        How many values cannot be read, by column; only of columns that have such.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    file = planned.file
    unreadable: Counter[str] = Counter()
    for batch in file.batches(file.columns, progress):
        columns = {name: _typed(batch[name], name, file.fleet, unreadable) for name in file.columns}
        trips = pa.table(columns)
        if planned.whole:
            files.add(file.fleet, planned.months[0], trips)
            continue
        month_of = pc.strftime(trips[file.fleet.pickup_time], format="%Y-%m")
        for month in planned.months:
            of_month = trips.filter(pc.equal(month_of, str(month)))
            if len(of_month):
                files.add(file.fleet, month, of_month)
    return unreadable


def _typed(column: "pa.Array", name: str, fleet: Fleet, unreadable: Counter[str]) -> "pa.Array":
    """A column's values in the type that they have in TLC's own files, or one as good."""
    import pyarrow as pa

    if name in (fleet.pickup_time, fleet.dropoff_time):
        times = read_times(column)
        unreadable[name] += times.unreadable
        return times.values
    if name in (PICKUP_ZONE, DROPOFF_ZONE):
        zones = read_zone_ids(column)
        unreadable[name] += zones.unreadable
        return zones.values
    known = {f.name.lower(): f.type for f in month_schema(fleet, CONGESTION_PRICING)}
    if pa.types.is_large_string(known.get(name.lower(), pa.large_string())):
        return _text(column)
    numbers = read_numbers(column)
    unreadable[name] += numbers.unreadable
    return numbers.values


def _text(column: "pa.Array") -> "pa.Array":
    import pyarrow as pa

    given = plain(column)
    try:
        return given.cast(pa.large_string())
    except pa.ArrowInvalid:
        decoded = [value and value.decode(errors="replace") for value in given.to_pylist()]
        return pa.array(decoded, pa.large_string())


def convert_all(
    paths: Sequence[Path],
    folder: Path,
    wanted: Sequence[Month] | None,
    progress: Callable[[int], object],
) -> list[str]:
    """Convert files, all or none.

    Returns:
        What there is to say of each file: what was written, and what was left out.

    Raises:
        CsvError: a file cannot be converted, or a month's file is there already.
    """
    plans = [plan(CsvTrips(path), wanted, progress) for path in paths]
    names = {p.file.fleet.file_name(month) for p in plans for month in p.months}
    there = sorted(name for name in names if (folder / name).exists())
    if there:
        raise CsvError(f"{', '.join(there)} in {folder} would be overwritten. Move it away first.")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".taxi_assets-", dir=folder) as place:
        with ExitStack() as opened:
            files = MonthFiles(Path(place), opened)
            said = [_say(p, convert(p, files, progress)) for p in plans]
        for name in sorted(names):
            os.replace(Path(place) / name, folder / name)  # noqa: PTH105 - replaces what is there
    return said


def _say(planned: Plan, unreadable: Counter[str]) -> str:
    months = ", ".join(f"{month} ({planned.trips[month]:,})" for month in planned.months)
    said = [f"{planned.file.path}: {planned.trips.total():,} {planned.file.fleet.name} trips"]
    said.append(f"of {months}")
    if planned.outside:
        fate = "kept with them, as in TLC's own files" if planned.whole else "left out"
        untimed = planned.trips[None]
        of_them = f" ({untimed:,} of them without a time that can be read)" if untimed else ""
        said.append(f"{planned.outside:,} others{of_them} {fate}")
    if planned.file.skipped:
        said.append(f"{planned.file.skipped:,} rows left out that have too many or too few values")
    lost = [f"{count:,} in {name}" for name, count in unreadable.items() if count]
    if lost:
        said.append(f"values that cannot be read, now empty: {', '.join(lost)}")
    return "; ".join(said)
