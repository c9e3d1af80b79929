"""How good a model is on a month's validation trips, in minutes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from taxi_assets.durations.cleaning import DURATION, FEATURES, VALIDATES
from taxi_assets.durations.regression import predict
from taxi_assets.durations.sums import TRAIN, VALIDATION, split

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.linear_model import LinearRegression


@dataclass(frozen=True)
class Validation:
    """A model's predictions (minutes) for the trips that it was not trained on.

    Attributes:
        pairs: the validation rows of ``zone_pairs``.
        pair_predictions: one for each of them, shape (len(pairs),).
        trips: the validation rows of ``cleaned_trips``.
        trip_predictions: one for each of them, shape (len(trips),).
    """

    pairs: "pd.DataFrame"
    pair_predictions: "NDArray[np.float64]"
    trips: "pd.DataFrame"
    trip_predictions: "NDArray[np.float64]"


def validate_model(
    cleaned_trips: "pd.DataFrame",
    zone_pairs: "pd.DataFrame",
    vectorizer: "DictVectorizer",
    model: "LinearRegression",
) -> Validation:
    """Predict the validation trips, of which the zone pairs are the sums."""
    pairs = split(zone_pairs, VALIDATION)
    predicted = predict(pairs, vectorizer, model)
    trips = cleaned_trips[cleaned_trips[VALIDATES]]
    return Validation(pairs, predicted, trips, spread(pairs, predicted, trips))


def score_model(
    zone_pairs: "pd.DataFrame",
    vectorizer: "DictVectorizer",
    model: "LinearRegression",
    validation: Validation,
) -> dict[str, float]:
    """The month's metrics.

    Squared errors follow from the zone pairs: over the n trips of a pair with prediction p,
    Σ(y - p)² = Σy² - 2pΣy + np². The absolute error does not, and takes one pass over the trips.

    Returns:
        ``train_trips``, ``validation_trips``, ``feature_count``, ``intercept``, ``rmse``,
        ``mae``, ``r2`` and ``baseline_rmse``, that of predicting the mean of the training trips.
    """
    import numpy as np

    train, held_out = split(zone_pairs, TRAIN), validation.pairs
    trips = int(held_out["trips"].sum())
    mse = squared_error(held_out, validation.pair_predictions) / trips
    training_mean = train["duration_sum"].sum() / train["trips"].sum()
    validation_mean = held_out["duration_sum"].sum() / trips
    errors = validation.trips[DURATION].to_numpy() - validation.trip_predictions
    return {
        "train_trips": int(train["trips"].sum()),
        "validation_trips": trips,
        "feature_count": len(vectorizer.feature_names_),
        "intercept": float(model.intercept_),
        "rmse": float(np.sqrt(mse)),
        "mae": float(np.abs(errors).mean()),
        "r2": r_squared(mse * trips, squared_error(held_out, validation_mean)),
        "baseline_rmse": float(np.sqrt(squared_error(held_out, training_mean) / trips)),
    }


def r_squared(squared_error: float, squared_deviation: float) -> float:
    """R²; as scikit-learn defines it where all trips last equally long."""
    if squared_deviation == 0:
        return float(squared_error == 0)
    return 1 - squared_error / squared_deviation


def spread(
    pairs: "pd.DataFrame", predicted: "NDArray[np.float64]", trips: "pd.DataFrame"
) -> "NDArray[np.float64]":
    """Give every trip the prediction of its zone pair, shape (len(trips),)."""
    import numpy as np

    known = [trips[feature].cat.categories for feature in FEATURES]
    shape = [len(values) for values in known]
    codes = [
        pairs[feature].cat.set_categories(values).cat.codes
        for feature, values in zip(FEATURES, known, strict=True)
    ]
    # Pairs of values that no trip has are nobody's.
    met = np.all([code >= 0 for code in codes], axis=0)
    by_cell = np.full(np.prod(shape), np.nan)
    by_cell[np.ravel_multi_index([code[met] for code in codes], shape)] = predicted[met]
    trip_codes = [trips[feature].cat.codes for feature in FEATURES]
    return np.asarray(by_cell[np.ravel_multi_index(trip_codes, shape)])


def squared_error(pairs: "pd.DataFrame", predicted: "NDArray[np.float64] | float") -> float:
    """Sum over trips of the squared error, when each pair's trips are all predicted the same."""
    terms = (
        pairs["duration_sum_of_squares"]
        - 2 * predicted * pairs["duration_sum"]
        + predicted * predicted * pairs["trips"]
    )
    # Where all errors are nought, rounding may leave less than nothing.
    return max(0.0, float(terms.sum()))
