"""How hyperparameters do on months that come next: the judge of ``taxi_assets.tuning``.

Each month of a span but the first is predicted by a model of those before it, as the graph trains
it: all trips of the earlier months count, and the training trips of the last. No trip of the judged
month, nor of a later one, is in its model's window.
"""

from math import sqrt
from typing import TYPE_CHECKING, Any

from taxi_assets.durations import boosted, window
from taxi_assets.durations.inference import LONGEST, SHORTEST, Encoding, ask_trees
from taxi_assets.durations.models import Lookup
from taxi_assets.durations.scoring import squared_error
from taxi_assets.durations.sums import distinct
from taxi_assets.durations.target_encoding import fit_encoding

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pandas as pd

    from taxi_assets.durations.inference import Cells
    from taxi_assets.durations.window import Window
    from taxi_assets.tlc.months import Month


class RollingOrigin:
    """A span of months, each but the first judged by models of those before it.

    Attributes:
        training_months: number of months that a model is trained on at most.
        judged: the months that are predicted, in order.
        lookup: RMSE (minutes) by judged month of the table of means, which is what hyperparameters
            are measured by: months differ in how far their trips scatter.
    """

    def __init__(self, sums: "Mapping[Month, pd.DataFrame]", training_months: int) -> None:
        """Take the months' hourly pairs."""
        self._sums = sums
        self.training_months = training_months
        self.judged = sorted(sums)[1:]
        self.lookup = {month: self._rmse_of_lookup(month) for month in self.judged}

    def trained_on(self, judged: "Month") -> "list[Month]":
        """The months before a judged one that its model is trained on, in order."""
        before = [*window.months_before(judged - 1, self.training_months), judged - 1]
        return [month for month in before if month in self._sums]

    def rmse(self, judged: "Month", hyperparameters: "Mapping[str, Any]") -> float:
        """The RMSE (minutes) on all trips of a judged month.

        Args:
            judged: the month.
            hyperparameters: ``mean_rounds``, ``weight_of_a_month_ago``, and by LightGBM's names
                those that replace ``boosted.PARAMETERS``.
        """
        of_trees = {
            name: hyperparameters.get(name, value) for name, value in boosted.PARAMETERS.items()
        }
        trained = self._window(judged, hyperparameters["weight_of_a_month_ago"])
        features = boosted.folded_features(trained)
        _, trees = boosted.grow_mean(trained, features, of_trees, hyperparameters["mean_rounds"])
        encoding = Encoding(fit_encoding(trained))
        return self._scored(judged, lambda cells: ask_trees(trees, encoding.features(cells)))

    def _rmse_of_lookup(self, judged: "Month") -> float:
        trained = self._window(judged, window.WEIGHT_OF_A_MONTH_AGO)
        return self._scored(judged, Lookup(Encoding(fit_encoding(trained)), {}).predict)

    def _window(self, judged: "Month", weight_of_a_month_ago: float) -> "Window":
        months = ((month, self._sums[month]) for month in self.trained_on(judged))
        return window.training_window(judged - 1, months, weight_of_a_month_ago)

    def _scored(self, month: "Month", predict: "Callable[[Cells], Any]") -> float:
        """The RMSE of answers (minutes), which are none outside what trips can take."""
        import numpy as np

        rows = self._sums[month]
        cells, row, _ = distinct(window.cells_of(rows))
        minutes = np.clip(np.asarray(predict(cells)), SHORTEST, LONGEST)
        return sqrt(squared_error(rows, minutes[row]) / int(rows["trips"].sum()))
