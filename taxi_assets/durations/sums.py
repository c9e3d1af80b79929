"""All that squared loss can know of a month's trips: sums by zone pair, and by hour of the week.

Features are categories, so the trips of a cell (a zone pair, or a zone pair and hour) have the same
feature vector. Their number, the sum of their durations and the sum of the squares say everything
that a fit and its squared errors depend on, and some twenty thousand rows stand for millions of
trips. Sums of months add up, so that a model of several months needs no trip of theirs.
"""

from typing import TYPE_CHECKING, Any

from taxi_assets.durations.cleaning import DURATION, FEATURES, HOUR, VALIDATES
from taxi_assets.tlc.fleets import DISTANCE

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

CHUNK = 1 << 22
"""Rows that are added up at a time."""

HOURS = 168
"""Hours of a week; the first begins on Monday at midnight."""

SPLITS = TRAIN, VALIDATION = "train", "validation"

ZONE_PAIRS = {
    "split": "category",
    **dict.fromkeys(FEATURES, "category"),
    "trips": "int64",
    "duration_sum": "float64",
    "duration_sum_of_squares": "float64",
}
"""The columns of zone pairs and their pandas types."""

HOURLY_PAIRS = {
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


def group_by_zone_pair(cleaned_trips: "pd.DataFrame") -> "pd.DataFrame":
    """Sum up each split's trips by zone pair.

    Returns:
        One row for each split and zone pair that has trips: ``split`` (``train`` or
        ``validation``), ``PULocationID``, ``DOLocationID`` (categories), ``trips`` (count),
        ``duration_sum`` (minutes) and ``duration_sum_of_squares`` (minutes squared).
    """
    return _sum_up(cleaned_trips, ZONE_PAIRS)


def group_by_hourly_pair(cleaned_trips: "pd.DataFrame") -> "pd.DataFrame":
    """Sum up each split's trips by zone pair and hour of the week.

    Returns:
        One row for each split, zone pair and hour that has trips: the columns of zone pairs,
        ``pickup_hour`` (0 to 167), ``distance_trips`` (count of those whose distance is known) and
        ``distance_sum`` (miles).
    """
    return _sum_up(cleaned_trips, HOURLY_PAIRS)


def _sum_up(cleaned_trips: "pd.DataFrame", columns: dict[str, str]) -> "pd.DataFrame":
    """The columns that are wanted, by hour of the week if that is one of them."""
    import numpy as np
    import pandas as pd

    zones = [cleaned_trips[feature].cat for feature in FEATURES]
    shape = [len(SPLITS), *(len(zone.categories) for zone in zones)]
    codes = [cleaned_trips[VALIDATES], *(zone.codes for zone in zones)]
    pairs, cell, _ = distinct(np.ravel_multi_index(codes, shape))
    duration = cleaned_trips[DURATION].to_numpy()
    factors = {
        "trips": [],
        "duration_sum": [duration],
        "duration_sum_of_squares": [duration, duration],
    }
    hours = 1
    if HOUR in columns:
        hours = HOURS
        cell *= HOURS
        cell += cleaned_trips[HOUR].to_numpy()
        distance = cleaned_trips[DISTANCE].to_numpy()
        factors["distance_trips"] = [~np.isnan(distance)]
        factors["distance_sum"] = [np.nan_to_num(distance)]
    size = len(pairs) * hours
    used = np.flatnonzero(add_up(cell, size))
    split_code, *zone_codes = np.unravel_index(pairs[used // hours], shape)
    values: dict[str, Any] = {
        "split": pd.Categorical.from_codes(split_code, SPLITS),
        HOUR: (used % hours).astype(np.uint8),
    }
    for feature, code, zone in zip(FEATURES, zone_codes, zones, strict=True):
        values[feature] = pd.Categorical.from_codes(code, zone.categories)
    for name, of in factors.items():
        values[name] = add_up(cell, size, *of)[used].astype(columns[name])
    return pd.DataFrame({name: values[name] for name in columns})


def add_up(
    groups: "NDArray[np.integer[Any]]", size: int, *factors: "NDArray[Any]"
) -> "NDArray[np.float64]":
    """Sums, by the groups' numbers, of the factors' products; of ones without a factor.

    It is what NumPy's ``bincount`` gives, which for millions of rows takes copies as long.

    Args:
        groups: of each row, from 0 on.
        size: number of groups.
        factors: each of one number a row.
    """
    import numpy as np

    total = np.zeros(size)
    for start in range(0, len(groups), CHUNK):
        rows = slice(start, start + CHUNK)
        weights = None
        for factor in factors:
            weights = factor[rows] if weights is None else weights * factor[rows]
        total += np.bincount(groups[rows], weights, size)
    return total


def distinct(
    cells: "NDArray[np.integer[Any]]",
) -> "tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]":
    """The distinct cells, in order, where each row's is among them, and how many rows have it.

    It is what NumPy's ``unique`` gives, without sorting millions of rows.
    """
    import numpy as np

    counts = add_up(cells, int(cells.max(initial=0)) + 1).astype(np.int64)
    distinct_cells = np.flatnonzero(counts)
    place = np.zeros(len(counts), np.int32)
    place[distinct_cells] = np.arange(len(distinct_cells), dtype=np.int32)
    return distinct_cells, place[cells], counts[distinct_cells]


def split(sums: "pd.DataFrame", name: str) -> "pd.DataFrame":
    """The rows of one split, ``train`` or ``validation``."""
    return sums[sums["split"] == name]
