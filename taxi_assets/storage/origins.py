"""The origin of a stored month file, in a small JSON file beside it: ``2023-03.source.json``.

Two files cannot be replaced at once. So the new origin is noted before the month file is replaced,
and the old one stays noted with it: whatever happens in between, the file's is among them, and its
sha256 says which.
"""

import hashlib
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path

from taxi_assets.storage.files import Storage
from taxi_assets.storage.formats import Json
from taxi_assets.tlc.fetch import Origin

NOTED = 5
"""Origins that are kept of a month file at most."""


def stored_origin(storage: Storage, path: str) -> Origin | None:
    """The origin of the month file at ``path``; None if nothing, or something else, is there."""
    origins = _read(storage, path)
    try:
        if not origins or not storage.exists(path):
            return None
        digest = _digest(storage, path)
    except OSError:
        return None
    return next((origin for origin in origins if origin.sha256 == digest), None)


def noted_origin(storage: Storage, path: str) -> Origin | None:
    """The newest origin noted for ``path``, without a look at the file."""
    return next(iter(_read(storage, path)), None)


def is_altered(storage: Storage, path: str) -> bool:
    """Whether the local month file at ``path`` has other bytes than those that were fetched.

    A file without a note of its origin counts as unaltered. So do all on object stores, which
    have checksums of their own.
    """
    return (
        storage.is_local
        and bool(_read(storage, path))
        and storage.exists(path)
        and stored_origin(storage, path) is None
    )


def announce_origin(storage: Storage, path: str, origin: Origin) -> None:
    """Note the origin of the month file that is about to be stored at ``path``."""
    # Also those that other runs have announced meanwhile, and may still be about to store.
    stored, announced = stored_origin(storage, path), _read(storage, path)
    origins = dict.fromkeys([origin, *([stored] if stored else []), *announced])
    with storage.replacing(_beside(path)) as temporary:
        Json().dump({"origins": [asdict(noted) for noted in list(origins)[:NOTED]]}, temporary)


def _read(storage: Storage, path: str) -> list[Origin]:
    try:
        noted = [Origin(**origin) for origin in Json().load(storage.open(_beside(path)))["origins"]]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return []
    return [origin for origin in noted if _is_sound(origin)]


def _is_sound(origin: Origin) -> bool:
    """Whether everything in a note is of its type; anybody could have written it."""
    texts = (origin.location, origin.version, origin.sha256)
    numbers = (origin.trips, origin.size)
    return all(isinstance(text, str) for text in texts) and all(type(n) is int for n in numbers)


def _digest(storage: Storage, path: str) -> str:
    full_path = storage.full_path(path)
    if storage.is_local:
        storage.open(path).close()  # Not a pipe, which would be waited for.
        status = Path(full_path).stat()
        return _local_digest(full_path, status.st_mtime_ns, status.st_size, status.st_ino)
    return _remote_digest(storage, path, storage.version(path))


@lru_cache(maxsize=16)
def _remote_digest(storage: Storage, path: str, _version: object) -> str:
    """As for a local file; here it would be downloaded each time."""
    with storage.open(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


@lru_cache(maxsize=16)
def _local_digest(full_path: str, *_version: int) -> str:
    """The sha256 of a file; a month's file is asked for several times in a run."""
    with Path(full_path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _beside(path: str) -> str:
    return f"{path.removesuffix('.parquet')}.source.json"
