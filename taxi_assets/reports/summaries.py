"""What plots show of a month's trips, summed up: a few numbers, for whoever draws them."""

from typing import TYPE_CHECKING

from taxi_assets.durations.cleaning import DURATION, MAX_DURATION
from taxi_assets.durations.sums import add_up
from taxi_assets.tlc.fleets import PICKUP_ZONE

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

BARS = range(0, int(MAX_DURATION) + 1, 5)
"""Edges of the durations (minutes) by which errors are shown."""


def durations_by_pickup(cleaned_trips: "pd.DataFrame") -> "pd.DataFrame":
    """``trips`` and their mean duration (minutes) as ``value``, by pick-up zone."""
    import pandas as pd

    pickups = cleaned_trips[PICKUP_ZONE].cat
    codes, size = pickups.codes.to_numpy(), len(pickups.categories)
    trips = pd.Series(add_up(codes, size), pickups.categories.astype(int))
    minutes = add_up(codes, size, cleaned_trips[DURATION].to_numpy())
    return pd.DataFrame({"trips": trips, "value": minutes / trips})


def count_by_minutes(
    actual: "NDArray[np.float64]", predicted: "NDArray[np.float64]"
) -> "NDArray[np.int64]":
    """Numbers of trips by predicted (row) and actual (column) full minutes, shape (60, 60).

    Those of an hour, and those of which anything else was predicted, are not among them.
    """
    import numpy as np

    minutes = int(MAX_DURATION)
    took, foretold = (np.floor(values).astype(np.int64) for values in (actual, predicted))
    within = (took < minutes) & (foretold >= 0) & (foretold < minutes)
    cells = foretold[within] * minutes + took[within]
    return np.bincount(cells, minlength=minutes**2).reshape(minutes, minutes)


def errors_by_duration(
    actual: "NDArray[np.float64]", predicted: "NDArray[np.float64]"
) -> "pd.DataFrame":
    """As ``mean_errors`` by five minutes that trips took; the last five include the hour."""
    import numpy as np

    starts = np.minimum(actual.astype(np.int64) // BARS.step * BARS.step, BARS[-2])
    return mean_errors(starts, predicted - actual)


def mean_errors(groups: "NDArray[np.int64]", errors: "NDArray[np.float64]") -> "pd.DataFrame":
    """For each number of a group that has trips, how many, the mean error and absolute error."""
    import numpy as np
    import pandas as pd

    trips = np.bincount(groups)
    groups_present = np.flatnonzero(trips)
    sums = {
        "error": np.bincount(groups, errors)[groups_present],
        "absolute": np.bincount(groups, np.abs(errors))[groups_present],
    }
    means = {name: total / trips[groups_present] for name, total in sums.items()}
    return pd.DataFrame({"trips": trips[groups_present], **means}, index=groups_present)
