"""The origin of a stored month file, in a small JSON file beside it: ``2023-03.source.json``.

Two files cannot be replaced at once. So the new origin is noted before the month file is replaced,
and the old one stays noted with it: whatever happens in between, the file's is among them, and its
sha256 says which.
"""

import hashlib
import json
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path

from taxi_assets.storage.files import Storage
from taxi_assets.storage.formats import Json
from taxi_assets.tlc.fetch import Origin


def stored_origin(storage: Storage, path: str) -> Origin | None:
    """The origin of the month file at ``path``; None if nothing, or something else, is there."""
    origins = _read(storage, path)
    if not origins or not storage.exists(path):
        return None
    digest = _digest(storage, path)
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
    stored = stored_origin(storage, path)
    origins = [origin] if stored in (None, origin) else [origin, stored]
    with storage.replacing(_beside(path)) as temporary:
        text = json.dumps([asdict(noted) for noted in origins if noted], indent=2)
        temporary.write_text(text + "\n", encoding="utf-8")


def _read(storage: Storage, path: str) -> list[Origin]:
    try:
        noted = Json().load(storage.open(_beside(path)))
        return [Origin(**origin) for origin in noted]
    except (OSError, ValueError, TypeError, RecursionError):
        return []


def _digest(storage: Storage, path: str) -> str:
    full_path = storage.full_path(path)
    if storage.is_local:
        status = Path(full_path).stat()
        return _local_digest(full_path, status.st_mtime_ns, status.st_size, status.st_ino)
    with storage.open(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


@lru_cache(maxsize=16)
def _local_digest(full_path: str, *_version: int) -> str:
    """The sha256 of a file; a month's file is asked for several times in a run."""
    with Path(full_path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _beside(path: str) -> str:
    return f"{path.removesuffix('.parquet')}.source.json"
