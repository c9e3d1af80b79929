"""All that a least-squares fit needs to know of a month's trips: one row for each zone pair.

Both features are categories, so trips between the same two zones have the same feature vector.
Their number, the sum of their durations and the sum of the squares say everything that the fit
and its squared errors depend on, and some twenty thousand rows stand for millions of trips.
"""

from typing import TYPE_CHECKING

from taxi_assets.durations.cleaning import DURATION, VALIDATES
from taxi_assets.tlc.fleets import DROPOFF_ZONE, PICKUP_ZONE

if TYPE_CHECKING:
    import pandas as pd

SPLITS = TRAIN, VALIDATION = "train", "validation"
ZONES = [PICKUP_ZONE, DROPOFF_ZONE]

COLUMNS = {
    "split": "category",
    PICKUP_ZONE: "category",
    DROPOFF_ZONE: "category",
    "trips": "int64",
    "duration_sum": "float64",
    "duration_sum_of_squares": "float64",
}
"""The columns of zone pairs and their pandas types."""


def group_by_zone_pair(cleaned_trips: "pd.DataFrame") -> "pd.DataFrame":
    """Sum up each split's trips by zone pair.

    Returns:
        One row for each split and zone pair that has trips: ``split`` (``train`` or
        ``validation``), ``PULocationID``, ``DOLocationID`` (categories), ``trips`` (count),
        ``duration_sum`` (minutes) and ``duration_sum_of_squares`` (minutes squared).
    """
    import numpy as np
    import pandas as pd

    pickup, dropoff = (cleaned_trips[zone].cat for zone in ZONES)
    shape = (2, len(pickup.categories), len(dropoff.categories))
    duration = cleaned_trips[DURATION].to_numpy()
    # Every (split, pick-up, drop-off) is a numbered cell. In place, as there are millions.
    cell = cleaned_trips[VALIDATES].to_numpy().astype(np.intp)
    for codes, zones in ((pickup.codes, shape[1]), (dropoff.codes, shape[2])):
        cell *= zones
        cell += codes.to_numpy()

    cells = int(np.prod(shape))
    count = np.bincount(cell, minlength=cells)
    used = np.flatnonzero(count)
    split_code, pickup_code, dropoff_code = np.unravel_index(used, shape)
    return pd.DataFrame(
        {
            "split": pd.Categorical.from_codes(split_code, SPLITS),
            PICKUP_ZONE: pd.Categorical.from_codes(pickup_code, pickup.categories),
            DROPOFF_ZONE: pd.Categorical.from_codes(dropoff_code, dropoff.categories),
            "trips": count[used],
            "duration_sum": np.bincount(cell, duration, cells)[used],
            "duration_sum_of_squares": np.bincount(cell, duration * duration, cells)[used],
        }
    )


def split(zone_pairs: "pd.DataFrame", name: str) -> "pd.DataFrame":
    """The rows of one split, ``train`` or ``validation``."""
    return zone_pairs[zone_pairs["split"] == name]
