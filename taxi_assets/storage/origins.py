"""The origin of a stored month file, in a small JSON file beside it: where its bytes came from.

Two files cannot be replaced at once. So the note is written before the month file is, and bears the
digest of the bytes in its name (``2023-03.source.<sha256>.json``): whatever happens in between, and
whoever else writes another, the file's own note is there.
"""

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

from taxi_assets.storage.files import Storage
from taxi_assets.storage.formats import Json
from taxi_assets.storage.layout import note
from taxi_assets.tlc.fetch import Origin, digest

SOURCE, STORED = "source.", "stored"
"""Notes beside a month file: where its bytes came from, and the store's version that has them."""


def stored_origin(storage: Storage, path: str) -> Origin | None:
    """The origin of the month file at ``path``; None if nothing, or something else, is there."""
    try:
        sha256 = _digest(storage, path)
    except OSError:
        return None
    origin = noted_origin(storage, path, sha256)
    return origin if origin and origin.sha256 == sha256 else None


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


def noted_origin(storage: Storage, path: str, sha256: str) -> Origin | None:
    """The origin of a month file whose digest begins so; without one, of the file that is stored.

    None if it is not noted, or not everything in the note is of its type.
    """
    if not sha256:
        return stored_origin(storage, path)
    try:
        origin = Origin(**Json().load(storage.open(note(path, f"{SOURCE}{sha256[:16]}"))))
    except (OSError, ValueError, TypeError):
        return None
    kinds = Origin.__annotations__.items()
    return origin if all(type(getattr(origin, name)) is kind for name, kind in kinds) else None


def _digest(storage: Storage, path: str) -> str:
    """The sha256 of a file, which is downloaded if no note says what its present version has.

    Raises:
        OSError: it cannot be read.
    """
    if storage.is_local:
        storage.open(path).close()  # Not a pipe, which would be waited for.
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
