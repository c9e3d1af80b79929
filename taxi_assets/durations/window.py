"""The months that a model is trained on, as one table of sums.

A row has the trips of a zone pair and band of the week (see ``inference``) in one of five folds.
The features of a row come from the trips of the other folds, so that no trip predicts itself.
Months of one parity share their folds, which keeps the table short however many months there are.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from taxi_assets.durations.cleaning import HOUR
from taxi_assets.durations.inference import BANDS, ZONES, band_of
from taxi_assets.durations.sums import HOURS, TRAIN, distinct, split, take
from taxi_assets.tlc.fleets import DROPOFF_ZONE, PICKUP_ZONE
from taxi_assets.tlc.zones import LAST_ZONE

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from taxi_assets.durations.inference import Cells
    from taxi_assets.tlc.months import Month

FOLDS = 5

WEIGHT_OF_A_MONTH_AGO = 0.95
"""How much a trip counts beside a trip of the month after."""

YEAR_BEFORE = (12, 11, 10)
"""Months back from a model's month to those around the predicted month, which comes next, a year
before it."""

WEIGHT_OF_A_YEAR_AGO = 0.3
"""How much a trip of those months, or of an older one, counts beside one of the model's month."""

SUMS = (
    *("trips", "duration_sum", "duration_sum_of_squares"),
    *("distance_trips", "distance_sum"),
)


@dataclass(frozen=True)
class Window:
    """Weighted sums of the trips that a model learns from; all arrays have one entry a row.

    Attributes:
        cells: numbers of the cells, see ``inference.number``.
        folds: 0 to 4.
        sums: by name, as in hourly pairs, float64.
    """

    cells: "Cells"
    folds: "NDArray[np.int8]"
    sums: "dict[str, NDArray[np.float64]]"

    def without(self, fold: int) -> "Window":
        """All rows but those of a fold."""
        others = self.folds != fold
        sums = {name: values[others] for name, values in self.sums.items()}
        return Window(self.cells[others], self.folds[others], sums)

    def of_pairs(self) -> "tuple[Window, NDArray[np.intp]]":
        """The sums of pairs, each as the first of its cells, in the same folds.

        Returns:
            The sums, and for each of their rows one of those here that it is the sum of.
        """
        import numpy as np

        met, first, row = np.unique(
            self.cells // BANDS * FOLDS + self.folds, return_index=True, return_inverse=True
        )
        sums = {
            name: np.bincount(row, values).astype(np.float64) for name, values in self.sums.items()
        }
        return Window(met // FOLDS * BANDS, met % FOLDS, sums), first


def months_before(month: "Month", training_months: int) -> "list[Month]":
    """The months before its own month that a model is trained on where they are stored, in order.

    Args:
        month: the model's own month.
        training_months: number of calendar months up to the own one; those of ``YEAR_BEFORE`` are
            taken as well.
    """
    return [month - back for back in sorted({*YEAR_BEFORE, *range(1, training_months)})[::-1]]


def training_window(
    last: "Month",
    months: "Iterable[tuple[Month, pd.DataFrame]]",
    weight_of_a_month_ago: float = WEIGHT_OF_A_MONTH_AGO,
) -> Window:
    """Sum up the months that a model is trained on.

    Args:
        last: the model's month. Training uses the training split of this month and all trips of
            the earlier months.
        months: with their hourly pairs, one at a time in memory.
        weight_of_a_month_ago: how much a trip counts beside a trip of the month after; from
            ``YEAR_BEFORE`` on, ``WEIGHT_OF_A_YEAR_AGO`` holds instead.
    """
    import numpy as np

    shortened = []
    for month, hourly in months:
        age = (last.year - month.year) * 12 + last.month - month.month
        recent = age < min(YEAR_BEFORE)
        weight = weight_of_a_month_ago**age if recent else WEIGHT_OF_A_YEAR_AGO
        rows = split(hourly, TRAIN) if month == last else hourly
        del hourly
        # Each month is shortened before the next is looked at.
        shortened.append(_shorten(rows, (month.year * 12 + month.month) % 2, weight))
    del rows
    numbers, values = zip(*shortened, strict=True)
    met, row, _ = distinct(np.concatenate(numbers))
    sums: dict[str, NDArray[np.float64]] = {
        name: np.bincount(row, np.concatenate([month.pop(name) for month in values])).astype(
            np.float64, copy=False
        )
        for name in SUMS
    }
    return Window((met // FOLDS).astype(np.int32), (met % FOLDS).astype(np.int8), sums)


def _shorten(
    rows: "pd.DataFrame", parity: int, weight: float
) -> "tuple[NDArray[np.int64], dict[str, NDArray[np.float64]]]":
    """A month's weighted sums by the numbers of its cells' folds, which are given in order."""
    import numpy as np

    cells = cells_of(rows)
    met, row, _ = distinct(cells * np.int32(FOLDS) + fold_of(cells, parity).astype(np.int32))
    return met, {
        name: np.asarray(weight * np.bincount(row, rows[name].to_numpy()), np.float64)
        for name in SUMS
    }


def cells_of(rows: "pd.DataFrame") -> "Cells":
    """The cells of trips or of hourly pairs, by their zones and hours of the week."""
    import numpy as np

    # In place and in small integers, as there are millions.
    bands = band_of(np.arange(HOURS)).astype(np.int32)
    cells = zone_numbers(rows[PICKUP_ZONE])
    cells *= ZONES
    cells += zone_numbers(rows[DROPOFF_ZONE])
    cells *= BANDS
    cells += take(bands, rows[HOUR].to_numpy())
    return cells


def zone_numbers(zones: "pd.Series[Any]") -> "NDArray[np.int32]":
    """TLC's numbers of zones, which are categories of text; 0 for what is none of its zones."""
    import numpy as np

    numbers = np.array([zone_number(zone) for zone in zones.cat.categories], np.int32)
    return take(numbers, zones.cat.codes.to_numpy())


def zone_number(zone: str) -> int:
    """TLC's number of a zone; 0 for what is none of its zones."""
    number_of = int(zone)
    return number_of if 1 <= number_of <= LAST_ZONE else 0


def fold_of(cells: "Cells", parity: int) -> "NDArray[np.int64]":
    """The folds of cells, 0 to 4: scattered, and the same on every machine and day."""
    import numpy as np

    scattered = (cells.astype(np.uint64) * np.uint64(2) + np.uint64(parity)) * np.uint64(
        0x9E3779B97F4A7C15
    )
    scattered ^= scattered >> np.uint64(29)
    scattered *= np.uint64(0xBF58476D1CE4E5B9)
    scattered ^= scattered >> np.uint64(32)
    return (scattered % np.uint64(FOLDS)).astype(np.int64)
