"""Where month files come from: a web server, a folder, any fsspec URL, or nowhere at all."""

import errno
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taxi_assets.errors import MonthError, OutageError, ServiceError, mask
from taxi_assets.tlc.fleets import Fleet
from taxi_assets.tlc.months import Month

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fsspec import AbstractFileSystem

DISK_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
"""What the operating system says of the place that is written to, never of a source."""

CONNECTION_ERRORS = {
    "ConnectionError",
    "TimeoutError",
    "HTTPClientError",  # botocore's, for S3.
    "ClientConnectionError",  # aiohttp's, for Google's.
    "ServiceRequestError",  # azure-core's.
    "ServiceResponseError",
}
"""Python's, and those of stores' libraries that do not derive from these."""

Report = Callable[[str], None]
"""Takes a line that tells a waiting person how far a fetch has come."""


class SourceError(MonthError):
    """The source does not give the month; the message says why and what to do."""


class BusySourceError(SourceError):
    """The source asks to be left alone for a while, or has a fault of its own."""


class UnreachableSourceError(SourceError, ServiceError):
    """The source does not answer at all, whatever the month."""


class SourceOutageError(UnreachableSourceError, OutageError):
    """The source does not answer, and may do so again in a moment."""


class TripSource(ABC):
    """Gives the month files of a fleet."""

    @abstractmethod
    def location(self, fleet: Fleet, month: Month) -> str:
        """Where the month's file is, for people to read: passwords and tokens are masked."""

    @abstractmethod
    def version(self, fleet: Fleet, month: Month) -> str:
        """What changes whenever the month's file does: an ETag, or size and time of change.

        It is empty if the source says nothing of the kind.

        Raises:
            SourceError: the source does not have the month, or cannot be reached.
        """

    @abstractmethod
    def fetch(self, fleet: Fleet, month: Month, path: Path, report: Report) -> str:
        """Write the month's file to ``path``, where there is nothing yet; return its version.

        Raises:
            SourceError: the source does not have the month, or cannot be reached.
        """


@dataclass(frozen=True)
class FileSource(TripSource):
    """A folder of month files, local or at any fsspec URL such as ``s3://bucket/prefix``."""

    url: str = field(repr=False)

    def location(self, fleet: Fleet, month: Month) -> str:
        """The file's URL, or its path in a local folder."""
        return mask(self._file(fleet, month))

    def version(self, fleet: Fleet, month: Month) -> str:
        """The ETag where the file system has one, else the time of change; and the size."""
        with _explained(self._file(fleet, month)) as (file_system, path):
            return file_version(file_system.info(path))

    def fetch(self, fleet: Fleet, month: Month, path: Path, report: Report) -> str:
        """Copy the file."""
        with _explained(self._file(fleet, month)) as (file_system, source_path):
            info = file_system.info(source_path)
            if info.get("type") == "directory":
                raise SourceError(
                    f"{self.location(fleet, month)} is a folder, not a file. Where Spark or Dask "
                    "wrote it, make one file of its parts: "
                    "pandas.read_parquet(FOLDER).to_parquet(FILE)."
                )
            version = file_version(info)
            file_system.get_file(source_path, str(path))
            if file_version(file_system.info(source_path)) != version:
                raise SourceError(
                    f"{self.location(fleet, month)} changed while it was read. Run the month again."
                )
            return version

    def _file(self, fleet: Fleet, month: Month) -> str:
        return f"{self.url.rstrip('/')}/{fleet.file_name(month)}"


@contextmanager
def _explained(location: str) -> "Iterator[tuple[AbstractFileSystem, str]]":
    """The file system of a location and the path in it; what fails in the block is explained."""
    import fsspec

    try:
        # Without its cache of listings, in which a month that is published later would be missing.
        yield fsspec.url_to_fs(location, use_listings_cache=False)
    except MonthError:
        raise
    except FileNotFoundError:
        raise SourceError(
            f"{mask(location)} does not exist. Choose a month that the source has, or set "
            "TAXI_TRIP_SOURCE to another source."
        ) from None
    except Exception as error:
        if isinstance(error, OSError) and error.errno in DISK_FAULTS:
            raise
        # Every file system has a library of its own, which raises what it likes.
        names = {kind.__name__ for kind in type(error).__mro__}
        raise (SourceOutageError if names & CONNECTION_ERRORS else SourceError)(
            f"{mask(location)} cannot be read ({type(error).__name__}: {mask(str(error))}). "
            "Check TAXI_TRIP_SOURCE."
        ) from None


def file_version(info: Mapping[str, Any]) -> str:
    """What changes whenever a file does, by fsspec's description; empty if the store says nothing.

    It is the object store's ETag, or the time of change, and the size; each store writes them its
    own way.
    """
    values = {name.lower().replace("_", ""): value for name, value in info.items()}
    changed = values.get("etag") or values.get("mtime") or values.get("lastmodified")
    return f"{changed}, {info['size']} bytes" if changed else ""


@dataclass(frozen=True)
class SyntheticSource(TripSource):
    """Months made up on the spot, for fleets that nobody has ever seen."""

    trips: int

    def location(self, fleet: Fleet, month: Month) -> str:
        """What the month is made from."""
        return f"synthetic ({month}, {self.trips:,} trips)"

    def version(self, fleet: Fleet, month: Month) -> str:
        """That of the generator; the month and the number of trips are part of the location."""
        from taxi_assets.tlc.synthetic import GENERATOR_VERSION

        return GENERATOR_VERSION

    def fetch(self, fleet: Fleet, month: Month, path: Path, report: Report) -> str:
        """Make the month."""
        from taxi_assets.tlc.synthetic import write_month

        write_month(path, fleet, month, self.trips)
        return self.version(fleet, month)
