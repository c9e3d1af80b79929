"""CSV files of trips as the month files that the project reads.

They are of any of TLC's years with zones, compressed by gzip or not. A file of one month stays
whole, with the few trips of other months that TLC's own files have, too. A file of several is
split by the month of pick-up.
"""

import csv
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import csv as arrow_csv

from taxi_assets.errors import MonthError, first_line
from taxi_assets.tlc.atomic import replacing, temporary_file
from taxi_assets.tlc.coercion import Coerced, plain, read_numbers, read_times, read_zone_ids
from taxi_assets.tlc.fleets import DROPOFF_ZONE, FLEETS, PICKUP_ZONE, Fleet
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.schema import CONGESTION_PRICING, month_schema
from taxi_assets.tlc.sniffing import describe_columns, standard_names

BLOCK_BYTES = 1 << 24
"""Bytes that are parsed at a time."""

MAX_HEADER = 1 << 16
"""Bytes of the first lines, in which the header must be."""

MIN_SHARE = 0.01
"""Trips of a month, beside the month with the most, from which a file is said to have the month."""

NO_MONTH = ""
"""Stands for the month of trips without a pick-up time."""


class ConversionError(MonthError):
    """A file cannot be converted; the message says why."""


def convert(path: Path, folder: Path) -> str:
    """Write the month files of a CSV file of trips.

    Returns:
        What was written, and what was left out.

    Raises:
        ConversionError: the file cannot be converted, or a month's file is there already.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lost: Counter[str] = Counter()
    with temporary_file(folder) as whole:
        fleet, trips = _write(path, whole, lost)
        timed = {month: count for month, count in trips.items() if month != NO_MONTH}
        enough = MIN_SHARE * max(timed.values())
        months = [Month.parse(month) for month in sorted(timed) if timed[month] >= enough]
        targets = {month: folder / fleet.file_name(month) for month in months}
        if there := [target.name for target in targets.values() if target.exists()]:
            raise ConversionError(
                f"{', '.join(there)} in {folder} would be overwritten. Move it away first."
            )
        for month, target in targets.items():
            with replacing(target) as unfinished:
                if len(months) == 1:
                    whole.replace(unfinished)
                    continue
                start, end = month.first_day, (month + 1).first_day
                within = [(fleet.pickup_time, ">=", start), (fleet.pickup_time, "<", end)]
                pq.write_table(pq.read_table(whole, filters=within), unfinished)
    fate = "kept with them, as in TLC's own files" if len(months) == 1 else "left out"
    lost[f"others {fate}"] = trips.total() - sum(trips[str(month)] for month in months)
    written = ", ".join(f"{month} ({trips[str(month)]:,})" for month in months)
    notes = [f"{count:,} {what}" for what, count in lost.items() if count]
    return "; ".join([f"{path}: {trips.total():,} {fleet.name} trips", f"of {written}", *notes])


def _write(path: Path, target: Path, lost: Counter[str]) -> tuple[Fleet, Counter[str]]:
    """Write all trips to one month file; return whose they are, and how many are of each month."""
    trips: Counter[str] = Counter()
    example = None
    with ExitStack() as opened:
        writer = None
        for given, batch in _read(path, lost):
            fits = [f for f in FLEETS.values() if not describe_columns(standard_names(given, f), f)]
            fleet = fits[0] if fits else FLEETS["yellow"]
            names = standard_names(given, fleet)
            if problem := describe_columns(names, fleet):
                raise ConversionError(f"{path} {problem}")
            columns = dict(zip(names, batch.columns, strict=True))
            coerced = {name: _coerce(columns[name], name, fleet) for name in columns}
            for name, column in coerced.items():
                lost[f"values of {name} that cannot be read, now empty"] += column.unreadable
            example = example or coerced[fleet.pickup_time].example
            table = pa.table({name: column.values for name, column in coerced.items()})
            months = pc.strftime(table[fleet.pickup_time], format="%Y-%m")
            trips.update(pc.fill_null(months, NO_MONTH).to_pylist())
            if writer is None:
                writer = pq.ParquetWriter(target, table.schema, compression="zstd")
                opened.enter_context(writer)
            writer.write_table(table)
    if not trips.keys() - {NO_MONTH}:
        raise ConversionError(
            f"None of the {trips.total():,} trips in {path} has a pick-up time that can be read; "
            f"the first is {example}. Write times as 2019-01-31 08:15:00."
        )
    return fleet, trips


def _read(path: Path, lost: Counter[str]) -> Iterator[tuple[list[str], pa.RecordBatch]]:
    """The columns' names and the rows as bytes; values beyond the header are left out."""

    def skip(_row: object) -> str:
        lost["rows left out that have too many or too few values"] += 1
        return "skip"

    try:
        with pa.input_stream(path) as stream:
            lines = stream.read(MAX_HEADER).decode("utf-8-sig", errors="replace").splitlines()
        header, *rows = [line for line in lines if line.strip()] or [""]
        delimiter = max(",;", key=header.count)
        names, *values = csv.reader([header, *rows[:1]], delimiter=delimiter)
        # In 2013 rows ended in commas that the header did not have.
        beyond = [f"beyond {n}" for row in values for n in range(len(names), len(row))]
        places = [f"column {n}" for n in range(len(names))]
        with pa.input_stream(path) as stream:
            batches = arrow_csv.open_csv(
                stream,
                arrow_csv.ReadOptions(
                    column_names=[*places, *beyond],
                    skip_rows=lines.index(header) + 1 if lines else 0,
                    block_size=BLOCK_BYTES,
                ),
                arrow_csv.ParseOptions(delimiter=delimiter, invalid_row_handler=skip),
                arrow_csv.ConvertOptions(
                    check_utf8=False,
                    column_types=dict.fromkeys(places, pa.binary()),
                    include_columns=places,
                ),
            )
            for batch in batches:
                yield [name.strip() for name in names], batch
    except (OSError, ValueError, pa.ArrowException) as error:
        raise ConversionError(f"{path} cannot be read: {first_line(error)}.") from None


def _coerce(column: pa.Array, name: str, fleet: Fleet) -> Coerced:
    """A column's values in the type that they have in TLC's own files, or one as good."""
    if name in (PICKUP_ZONE, DROPOFF_ZONE):
        return read_zone_ids(column)
    types = {field.name.lower(): field.type for field in month_schema(fleet, CONGESTION_PRICING)}
    kind = types.get(name.lower(), pa.large_string())
    if kind != pa.large_string():
        return read_times(column) if pa.types.is_timestamp(kind) else read_numbers(column)
    # Each different text is read once.
    encoded = column.dictionary_encode()
    texts = [
        text and text.decode(errors="replace") for text in plain(encoded.dictionary).to_pylist()
    ]
    return Coerced(pa.array(texts, pa.large_string()).take(encoded.indices), 0, None)
