"""What plots show of a month's trips, summed up: a few numbers, for whoever draws them."""

from typing import TYPE_CHECKING

from taxi_assets.durations.cleaning import DURATION, MAX_DURATION
from taxi_assets.durations.scoring import Validation
from taxi_assets.tlc.fleets import DROPOFF_ZONE, PICKUP_ZONE
from taxi_assets.tlc.zones import zone_of

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

MINUTES_A_BAR = 5
LISTED_BOROUGHS = 7
LISTED_PAIRS = 10
WELL_TRAVELLED = 30
"""Validation trips that a pair of zones must have for its error to mean something."""


def count_by_minutes(
    actual: "NDArray[np.float64]", predicted: "NDArray[np.float64]"
) -> "NDArray[np.int64]":
    """Numbers of trips by predicted (row) and actual (column) full minutes, shape (60, 60).

    Those of an hour, and those of which anything else was predicted, are not among them.
    """
    import numpy as np

    minutes = int(MAX_DURATION)
    took, said = (np.floor(values).astype(np.int64) for values in (actual, predicted))
    within = (took < minutes) & (said >= 0) & (said < minutes)
    cells = said[within] * minutes + took[within]
    return np.bincount(cells, minlength=minutes**2).reshape(minutes, minutes)


def errors_by_duration(validation: Validation) -> "pd.DataFrame":
    """As ``mean_errors`` by five minutes that trips took; the last five include the hour."""
    import numpy as np

    actual = validation.trips[DURATION].to_numpy()
    last = int(MAX_DURATION) // MINUTES_A_BAR - 1
    bars = np.minimum(actual.astype(np.int64) // MINUTES_A_BAR, last)
    means = mean_errors(bars, validation.trip_predictions - actual)
    return means.set_index(means.index * MINUTES_A_BAR)


def errors_by_borough(validation: Validation) -> "pd.DataFrame":
    """As ``mean_errors`` by the boroughs in which most trips began, the busiest last."""
    import pandas as pd

    pickups = validation.trips[PICKUP_ZONE]
    errors = validation.trip_predictions - validation.trips[DURATION].to_numpy()
    numbers, boroughs = pd.factorize(
        pickups.cat.categories.map(lambda zone: zone_of(int(zone)).borough)
    )
    means = mean_errors(numbers[pickups.cat.codes], errors)
    return means.set_index(boroughs[means.index]).sort_values("trips").tail(LISTED_BOROUGHS)


def mean_errors(groups: "NDArray[np.int64]", errors: "NDArray[np.float64]") -> "pd.DataFrame":
    """For each number of a group that has trips, how many, the mean error and absolute error."""
    import numpy as np
    import pandas as pd

    trips = np.bincount(groups)
    met = np.flatnonzero(trips)
    sums = {
        "error": np.bincount(groups, errors)[met],
        "absolute": np.bincount(groups, np.abs(errors))[met],
    }
    means = {name: total / trips[met] for name, total in sums.items()}
    return pd.DataFrame({"trips": trips[met], **means}, index=met)


def worst_pairs(validation: Validation) -> "pd.DataFrame":
    """The ten well-travelled pairs of zones with the largest errors, the worst last.

    Returns:
        ``rmse`` and ``bias`` (minutes), by what the pair is called.
    """
    pairs, predicted = validation.pairs, validation.pair_predictions
    trips, total = pairs["trips"], pairs["duration_sum"]
    squares = pairs["duration_sum_of_squares"] - 2 * predicted * total + predicted**2 * trips
    scored = pairs.assign(
        rmse=(squares / trips).clip(lower=0) ** 0.5, bias=predicted - total / trips
    )
    worst = scored[trips >= WELL_TRAVELLED].nlargest(LISTED_PAIRS, "rmse").iloc[::-1]
    names = [
        f"{zone_of(int(pickup)).name} to {zone_of(int(dropoff)).name} ({trips:,})"
        for pickup, dropoff, trips in zip(
            worst[PICKUP_ZONE], worst[DROPOFF_ZONE], worst["trips"], strict=True
        )
    ]
    return worst[["rmse", "bias"]].set_index([names])
