"""The pictures of the stored months: ``<fleet>/pictures/2023-03/durations.png``."""

import base64
from collections.abc import Mapping, Sequence

import dagster as dg

from taxi_assets.storage.files import Storage
from taxi_assets.storage.layout import picture_file
from taxi_assets.tlc.fleets import Fleet
from taxi_assets.tlc.months import Month


class Gallery:
    """Keeps pictures (PNG) by month and name."""

    def __init__(self, storage: Storage, fleet: Fleet, month: Month) -> None:
        self._storage = storage
        self._fleet = fleet
        self._month = month

    def add(self, pictures: Mapping[str, bytes]) -> dict[str, dg.MetadataValue]:
        """Store pictures; return metadata that shows them on Dagster's pages."""
        for name, picture in pictures.items():
            with self._storage.replacing(self._path(name)) as temporary:
                temporary.write_bytes(picture)
        return {
            name: dg.MetadataValue.md(f"![{name}]({inline(picture)})")
            for name, picture in pictures.items()
        }

    def all(self, names: Sequence[str]) -> dict[str, bytes]:
        """The month's pictures of these names that are stored."""
        found = {}
        for name in names:
            path = self._path(name)
            if self._storage.exists(path):
                with self._storage.open(path) as file:
                    found[name] = file.read()
        return found

    def _path(self, name: str) -> str:
        return picture_file(self._fleet.name, self._month, name)


def inline(picture: bytes) -> str:
    """A picture as a URL that contains it."""
    return f"data:image/png;base64,{base64.b64encode(picture).decode()}"
