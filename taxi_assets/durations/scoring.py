"""How good a model is on a month's validation trips, in minutes."""

from typing import TYPE_CHECKING

from taxi_assets.durations.cleaning import DURATION, VALIDATES
from taxi_assets.durations.regression import predict
from taxi_assets.durations.zone_pairs import TRAIN, VALIDATION, ZONES, split

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.linear_model import LinearRegression


def score_model(
    cleaned_trips: "pd.DataFrame",
    zone_pairs: "pd.DataFrame",
    vectorizer: "DictVectorizer",
    model: "LinearRegression",
) -> dict[str, float]:
    """The month's figures.

    Squared errors follow from the zone pairs: over the n trips of a pair with prediction p,
    Σ(y - p)² = Σy² - 2pΣy + np². The absolute error does not, and takes one pass over the trips.

    Returns:
        ``train_trips``, ``validation_trips``, ``feature_count``, ``intercept``, ``rmse``,
        ``mae``, ``r2`` and ``baseline_rmse``, that of predicting the mean of the training trips.
    """
    import numpy as np

    train, validation = split(zone_pairs, TRAIN), split(zone_pairs, VALIDATION)
    trips = int(validation["trips"].sum())
    predicted = predict(validation, vectorizer, model)
    mse = _squared_error(validation, predicted) / trips
    training_mean = train["duration_sum"].sum() / train["trips"].sum()
    validation_mean = validation["duration_sum"].sum() / trips

    held_out = cleaned_trips[cleaned_trips[VALIDATES]]
    errors = held_out[DURATION].to_numpy() - _spread(validation, predicted, held_out)
    return {
        "train_trips": int(train["trips"].sum()),
        "validation_trips": trips,
        "feature_count": len(vectorizer.feature_names_),
        "intercept": float(model.intercept_),
        "rmse": float(np.sqrt(mse)),
        "mae": float(np.abs(errors).mean()),
        "r2": _r2(mse * trips, _squared_error(validation, validation_mean)),
        "baseline_rmse": float(np.sqrt(_squared_error(validation, training_mean) / trips)),
    }


def _r2(squared_error: float, squared_deviation: float) -> float:
    """R²; as scikit-learn defines it where all trips last equally long."""
    if squared_deviation == 0:
        return float(squared_error == 0)
    return 1 - squared_error / squared_deviation


def _spread(
    pairs: "pd.DataFrame", predicted: "NDArray[np.float64]", trips: "pd.DataFrame"
) -> "NDArray[np.float64]":
    """Give every trip the prediction of its zone pair, shape (len(trips),)."""
    import numpy as np
    import pandas as pd

    pickup, dropoff = (trips[zone].cat for zone in ZONES)
    by_zone = pd.Series(predicted, index=pd.MultiIndex.from_frame(pairs[ZONES].astype(str)))
    by_zone = by_zone.unstack().reindex(index=pickup.categories, columns=dropoff.categories)
    return np.asarray(by_zone.to_numpy()[pickup.codes, dropoff.codes])


def _squared_error(pairs: "pd.DataFrame", predicted: "NDArray[np.float64] | float") -> float:
    """Sum over trips of the squared error, when each pair's trips are all predicted the same."""
    terms = (
        pairs["duration_sum_of_squares"]
        - 2 * predicted * pairs["duration_sum"]
        + predicted * predicted * pairs["trips"]
    )
    # Where all errors are nought, rounding may leave less than nothing.
    return max(0.0, float(terms.sum()))
