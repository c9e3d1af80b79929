"""All that squared loss can know of a month's trips: sums by zone pair and hour of the week.

Sums of months add up, so that a model of several months needs no trip of theirs.
"""

from typing import TYPE_CHECKING

from taxi_assets.durations.cleaning import DURATION, FEATURES, HOUR, VALIDATES
from taxi_assets.durations.zone_pairs import SPLITS, number_cells
from taxi_assets.tlc.fleets import DISTANCE

if TYPE_CHECKING:
    import pandas as pd

HOURS = 168
"""Hours of a week; the first begins on Monday at midnight."""

COLUMNS = {
    "split": "category",
    **dict.fromkeys(FEATURES, "category"),
    HOUR: "uint8",
    "trips": "int32",
    "duration_sum": "float64",
    "duration_sum_of_squares": "float64",
    "distance_trips": "int32",
    "distance_sum": "float64",
}
"""The columns of hourly pairs and their pandas types."""


def group_by_hourly_pair(cleaned_trips: "pd.DataFrame") -> "pd.DataFrame":
    """Sum up each split's trips by zone pair and hour of the week.

    Returns:
        One row for each split, zone pair and hour that has trips: ``split``, ``PULocationID``,
        ``DOLocationID`` (categories), ``pickup_hour`` (0 to 167), ``trips`` (count),
        ``duration_sum`` (minutes), ``duration_sum_of_squares`` (minutes squared),
        ``distance_trips`` (count of those whose distance is known) and ``distance_sum`` (miles).
    """
    import numpy as np
    import pandas as pd

    values = [cleaned_trips[feature].cat.categories for feature in FEATURES]
    shape = (len(SPLITS), *map(len, values))
    pairs = number_cells(
        shape, cleaned_trips[VALIDATES], *(cleaned_trips[feature].cat.codes for feature in FEATURES)
    )
    met = np.flatnonzero(np.bincount(pairs, minlength=int(np.prod(shape))))
    place = np.zeros(int(np.prod(shape)), np.int32)
    place[met] = np.arange(len(met), dtype=np.int32)
    # In place, as there are millions.
    cell = place[pairs]
    del pairs
    cell *= HOURS
    cell += cleaned_trips[HOUR].to_numpy()
    cells = len(met) * HOURS
    count = np.bincount(cell, minlength=cells)
    used = np.flatnonzero(count)
    split_code, *codes = np.unravel_index(met[used // HOURS], shape)
    duration = cleaned_trips[DURATION].to_numpy()
    distance = cleaned_trips[DISTANCE].to_numpy()
    known = ~np.isnan(distance)

    def total(weights: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> object:
        return np.bincount(cell, weights, cells)[used]

    return pd.DataFrame(
        {
            "split": pd.Categorical.from_codes(split_code, SPLITS),
            **{
                feature: pd.Categorical.from_codes(code, known_zones)
                for feature, code, known_zones in zip(FEATURES, codes, values, strict=True)
            },
            HOUR: (used % HOURS).astype(np.uint8),
            "trips": count[used].astype(np.int32),
            "duration_sum": total(duration),
            "duration_sum_of_squares": total(duration * duration),
            "distance_trips": np.bincount(cell[known], minlength=cells)[used].astype(np.int32),
            "distance_sum": total(np.where(known, distance, 0.0)),
        }
    )
