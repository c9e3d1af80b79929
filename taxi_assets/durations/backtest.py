"""How last month's model does on this month's trips: the truth that validation only estimates."""

from typing import TYPE_CHECKING, Any

from taxi_assets.durations.cleaning import DURATION
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
    train = split(zone_pairs, TRAIN)
    mean = float(train["duration_sum"].sum() / train["trips"].sum())
    figures: dict[str, Any] = {"trips": len(cleaned_trips)}
    for name, predicted in (
        ("previous", previous and predict(zone_pairs, *previous)),
        ("own", predict(zone_pairs, *own)),
        ("mean", mean),
    ):
        figures |= _score(name, cleaned_trips, zone_pairs, predicted)
    del figures["mean_validation_rmse"]
    return figures


def _score(
    name: str,
    cleaned_trips: "pd.DataFrame",
    zone_pairs: "pd.DataFrame",
    predicted: "NDArray[np.float64] | float | None",
) -> dict[str, float | None]:
    import numpy as np

    share = f"{name}_share_within_{CLOSE:g}_minutes"
    names = [f"{name}_rmse", f"{name}_mae", f"{name}_bias", share, f"{name}_validation_rmse"]
    if predicted is None:
        return dict.fromkeys(names)
    # In place, as there are millions.
    errors = cleaned_trips[DURATION].to_numpy(copy=True)
    errors -= (
        predicted if isinstance(predicted, float) else spread(zone_pairs, predicted, cleaned_trips)
    )
    bias = -float(errors.mean())
    np.abs(errors, out=errors)
    pairs = zone_pairs.assign(predicted=predicted)
    validation = split(pairs, VALIDATION)
    figures = [
        _rmse(pairs),
        float(errors.mean()),
        bias,
        float((errors <= CLOSE).mean()),
        _rmse(validation),
    ]
    return dict(zip(names, figures, strict=True))


def _rmse(pairs: "pd.DataFrame") -> float:
    return float((squared_error(pairs, pairs["predicted"]) / pairs["trips"].sum()) ** 0.5)
