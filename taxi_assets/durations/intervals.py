"""Fitting intervals that hold eight trips of ten: how errors scatter, by quantile bin.

See ``inference.Interval``, which reads the arrays that are made here.
"""

from typing import TYPE_CHECKING, Any

from taxi_assets.durations.cleaning import DURATION, validation_trips
from taxi_assets.durations.sums import distinct
from taxi_assets.tlc.fleets import DROPOFF_ZONE, PICKUP_ZONE

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.linear_model import LinearRegression

    from taxi_assets.durations.inference import Cells, DurationModel

LOW, HIGH = 0.1, 0.9
"""The quantiles that the bounds are."""

BIN_EDGES = (0.2, 0.4, 0.6, 0.8)


def calibrate(
    model: "DurationModel", cells: "Cells", actual: "NDArray[np.float64]"
) -> "dict[str, NDArray[np.float64]]":
    """The arrays of an ``inference.Interval``, from trips that the model was not fitted on.

    Args:
        model: predicts minutes and spread.
        cells: of each trip.
        actual: how long each took (minutes).
    """
    import numpy as np

    met, trip, _ = distinct(cells)
    minutes, spread = (values[trip] for values in model.predict_with_spread(met))
    scaled = (actual - minutes) / spread
    edges = np.quantile(minutes, BIN_EDGES)
    quantile_bin = np.searchsorted(edges, minutes, side="right")
    bounds = []
    for number in range(len(BIN_EDGES) + 1):
        # Where all predictions are alike, some quantile bins are empty.
        errors = scaled[quantile_bin == number]
        bounds.append(np.quantile(errors if len(errors) else scaled, [LOW, HIGH]))
    low, high = np.transpose(bounds)
    return {"edges": edges, "low": low, "high": high}


def linear_arrays(
    vectorizer: "DictVectorizer", model: "LinearRegression"
) -> "dict[str, NDArray[np.float64]]":
    """The arrays of an ``answers.Linear``: intercept, and coefficients by zone number."""
    import numpy as np

    from taxi_assets.durations.inference import ZONES
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
    vectorizer: "DictVectorizer", model: "LinearRegression", cleaned_trips: "pd.DataFrame"
) -> "dict[str, NDArray[Any]]":
    """The arrays of a linear model and of its interval, by ``linear.…`` and ``interval.…``."""
    from taxi_assets.durations.inference import Linear
    from taxi_assets.durations.models import join
    from taxi_assets.durations.window import cells_of

    arrays = linear_arrays(vectorizer, model)
    held_out = validation_trips(cleaned_trips)
    interval = calibrate(Linear(arrays), cells_of(held_out), held_out[DURATION].to_numpy())
    return join({"linear": arrays, "interval": interval})
