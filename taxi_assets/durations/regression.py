"""The model: scikit-learn's DictVectorizer and LinearRegression, fitted on weighted zone pairs.

Least squares over all trips and least squares over the pairs' mean durations, each weighted by
its number of trips, have the same normal equations, and so the same minimum-norm solution.
"""

from typing import TYPE_CHECKING

from taxi_assets.durations.zone_pairs import TRAIN, ZONES, split

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.linear_model import LinearRegression

TOLERANCE = 1e-12
"""Where scikit-learn's sparse solver stops: its default of 1e-6 leaves 1e-4 in the intercept."""


def fit_vectorizer(zone_pairs: "pd.DataFrame") -> "DictVectorizer":
    """Learn the zones of the training split, each as a pick-up and as a drop-off zone.

    Fitted on the distinct pairs, the vocabulary is that of all training trips.
    """
    from sklearn.feature_extraction import DictVectorizer

    return DictVectorizer().fit(_records(split(zone_pairs, TRAIN)))


def fit_model(zone_pairs: "pd.DataFrame", vectorizer: "DictVectorizer") -> "LinearRegression":
    """Fit durations (minutes) to one-hot zones over the training split, to convergence."""
    from sklearn.linear_model import LinearRegression

    train = split(zone_pairs, TRAIN)
    return LinearRegression(tol=TOLERANCE).fit(
        vectorizer.transform(_records(train)),
        train["duration_sum"] / train["trips"],
        sample_weight=train["trips"],
    )


def predict(
    pairs: "pd.DataFrame", vectorizer: "DictVectorizer", model: "LinearRegression"
) -> "NDArray[np.float64]":
    """Predicted minutes for each row's zone pair; a zone unseen in training adds nothing."""
    import numpy as np

    return np.asarray(model.predict(vectorizer.transform(_records(pairs))))


def _records(pairs: "pd.DataFrame") -> list[dict[str, str]]:
    return pairs[ZONES].astype(str).to_dict(orient="records")
