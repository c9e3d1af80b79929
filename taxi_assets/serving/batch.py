"""Batch scoring: all trips of a CSV or Parquet file, and the answers beside the file's columns."""

import csv
import gzip
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taxi_assets.durations.inference import band_of, number
from taxi_assets.durations.predictions import MINUTES
from taxi_assets.errors import first_line
from taxi_assets.serving.parsing import InvalidRequestError
from taxi_assets.tlc.atomic import replacing
from taxi_assets.tlc.coercion import is_text, plain, read_times, read_zone_ids, show
from taxi_assets.tlc.fleets import DROPOFF_ZONE, FLEETS, PICKUP_ZONE
from taxi_assets.tlc.parquet import open_parquet
from taxi_assets.tlc.zones import LAST_ZONE

if TYPE_CHECKING:
    import pyarrow as pa

    from taxi_assets.tracking.champions import Serving
    from taxi_assets.tracking.served_model import TripDuration

PICKUP_TIME = "pickup_datetime"

PICKUP_TIMES = (PICKUP_TIME, *dict.fromkeys(fleet.pickup_time for fleet in FLEETS.values()))
"""Columns that hold the time of the pick-up: ours, and those of TLC's files."""

WITHOUT_OFFSET = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9:.]+$"
"""A time as text, with neither ``Z`` nor an offset from UTC."""

BLOCK_ROWS = 50_000

NO_TEXT = "it is neither Parquet nor CSV (text in UTF-8, perhaps compressed by gzip)"

MAX_NAMES = 500
"""Characters of column names in a message."""

SHOWN = 20
"""Rows without an answer that are shown."""


def predict_file(serving: "Serving", path: Path, output: Path) -> None:
    """Answer each row of a file, and print which rows could not be answered.

    Args:
        serving: the version that answers.
        path: a Parquet or CSV file (UTF-8, perhaps compressed by gzip) with ``PULocationID``,
            ``DOLocationID`` and, where the hour is to count, ``pickup_datetime``.
        output: a Parquet or CSV file for all columns of ``path``, ``minutes``, ``minutes_p10`` and
            ``minutes_p90``. It appears when all rows are answered, or not at all.

    Raises:
        InvalidRequestError: the file cannot be read, or the answers cannot be written.
    """
    if output.suffix not in (".csv", ".parquet"):
        raise InvalidRequestError(f"{output} must end in .csv or .parquet.")
    with suppress(OSError):
        if output.samefile(path):
            raise InvalidRequestError(f"{output} has the trips. Name another file for the answers.")
    bad: dict[int, str] = {}

    def answer_blocks() -> "Iterator[pa.RecordBatch]":
        done = 0
        for block in _read(path):
            answered, reasons = _answer(block, _places(path, block.schema.names), serving.model)
            bad.update({done + row + 1: why for row, why in reasons.items()})
            done += len(block)
            yield answered

    rows = _write(output, answer_blocks())
    for row, why in sorted(bad.items())[:SHOWN]:
        print(f"row {row}: {why}; left empty", file=sys.stderr)
    if len(bad) > SHOWN:
        print(f"and {len(bad) - SHOWN:,} more rows", file=sys.stderr)
    version = serving.version
    print(
        f"{output}: {rows - len(bad):,} of {rows:,} trips answered by {version}, version "
        f"{version.number}"
    )


def _read(path: Path) -> "Iterator[pa.RecordBatch]":
    """The file's rows in blocks, at least one; all columns of CSV are text."""
    import pandas as pd
    import pyarrow as pa

    unreadable = (EOFError, ValueError, csv.Error, zlib.error)
    with _errors_named(path, "read", *unreadable), path.open("rb") as file:
        beginning = file.peek(4)
        if beginning.startswith(b"PAR1"):
            month = open_parquet(file)
            yield pa.RecordBatch.from_pylist([], month.schema_arrow.remove_metadata())
            yield from month.iter_batches(BLOCK_ROWS)
            return
        text: Any = gzip.GzipFile(fileobj=file) if beginning.startswith(b"\x1f\x8b") else file
        names = next(csv.reader([text.readline().decode("utf-8-sig")]), [])
        text.seek(0)
        # One column more than the header: pandas drops what a row has beyond its columns.
        columns = range(len(names) + 1)
        layout = {"header": None, "skiprows": 1, "names": columns, "index_col": False}
        values = {"dtype": str, "na_filter": False, "chunksize": BLOCK_ROWS}
        for frame in pd.read_csv(text, **layout, **values):
            for row in frame.index[frame[len(names)] != ""]:
                raise ValueError(f"row {row + 1} has more values than the header")
            arrays = [pa.array(frame[column], pa.string()) for column in columns[:-1]]
            yield pa.RecordBatch.from_arrays(arrays, names)


