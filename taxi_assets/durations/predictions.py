"""What a model says of each of a month's trips."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

VERSION = "model_version"

MINUTES = ("minutes", "minutes_p10", "minutes_p90")

COLUMNS = {**dict.fromkeys(MINUTES, "float32"), VERSION: "category"}
"""The columns of predictions and their pandas types."""


def predict_trips(
    cell_of_trip: "NDArray[np.int32]", answers: "Sequence[NDArray[np.float64]]", version: int
) -> "pd.DataFrame":
    """Spread the answers for each distinct cell over the trips.

    Args:
        cell_of_trip: where each trip's cell is among the answers.
        answers: minutes and both bounds, each of shape (cells,).
        version: the model's.

    Returns:
        A row for each trip, in order: ``minutes``, ``minutes_p10``, ``minutes_p90`` (float32),
        ``model_version`` (category).
    """
    import numpy as np
    import pandas as pd

    columns: dict[str, Any] = {
        name: values.astype(np.float32)[cell_of_trip]
        for name, values in zip(MINUTES, answers, strict=True)
    }
    codes = np.zeros(len(cell_of_trip), np.int8)
    columns[VERSION] = pd.Categorical.from_codes(codes, [str(version)])
    return pd.DataFrame(columns, copy=False)


def no_predictions(trips: int) -> "pd.DataFrame":
    """As many rows without answers, where there is no champion."""
    import numpy as np
    import pandas as pd

    columns: dict[str, Any] = {name: np.full(trips, np.nan, np.float32) for name in MINUTES}
    columns[VERSION] = pd.Categorical.from_codes(np.full(trips, -1, np.int8), ["0"])
    return pd.DataFrame(columns, copy=False)
