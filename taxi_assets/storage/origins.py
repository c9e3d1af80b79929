"""Month files on their way into the storage, and notes beside them of where their bytes came from.

Two files cannot be replaced at once. So the note is written before the month file is, and bears the
digest of the bytes in its name (``2023-03.source.<sha256>.json``): whatever happens in between, and
whoever else writes another, the file's own note is there.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import dagster as dg

from taxi_assets.storage.files import Storage
from taxi_assets.storage.formats import Json
from taxi_assets.storage.layout import note, stored_file
from taxi_assets.tlc.fetch import (
    FetchedMonth,
    Origin,
    TripSources,
    digest,
    fetch_month,
    refused_if_damaged,
)
from taxi_assets.tlc.fleets import Fleet
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.parquet import open_parquet
from taxi_assets.tlc.prefetch import Prefetch
from taxi_assets.tlc.source import Report

if TYPE_CHECKING:
    from taxi_assets.tlc.raw_summary import RawSummary

SOURCE, STORED = "source.", "stored"
"""Notes beside a month file: where its bytes came from, and the store's version that has them."""


class Incoming(NamedTuple):
    """A month's file, not stored yet or unchanged, and what is in it."""

    file: FetchedMonth
    summary: "RawSummary"


@contextmanager
def fetched_months(
    fleet: Fleet,
    months: Sequence[Month],
    trip_source: dg.ResourceParam[TripSources],
    storage: dg.ResourceParam[Storage],
) -> Iterator[Prefetch[Incoming]]:
    """Fetch and summarize months, each when the one before is taken.

    A fetch that fails does so when its month is taken.
    """
    source = trip_source.of(fleet)

    def path_for(_month: Month) -> Path:
        return storage.temporary_file(f"{fleet.name}/raw_trips")

    def fetch(month: Month, path: Path, report: Report) -> Incoming:
        from taxi_assets.tlc.raw_summary import summarize

        file = stored_file(fleet.name, "raw_trips", month)
        fetched = fetch_month(source, fleet, month, path, report, stored_origin(storage, file))
        with (
            refused_if_damaged(fetched.origin.location, fetched.path),
            open_parquet(fetched.path or storage.open(file)) as opened,
        ):
            return Incoming(fetched, summarize(opened, fleet, month))

    with closing(Prefetch(months, fetch, path_for)) as ahead:
        yield ahead


def announce_origin(storage: Storage, path: str, origin: Origin) -> None:
    """Note the origin of the month file that is about to be stored at ``path``."""
    _write(storage, note(path, f"{SOURCE}{origin.sha256[:16]}"), asdict(origin))


def note_version(storage: Storage, path: str, version: str | None, sha256: str) -> None:
    """Note which bytes a version of a remote file has, so that it is not downloaded to know."""
    if version and not storage.is_local:
        _write(storage, note(path, STORED), {"version": version, "sha256": sha256})


def _write(storage: Storage, path: str, value: dict[str, Any]) -> None:
    with storage.replacing(path) as temporary:
        Json().dump(value, temporary)


def stored_origin(storage: Storage, path: str) -> Origin | None:
    """The origin of the month file at ``path``; None if nothing, or something else, is there."""
    try:
        sha256 = _digest(storage, path)
    except OSError:
        return None
    origin = noted_origin(storage, path, sha256)
    return origin if origin and origin.sha256 == sha256 else None


def noted_origin(storage: Storage, path: str, sha256: str) -> Origin | None:
    """The origin of a month file whose digest begins so; without one, of the file that is stored.

    None if no readable note tells it.
    """
    if not sha256:
        return stored_origin(storage, path)
    try:
        return Origin(**Json().load(storage.open(note(path, f"{SOURCE}{sha256[:16]}"))))
    except (OSError, ValueError, TypeError):
        return None


def is_altered(storage: Storage, path: str) -> bool:
    """Whether the local month file at ``path`` has other bytes than those that were fetched.

    A file without a note of its origin counts as unaltered. So do all on object stores, which
    have checksums of their own.
    """
    folder, _, name = note(path, SOURCE).removesuffix(".json").rpartition("/")
    return (
        storage.is_local
        and storage.exists(path)
        and stored_origin(storage, path) is None
        and any(each.startswith(name) for each in storage.names(folder))
    )


def _digest(storage: Storage, path: str) -> str:
    """The sha256 of a file, which is downloaded if no note says what its present version has.

    Raises:
        OSError: it cannot be read.
    """
    if storage.is_local:
        return digest(Path(storage.full_path(path)))
    version = storage.version(path)
    try:
        noted = Json().load(storage.open(note(path, STORED)))
    except (OSError, ValueError):
        noted = {}
    if version and noted.get("version") == version:
        return str(noted.get("sha256"))
    with storage.open(path) as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    note_version(storage, path, version, sha256)
    return sha256
