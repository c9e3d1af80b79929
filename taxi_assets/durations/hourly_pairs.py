"""All that squared loss can know of a month's trips: sums by zone pair and hour of the week.

Sums of months add up, so that a model of several months needs no trip of theirs.
"""

from typing import TYPE_CHECKING, Any

from taxi_assets.durations.cleaning import DURATION, FEATURES, HOUR, VALIDATES
from taxi_assets.durations.zone_pairs import CHUNK, SPLITS, add_up, number_cells
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
    codes = [cleaned_trips[VALIDATES], *(cleaned_trips[name].cat.codes for name in FEATURES)]
    # In place, and some at a time, as there are millions.
    pair = np.empty(len(cleaned_trips), np.int32)
    for start in range(0, len(pair), CHUNK):
        rows = slice(start, start + CHUNK)
        pair[rows] = number_cells(shape, *(code.iloc[rows] for code in codes))
    met = np.flatnonzero(add_up(pair, int(np.prod(shape))))
    place = np.zeros(int(np.prod(shape)), np.int32)
    place[met] = np.arange(len(met), dtype=np.int32)
    cell = place[pair]
    del pair
    cell *= HOURS
    cell += cleaned_trips[HOUR].to_numpy()
    duration, distance = (cleaned_trips[name].to_numpy() for name in (DURATION, DISTANCE))
    known = ~np.isnan(distance)
    trips = add_up(cell, len(met) * HOURS)
    used = np.flatnonzero(trips)
    split_code, *zones = np.unravel_index(met[used // HOURS], shape)

    def total(*factors: "np.ndarray[tuple[int], np.dtype[Any]]") -> "np.ndarray[Any, Any]":
        return add_up(cell, len(trips), *factors)[used]

    return pd.DataFrame(
        {
            "split": pd.Categorical.from_codes(split_code, SPLITS),
            **{
                feature: pd.Categorical.from_codes(code, known_zones)
                for feature, code, known_zones in zip(FEATURES, zones, values, strict=True)
            },
            HOUR: (used % HOURS).astype(np.uint8),
            "trips": trips[used].astype(np.int32),
            "duration_sum": total(duration),
            "duration_sum_of_squares": total(duration, duration),
            "distance_trips": total(known).astype(np.int32),
            "distance_sum": total(np.nan_to_num(distance, copy=True)),
        }
    )
