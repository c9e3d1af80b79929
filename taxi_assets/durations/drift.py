"""What kind of month it is: where trips begin and end, when, and how long they take.

Of two months, how far apart they are.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from taxi_assets.durations.cleaning import DURATION, HOUR, MAX_DURATION
from taxi_assets.durations.sums import add_up
from taxi_assets.tlc.fleets import DROPOFF_ZONE, PICKUP_ZONE
from taxi_assets.tlc.zones import LAST_ZONE

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

BINS_PER_MINUTE = 10

CATEGORIES = {"pickup_zones": LAST_ZONE + 1, "dropoff_zones": LAST_ZONE + 1, "hours": 24}
"""What is counted by category, and the number of categories. Zones are counted by TLC's number,
with 0 for what is none of its zones, and hours are those of the day."""

LENGTHS = {**CATEGORIES, "durations": int(MAX_DURATION) * BINS_PER_MINUTE + 1}
"""Numbers in a profile, by measure; durations are a quantity, counted by tenth of a minute."""

Profile = dict[str, list[int]]
"""Numbers of a month's trips, by measure; each list is as long as ``LENGTHS`` says."""


def profile(cleaned_trips: "pd.DataFrame") -> Profile:
    """Count a month's cleaned trips."""
    import numpy as np

    from taxi_assets.durations.window import zone_numbers

    # Rounded down in small integers, and one after the other, as there are millions.
    minutes = cleaned_trips[DURATION].to_numpy(np.float32)
    minutes *= BINS_PER_MINUTE
    counts = {"durations": _count("durations", minutes.astype(np.int16))}
    del minutes
    counts["pickup_zones"] = _count("pickup_zones", zone_numbers(cleaned_trips[PICKUP_ZONE]))
    counts["dropoff_zones"] = _count("dropoff_zones", zone_numbers(cleaned_trips[DROPOFF_ZONE]))
    counts["hours"] = _count("hours", cleaned_trips[HOUR].to_numpy() % 24)
    return {name: counts[name] for name in LENGTHS}


def _count(name: str, places: "NDArray[np.integer[Any]]") -> list[int]:
    return [int(count) for count in add_up(places, LENGTHS[name])]


def parse_profile(stored: Mapping[str, Any]) -> Profile:
    """Take a stored profile.

    Raises:
        ValueError, TypeError, KeyError: it is none.
    """
    counts = {name: [int(count) for count in stored[name]] for name in LENGTHS}
    if {name: len(values) for name, values in counts.items()} != LENGTHS:
        raise ValueError("it has other categories")
    return counts


def distances(one: Profile, other: Profile) -> dict[str, float]:
    """How far apart two months are, by measure.

    Returns:
        Of zones and hours, the Jensen-Shannon distance to base 2, from 0 to 1; of durations, the
        Wasserstein distance in means of the first month.
    """
    import numpy as np
    from scipy.spatial.distance import jensenshannon
    from scipy.stats import wasserstein_distance

    distances_by_name = {
        name: float(jensenshannon(one[name], other[name], base=2)) for name in CATEGORIES
    }
    minutes = (np.arange(LENGTHS["durations"]) + 0.5) / BINS_PER_MINUTE
    moved = wasserstein_distance(minutes, minutes, one["durations"], other["durations"])
    distances_by_name["durations"] = float(moved / np.average(minutes, weights=one["durations"]))
    return distances_by_name
