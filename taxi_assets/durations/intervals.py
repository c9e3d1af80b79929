"""Fitting intervals that hold eight trips of ten: how errors scatter, by fifth of the prediction.

See ``answers.Interval``, which reads the arrays that are made here.
"""

from typing import TYPE_CHECKING, Any

from taxi_assets.durations.zone_pairs import VALIDATION, split
from taxi_assets.tlc.fleets import DROPOFF_ZONE, PICKUP_ZONE

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.linear_model import LinearRegression

LOW, HIGH = 0.1, 0.9
"""The quantiles that the bounds are."""

FIFTHS = (0.2, 0.4, 0.6, 0.8)

NORMAL_HIGH = 1.2815515655446004
"""The upper quantile of the normal distribution."""


def fit_interval(
    minutes: "NDArray[np.float64]", spread: "NDArray[np.float64]", actual: "NDArray[np.float64]"
) -> "dict[str, NDArray[np.float64]]":
    """The arrays of an ``answers.Interval``, from trips that the model was not fitted on.

    Args:
        minutes: predicted for each trip.
        spread: for each trip.
        actual: how long each took (minutes).
    """
    import numpy as np

    scaled = (actual - minutes) / spread
    edges = np.quantile(minutes, FIFTHS)
    fifth = np.searchsorted(edges, minutes, side="right")
    bounds = []
    for number in range(len(FIFTHS) + 1):
        # Where all predictions are alike, some fifths are empty.
        errors = scaled[fifth == number]
        bounds.append(np.quantile(errors if len(errors) else scaled, [LOW, HIGH]))
    low, high = np.transpose(bounds)
    return {"edges": edges, "low": low, "high": high}


def linear_arrays(
    vectorizer: "DictVectorizer", model: "LinearRegression"
) -> "dict[str, NDArray[np.float64]]":
    """The arrays of an ``answers.Linear``: intercept, and coefficients by zone number."""
    import numpy as np

    from taxi_assets.durations.answers import ZONES
    from taxi_assets.durations.window import zone_number

    coefficients = {PICKUP_ZONE: np.zeros(ZONES), DROPOFF_ZONE: np.zeros(ZONES)}
    for name, index in vectorizer.vocabulary_.items():
        feature, _, zone = name.partition("=")
        number = zone_number(zone)
        if number:
            coefficients[feature][number] = model.coef_[index]
    return {
        "intercept": np.array(float(model.intercept_)),
        "pickup": coefficients[PICKUP_ZONE],
        "dropoff": coefficients[DROPOFF_ZONE],
    }


def servable_linear(
    vectorizer: "DictVectorizer", model: "LinearRegression", zone_pairs: "pd.DataFrame"
) -> "dict[str, NDArray[Any]]":
    """The arrays of a linear model and of its interval, by ``linear.…`` and ``interval.…``."""
    arrays = linear_arrays(vectorizer, model)
    interval = fit_linear_interval(arrays, zone_pairs)
    return {f"linear.{name}": values for name, values in arrays.items()} | {
        f"interval.{name}": values for name, values in interval.items()
    }


def fit_linear_interval(
    arrays: "dict[str, NDArray[Any]]", zone_pairs: "pd.DataFrame"
) -> "dict[str, NDArray[np.float64]]":
    """The arrays of a linear model's interval, from the sums of its validation trips.

    Sums give the errors' mean and variance by fifth; their shape is taken to be normal.
    """
    import numpy as np

    from taxi_assets.durations.answers import Linear
    from taxi_assets.durations.window import cells_of

    pairs = split(zone_pairs, VALIDATION)
    minutes = Linear(arrays).predict(cells_of(pairs.assign(pickup_hour=np.uint8(0))))
    trips, total, squares = (
        pairs[name].to_numpy(np.float64)
        for name in ("trips", "duration_sum", "duration_sum_of_squares")
    )
    order = np.argsort(minutes, kind="stable")
    share = np.cumsum(trips[order]) / trips.sum()
    last = len(order) - 1
    edges = minutes[order][[min(last, int(np.searchsorted(share, fifth))) for fifth in FIFTHS]]
    fifth = np.searchsorted(edges, minutes, side="right")
    sums = [
        np.bincount(fifth, values, len(FIFTHS) + 1)
        for values in (
            trips,
            total - minutes * trips,
            squares - 2 * minutes * total + minutes * minutes * trips,
        )
    ]
    # An empty fifth is like all.
    count, error, square = (np.where(sums[0] > 0, values, values.sum()) for values in sums)
    bias = error / count
    deviation = np.sqrt(np.maximum(square / count - bias * bias, 0.0))
    return {
        "edges": edges,
        "low": bias - NORMAL_HIGH * deviation,
        "high": bias + NORMAL_HIGH * deviation,
    }
