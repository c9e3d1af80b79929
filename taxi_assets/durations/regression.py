"""The model: scikit-learn's DictVectorizer and LinearRegression, fitted on zone pairs.

Least squares over all trips and least squares over the pairs' mean durations, each weighted by
its number of trips, have the same normal equations, and so the same minimum-norm solution. Those
equations know the rows only through their means and covariances. Any few rows that share these
have the same solution again, and let scikit-learn find it directly: on sparse rows it iterates,
and on a full month its limit, twice the number of features, comes before convergence.
"""

import hashlib
from typing import TYPE_CHECKING, TypedDict

from taxi_assets.durations.cleaning import FEATURES, UnusableTripsError
from taxi_assets.durations.sums import TRAIN, split
from taxi_assets.errors import MonthError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.linear_model import LinearRegression

MODEL_TYPE = "LinearRegression"
"""scikit-learn's name of the regressor; nothing else is taken from the storage for a model."""

NEGLIGIBLE_VARIANCE = 1e-12
"""Relative to the largest variance along any axis. A single trip among TLC's largest month leaves
some 1e-8; the axes that no trip varies along come out of the arithmetic at 1e-16."""


class VocabularyError(MonthError):
    """A model meets features that it was not fitted on."""

    remake = ("vectorizer", "model")


class TrainedModel(TypedDict):
    """A month's model.

    Attributes:
        model: as fitted.
        vocabulary: of the vectorizer that it was fitted with.
        interval: arrays of its ``inference.Interval``.
        mlflow_run_id: of the run that recorded its training.
    """

    model: "LinearRegression"
    vocabulary: str
    interval: "dict[str, NDArray[np.float64]]"
    mlflow_run_id: str


def fit_vectorizer(zone_pairs: "pd.DataFrame") -> "DictVectorizer":
    """Learn the zones of the training split, each as a pick-up and as a drop-off zone.

    Fitted on the distinct zones, the vocabulary is that of all training trips.
    """
    from sklearn.feature_extraction import DictVectorizer

    train = split(zone_pairs, TRAIN)
    zones = [{feature: zone} for feature in FEATURES for zone in train[feature].unique()]
    return DictVectorizer().fit(zones)


def fit_model(zone_pairs: "pd.DataFrame", vectorizer: "DictVectorizer") -> "LinearRegression":
    """Fit durations (minutes) to one-hot zones over the trips of the training split."""
    from sklearn.linear_model import LinearRegression
    from threadpoolctl import threadpool_limits

    train = split(zone_pairs, TRAIN)
    if len(train) == 1:
        raise UnusableTripsError(
            "Nothing can be learnt: all training trips run between the same two zones, by "
            f"{' and '.join(FEATURES)}."
        )
    trips = train["trips"].to_numpy()
    mean_durations = train["duration_sum"].to_numpy() / trips
    features = sum(vectors[codes] for codes, vectors in _zone_vectors(train, vectorizer))
    # Several threads for so small a matrix wait for each other most of the time, for seconds where
    # another process wants the core, and their sums come out otherwise in the last digits.
    with threadpool_limits(limits=1):
        return LinearRegression().fit(*same_moments(features, mean_durations, trips))


def same_moments(
    features: "csr_matrix", targets: "NDArray[np.float64]", weights: "NDArray[np.int64]"
) -> "tuple[NDArray[np.float64], NDArray[np.float64]]":
    """Rows, two for each axis that the features vary along, with the same means and covariances.

    They lie on either side of the mean along the covariance matrix's eigenvectors.

    Args:
        features: shape (n, p), sparse.
        targets: shape (n,).
        weights: how many times each row counts, shape (n,).

    Returns:
        Dense features of shape (2r, p) and targets of shape (2r,), r at most p, on which least
        squares has the solution that it has on the weighted rows given.
    """
    import numpy as np

    total = weights.sum()
    feature_means = features.T @ weights / total
    target_mean = targets @ weights / total
    covariance = (features.T @ features.multiply(weights[:, None])).toarray() / total
    covariance -= np.outer(feature_means, feature_means)
    with_target = features.T @ (weights * (targets - target_mean)) / total

    variances, axes = np.linalg.eigh(covariance)
    varies = variances > NEGLIGIBLE_VARIANCE * variances[-1]
    deviations = np.sqrt(variances[varies])
    axes = axes[:, varies].T
    steps, rises = axes * deviations[:, None], axes @ with_target / deviations
    return (
        feature_means + np.concatenate([steps, -steps]),
        target_mean + np.concatenate([rises, -rises]),
    )


def vocabulary(vectorizer: "DictVectorizer") -> str:
    """What tells a vectorizer's features from another's: the sha256 of their names, in order."""
    return hashlib.sha256("\n".join(vectorizer.feature_names_).encode()).hexdigest()


def bind(vectorizer: "DictVectorizer", trained: TrainedModel) -> "LinearRegression":
    """The model, once it is sure that it was fitted with the vectorizer.

    Raises:
        VocabularyError: the model was fitted with another vectorizer.
    """
    if vocabulary(vectorizer) != trained["vocabulary"]:
        raise VocabularyError(
            "The model was fitted on other features than the vectorizer has, which was made anew "
            "since."
        )
    return trained["model"]


def predict(
    rows: "pd.DataFrame", vectorizer: "DictVectorizer", model: "LinearRegression"
) -> "NDArray[np.float64]":
    """Predicted minutes of trips or zone pairs; a zone unseen in training adds nothing.

    It is what ``model.predict`` gives. Each zone's coefficient is looked up once, not once a row.

    Args:
        rows: with the columns of ``FEATURES``, categories of text.
        vectorizer: that the model was fitted with.
        model: as fitted.

    Returns:
        Shape (len(rows),).
    """
    import numpy as np

    minutes = np.full(len(rows), float(model.intercept_))
    for codes, vectors in _zone_vectors(rows, vectorizer):
        minutes += (vectors @ model.coef_)[codes]
    return minutes


def _zone_vectors(
    rows: "pd.DataFrame", vectorizer: "DictVectorizer"
) -> "Iterator[tuple[NDArray[np.intp], csr_matrix]]":
    """Of each feature, where a row's zone is among the zones, and the zones' feature vectors.

    A row's feature vector is the sum of its zones', of which there are few.
    """
    for feature in FEATURES:
        codes, zones = rows[feature].factorize()
        yield codes, vectorizer.transform([{feature: zone} for zone in zones])
