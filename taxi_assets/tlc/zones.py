"""TLC's taxi zones: their names, boroughs, centres and shapes, and what people call places in them.

``zones.csv`` is made from the City of New York's public shapefile of TLC's taxi zones (NYC Open
Data), which has 260 zones. TLC's lookup table has five more ids: 57 is a part of zone 56, 104 and
105 are parts of 103, 264 is an unknown zone, and 265 is everywhere outside New York.

The column ``shape`` has a zone's outer rings as the path of an SVG image in steps of ten metres,
y downwards: x = 8440 · (longitude + 74.27), y = 11120 · (40.93 - latitude), rounded, each point
relative to the one before. The rings were simplified before so that neighbours share their edges;
small islets were left out. The column ``also`` has landmarks, by the zone that they lie in.
"""

import csv
from collections.abc import Mapping
from importlib.resources import files
from typing import NamedTuple

LAST_ZONE = 265
"""TLC numbers its zones from 1 to 265."""

AIRPORTS = frozenset({1, 132, 138})
"""Newark, John F. Kennedy, LaGuardia."""

MAP_SIZE = 4940
"""Width and height of the map that the shapes are parts of."""


class Zone(NamedTuple):
    """A taxi zone.

    Attributes:
        name: TLC's.
        borough: TLC's; ``EWR`` is Newark Airport.
        also: what else people call it, or places in it.
        shape: the path of its outline on the map; empty for ids without an area of their own.
        centre: x and y of a point inside, on the map; None where nobody knows.
    """

    name: str
    borough: str
    also: tuple[str, ...] = ()
    shape: str = ""
    centre: tuple[int, int] | None = None


_ROWS = [
    *csv.DictReader(files("taxi_assets.tlc").joinpath("zones.csv").read_text("utf-8").splitlines())
]

CENTROIDS: Mapping[int, tuple[float, float]] = {
    int(row["LocationID"]): (float(row["longitude"]), float(row["latitude"])) for row in _ROWS
}
"""Longitude and latitude of the middle of each zone in New York and Newark, by its id."""


def _read_zones() -> dict[int, Zone]:
    zones = {}
    for row in _ROWS:
        x = round(8440 * (float(row["longitude"]) + 74.27))
        y = round(11120 * (40.93 - float(row["latitude"])))
        also = tuple(row["also"].split(";")) if row["also"] else ()
        zone = Zone(row["zone"], row["borough"], also, row["shape"], (x, y))
        zones[int(row["LocationID"])] = zone
    for part, whole in ((57, 56), (104, 103), (105, 103)):
        zones[part] = zones[whole]._replace(also=(), shape="")
    zones[264] = Zone("Unknown", "Unknown")
    zones[265] = Zone("Outside of NYC", "Outside of NYC")
    return dict(sorted(zones.items()))


ZONES: Mapping[int, Zone] = _read_zones()
"""All zones by their ids, 1 to 265."""


def zone_of(number: int) -> Zone:
    """The zone of an id; one without a name of TLC's where there is no such zone."""
    return ZONES.get(number, Zone(f"zone {number}", "unknown borough"))


MANHATTAN = frozenset(number for number, zone in ZONES.items() if zone.borough == "Manhattan")
"""The zones of the borough of Manhattan."""
