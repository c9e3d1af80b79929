"""CSV files as TLC has published them over the years, and as others keep them: opened as columns.

Their headers differ in capitals and blanks from year to year (``Lpep_dropoff_datetime``), rows end
in more commas than the header (2016), and a blank line may follow it (2013).
"""

import csv
import gzip
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from taxi_assets.errors import MonthError, first_line
from taxi_assets.tlc.fleets import FLEETS, Fleet
from taxi_assets.tlc.foreign import describe_columns

if TYPE_CHECKING:
    import pyarrow as pa

GZIP = b"\x1f\x8b"

BLOCK_BYTES = 1 << 24
"""Bytes that are parsed at a time."""

MAX_HEADER = 1 << 16
"""Characters of the first lines, in which the header must be."""

DELIMITERS = ",;\t|"


class CsvError(MonthError):
    """A file is no CSV of a fleet's trips; the message says what it is."""


class CsvTrips:
    """A CSV file of trips.

    Attributes:
        path: the file, compressed by gzip or not.
        fleet: whose trips it has.
        columns: its columns; the needed ones by TLC's present names.
        skipped: rows with another number of values than the others, once all has been read.
    """

    def __init__(self, path: Path) -> None:
        """Read the header.

        Raises:
            CsvError: there is none with a fleet's columns.
        """
        self.path = path
        self.skipped = 0
        with self._errors_named(), self._open() as file:
            beginning = file.read(MAX_HEADER).decode("utf-8-sig", errors="replace")
        lines = beginning.splitlines()
        header, *rows = [line for line in lines if line.strip()] or [""]
        self._rows_begin = lines.index(header) + 1 if lines else 1
        self._delimiter = max(DELIMITERS, key=header.count)
        (names,) = csv.reader([header], delimiter=self._delimiter)
        self.fleet, self.columns = _recognise(path, [name.strip() for name in names])
        values = next(csv.reader(rows[:1], delimiter=self._delimiter), [])
        # What stands beyond the header has no name, and no meaning.
        self._names = [*self.columns, *(f"unnamed {n}" for n in range(len(names), len(values)))]

    def batches(
        self, columns: Sequence[str], progress: Callable[[int], object]
    ) -> "Iterator[pa.RecordBatch]":
        """The rows, a block at a time, as bytes.

        Args:
            columns: which columns.
            progress: told how many more bytes of the file have been read.

        Raises:
            CsvError: the file is damaged.
        """
        import pyarrow as pa
        from pyarrow import csv as arrow_csv

        self.skipped = 0
        with self._errors_named(), self.path.open("rb") as raw, ExitStack() as opened:
            file = pa.PythonFile(raw)
            if self._is_compressed():
                file = opened.enter_context(pa.CompressedInputStream(file, "gzip"))
            reader = arrow_csv.open_csv(
                file,
                arrow_csv.ReadOptions(
                    column_names=self._names, skip_rows=self._rows_begin, block_size=BLOCK_BYTES
                ),
                arrow_csv.ParseOptions(delimiter=self._delimiter, invalid_row_handler=self._skip),
                arrow_csv.ConvertOptions(
                    check_utf8=False,
                    column_types=dict.fromkeys(self._names, pa.binary()),
                    include_columns=list(columns),
                ),
            )
            at = 0
            for batch in reader:
                progress(raw.tell() - at)
                at = raw.tell()
                yield batch
            progress(self.path.stat().st_size - at)

    def _skip(self, _row: object) -> str:
        self.skipped += 1
        return "skip"

    def _is_compressed(self) -> bool:
        with self.path.open("rb") as file:
            return file.read(len(GZIP)) == GZIP

    def _open(self) -> BinaryIO:
        if self._is_compressed():
            return cast("BinaryIO", gzip.open(self.path))
        return self.path.open("rb")

    @contextmanager
    def _errors_named(self) -> Iterator[None]:
        """Name the file in what libraries and the operating system say of it."""
        import pyarrow as pa

        try:
            yield
        except (OSError, EOFError, pa.ArrowException) as error:
            raise CsvError(f"{self.path} cannot be read: {first_line(error)}.") from None


def _recognise(path: Path, names: list[str]) -> tuple[Fleet, list[str]]:
    """Whose columns these are, and what TLC calls them now.

    Raises:
        CsvError: nobody's.
    """
    present = {name.lower() for name in names}
    fleets = [fleet for fleet in FLEETS.values() if not fleet.invented]
    named = [fleet for fleet in fleets if fleet.pickup_time in present]
    fleet = next((f for f in named or fleets if f.name in path.name or named), fleets[0])
    known = {name.lower(): name for name in fleet.needed_columns}
    columns = [known.get(name.lower(), name) for name in names]
    missing = [name for name in fleet.needed_columns if columns.count(name) != 1]
    if missing:
        raise CsvError(
            f"{path} has no column {' or '.join(missing)}. {describe_columns(columns, fleet)}"
        )
    return fleet, columns
