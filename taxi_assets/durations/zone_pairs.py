"""All that a least-squares fit needs to know of a month's trips: one row for each zone pair.

Both features are categories, so trips between the same two zones have the same feature vector.
Their number, the sum of their durations and the sum of the squares say everything that the fit
and its squared errors depend on, and some twenty thousand rows stand for millions of trips.
"""

from typing import TYPE_CHECKING, Any

from taxi_assets.durations.cleaning import DURATION, FEATURES, VALIDATES

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

CHUNK = 1 << 22
"""Rows that are added up at a time."""

SPLITS = TRAIN, VALIDATION = "train", "validation"

COLUMNS = {
    "split": "category",
    **dict.fromkeys(FEATURES, "category"),
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

    values = [cleaned_trips[feature].cat.categories for feature in FEATURES]
    shape = (len(SPLITS), *map(len, values))
    duration = cleaned_trips[DURATION].to_numpy()
    cell = number_cells(
        shape, cleaned_trips[VALIDATES], *(cleaned_trips[feature].cat.codes for feature in FEATURES)
    )
    cells = int(np.prod(shape))
    count = np.bincount(cell, minlength=cells)
    used = np.flatnonzero(count)
    split_code, *codes = np.unravel_index(used, shape)
    return pd.DataFrame(
        {
            "split": pd.Categorical.from_codes(split_code, SPLITS),
            **{
                feature: pd.Categorical.from_codes(code, known)
                for feature, code, known in zip(FEATURES, codes, values, strict=True)
            },
            "trips": count[used],
            "duration_sum": np.bincount(cell, duration, cells)[used],
            "duration_sum_of_squares": np.bincount(cell, duration * duration, cells)[used],
        }
    )


def number_cells(shape: "Sequence[int]", *codes: "pd.Series[int]") -> "NDArray[np.intp]":
    """The number of each row's cell in a table with an axis for each column of codes.

    It is what NumPy's ``ravel_multi_index`` gives, in place, as there are millions of rows.

    Args:
        shape: length of each axis.
        codes: for each axis where each row is on it.
    """
    import numpy as np

    first, *others = codes
    cell: NDArray[np.intp] = first.to_numpy().astype(np.intp)
    for code, length in zip(others, shape[1:], strict=True):
        cell *= length
        cell += code.to_numpy()
    return cell


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


def split(zone_pairs: "pd.DataFrame", name: str) -> "pd.DataFrame":
    """The rows of one split, ``train`` or ``validation``."""
    return zone_pairs[zone_pairs["split"] == name]
