"""The origin of a stored month file, in a small JSON file beside it: ``2023-03.source.json``."""

import hashlib
import json
from dataclasses import asdict

from taxi_assets.storage.files import Storage
from taxi_assets.tlc.fetch import Origin


def read_origin(storage: Storage, path: str) -> Origin | None:
    """The origin of the month file stored at ``path``, if it is known."""
    try:
        with storage.open(_beside(path)) as file:
            return Origin(**json.load(file))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def is_unaltered(storage: Storage, path: str) -> bool:
    """Whether a month file is stored at ``path`` and is, byte for byte, what was fetched."""
    origin = read_origin(storage, path)
    if origin is None or not storage.exists(path):
        return False
    with storage.open(path) as file:
        digest = hashlib.file_digest(file, "sha256")  # type: ignore[arg-type]
    return digest.hexdigest() == origin.sha256


def write_origin(storage: Storage, path: str, origin: Origin) -> None:
    """Keep the origin of the month file that has just been stored at ``path``."""
    with storage.replacing(_beside(path)) as temporary:
        temporary.write_text(json.dumps(asdict(origin), indent=2) + "\n", encoding="utf-8")


def _beside(path: str) -> str:
    return f"{path.removesuffix('.parquet')}.source.json"
