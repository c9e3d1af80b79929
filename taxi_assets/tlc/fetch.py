"""Fetching a month's file, unless the one that is stored is still the source's."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from taxi_assets.errors import writing_to
from taxi_assets.tlc.fleets import Fleet
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.parquet import NoParquetError, ParquetError, open_parquet
from taxi_assets.tlc.sniffing import BEGINNING, describe_file
from taxi_assets.tlc.source import (
    FileSource,
    Report,
    SourceError,
    SyntheticSource,
    TripSource,
)


@dataclass(frozen=True)
class Origin:
    """A month file and where it came from.

    Attributes:
        location: of the file at its source.
        version: what the source says of the file that changes whenever the file does; empty if
            the source says nothing of the kind.
        trips: number of rows, by the file's footer.
        size: in bytes.
        sha256: of its bytes, in hexadecimal.
    """

    location: str
    version: str
    trips: int
    size: int
    sha256: str


@dataclass(frozen=True)
class FetchedMonth:
    """A month's file on the local disk; no path where the stored file is still the source's."""

    origin: Origin
    path: Path | None


@dataclass(frozen=True)
class TripSources:
    """The source of each fleet's months.

    Attributes:
        location: a base URL, a folder or an fsspec URL with the months that TLC has published.
        synthetic_trips: trips in a synthetic month.
    """

    location: str = field(repr=False)
    synthetic_trips: int

    def of(self, fleet: Fleet) -> TripSource:
        """The source of a fleet's months."""
        if fleet.invented:
            return SyntheticSource(self.synthetic_trips)
        if self.location.startswith(("http://", "https://")):
            from taxi_assets.tlc.http import HttpSource

            return HttpSource(self.location)
        return FileSource(self.location)


def fetch_month(
    source: TripSource,
    fleet: Fleet,
    month: Month,
    path: Path,
    report: Report,
    stored: Origin | None = None,
) -> FetchedMonth:
    """Fetch a month's file to ``path`` and make sure that it is a Parquet file.

    Args:
        source: where from.
        fleet: whose file.
        month: which month's.
        path: where to; nothing is there yet, and nothing is left there on failure.
        report: told how it goes.
        stored: the origin of the file that is stored; it is not fetched again while the source
            still has the same version of it.

    Raises:
        SourceError: the source does not give the month, or gives something else.
        StorageError: the file cannot be written to ``path``.
    """
    location = source.location(fleet, month)
    comparable = stored is not None and stored.location == location and stored.version
    if stored and comparable and source.version(fleet, month) == stored.version:
        report("unchanged at the source, not fetched again")
        return FetchedMonth(stored, None)
    with refused_if_damaged(location, path), writing_to(str(path.parent)):
        version = source.fetch(fleet, month, path, report)
        with open_parquet(path) as month_file:
            trips = month_file.metadata.num_rows
        origin = Origin(location, version, trips, path.stat().st_size, digest(path))
        return FetchedMonth(origin, path)


@contextmanager
def refused_if_damaged(location: str, path: Path | None) -> Iterator[None]:
    """Remove a fetched file if a block fails, in which it is looked at.

    Raises:
        SourceError: the file is damaged, or something else than a Parquet file.
    """
    try:
        yield
    except BaseException as error:
        if path and isinstance(error, NoParquetError):
            with path.open("rb") as file:
                what = describe_file(file.read(BEGINNING), path.stat().st_size)
        else:
            what = f"is {error}. Run the month again; if it stays so, check TAXI_TRIP_SOURCE."
        if path:
            path.unlink(missing_ok=True)
        if not isinstance(error, ParquetError):
            raise
        raise SourceError(f"{location} {what}") from None


def digest(path: Path) -> str:
    """The sha256 of a local file's bytes, in hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
