"""Gradient-boosted trees, fitted on sums of trips by LightGBM.

Squared loss knows a group of trips with equal features only by their number and mean, so that
trees on sums, weighted by trips, stand for trees on trips. The squared error around a group's
prediction follows from its sums, too: Σ(y - p)² = Σy² - 2pΣy + np².
"""

import hashlib
from typing import TYPE_CHECKING, Any

from taxi_assets.durations.inference import FEATURES, PAIR_FEATURES, Boosted, BoostedPairs, Encoding
from taxi_assets.durations.target_encoding import fit_encoding
from taxi_assets.durations.window import FOLDS, Window

if TYPE_CHECKING:
    from collections.abc import Mapping

    import lightgbm
    import numpy as np
    from numpy.typing import NDArray

MEAN_ROUNDS, VARIANCE_ROUNDS = 70, 30

PARAMETERS: dict[str, Any] = {
    "objective": "l2",
    "learning_rate": 0.15,
    # Fewer bins, and a share of the features for each tree, save time at little cost.
    "max_bin": 63,
    "feature_fraction": 0.45,
    "num_leaves": 31,
    "min_data_in_leaf": 20,
    # The sum of the Hessian is the number of trips.
    "min_sum_hessian_in_leaf": 50.0,
    "lambda_l2": 5.0,
    "cat_smooth": 20.0,
    "cat_l2": 20.0,
    "max_cat_threshold": 64,
    "seed": 1,
    # The last digits depend on it, so that it is the same on every machine.
    "num_threads": 2,
    "deterministic": True,
    "force_row_wise": True,
    "verbose": -1,
}
"""LightGBM's, of all trees.

Chosen by held-out RMSE beside time. More trees at a lower rate do 0.1 to 0.4 % better, and take as
much longer to grow and to evaluate. Half of the features for each tree were as good as eight of ten
on nine splits of green months; 0.45 saves time for 0.2 points below linear at most. A study of
``taxi_assets.tuning``, before the features had the places of zones, found nothing that is worth its
time: the best of 40 trials on green 2021-01 to 2021-03, 182 trees of 63 leaves at a rate of 0.053,
did 0.3 % better on the two months that chose it, and 0.5 % and 0.3 % on 2022-02 and 2023-02, which
had no part in it, in more than twice the time.
"""

CATEGORIES = [0, 1]
"""Which of the features are zones; see ``inference.FEATURES``."""


def fit_boosted(window: Window, encoding: Encoding) -> "dict[str, NDArray[Any]]":
    """The arrays of an ``inference.Boosted`` and an ``inference.BoostedPairs``."""
    features = folded_features(window)
    pairs, row = window.of_pairs()
    of_pairs = features[row, :PAIR_FEATURES]
    return _grow(Boosted.prefix, window, features) | _grow(BoostedPairs.prefix, pairs, of_pairs)


def _grow(
    prefix: str, window: Window, features: "NDArray[np.float32]"
) -> "dict[str, NDArray[Any]]":
    """Trees of the mean and of the squared error around it, as arrays of names with a prefix."""
    import lightgbm
    import numpy as np

    trips = window.sums["trips"]
    rows, mean = grow_mean(window, features, PARAMETERS, MEAN_ROUNDS)
    predicted = _predictions_in_training(mean)
    squares = (
        window.sums["duration_sum_of_squares"]
        - 2 * predicted * window.sums["duration_sum"]
        + predicted * predicted * trips
    )
    rows.set_label(np.maximum(squares, 0.0) / trips)
    variance = lightgbm.train(PARAMETERS, rows, VARIANCE_ROUNDS)
    return _text(f"{prefix}mean", mean) | _text(f"{prefix}variance", variance)


def grow_mean(
    window: Window, features: "NDArray[np.float32]", parameters: "Mapping[str, Any]", rounds: int
) -> "tuple[lightgbm.Dataset, lightgbm.Booster]":
    """The trees of the mean, and the rows that they were grown on.

    Args:
        window: the trips.
        features: of its rows, see ``folded_features``.
        parameters: LightGBM's.
        rounds: number of trees.
    """
    import lightgbm

    trips = window.sums["trips"]
    rows = lightgbm.Dataset(
        features,
        window.sums["duration_sum"] / trips,
        weight=trips,
        categorical_feature=CATEGORIES,
        params=dict(parameters),
        free_raw_data=False,
    )
    return rows, lightgbm.train(dict(parameters), rows, rounds, keep_training_booster=True)


def _predictions_in_training(trees: "lightgbm.Booster") -> "NDArray[np.float64]":
    """What trees say of the rows that they were grown on, which LightGBM knows already."""
    kept = []

    def keep(predictions: "NDArray[np.float64]", _rows: object) -> tuple[str, float, bool]:
        kept.append(predictions.copy())
        return "kept", 0.0, False

    trees.eval_train(keep)
    return kept[0]


def folded_features(window: Window) -> "NDArray[np.float32]":
    """Each row's features, as the other folds' trips give them; shape (rows, features)."""
    import numpy as np

    features = np.empty((len(window.cells), len(FEATURES)), np.float32)
    for fold in range(FOLDS):
        chosen = window.folds == fold
        others = Encoding(fit_encoding(window.without(fold)))
        features[chosen] = others.features(window.cells[chosen])
    return features


def _text(name: str, trees: Any) -> "dict[str, NDArray[Any]]":
    import numpy as np

    text = trees.model_to_string().encode()
    return {
        f"{name}_trees": np.frombuffer(text, np.uint8),
        f"{name}_sha256": np.array(hashlib.sha256(text).hexdigest()),
    }
