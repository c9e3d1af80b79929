"""Batch scoring: all trips of a CSV or Parquet file, and the answers beside its own columns."""

import csv
import gzip
import re
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

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

OTHER_TIMES = re.compile(r"at|[tl]pep_.*")
"""Columns that may hold a trip's time under another name, in small letters."""

WITHOUT_ZONE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9:.]+$"
"""A time as text, with neither ``Z`` nor an offset from UTC."""

BLOCK_ROWS = 100_000

BLOCK_CELLS = 1_000_000
"""Of CSV, so that a table of many columns needs no more memory."""

BLOCK_BYTES = 96 << 20
"""The most that a block of CSV may have: a hundred bytes a cell."""

LINE_BYTES = 1 << 18
"""The most that the header may have; twice as much is an endless line wherever it is."""

FORMULA = r"^[=+\-@\x00-\x1f\x7f]"
"""Text that a spreadsheet may run, unless it is a number; source: OWASP, CSV Injection."""

NUMBER = r"^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$"

NO_TEXT = "it is neither Parquet nor CSV (text in UTF-8, perhaps compressed by gzip)"

MAX_NAMES = 500
"""Characters of columns' names in a message."""

SHOWN = 20
"""Rows without an answer that are shown."""


def predict_file(serving: "Serving", path: Path, output: Path) -> None:
    """Answer for each row of a file, and say which could not be.

    Args:
        serving: the version that answers.
        path: a Parquet or CSV file (UTF-8, perhaps compressed by gzip) with ``PULocationID``,
            ``DOLocationID`` and, where the hour is to count, ``pickup_datetime``.
        output: a Parquet or CSV file for all its columns, ``minutes``, ``minutes_p10`` and
            ``minutes_p90``; it is there when all rows are answered, or not at all.

    Raises:
        InvalidRequestError: the file cannot be read, or the answers cannot be written.
    """
    if output.suffix not in (".csv", ".parquet"):
        raise InvalidRequestError(f"{output} is to end in .csv or .parquet.")
    with suppress(OSError):
        if output.samefile(path):
            raise InvalidRequestError(f"{output} has the trips. Name another file for the answers.")
    bad: dict[int, str] = {}
    rows = _write(output, _answered(path, serving.model, bad), path.name)
    for row, why in sorted(bad.items())[:SHOWN]:
        print(f"row {row}: {why}; left empty", file=sys.stderr)
    if len(bad) > SHOWN:
        print(f"and {len(bad) - SHOWN:,} more rows", file=sys.stderr)
    version = serving.version
    print(
        f"{output}: {rows - len(bad):,} of {rows:,} trips answered by {version}, version "
        f"{version.number}"
    )


def _answered(path: Path, model: "TripDuration", bad: dict[int, str]) -> "Iterator[pa.RecordBatch]":
    """The file's blocks with answers; ``bad`` gets the rows without, by number, and why."""
    done = 0
    for block in _read(path):
        answered, reasons = _answer(block, _places(path, block.schema.names), model)
        bad |= {done + row + 1: why for row, why in reasons.items()}
        done += len(block)
        yield answered