def _places(path: Path, names: Sequence[str]) -> list[int]:
    """Where the pick-up zone, the drop-off zone and, if there is one, the time are.

    Raises:
        InvalidRequestError: one is missing or there twice, or a time has another name.
    """
    known = [name.strip().casefold() for name in names]
    times = [name for name in PICKUP_TIMES if name in known]
    if "at" in known or len(times) > 1:
        raise InvalidRequestError(
            f"{path} must have one time. Name the time of the pick-up {PICKUP_TIME}, and leave out "
            f"{' and '.join(sorted({'at', *times[1:]} & {*known}))}."
        )
    needed = [PICKUP_ZONE, DROPOFF_ZONE, *times]
    for name in needed:
        if known.count(name.casefold()) != 1:
            shown = ", ".join(names)[:MAX_NAMES]
            raise InvalidRequestError(
                f"{path} must have one column {name}; its columns are: {shown}."
            )
    if not {*names}.isdisjoint(MINUTES):
        raise InvalidRequestError(
            f"{path} has answers already: rename its columns {', '.join(MINUTES)}."
        )
    return [known.index(name.casefold()) for name in needed]


def _answer(
    block: "pa.RecordBatch", places: Sequence[int], model: "TripDuration"
) -> "tuple[pa.RecordBatch, dict[int, str]]":
    """Answer a block's rows.

    Args:
        block: all columns of the file.
        places: of two zones and, where there is one, a time.
        model: answers.

    Returns:
        The block with ``minutes``, ``minutes_p10`` and ``minutes_p90`` (float32), null for rows
        that cannot be answered; and why those cannot, by their places in the block.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    bad: dict[int, str] = {}

    def explain(place: int, rows: Any, why: str) -> None:
        for row in rows.nonzero()[0].tolist():
            shown = f"{block.schema.names[place]} {show(block.columns[place][row])}"
            bad.setdefault(row, f"{shown} is no {why}")

    zones = []
    for place in places[:2]:
        ids = read_zone_ids(block.columns[place]).values
        inside = pc.and_(pc.greater_equal(ids, 1), pc.less_equal(ids, LAST_ZONE))
        valid = np.asarray(pc.fill_null(inside, False))
        explain(place, ~valid, f"zone from 1 to {LAST_ZONE}")
        zones.append(np.where(valid, np.asarray(pc.fill_null(ids, 0)), 1))
    known, bands = np.zeros(len(block), bool), np.zeros(len(block), np.int64)
    for place in places[2:]:
        given = plain(block.columns[place])
        times = read_times(given).values
        here = pa.scalar(getattr(given.type, "tz", None) is None)
        if is_text(given.type):
            here = pc.match_substring_regex(given, WITHOUT_OFFSET)
        times = pc.if_else(here, times, pa.scalar(None, times.type))
        known = np.asarray(pc.is_valid(times))
        explain(place, ~known & np.asarray(pc.is_valid(given)), "time on New York's clock")
        hours = pc.add(pc.multiply(pc.day_of_week(times), 24), pc.hour(times))
        bands = band_of(np.asarray(pc.fill_null(hours, 0)))
    answers = model.answer(number(zones[0], zones[1], bands), known)
    empty = np.zeros(len(block), bool)
    empty[list(bad)] = True
    for name, values in zip(MINUTES, answers, strict=True):
        block = block.append_column(name, pa.array(values, pa.float32(), mask=empty))
    return block, bad


def _write(path: Path, blocks: "Iterator[pa.RecordBatch]") -> int:
    """Write blocks to a file, which appears when all are written; return the number of rows.

    Raises:
        InvalidRequestError: nothing can be written there.
    """
    import pyarrow.csv
    import pyarrow.parquet as pq

    open_writer = pyarrow.csv.CSVWriter if path.suffix == ".csv" else pq.ParquetWriter
    first = next(blocks)
    rows = 0
    with (
        _errors_named(path, "written"),
        replacing(path) as temporary,
        open_writer(str(temporary), first.schema) as writer,
    ):
        for block in chain([first], blocks):
            writer.write_batch(block)
            rows += len(block)
    return rows


@contextmanager
def _errors_named(path: Path, done: str, *errors: type[Exception]) -> Iterator[None]:
    """Turn errors of the operating system, of Arrow, and others with the file into sentences.

    Raises:
        InvalidRequestError: instead.
    """
    import pyarrow as pa

    try:
        yield
    except (OSError, pa.ArrowException, *errors) as error:
        why = NO_TEXT if isinstance(error, UnicodeDecodeError) else first_line(error)
        raise InvalidRequestError(f"{path} cannot be {done}: {why}.") from None
