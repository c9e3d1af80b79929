"""Where month files come from: a web server, a folder, any fsspec URL, or nowhere at all."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from taxi_assets.errors import MonthError
from taxi_assets.tlc.fleets import Fleet
from taxi_assets.tlc.months import Month

Report = Callable[[str], None]
"""Takes a line that tells a waiting person how far a fetch has come."""


class SourceError(MonthError):
    """The source does not give the month; the message says why and what to do."""


class TripSource(ABC):
    """Gives the month files of a fleet."""

    @abstractmethod
    def location(self, fleet: Fleet, month: Month) -> str:
        """Where the month's file is, for people to read."""

    @abstractmethod
    def fetch(self, fleet: Fleet, month: Month, path: Path, report: Report) -> None:
        """Write the month's file to ``path``, where there is nothing yet.

        Raises:
            SourceError: the source does not have the month, or cannot be reached.
        """


@dataclass(frozen=True)
class FetchedMonth:
    """A month's file, complete on the local disk.

    Attributes:
        path: where it is.
        location: where it came from.
        trips: number of rows, by the file's footer.
        size: in bytes.
        sha256: of its bytes, in hexadecimal.
    """

    path: Path
    location: str
    trips: int
    size: int
    sha256: str


def fetch_month(
    source: TripSource, fleet: Fleet, month: Month, path: Path, report: Report
) -> FetchedMonth:
    """Fetch a month's file to ``path`` and make sure that it is a Parquet file.

    Raises:
        SourceError: the source does not give the month, or gives something else; then nothing
            is left at ``path``.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    location = source.location(fleet, month)
    try:
        source.fetch(fleet, month, path, report)
        trips = pq.read_metadata(path).num_rows
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        return FetchedMonth(path, location, trips, path.stat().st_size, sha256)
    except pa.ArrowInvalid as error:
        path.unlink(missing_ok=True)
        raise SourceError(
            f"{location} is not a complete Parquet file ({error}). Run the month again; if it "
            "stays so, check TAXI_TRIP_SOURCE."
        ) from error
    except BaseException:
        path.unlink(missing_ok=True)
        raise


@dataclass(frozen=True)
class FileSource(TripSource):
    """A folder of month files, local or at any fsspec URL such as ``s3://bucket/prefix``."""

    url: str

    def location(self, fleet: Fleet, month: Month) -> str:
        """The file's URL, or its path in a local folder."""
        return f"{self.url.rstrip('/')}/{fleet.file_name(month)}"

    def fetch(self, fleet: Fleet, month: Month, path: Path, report: Report) -> None:
        """Copy the file."""
        import fsspec

        location = self.location(fleet, month)
        try:
            file_system, remote_path = fsspec.url_to_fs(location)
            file_system.get_file(remote_path, str(path))
        except FileNotFoundError:
            raise SourceError(
                f"{location} does not exist. Choose a month that the source has, or set "
                "TAXI_TRIP_SOURCE to another source."
            ) from None
        except (OSError, ValueError, ImportError) as error:
            raise SourceError(
                f"{location} cannot be read ({error}). Check TAXI_TRIP_SOURCE."
            ) from error


@dataclass(frozen=True)
class SyntheticSource(TripSource):
    """Months made up on the spot."""

    trips: int

    def location(self, fleet: Fleet, month: Month) -> str:
        """What the month is made from."""
        return f"synthetic ({fleet.name}, {month}, {self.trips:,} trips)"

    def fetch(self, fleet: Fleet, month: Month, path: Path, report: Report) -> None:
        """Make the month."""
        from taxi_assets.tlc.synthetic import write_month

        write_month(path, fleet, month, self.trips)


def trip_source(location: str, synthetic_trips: int) -> TripSource:
    """The source at ``location``: ``synthetic``, a base URL, a folder or an fsspec URL."""
    from taxi_assets.tlc.download import HttpSource

    if location == "synthetic":
        return SyntheticSource(synthetic_trips)
    if location.startswith(("http://", "https://")):
        return HttpSource(location)
    return FileSource(location)
