"""The plots of the stored months: ``<fleet>/plots/2023-03/durations.png``."""

import base64
from collections.abc import Mapping, Sequence

import dagster as dg

from taxi_assets.storage.files import Storage
from taxi_assets.storage.layout import plot_file
from taxi_assets.tlc.fleets import Fleet
from taxi_assets.tlc.months import Month


class PlotFiles:
    """Keeps plots (PNG) by month and name."""

    def __init__(self, storage: Storage, fleet: Fleet, month: Month) -> None:
        self._storage = storage
        self._fleet = fleet
        self._month = month

    def add(self, plots: Mapping[str, bytes]) -> dict[str, dg.MetadataValue]:
        """Store plots; return metadata that shows them on Dagster's pages."""
        for name, plot in plots.items():
            with self._storage.replacing(self._path(name)) as temporary:
                temporary.write_bytes(plot)
        return {
            name: dg.MetadataValue.md(f"![{name}]({inline(plot)})") for name, plot in plots.items()
        }

    def all(self, names: Sequence[str]) -> dict[str, bytes]:
        """The month's plots of these names that are stored."""
        found = {}
        for name in names:
            path = self._path(name)
            if self._storage.exists(path):
                with self._storage.open(path) as file:
                    found[name] = file.read()
        return found

    def _path(self, name: str) -> str:
        return plot_file(self._fleet.name, self._month, name)


def inline(plot: bytes) -> str:
    """A plot as a URL that contains it."""
    return f"data:image/png;base64,{base64.b64encode(plot).decode()}"
