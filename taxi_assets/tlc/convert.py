"""Files of trips as the month files that the project reads.

They are CSV of any of TLC's years with zones, compressed by gzip or not, and folders of Parquet
part files, as Spark and Dask write them. A file of one month stays whole, with the few trips of
other months that TLC's own files have, too. A file of several is split by the month of pick-up.
"""

import csv
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from taxi_assets.errors import MonthError, first_line
from taxi_assets.tlc.clock import read_times
from taxi_assets.tlc.fleets import DROPOFF_ZONE, FLEETS, PICKUP_ZONE, Fleet
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.numbers import read_numbers
from taxi_assets.tlc.parquet import decoded_batches, open_parquet
from taxi_assets.tlc.readings import Reading, compare, is_text, plain
from taxi_assets.tlc.schema import CONGESTION_PRICING, month_schema
from taxi_assets.tlc.sniffing import describe_columns, standard_names
from taxi_assets.tlc.zone_ids import read_zone_ids

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK_BYTES = 1 << 24
"""Bytes that are parsed at a time."""

MAX_HEADER = 1 << 16
"""Bytes of the first lines, in which the header must be."""

DELIMITERS = ",;\t|"

MIN_SHARE = 0.01
"""Trips of a month, beside the month with the most, from which a file is said to have the month."""

WHOLE = "whole"
"""Stands for all trips, where others stand for those of a month."""


class ConversionError(MonthError):
    """A file cannot be converted; the message says why."""


def convert(path: Path, folder: Path, wanted: Sequence[Month] | None) -> str:
    """Write the month files of a file of trips, all or none.

    Args:
        path: a CSV file, or a folder of Parquet files.
        folder: of the month files.
        wanted: months that get a file; None are those that the file has.

    Returns:
        What there is to say of the file: what was written, and what was left out.

    Raises:
        ConversionError: the file cannot be converted, or a month's file is there already.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".taxi_assets-", dir=folder) as unfinished:
        lost: Counter[str] = Counter()
        fleet, trips = _write_parts(path, Path(unfinished), lost)
        found = sorted(trips.keys() - {WHOLE})
        enough = MIN_SHARE * max(trips[month] for month in found)
        chosen = [month for month in found if trips[month] >= enough]
        if wanted is not None:
            chosen = [month for month in found if month in map(str, wanted)]
        if not chosen:
            raise ConversionError(
                f"{path} has no trips of these months, but of {found[0]} to {found[-1]}."
            )
        names = {month: fleet.file_name(Month.parse(month)) for month in chosen}
        there = [name for name in names.values() if (folder / name).exists()]
        if there:
            raise ConversionError(
                f"{', '.join(there)} in {folder} would be overwritten. Move it away first."
            )
        whole = wanted is None and len(chosen) == 1
        for month, name in names.items():
            (Path(unfinished) / (WHOLE if whole else month)).replace(folder / name)
    written = ", ".join(f"{month} ({trips[month]:,})" for month in chosen)
    fate = "kept with them, as in TLC's own files" if whole else "left out"
    lost[f"others {fate}"] = trips[WHOLE] - sum(trips[month] for month in chosen)
    notes = [f"{count:,} {what}" for what, count in lost.items() if count]
    return "; ".join([f"{path}: {trips[WHOLE]:,} {fleet.name} trips", f"of {written}", *notes])


def _write_parts(path: Path, folder: Path, lost: Counter[str]) -> tuple[Fleet, Counter[str]]:
    """Write all trips of a file to one file, and those of each month to another.

    Returns:
        Whose trips they are, and how many are in each file.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    trips: Counter[str] = Counter()
    example = None
    with ExitStack() as opened:
        writers: dict[str, pq.ParquetWriter] = {}
        for fleet, columns in _read(path, lost):
            readings = {name: _coerce(columns[name], name, fleet) for name in columns}
            for name, reading in readings.items():
                lost[f"values of {name} that cannot be read, now empty"] += reading.unreadable
            example = example or readings[fleet.pickup_time].example
            table = pa.table({name: reading.values for name, reading in readings.items()})
            month_of = pc.strftime(table[fleet.pickup_time], format="%Y-%m")
            months = month_of.drop_null().unique().to_pylist()
            parts = {month: table.filter(pc.equal(month_of, month)) for month in months}
            for month, part in {WHOLE: table, **parts}.items():
                if month not in writers:
                    writer = pq.ParquetWriter(folder / month, table.schema, compression="zstd")
                    writers[month] = opened.enter_context(writer)
                if writers[month].schema != table.schema:
                    raise ConversionError(f"The parts of {path} have different columns.")
                writers[month].write_table(part)
                trips[month] += len(part)
    if not trips.keys() - {WHOLE}:
        raise ConversionError(
            f"None of the {trips[WHOLE]:,} trips in {path} has a pick-up time that can be read; "
            f"the first is {example}. Write times as 2019-01-31 08:15:00."
        )
    return fleet, trips


