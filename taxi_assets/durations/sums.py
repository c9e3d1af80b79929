"""All that squared loss can know of a month's trips: sums by zone pair, and by hour of the week.

Features are categories, so the trips of a cell (a zone pair, or a zone pair and hour) have the same
feature vector. Their number, the sum of their durations and the sum of the squares say everything
that a fit and its squared errors depend on, and some twenty thousand rows stand for millions of
trips. Sums of months add up, so that a model of several months needs no trip of theirs.
"""

from typing import TYPE_CHECKING, Any, TypeVar

from taxi_assets.durations.cleaning import DURATION, FEATURES, HOUR, VALIDATES
from taxi_assets.tlc.fleets import DISTANCE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

Value = TypeVar("Value", bound="np.generic")

CHUNK = 1 << 22
"""Rows that are taken or added up at a time."""

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


def group_by_hourly_pair(
    cleaned_trips: "pd.DataFrame | dict[str, pd.Series[Any]]",
) -> "pd.DataFrame":
    """Sum up each split's trips by zone pair and hour of the week.

    Args:
        cleaned_trips: as a frame, or as its columns. Columns are taken out of the dict when they
            are no longer needed, as those of the largest month do not fit beside the sums.

    Returns:
        One row for each split, zone pair and hour that has trips: the columns of zone pairs,
        ``pickup_hour`` (0 to 167), ``distance_trips`` (count of those whose distance is known) and
        ``distance_sum`` (miles).
    """
    return _sum_up(cleaned_trips, HOURLY_PAIRS)


def _sum_up(
    cleaned_trips: "pd.DataFrame | dict[str, pd.Series[Any]]", columns: dict[str, str]
) -> "pd.DataFrame":
    """The columns that are wanted, by hour of the week if that is one of them."""
    import numpy as np
    import pandas as pd

    # Of a frame, the columns of the copy are taken, which hold the same values.
    trips = cleaned_trips if isinstance(cleaned_trips, dict) else dict(cleaned_trips.items())
    codes, shape = [trips.pop(VALIDATES).to_numpy()], [len(SPLITS)]
    categories = []
    for feature in FEATURES:
        zones = trips.pop(feature).cat
        codes.append(zones.codes.to_numpy())
        categories.append(zones.categories)
        shape.append(len(zones.categories))
    del zones
    pairs, cell, count = distinct(number(codes, shape))
    codes.clear()
    hours = 1
    cells = np.arange(len(pairs))
    if HOUR in columns:
        hours = HOURS
        cell *= HOURS
        cell += trips.pop(HOUR).to_numpy()
        cells, cell, count = distinct(cell)
    pair = cells // hours
    values: dict[str, Any] = {
        HOUR: (cells % hours).astype(np.uint8),
        "trips": count.astype(columns["trips"]),
    }
    size = len(cells)
    del cells, count
    split_code, *zone_codes = np.unravel_index(pairs, shape)
    values["split"] = pd.Categorical.from_codes(split_code.astype(np.int8)[pair], SPLITS)
    for feature, code, zones in zip(FEATURES, zone_codes, categories, strict=True):
        values[feature] = pd.Categorical.from_codes(code.astype(np.int16)[pair], zones)
    del pair
    if HOUR in columns:
        distance = trips.pop(DISTANCE).to_numpy()
        known = ~np.isnan(distance)
        values["distance_trips"] = add_up(cell, size, known).astype(np.int32)
        distance = np.where(known, distance, np.float32(0))
        values["distance_sum"] = add_up(cell, size, distance)
        del known, distance
    duration = trips.pop(DURATION).to_numpy()
    values["duration_sum"] = add_up(cell, size, duration)
    values["duration_sum_of_squares"] = add_up(cell, size, duration, duration)
    return pd.DataFrame({name: values[name] for name in columns}, copy=False)


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
    for rows in chunks(len(groups)):
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

    occurs = np.zeros(int(cells.max(initial=0)) + 1, np.bool_)
    for rows in chunks(len(cells)):
        occurs[cells[rows]] = True
    distinct_cells = np.flatnonzero(occurs)
    place = np.zeros(len(occurs), np.int32)
    place[distinct_cells] = np.arange(len(distinct_cells), dtype=np.int32)
    row = take(place, cells)
    del occurs, place
    return distinct_cells, row, add_up(row, len(distinct_cells)).astype(np.int64)


def number(codes: "Sequence[NDArray[Any]]", shape: "Sequence[int]") -> "NDArray[np.int32]":
    """The numbers of cells, by the codes of several categories; shape (rows,).

    It is what NumPy's ``ravel_multi_index`` gives, in half of the memory.

    Args:
        codes: of each category, one a row.
        shape: numbers of the categories' values.
    """
    import numpy as np

    cells = np.zeros(len(codes[0]), np.int32)
    for of, length in zip(codes, shape, strict=True):
        cells *= length
        cells += of
    return cells


def take(values: "NDArray[Value]", rows: "NDArray[np.integer[Any]]") -> "NDArray[Value]":
    """``values[rows]``, for which NumPy takes a copy of all rows in its largest integers."""
    import numpy as np

    taken = np.empty(len(rows), values.dtype)
    for chunk in chunks(len(rows)):
        taken[chunk] = values[rows[chunk]]
    return taken


def chunks(rows: int) -> "Iterator[slice]":
    """Slices of ``CHUNK`` rows that cover all rows, in order."""
    return (slice(start, start + CHUNK) for start in range(0, rows, CHUNK))


def split(sums: "pd.DataFrame", name: str) -> "pd.DataFrame":
    """The rows of one split, ``train`` or ``validation``."""
    return sums[sums["split"] == name]
