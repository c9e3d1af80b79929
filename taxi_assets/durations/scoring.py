"""How good a model is on a month's validation trips, in minutes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from taxi_assets.durations.cleaning import DURATION, validation_trips
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
    pairs, trips = split(zone_pairs, VALIDATION), validation_trips(cleaned_trips)
    predicted = (predict(rows, vectorizer, model) for rows in (pairs, trips))
    return Validation(pairs, next(predicted), trips, next(predicted))


def score_model(
    zone_pairs: "pd.DataFrame",
    vectorizer: "DictVectorizer",
    model: "LinearRegression",
    validation: Validation,
) -> dict[str, float]:
    """The month's metrics.

    Returns:
        ``train_trips``, ``validation_trips``, ``feature_count``, ``intercept``, ``rmse``,
        ``mae``, ``r2`` and ``baseline_rmse``, that of predicting the mean of the training trips.
    """
    import numpy as np
    from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

    train = split(zone_pairs, TRAIN)
    train_trips = int(train["trips"].sum())
    actual, predicted = validation.trips[DURATION].to_numpy(), validation.trip_predictions
    mean_of_training = np.full(len(actual), train["duration_sum"].sum() / train_trips)
    return {
        "train_trips": train_trips,
        "validation_trips": len(actual),
        "feature_count": len(vectorizer.feature_names_),
        "intercept": float(model.intercept_),
        "rmse": float(root_mean_squared_error(actual, predicted)),
        "mae": float(mean_absolute_error(actual, predicted)),
        "r2": float(r2_score(actual, predicted)),
        "baseline_rmse": float(root_mean_squared_error(actual, mean_of_training)),
    }


def squared_error(pairs: "pd.DataFrame", predicted: "NDArray[np.float64] | float") -> float:
    """Sum over trips of the squared error, when each pair's trips are all predicted the same."""
    terms = (
        pairs["duration_sum_of_squares"]
        - 2 * predicted * pairs["duration_sum"]
        + predicted * predicted * pairs["trips"]
    )
    # Where all errors are nought, rounding may leave less than nothing.
    return max(0.0, float(terms.sum()))
