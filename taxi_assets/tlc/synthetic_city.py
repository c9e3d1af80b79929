"""The made-up city behind synthetic months: where its zones lie and how people move in it.

Nothing here changes from month to month, so that a model of one month says something about the
next. Distances are in miles, speeds in miles per hour.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from taxi_assets.tlc.fleets import Fleet

ZONES = 265
"""TLC's zones; the last two, 264 and 265, are 'unknown' and 'outside of New York'."""

HOURLY_DEMAND = (
    2.6, 1.8, 1.2, 0.8, 0.6, 0.7, 1.6, 3.0, 4.1, 4.5, 4.7, 5.0,
    5.4, 5.6, 6.0, 6.2, 6.1, 6.6, 7.1, 6.4, 5.6, 5.4, 5.0, 4.0,
)  # fmt: skip
"""Share of the day's trips that start in each hour, in percent, after TLC's published months."""

HOURLY_SPEED = (
    15.5, 16.5, 17.0, 17.5, 18.5, 19.0, 15.5, 12.5, 10.8, 10.5, 10.4, 10.2,
    10.1, 10.0, 9.6, 9.2, 9.4, 9.3, 10.0, 11.2, 12.2, 12.6, 13.2, 14.4,
)  # fmt: skip
"""Mean speed of the trips that start in each hour."""

AIRPORTS = {132: 0.06, 138: 0.04}
"""John F. Kennedy and La Guardia: zone id and share of the pick-ups and of the drop-offs."""

_RADIUS = {"yellow": 0.9, "green": 2.5, "synthetic": 0.9, "fhvhv": 4.0}
"""How far from the centre a fleet's typical trip begins: yellow cabs crowd into Manhattan."""


@dataclass(frozen=True)
class City:
    """Trips between ordered pairs of zones; pair ``i`` runs from ``pickup[i]`` to ``dropoff[i]``.

    Attributes:
        pickup, dropoff: zone ids, shape (ZONES * ZONES,).
        distance: miles travelled, same shape.
        slowness: minutes needed, relative to the hour's typical traffic, same shape.
        cumulative_share: running sum of each pair's share of all trips, ending in 1.
    """

    pickup: NDArray[np.int32]
    dropoff: NDArray[np.int32]
    distance: NDArray[np.float64]
    slowness: NDArray[np.float64]
    cumulative_share: NDArray[np.float64]


def build_city(fleet: Fleet) -> City:
    """Lay out the fleet's city; the same every time."""
    random = np.random.default_rng([ZONES, len(fleet.name)])
    angle = random.uniform(0, 2 * np.pi, ZONES)
    from_centre = 10 * random.uniform(0.02, 1, ZONES)
    # Streets form a grid, so people travel along x, then along y.
    x, y = from_centre * np.cos(angle), from_centre * np.sin(angle)
    distance = 0.4 + np.abs(x[:, None] - x) + np.abs(y[:, None] - y)

    popularity = np.exp(-from_centre / _RADIUS[fleet.name]) * random.lognormal(0, 0.7, ZONES)
    popularity[-2:] = popularity.mean() * 0.4
    popularity /= popularity.sum()
    for zone, share in AIRPORTS.items():
        popularity[zone - 1] = share
    pair_share = np.outer(popularity, popularity) * np.exp(-distance / 6)
    slowness = random.lognormal(0, 0.25, ZONES)

    zones = np.arange(1, ZONES + 1, dtype=np.int32)
    return City(
        pickup=np.repeat(zones, ZONES),
        dropoff=np.tile(zones, ZONES),
        distance=distance.ravel(),
        slowness=np.sqrt(np.outer(slowness, slowness)).ravel(),
        cumulative_share=np.cumsum(pair_share.ravel()) / pair_share.sum(),
    )
