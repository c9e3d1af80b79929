"""The origin of a stored month file, in a small JSON file beside it: ``2023-03.source.json``."""

import hashlib
import json
from dataclasses import asdict

from taxi_assets.storage.files import Storage
from taxi_assets.tlc.fetch import Origin


def read_origin(storage: Storage, path: str) -> Origin | None:
    """The origin of the month file stored at ``path``; None if either is missing or altered."""
    try:
        with storage.open(_beside(path)) as file:
            origin = Origin(**json.load(file))
        with storage.open(path) as file:
            sha256 = hashlib.file_digest(file, "sha256")  # type: ignore[arg-type]
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return origin if sha256.hexdigest() == origin.sha256 else None


def write_origin(storage: Storage, path: str, origin: Origin) -> None:
    """Keep the origin of the month file that has just been stored at ``path``."""
    with storage.replacing(_beside(path)) as temporary:
        temporary.write_text(json.dumps(asdict(origin), indent=2) + "\n", encoding="utf-8")


def _beside(path: str) -> str:
    return f"{path.removesuffix('.parquet')}.source.json"
