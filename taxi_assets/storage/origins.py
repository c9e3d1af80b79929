"""The origin of a stored month file, in a small JSON file beside it: where its bytes came from.

Two files cannot be replaced at once. So the note is written before the month file is, and bears the
digest of the bytes in its name (``2023-03.source.<sha256>.json``): whatever happens in between, and
whoever else writes another, the file's own note is there.
"""

import hashlib
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path

from taxi_assets.storage import layout
from taxi_assets.storage.files import Storage
from taxi_assets.storage.formats import Json
from taxi_assets.tlc.fetch import Origin, digest


def stored_origin(storage: Storage, path: str) -> Origin | None:
    """The origin of the month file at ``path``; None if nothing, or something else, is there."""
    try:
        digest = _digest(storage, path) if storage.exists(path) else None
    except OSError:
        return None
    origin = digest and _read(storage, layout.origin_note(path, digest))
    return origin if origin and origin.sha256 == digest else None


def is_altered(storage: Storage, path: str) -> bool:
    """Whether the local month file at ``path`` has other bytes than those that were fetched.

    A file without a note of its origin counts as unaltered. So do all on object stores, which
    have checksums of their own.
    """
    return (
        storage.is_local
        and storage.exists(path)
        and stored_origin(storage, path) is None
        and bool(layout.origin_notes(path, storage.names(layout.folder(path))))
    )


def announce_origin(storage: Storage, path: str, origin: Origin) -> None:
    """Note the origin of the month file that is about to be stored at ``path``."""
    _write(storage, layout.origin_note(path, origin.sha256), origin)


def noted_origin(storage: Storage, path: str, sha256: str | None) -> Origin | None:
    """The origin of a month file at ``path`` whose digest begins so, as far as it is noted.

    Records of earlier releases do not say the digest: then, that of the file that is stored.
    """
    if not sha256:
        return stored_origin(storage, path)
    return _read(storage, layout.origin_note(path, sha256))


def _write(storage: Storage, path: str, origin: Origin) -> None:
    with storage.replacing(path) as temporary:
        Json().dump(asdict(origin), temporary)


def _read(storage: Storage, path: str) -> Origin | None:
    try:
        origin = Origin(**Json().load(storage.open(path)))
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    return origin if _is_sound(origin) else None


def _is_sound(origin: Origin) -> bool:
    """Whether everything in a note is of its type; anybody could have written it."""
    texts = (origin.location, origin.version, origin.sha256)
    numbers = (origin.trips, origin.size)
    return all(isinstance(text, str) for text in texts) and all(type(n) is int for n in numbers)


def _digest(storage: Storage, path: str) -> str:
    if storage.is_local:
        storage.open(path).close()  # Not a pipe, which would be waited for.
        return digest(Path(storage.full_path(path)))
    return _remote_digest(storage, path, storage.version(path))


@lru_cache(maxsize=16)
def _remote_digest(storage: Storage, path: str, _version: object) -> str:
    """The sha256 of a file elsewhere, which is downloaded once for each of its versions."""
    with storage.open(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
