"""What kind of month it is: where trips begin and end, when, and how long they take.

Of two months, how far apart they are.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import log, sqrt
from typing import TYPE_CHECKING, Any, Self

from taxi_assets.durations.cleaning import DURATION, HOUR, MAX_DURATION
from taxi_assets.tlc.fleets import DROPOFF_ZONE, PICKUP_ZONE
from taxi_assets.tlc.zones import LAST_ZONE

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

BINS_PER_MINUTE = 10

CATEGORIES = ("pickup_zones", "dropoff_zones", "hours")
"""What is counted by category; durations are a quantity."""

MEASURES = (*CATEGORIES, "durations")


@dataclass(frozen=True)
class Profile:
    """Numbers of trips.

    Attributes:
        pickup_zones: by TLC's number of the zone, 0 to 265; 0 has what is none of its zones.
        dropoff_zones: likewise.
        hours: by hour of the day, 0 to 23.
        durations: by tenth of a minute, 0 to 600.
    """

    pickup_zones: list[int]
    dropoff_zones: list[int]
    hours: list[int]
    durations: list[int]

    @property
    def trips(self) -> int:
        """All of them."""
        return sum(self.hours)

    @classmethod
    def from_json(cls, read: Mapping[str, Any]) -> Self:
        """Take a stored profile.

        Raises:
            ValueError, TypeError, KeyError: it is none.
        """
        counts = {name: [int(count) for count in read[name]] for name in MEASURES}
        if {name: len(values) for name, values in counts.items()} != LENGTHS:
            raise ValueError("it has other categories")
        return cls(**counts)

    def to_json(self) -> dict[str, list[int]]:
        """What is stored."""
        return asdict(self)


LENGTHS = {
    "pickup_zones": LAST_ZONE + 1,
    "dropoff_zones": LAST_ZONE + 1,
    "hours": 24,
    "durations": int(MAX_DURATION) * BINS_PER_MINUTE + 1,
}


def profile(cleaned_trips: "pd.DataFrame") -> Profile:
    """Count a month's cleaned trips."""
    import numpy as np

    hours = np.bincount(cleaned_trips[HOUR].to_numpy(), minlength=168)
    # Rounded down in small integers, as there are millions.
    tenths = (cleaned_trips[DURATION].to_numpy(np.float32) * BINS_PER_MINUTE).astype(np.int16)
    counts = {
        "pickup_zones": _count_by_zone(cleaned_trips[PICKUP_ZONE]),
        "dropoff_zones": _count_by_zone(cleaned_trips[DROPOFF_ZONE]),
        "hours": hours.reshape(7, 24).sum(axis=0),
        "durations": np.bincount(tenths),
    }
    return Profile(
        **{name: _padded(values.tolist(), LENGTHS[name]) for name, values in counts.items()}
    )


def _count_by_zone(zones: "pd.Series[Any]") -> "NDArray[np.int64]":
    """Numbers of trips by TLC's number of the zone, as in ``Profile``."""
    import numpy as np

    from taxi_assets.durations.window import zone_number

    numbers = [zone_number(zone) for zone in zones.cat.categories]
    trips = np.bincount(zones.cat.codes, minlength=len(numbers))
    return np.bincount(numbers, trips).astype(np.int64)


def _padded(counts: list[int], length: int) -> list[int]:
    return counts + [0] * (length - len(counts))


def distances(one: Profile, other: Profile) -> dict[str, float]:
    """How far apart two months are, by measure.

    Returns:
        Of zones and hours, the Jensen-Shannon distance to base 2, from 0 to 1; of durations, the
        Wasserstein distance in means of the first month.
    """
    import numpy as np
    from scipy.spatial.distance import jensenshannon
    from scipy.stats import wasserstein_distance

    found = {
        name: float(jensenshannon(getattr(one, name), getattr(other, name), base=2))
        for name in CATEGORIES
    }
    minutes = (np.arange(LENGTHS["durations"]) + 0.5) / BINS_PER_MINUTE
    moved = wasserstein_distance(minutes, minutes, one.durations, other.durations)
    found["durations"] = float(moved / np.average(minutes, weights=one.durations))
    return found


def chance(one: Profile, other: Profile) -> dict[str, float]:
    """How far apart two samples of one and the same kind of month are, by their numbers of trips.

    Of categories, the square of the distance is (categories - 1) / (8 ln 2) (1/m + 1/n) on
    average; of a quantity, the distance about its deviation times the root of 1/m + 1/n.
    """
    import numpy as np

    both = 1 / max(1, one.trips) + 1 / max(1, other.trips)
    found = {name: sqrt((_met(one, other, name) - 1) / (8 * log(2)) * both) for name in CATEGORIES}
    minutes = np.arange(LENGTHS["durations"]) / BINS_PER_MINUTE
    mean = np.average(minutes, weights=one.durations)
    deviation = sqrt(np.average((minutes - mean) ** 2, weights=one.durations))
    return found | {"durations": float(deviation / mean * sqrt(both))}


def _met(one: Profile, other: Profile, name: str) -> int:
    """Number of categories that either month has met; one at least."""
    pairs = zip(getattr(one, name), getattr(other, name), strict=True)
    return max(1, sum(bool(a or b) for a, b in pairs))
