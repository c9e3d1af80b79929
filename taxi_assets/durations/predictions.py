"""What a model says of each of a month's trips."""

from typing import TYPE_CHECKING, Any

from taxi_assets.durations.window import cells_of, distinct

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from taxi_assets.durations.answers import Cells

VERSION = "model_version"

MINUTES = ("minutes", "minutes_p10", "minutes_p90")

COLUMNS = {**dict.fromkeys(MINUTES, "float32"), VERSION: "category"}
"""The columns of predictions and their pandas types."""


def predict_trips(
    cleaned_trips: "pd.DataFrame", version: int, answer: "Callable[[Cells], Any]"
) -> "pd.DataFrame":
    """Predict each distinct cell once, and spread the answers over its trips.

    Args:
        cleaned_trips: of a month.
        version: the model's.
        answer: gives minutes and both bounds, each of shape (cells,).

    Returns:
        A row for each trip, in order: ``minutes``, ``minutes_p10``, ``minutes_p90`` (float32),
        ``model_version`` (category).
    """
    import numpy as np
    import pandas as pd

    cells, cell_of_trip, _ = distinct(cells_of(cleaned_trips))
    answers = np.asarray(answer(cells), np.float32)
    columns: dict[str, Any] = {
        name: values[cell_of_trip] for name, values in zip(MINUTES, answers, strict=True)
    }
    codes = np.zeros(len(cleaned_trips), np.int8)
    columns[VERSION] = pd.Categorical.from_codes(codes, [str(version)])
    return pd.DataFrame(columns, copy=False)


def no_predictions(trips: int) -> "pd.DataFrame":
    """As many rows without answers, where there is no champion."""
    import numpy as np
    import pandas as pd

    columns: dict[str, Any] = {name: np.full(trips, np.nan, np.float32) for name in MINUTES}
    columns[VERSION] = pd.Categorical.from_codes(np.full(trips, -1, np.int8), ["0"])
    return pd.DataFrame(columns, copy=False)
