"""Anybody's trips, from a CSV or Parquet file, a block of rows at a time; answers beside them."""

import csv
import gzip
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taxi_assets.durations.answers import band_of, number
from taxi_assets.durations.predictions import MINUTES
from taxi_assets.errors import first_line
from taxi_assets.serving.questions import QuestionError
from taxi_assets.tlc.clock import read_times
from taxi_assets.tlc.fleets import DROPOFF_ZONE, FLEETS, PICKUP_ZONE
from taxi_assets.tlc.parquet import ParquetError, open_parquet
from taxi_assets.tlc.readings import plain, show
from taxi_assets.tlc.zone_ids import read_zone_ids
from taxi_assets.tlc.zones import LAST_ZONE

if TYPE_CHECKING:
    import pyarrow as pa

    from taxi_assets.tracking.served import TripDuration

TIMES = ("pickup_datetime", *dict.fromkeys(fleet.pickup_time for fleet in FLEETS.values()))
"""What a file may call the time at which a trip begins."""

BLOCK_ROWS = 100_000


class OwnTrips:
    """A file of trips.

    Attributes:
        rows: number of them; None for CSV, of which it shows at the end.
        columns: those that are asked about: two zones and, where there is one, a time.
    """

    def __init__(self, path: Path) -> None:
        """Open the file.

        Raises:
            QuestionError: it is none, or has no zones.
        """
        self.path = path
        self._is_parquet = path.suffix == ".parquet"
        self.rows: int | None = None
        with self._errors_named():
            if self._is_parquet:
                with open_parquet(path.open("rb")) as opened:
                    names = opened.schema_arrow.names
                    self.rows = opened.metadata.num_rows
            else:
                with self._text() as lines:
                    names = next(csv.reader(lines), [])
        known = {name.strip().casefold(): name for name in names}
        missing = [zone for zone in (PICKUP_ZONE, DROPOFF_ZONE) if zone.casefold() not in known]
        if missing:
            raise QuestionError(
                f"{path} has no column {' or '.join(missing)}; it has {', '.join(names[:20])}."
            )
        times = [known[name] for name in TIMES if name in known]
        self.columns = [
            *(known[zone.casefold()] for zone in (PICKUP_ZONE, DROPOFF_ZONE)),
            *times[:1],
        ]
        self._places = [names.index(name) for name in self.columns]

    def blocks(self) -> "Iterator[pa.RecordBatch]":
        """The rows' zones and times, as the file has them.

        Raises:
            QuestionError: the file is damaged.
        """
        import pyarrow as pa

        with self._errors_named():
            if self._is_parquet:
                with open_parquet(self.path.open("rb")) as opened:
                    yield from opened.iter_batches(BLOCK_ROWS, columns=self.columns)
                return
            with self._text() as lines:
                rows = csv.reader(lines)
                next(rows, None)
                while block := list(islice((row for row in rows if row), BLOCK_ROWS)):
                    columns = [
                        pa.array([row[at] if at < len(row) else None for row in block], pa.string())
                        for at in self._places
                    ]
                    yield pa.RecordBatch.from_arrays(columns, self.columns)

    @contextmanager
    def _text(self) -> Iterator[Any]:
        opens = gzip.open if self.path.suffix == ".gz" else open
        with opens(self.path, "rt", encoding="utf-8-sig", errors="replace", newline="") as lines:
            yield lines

    @contextmanager
    def _errors_named(self) -> Iterator[None]:
        import pyarrow as pa

        try:
            yield
        except (OSError, EOFError, csv.Error, ParquetError, pa.ArrowException) as error:
            raise QuestionError(f"{self.path} cannot be read: {first_line(error)}.") from None


def answer_block(
    block: "pa.RecordBatch", model: "TripDuration"
) -> "tuple[pa.RecordBatch, dict[int, str]]":
    """Answer a block's rows.

    Args:
        block: two zones and, where there is one, a time.
        model: answers.

    Returns:
        The block with ``minutes``, ``minutes_p10`` and ``minutes_p90`` (float32), null for rows
        that cannot be answered; and why those cannot, by their places in the block.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    size = len(block)
    bad: dict[int, str] = {}
    zones = []
    for name, column in zip(block.schema.names[:2], block.columns[:2], strict=True):
        ids = read_zone_ids(column).values
        inside = pc.and_(pc.greater_equal(ids, 1), pc.less_equal(ids, LAST_ZONE))
        valid = np.asarray(pc.fill_null(inside, False))
        _explain(bad, name, column, ~valid, f"is no zone from 1 to {LAST_ZONE}")
        zones.append(np.where(valid, np.asarray(pc.fill_null(ids, 0)), 1))
    known, bands = np.zeros(size, bool), np.zeros(size, np.int64)
    if len(block.columns) > len(zones):
        name, column = block.schema.names[2], block.columns[2]
        read = read_times(column)
        known = np.asarray(pc.is_valid(read.values))
        if read.unreadable:
            lost = ~known & ~np.asarray(pc.is_null(plain(column)))
            _explain(bad, name, column, lost, "is no time")
        days = pc.multiply(pc.day_of_week(read.values), 24)
        hours = pc.add(days, pc.hour(read.values))
        bands = band_of(np.asarray(pc.fill_null(hours, 0)))
    pickup, dropoff = zones
    answers = model.answer(number(pickup, dropoff, bands), known)
    empty = np.zeros(size, bool)
    empty[list(bad)] = True
    columns = [pa.array(values, pa.float32(), mask=empty) for values in answers]
    return pa.RecordBatch.from_arrays(
        [*block.columns, *columns], [*block.schema.names, *MINUTES]
    ), bad


def _explain(bad: dict[int, str], name: str, column: "pa.Array", rows: Any, why: str) -> None:
    for row in rows.nonzero()[0].tolist():
        bad.setdefault(row, f"{name} {show(column[row])} {why}")


@contextmanager
def written_whole(path: Path, columns: "Sequence[tuple[str, pa.DataType]]") -> Iterator[Any]:
    """A writer of blocks to a Parquet or CSV file, which is there when all are, or not at all.

    Raises:
        QuestionError: nothing can be written there.
    """
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq

    schema = pa.schema(columns)
    if path.suffix not in (".csv", ".parquet"):
        raise QuestionError(f"{path} is to end in .csv or .parquet.")
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise QuestionError(f"Nothing can be written to {path}: {error.strerror}.") from None
    try:
        if path.suffix == ".csv":
            writer: Any = pyarrow.csv.CSVWriter(temporary, schema)
        else:
            writer = pq.ParquetWriter(temporary, schema, compression="zstd")
        with writer:
            yield writer
        mask = os.umask(0)
        os.umask(mask)
        Path(temporary).chmod(0o666 & ~mask)  # As any file; temporary ones are their owner's.
        Path(temporary).replace(path)
    except OSError as error:
        raise QuestionError(f"{path} cannot be written: {first_line(error)}.") from None
    finally:
        with suppress(FileNotFoundError):
            Path(temporary).unlink()
