"""TLC's taxi zones: their names and boroughs.

``zones.csv`` is made from the City of New York's public shapefile of TLC's taxi zones (NYC Open
Data), which has 260 zones. TLC's lookup table has five more ids: 57 is a part of zone 56, 104 and
105 are parts of 103, 264 is an unknown zone, and 265 is everywhere outside New York.
"""

import csv
from collections.abc import Mapping
from importlib.resources import files
from typing import NamedTuple

LAST_ZONE = 265
"""TLC numbers its zones from 1 to 265."""

AIRPORTS = frozenset({1, 132, 138})
"""Newark, John F. Kennedy, LaGuardia."""


class Zone(NamedTuple):
    """A taxi zone's name and borough."""

    name: str
    borough: str


_ROWS = [
    *csv.DictReader(files("taxi_assets.tlc").joinpath("zones.csv").read_text("utf-8").splitlines())
]

CENTROIDS: Mapping[int, tuple[float, float]] = {
    int(row["LocationID"]): (float(row["longitude"]), float(row["latitude"])) for row in _ROWS
}
"""Longitude and latitude of the middle of each zone in New York and Newark, by its id."""


def _read_zones() -> dict[int, Zone]:
    zones = {int(row["LocationID"]): Zone(row["zone"], row["borough"]) for row in _ROWS}
    parts = {57: zones[56], 104: zones[103], 105: zones[103]}
    others = {264: Zone("Unknown", "Unknown"), 265: Zone("Outside of NYC", "Outside of NYC")}
    return dict(sorted((zones | parts | others).items()))


ZONES: Mapping[int, Zone] = _read_zones()
"""All zones by their ids, 1 to 265."""


def zone_of(number: int) -> Zone:
    """The zone of an id; one without a name of TLC's where there is no such zone."""
    return ZONES.get(number, Zone(f"zone {number}", "unknown borough"))


MANHATTAN = frozenset(number for number, zone in ZONES.items() if zone.borough == "Manhattan")
"""The zones of the borough of Manhattan."""
