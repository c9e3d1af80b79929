"""What a model says of each of a month's trips."""

from typing import TYPE_CHECKING, Any

from taxi_assets.durations.sums import take

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
    cell_of_trip: "NDArray[np.int32]",
    answers: "Sequence[NDArray[np.float64]] | None",
    version: int | None,
) -> "pd.DataFrame":
    """Spread the answers for each distinct cell over the trips.

    Args:
        cell_of_trip: where each trip's cell is among the answers.
        answers: minutes and both bounds, each of shape (cells,); None if there is no champion.
        version: the champion's; None likewise.

    Returns:
        A row for each trip, in order: ``minutes``, ``minutes_p10``, ``minutes_p90`` (float32),
        ``model_version`` (category); empty without a champion.
    """
    import numpy as np
    import pandas as pd

    cells = [np.full(cell_of_trip.max() + 1, np.nan)] * len(MINUTES) if answers is None else answers
    columns: dict[str, Any] = {
        name: take(values.astype(np.float32), cell_of_trip)
        for name, values in zip(MINUTES, cells, strict=True)
    }
    codes = np.full(len(cell_of_trip), -1 if version is None else 0, np.int8)
    columns[VERSION] = pd.Categorical.from_codes(codes, [str(version or 0)])
    return pd.DataFrame(columns, copy=False)