def _read(path: Path, lost: Counter[str]) -> "Iterator[tuple[Fleet, dict[str, pa.Array]]]":
    """The fleet and the columns of a file, a batch at a time, by TLC's present names."""
    import pyarrow as pa

    parts = [path]
    if path.is_dir():
        # What else Spark and Dask put beside the parts begins with one of these.
        parts = sorted(part for part in path.iterdir() if part.name[0] not in "._")
    for part in parts:
        try:
            for batch in _parquet(part) if path.is_dir() else _csv(part, lost):
                given = batch.schema.names
                fleets = [f for f in FLEETS.values() if f.pickup_time in standard_names(given, f)]
                fleet = fleets[0] if fleets else FLEETS["yellow"]
                names = standard_names(given, fleet)
                if problem := describe_columns(names, fleet):
                    raise ConversionError(f"{part} {problem}")
                yield fleet, dict(zip(names, batch.columns, strict=True))
        except (OSError, ValueError, pa.ArrowException) as error:
            raise ConversionError(f"{part} cannot be read: {first_line(error)}.") from None


def _parquet(path: Path) -> "Iterator[pa.RecordBatch]":
    with open_parquet(path) as opened:
        yield from decoded_batches(opened, opened.schema_arrow.names)


def _csv(path: Path, lost: Counter[str]) -> "Iterator[pa.RecordBatch]":
    """The rows as bytes; what stands beyond the header has no name, and no meaning."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    with path.open("rb") as file:
        compression = "gzip" if file.read(2) == b"\x1f\x8b" else None
    with pa.input_stream(path, compression) as stream:
        lines = stream.read(MAX_HEADER).decode("utf-8-sig", errors="replace").splitlines()
    header, *rows = [line for line in lines if line.strip()] or [""]
    delimiter = max(DELIMITERS, key=header.count)
    names, *values = csv.reader([header, *rows[:1]], delimiter=delimiter)
    names = [name.strip() for name in names]
    unnamed = [f"unnamed {n}" for row in values for n in range(len(names), len(row))]

    def skip(_row: object) -> str:
        lost["rows left out that have too many or too few values"] += 1
        return "skip"

    with pa.input_stream(path, compression) as stream:
        yield from arrow_csv.open_csv(
            stream,
            arrow_csv.ReadOptions(
                column_names=[*names, *unnamed],
                skip_rows=lines.index(header) + 1 if lines else 0,
                block_size=BLOCK_BYTES,
            ),
            arrow_csv.ParseOptions(delimiter=delimiter, invalid_row_handler=skip),
            arrow_csv.ConvertOptions(
                check_utf8=False,
                column_types=dict.fromkeys(names, pa.binary()),
                include_columns=names,
            ),
        )


def _coerce(column: "pa.Array", name: str, fleet: Fleet) -> Reading:
    """A column's values in the type that they have in TLC's own files, or one as good."""
    import pyarrow as pa

    if name in (fleet.pickup_time, fleet.dropoff_time):
        return read_times(column)
    if name in (PICKUP_ZONE, DROPOFF_ZONE):
        return read_zone_ids(column)
    types = {field.name.lower(): field.type for field in month_schema(fleet, CONGESTION_PRICING)}
    number = types.get(name.lower(), pa.large_string()) != pa.large_string()
    if not number and not is_text(column.type):
        return Reading(column, 0, None)
    # Each different value is read once.
    encoded = column.dictionary_encode()
    given = plain(encoded.dictionary)
    if number:
        values = read_numbers(given).values
    else:
        texts = [text and text.decode(errors="replace") for text in given.to_pylist()]
        values = pa.array(texts, pa.large_string())
    return compare(given.take(encoded.indices), values.take(encoded.indices))
