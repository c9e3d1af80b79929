"""How last month's model does on this month's trips: the truth that validation only estimates."""

from typing import TYPE_CHECKING, Any

from taxi_assets.durations.cleaning import DURATION, FEATURES
from taxi_assets.durations.regression import Predictor, predict
from taxi_assets.durations.scoring import spread, squared_error
from taxi_assets.durations.zone_pairs import TRAIN, VALIDATION, split

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

CLOSE = 5.0
"""Minutes within which a prediction is called close."""


def compare_models(
    cleaned_trips: "pd.DataFrame",
    zone_pairs: "pd.DataFrame",
    own: Predictor,
    previous: Predictor | None,
) -> dict[str, Any]:
    """Score last month's model on all kept trips, beside the month's own and the training mean.

    Returns:
        ``trips``, their number; for ``previous``, ``own`` and ``mean`` each ``…_rmse``, ``…_mae``
        and ``…_bias`` (minutes; predicted less actual), and ``…_share_within_5_minutes``; and
        ``previous_validation_rmse`` and ``own_validation_rmse``, on the trips that the month's
        own model was not trained on either. Without a previous model its figures are None.
    """
    import numpy as np

    sums = ["trips", "duration_sum", "duration_sum_of_squares"]
    pairs = zone_pairs.groupby(FEATURES, observed=True)[sums].sum().reset_index()
    train, validation = split(zone_pairs, TRAIN), split(zone_pairs, VALIDATION)
    predictions = {
        "previous": previous and predict(pairs, *previous),
        "own": predict(pairs, *own),
        "mean": np.full(len(pairs), train["duration_sum"].sum() / train["trips"].sum()),
    }
    figures: dict[str, Any] = {"trips": len(cleaned_trips)}
    for name, predicted in predictions.items():
        figures |= _score(name, cleaned_trips, pairs, predicted)
    for name in ("previous", "own"):
        predicted = predictions[name]
        held_out = None if predicted is None else spread(pairs, predicted, validation)
        figures[f"{name}_validation_rmse"] = (
            None if held_out is None else _rmse(validation, held_out)
        )
    return figures


def _score(
    name: str,
    cleaned_trips: "pd.DataFrame",
    pairs: "pd.DataFrame",
    predicted: "NDArray[np.float64] | None",
) -> dict[str, float | None]:
    import numpy as np

    share = f"{name}_share_within_{CLOSE:g}_minutes"
    names = [f"{name}_rmse", f"{name}_mae", f"{name}_bias", share]
    if predicted is None:
        return dict.fromkeys(names)
    # In place, as there are millions.
    errors = spread(pairs, predicted, cleaned_trips)
    errors -= cleaned_trips[DURATION].to_numpy()
    np.abs(errors, out=errors)
    bias = (predicted @ pairs["trips"] - pairs["duration_sum"].sum()) / len(cleaned_trips)
    figures = [
        _rmse(pairs, predicted),
        float(errors.mean()),
        float(bias),
        float((errors <= CLOSE).mean()),
    ]
    return dict(zip(names, figures, strict=True))


def _rmse(pairs: "pd.DataFrame", predicted: "NDArray[np.float64]") -> float:
    return float((squared_error(pairs, predicted) / pairs["trips"].sum()) ** 0.5)