def _read(path: Path) -> "Iterator[pa.RecordBatch]":
    """The file's rows, block by block, and at least one block; CSV has text in all columns."""
    import pandas as pd
    import pyarrow as pa

    theirs = (EOFError, ValueError, csv.Error, zlib.error)
    with _errors_named(path, "read", *theirs), path.open("rb") as file:
        beginning = file.peek(4)
        if beginning.startswith(b"PAR1"):
            month = open_parquet(file)
            yield pa.RecordBatch.from_pylist([], month.schema_arrow.remove_metadata())
            yield from month.iter_batches(BLOCK_ROWS)
            return
        text = _Text(gzip.GzipFile(fileobj=file) if beginning.startswith(b"\x1f\x8b") else file)
        names = next(csv.reader([text.header.decode("utf-8-sig")]), [])
        places = len(names) + 1
        frames = pd.read_csv(
            text,
            header=None,
            skiprows=1,
            # One more shows what a row has beyond the header, which pandas drops here and there.
            names=range(places),
            index_col=False,
            dtype=str,
            na_filter=False,
            chunksize=max(1, min(BLOCK_ROWS, BLOCK_CELLS // places)),
        )
        for frame in frames:
            text.left = BLOCK_BYTES
            *columns, beyond = (frame[place] for place in frame)
            for row in frame.index[beyond != ""]:
                raise ValueError(f"row {row + 1} has more values than the header")
            values = [pa.array(column, pa.string()) for column in columns]
            yield pa.RecordBatch.from_arrays(values, names)


class _Text:
    """CSV for pandas, which by itself reads an endless line as long as there is memory.

    Attributes:
        header: the first line, which can be read again.
        left: bytes that may still be read for a block of rows.
    """

    def __init__(self, file: Any) -> None:
        self._file = file
        self.left = BLOCK_BYTES
        self.header = self._again = self._checked(file.readline(LINE_BYTES), LINE_BYTES)

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes; pandas asks for 256 kB.

        Raises:
            ValueError: they are no text, or there are too many for the rows of a block.
        """
        piece, self._again = self._again or self._file.read(size), b""
        return self._checked(piece, size)

    def _checked(self, piece: bytes, size: int) -> bytes:
        self.left -= len(piece)
        if b"\0" in piece:
            raise ValueError(NO_TEXT)
        if self.left < 0 or (len(piece) == size and b"\n" not in piece):
            raise ValueError("it has a line or a quoted value that does not end")
        return piece


def _places(path: Path, names: Sequence[str]) -> list[int]:
    """Where the pick-up zone, the drop-off zone and, if there is one, the time are.

    Raises:
        InvalidRequestError: one is missing or there twice, or a time has another name.
    """
    known = [name.strip().casefold() for name in names]
    times: tuple[str, ...] = ()
    for fleet in FLEETS.values():
        if {name.casefold() for name in fleet.needed_columns} <= {*known}:
            # The file is TLC's own.
            times = times or (fleet.pickup_time, fleet.dropoff_time)
    others = [name for name in known if OTHER_TIMES.fullmatch(name) and name not in times]
    if others:
        raise InvalidRequestError(
            f"{path} has a time under another name: {', '.join(others)[:MAX_NAMES]}. Name the "
            f"time of the pick-up {PICKUP_TIME}, and leave out the others."
        )
    given = [name for name in (PICKUP_TIME, *times[:1]) if name in known]
    needed = [PICKUP_ZONE, DROPOFF_ZONE, *given[:1]]
    for name in needed:
        if known.count(name.casefold()) != 1:
            shown = ", ".join(names)[:MAX_NAMES]
            raise InvalidRequestError(
                f"{path} is to have one column {name}; its columns are: {shown}."
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
            here = pc.match_substring_regex(given, WITHOUT_ZONE)
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


def _write(path: Path, blocks: "Iterator[pa.RecordBatch]", label: str) -> int:
    """Write blocks to a file, which is there when all are, or not at all; return their rows.

    Raises:
        InvalidRequestError: nothing can be written there.
    """
    import pyarrow.csv
    import pyarrow.parquet as pq

    open_writer = pq.ParquetWriter
    if path.suffix == ".csv":
        open_writer, blocks = pyarrow.csv.CSVWriter, map(_harmless, blocks)
    first = next(blocks)
    rows = 0
    with (
        _errors_named(path, "written"),
        replacing(path) as temporary,
        open_writer(str(temporary), first.schema) as writer,
        click.progressbar(chain([first], blocks), label=label, file=sys.stderr) as bar,
    ):
        for block in bar:
            writer.write_batch(block)
            rows += len(block)
    return rows


def _harmless(block: "pa.RecordBatch") -> "pa.RecordBatch":
    """The block for CSV: text that a spreadsheet would run begins with ``'``, so that none does."""
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import types

    def quoted(column: "pa.Array") -> "pa.Array":
        if types.is_dictionary(column.type):
            column = column.dictionary_decode()
        if not is_text(column.type):
            return column
        text = column.cast(pa.string())
        formulas = pc.match_substring_regex(text, FORMULA)
        runs = pc.and_not(formulas, pc.match_substring_regex(text, NUMBER))
        return pc.if_else(runs, pc.binary_join_element_wise("'", text, ""), text)

    names = quoted(pa.array(block.schema.names)).to_pylist()
    return pa.RecordBatch.from_arrays([quoted(column) for column in block.columns], names)


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
