"""How models of earlier months do on a month's trips: the truth that validation only estimates."""

from math import sqrt
from typing import TYPE_CHECKING, Any

from taxi_assets.durations.cleaning import DURATION
from taxi_assets.durations.inference import split_up
from taxi_assets.durations.sums import add_up, chunks, distinct, take
from taxi_assets.durations.window import cells_of
from taxi_assets.tlc.zones import AIRPORTS, MANHATTAN

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from taxi_assets.durations.inference import Cells

CLOSE = 5.0
"""Minutes within which a prediction is called close."""

THIN_PAIR_TRIPS = 10
"""A pair with fewer trips in the month is thin."""

MORNING, EVENING, NIGHT = range(7, 10), range(16, 19), range(6)
"""Hours of the day; rushes are those of working days."""


Answers = tuple["NDArray[np.float64]", "NDArray[np.float64]", "NDArray[np.float64]"]
"""Minutes, lower and upper bounds, for each of some cells."""


class HeldOutTrips:
    """A month's trips, on which models are scored that have not seen them.

    Attributes:
        trips: their number.
        cells: the distinct cells of the trips, in order, see ``inference.number``.
        cell_of_trip: where each trip's cell is among them.
    """

    def __init__(self, cleaned_trips: "pd.DataFrame") -> None:
        self.trips = len(cleaned_trips)
        self._actual = cleaned_trips[DURATION].to_numpy()
        self.cells, self.cell_of_trip, self._counts = distinct(cells_of(cleaned_trips))
        size = len(self.cells)
        self._sums = add_up(self.cell_of_trip, size, self._actual)
        self._squares = add_up(self.cell_of_trip, size, self._actual, self._actual)
        self._segments = _segments(self.cells, self._counts)
        self._answers: dict[str, Answers] = {}

    def ask(self, run_id: str, answer: "Callable[[Cells], Answers]") -> Answers:
        """What a model says of the cells; a model that was asked before is not asked again.

        Args:
            run_id: of the MLflow run that trained the model.
            answer: asks it.
        """
        if run_id not in self._answers:
            self._answers[run_id] = answer(self.cells)
        return self._answers[run_id]

    def score(
        self,
        minutes: "NDArray[np.float64]",
        bounds: "tuple[NDArray[np.float64], NDArray[np.float64]] | None" = None,
    ) -> dict[str, Any]:
        """Score a model's answers.

        Args:
            minutes: for each of the cells.
            bounds: of the interval, if the model has one.

        Returns:
            ``rmse``, ``mae``, ``bias`` (predicted less actual) and ``p90_error`` (90 % quantile of
            the absolute error), in minutes; ``within_5_minutes``, a share; ``interval_coverage``
            (share of the trips within their interval), ``interval_width`` (mean, minutes) and
            ``interval_coverage_by_bin`` (share by fifth of the predicted duration), all None
            without an interval; and ``segments``, each with ``trips``, ``rmse``, its
            ``rmse_standard_error``, and ``bias``.
        """
        import numpy as np

        squared = self._squares - 2 * minutes * self._sums + minutes * minutes * self._counts
        error = minutes * self._counts - self._sums
        # In place, as there are millions.
        absolute = take(minutes, self.cell_of_trip)
        absolute -= self._actual
        np.abs(absolute, out=absolute)
        fourth = add_up(self.cell_of_trip, len(self.cells), *[absolute] * 4)
        metrics: dict[str, Any] = {
            "rmse": sqrt(max(0.0, squared.sum()) / self.trips),
            "mae": float(absolute.mean()),
            "bias": float(error.sum() / self.trips),
            "within_5_minutes": float((absolute <= CLOSE).mean()),
            "p90_error": float(np.quantile(absolute, 0.9, overwrite_input=True)),
            "interval_coverage": None,
            "interval_width": None,
            "interval_coverage_by_bin": None,
        }
        del absolute
        if bounds is not None:
            metrics |= self._coverage(minutes, *bounds)
        metrics["segments"] = {
            name: _segment(
                *(float(sums[chosen].sum()) for sums in (self._counts, error, squared, fourth))
            )
            for name, chosen in self._segments.items()
            if chosen.any()
        }
        return metrics

    def errors_by_pickup(self, run_id: str) -> "pd.DataFrame":
        """``trips`` and a model's RMSE (minutes) as ``value``, by pick-up zone.

        Args:
            run_id: of the MLflow run that trained the model, which was asked before.
        """
        import numpy as np
        import pandas as pd

        minutes, _, _ = self._answers[run_id]
        squared = self._squares - 2 * minutes * self._sums + minutes * minutes * self._counts
        pickup, _, _ = split_up(self.cells)
        trips, error = np.bincount(pickup, self._counts), np.bincount(pickup, squared)
        zones = np.flatnonzero(trips)
        rmse = np.sqrt(error[zones].clip(0) / trips[zones])
        return pd.DataFrame({"trips": trips[zones], "value": rmse}, zones)

    def _coverage(
        self,
        minutes: "NDArray[np.float64]",
        low: "NDArray[np.float64]",
        high: "NDArray[np.float64]",
    ) -> dict[str, Any]:
        """How many trips lie between the bounds of their cells."""
        import numpy as np

        inside = np.empty(self.trips, np.bool_)
        for rows in chunks(self.trips):
            actual, cell = self._actual[rows], self.cell_of_trip[rows]
            inside[rows] = (actual >= low[cell]) & (actual <= high[cell])
        held = add_up(self.cell_of_trip, len(self.cells), inside)
        order = np.argsort(minutes, kind="stable")
        before = np.cumsum(self._counts[order]) - self._counts[order]
        quantile_bin = before * 5 // self.trips
        trips = np.bincount(quantile_bin, self._counts[order], 5)
        share = np.bincount(quantile_bin, held[order], 5) / np.maximum(trips, 1)
        return {
            "interval_coverage": float(held.sum() / self.trips),
            "interval_width": float(((high - low) * self._counts).sum() / self.trips),
            "interval_coverage_by_bin": [
                float(value) if count else None for value, count in zip(share, trips, strict=True)
            ],
        }


