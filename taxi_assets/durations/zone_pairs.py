"""All that a least-squares fit needs to know of a month's trips: one row for each zone pair.

Both features are categories, so trips between the same two zones have the same feature vector.
Their number, the sum of their durations and the sum of the squares say everything that the fit
and its squared errors depend on, and some twenty thousand rows stand for millions of trips.
"""

from typing import TYPE_CHECKING

from taxi_assets.durations.cleaning import DURATION, UnusableTripsError
from taxi_assets.tlc.fleets import DROPOFF_ZONE, PICKUP_ZONE

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

TEST_SIZE = 0.2
"""Share of the kept trips that validate the model."""

RANDOM_STATE = 42
"""Seed of the split; with the trips in file order it fixes which trips validate."""

MIN_TRIPS = 2
"""A split needs a trip on either side."""

SPLITS = TRAIN, VALIDATION = "train", "validation"
ZONES = [PICKUP_ZONE, DROPOFF_ZONE]


def validation_mask(trips: int) -> "NDArray[np.bool_]":
    """Which of ``trips`` rows scikit-learn's ``train_test_split`` holds out, shape (trips,)."""
    import numpy as np
    from sklearn.model_selection import train_test_split

    if trips < MIN_TRIPS:
        raise UnusableTripsError(
            f"{trips:,} trip is left after cleaning: too few to split into training and validation."
        )
    _, held_out = train_test_split(
        np.arange(trips, dtype=np.int32), test_size=TEST_SIZE, random_state=RANDOM_STATE
    )
    mask = np.zeros(trips, dtype=np.bool_)
    mask[held_out] = True
    return mask


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
    cell = validation_mask(len(cleaned_trips)).astype(np.int32)
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
