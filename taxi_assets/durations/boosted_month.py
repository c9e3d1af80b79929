"""A month's boosted model from end to end: fitted on sums, its intervals calibrated, validated."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from taxi_assets.durations import boosted
from taxi_assets.durations.cleaning import DURATION, HOUR, validation_trips
from taxi_assets.durations.inference import BANDS, FEATURES, Boosted, BoostedPairs, Encoding, part
from taxi_assets.durations.intervals import calibrate
from taxi_assets.durations.models import ENCODING, fit_models, join, read_models
from taxi_assets.durations.sums import distinct
from taxi_assets.durations.window import (
    WEIGHT_OF_A_MONTH_AGO,
    WEIGHT_OF_A_YEAR_AGO,
    Window,
    cells_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pandas as pd
    from numpy.typing import NDArray

    from taxi_assets.durations.inference import Arrays

BOOSTED, INTERVAL, PAIR_INTERVAL = "boosted", "interval", "pair_interval"

PARAMETERS = {
    "model_type": "LightGBM",
    **{name: value for name, value in boosted.PARAMETERS.items() if name != "verbose"},
    "mean_rounds": boosted.MEAN_ROUNDS,
    "variance_rounds": boosted.VARIANCE_ROUNDS,
    "weight_of_a_month_ago": WEIGHT_OF_A_MONTH_AGO,
    "weight_of_a_year_ago": WEIGHT_OF_A_YEAR_AGO,
}
"""What the model is made with, for those who track it."""


def fit_boosted_month(
    window: Window, cleaned_trips: "Callable[[], pd.DataFrame]"
) -> "dict[str, NDArray[Any]]":
    """Fit all families, and the intervals on the validation trips, which no fit has seen.

    Args:
        window: the sums that the models are trained on.
        cleaned_trips: gives those of the last of their months, when the models are fitted.
    """
    arrays = fit_models(window)
    encoding, trees = Encoding(part(arrays, ENCODING)), part(arrays, BOOSTED)
    held_out = validation_trips(cleaned_trips())
    cells, actual = cells_of(held_out), held_out[DURATION].to_numpy()
    intervals = {
        INTERVAL: calibrate(Boosted(encoding, trees), cells, actual),
        PAIR_INTERVAL: calibrate(BoostedPairs(encoding, trees), cells - cells % BANDS, actual),
    }
    return arrays | join(intervals)


def servable_boosted(arrays: "Arrays") -> "dict[str, NDArray[Any]]":
    """Those arrays that the served model needs."""
    parts = (ENCODING, BOOSTED, INTERVAL, PAIR_INTERVAL)
    return {name: values for name, values in arrays.items() if name.partition(".")[0] in parts}


@dataclass(frozen=True)
class BoostedValidation:
    """The model's predictions for the month's validation trips; arrays of shape (trips,).

    Attributes:
        actual: how long they took (minutes).
        predicted: minutes, unbounded, as those of the linear model.
        hours: of the week.
    """

    actual: "NDArray[Any]"
    predicted: "NDArray[Any]"
    hours: "NDArray[Any]"

    def score(self, cleaned_trips: "pd.DataFrame") -> dict[str, float]:
        """Metrics on the same rows, and under the same names, as those of the linear model."""
        import numpy as np
        from sklearn.metrics import r2_score

        errors = self.actual - self.predicted
        trips = len(cleaned_trips) - len(errors)
        training_mean = (cleaned_trips[DURATION].sum() - self.actual.sum()) / trips
        square = float(np.mean(errors * errors))
        return {
            "train_trips": trips,
            "validation_trips": len(errors),
            "feature_count": len(FEATURES),
            "rmse": square**0.5,
            "mae": float(np.abs(errors).mean()),
            "r2": float(r2_score(self.actual, self.predicted)),
            "baseline_rmse": float(np.sqrt(np.mean((self.actual - training_mean) ** 2))),
        }


def validate_boosted(
    arrays: "Mapping[str, Any]", cleaned_trips: "pd.DataFrame"
) -> BoostedValidation:
    """Predict the validation trips."""
    held_out = validation_trips(cleaned_trips)
    cells, trip, _ = distinct(cells_of(held_out))
    predicted = read_models(arrays)[BOOSTED].predict(cells)
    return BoostedValidation(
        actual=held_out[DURATION].to_numpy(),
        predicted=predicted[trip],
        hours=held_out[HOUR].to_numpy(),
    )