def _segment(trips: float, errors: float, squares: float, fourth_powers: float) -> dict[str, Any]:
    """A segment's metrics from sums over its trips."""
    square = max(0.0, squares) / trips
    rmse = sqrt(square)
    # Of the mean square, carried over to its root.
    error_of_square = sqrt(max(0.0, fourth_powers / trips - square * square) / trips)
    return {
        "trips": int(trips),
        "rmse": rmse,
        "rmse_standard_error": error_of_square / (2 * rmse) if rmse else 0.0,
        "bias": errors / trips,
    }


def _segments(cells: "Cells", counts: "NDArray[np.int64]") -> "dict[str, NDArray[np.bool_]]":
    """Which cells belong to which segment; a cell may belong to several."""
    import numpy as np

    pickup, dropoff, band = split_up(cells)
    airport = np.isin(pickup, list(AIRPORTS)) | np.isin(dropoff, list(AIRPORTS))
    manhattan = np.isin(pickup, list(MANHATTAN)) & np.isin(dropoff, list(MANHATTAN))
    weekday, hour = band < 24, band % 24  # noqa: PLR2004 - the hours of working days come first
    _, pair = np.unique(cells - band, return_inverse=True)
    return {
        "within_manhattan": manhattan,
        "airport": airport,
        "other": ~(manhattan | airport),
        "morning_rush": weekday & np.isin(hour, MORNING),
        "evening_rush": weekday & np.isin(hour, EVENING),
        "night": np.isin(hour, NIGHT),
        "thin_pairs": np.bincount(pair, counts)[pair] < THIN_PAIR_TRIPS,
    }
