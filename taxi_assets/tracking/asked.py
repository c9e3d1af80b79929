"""Questions in the shapes that MLflow's server takes, read by the served model's own checks."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from taxi_assets.durations.answers import Cells, number


class RefusedError(ValueError):
    """Something was asked that cannot be meant; the message is the served model's own."""


def read_cells(asked: Any) -> tuple[Cells, NDArray[np.bool_]]:
    """The cells that are asked for, see ``answers.number``, and whether the hour is known.

    Args:
        asked: records or columns with ``PULocationID`` and ``DOLocationID`` and, where the hour is
            known, ``pickup_datetime``, as JSON has them.

    Returns:
        Two arrays, a value for each question, in order.

    Raises:
        RefusedError: a value cannot be meant; the message names its row and column.
    """
    from mlflow.exceptions import MlflowException

    from taxi_assets.tracking.served import ZONE_COLUMNS, as_table, read_bands, read_zones

    try:
        table = as_table(asked)
        pickup, dropoff = (read_zones(table, column) for column in ZONE_COLUMNS)
        bands, known = read_bands(table)
    except MlflowException as error:
        raise RefusedError(error.message) from None
    return number(pickup, dropoff, bands), known
