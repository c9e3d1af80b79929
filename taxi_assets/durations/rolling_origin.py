"""How hyperparameters do on months that come next: the judge of ``taxi_assets.tuning``.

Each month of a span but the first is predicted by a model of those before it, as the graph trains
it: all trips of the earlier months count, and the training trips of the last. No trip of the judged
month, nor of a later one, is in its model's window.
"""

from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING, Any, Self

from taxi_assets.durations import boosted, window
from taxi_assets.durations.answers import LONGEST, SHORTEST, Encoding
from taxi_assets.durations.baselines import Lookup
from taxi_assets.durations.encoding import fit_encoding
from taxi_assets.durations.scoring import squared_error

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from taxi_assets.durations.answers import Cells
    from taxi_assets.durations.window import Window
    from taxi_assets.tlc.months import Month

OF_TREES = (
    *("learning_rate", "num_leaves", "min_data_in_leaf", "lambda_l2"),
    *("cat_smooth", "cat_l2", "max_cat_threshold"),
)
"""Those that LightGBM is given by these names."""


@dataclass(frozen=True)
class Hyperparameters:
    """What is tuned: see LightGBM's parameters, ``boosted`` and ``window``."""

    learning_rate: float
    num_leaves: int
    min_data_in_leaf: int
    lambda_l2: float
    cat_smooth: float
    cat_l2: float
    max_cat_threshold: int
    mean_rounds: int
    weight_of_a_month_ago: float

    @classmethod
    def of_the_code(cls) -> Self:
        """Those that the project's models are made with."""
        return cls(
            **{name: boosted.PARAMETERS[name] for name in OF_TREES},
            mean_rounds=boosted.MEAN_ROUNDS,
            weight_of_a_month_ago=window.WEIGHT_OF_A_MONTH_AGO,
        )

    @property
    def of_trees(self) -> dict[str, Any]:
        """LightGBM's parameters, with those that are not tuned."""
        return boosted.PARAMETERS | {name: getattr(self, name) for name in OF_TREES}


class RollingOrigin:
    """A span of months, each but the first judged by models of those before it.

    Attributes:
        judged: the months that are predicted, in order.
        lookup: RMSE (minutes) by judged month of the table of means, which is what hyperparameters
            are measured by: months differ in how far their trips scatter.
    """

    def __init__(self, sums: "Mapping[Month, pd.DataFrame]", training_months: int) -> None:
        """Take the months' hourly pairs, and how many months a model is trained on at most."""
        self._sums = sums
        self._training_months = training_months
        self.judged = sorted(sums)[1:]
        self.lookup = {month: self._rmse_of_lookup(month) for month in self.judged}

    def trained_on(self, judged: "Month") -> "list[Month]":
        """The months before a judged one that its model is trained on, in order."""
        before = [judged - back for back in range(self._training_months, 0, -1)]
        return [month for month in before if month in self._sums]

    @property
    def weighs_months(self) -> bool:
        """Whether any model is trained on several months, so that their weights matter."""
        return any(len(self.trained_on(month)) > 1 for month in self.judged)

    def rmses(self, hyperparameters: Hyperparameters) -> "Iterator[tuple[Month, float]]":
        """Each judged month with the RMSE (minutes) on all its trips, one model after another."""
        for month in self.judged:
            yield month, self._rmse(month, hyperparameters)

    def objective(self, rmses: "Mapping[Month, float]") -> float:
        """The mean over judged months of the RMSE relative to the lookup's; less is better."""
        relative = [rmses[month] / self.lookup[month] for month in self.judged]
        return sum(relative) / len(relative)

    def _rmse(self, month: "Month", hyperparameters: Hyperparameters) -> float:
        import numpy as np

        trained = self._window(month, hyperparameters.weight_of_a_month_ago)
        features = boosted.folded_features(trained)
        _, trees = boosted.grow_mean(
            trained, features, hyperparameters.of_trees, hyperparameters.mean_rounds
        )
        encoding = Encoding(fit_encoding(trained))
        cells, row = self._asked(month)
        minutes = np.asarray(trees.predict(encoding.features(cells), num_threads=1))
        return self._root_mean_square(month, minutes[row])

    def _rmse_of_lookup(self, month: "Month") -> float:
        trained = self._window(month, window.WEIGHT_OF_A_MONTH_AGO)
        cells, row = self._asked(month)
        minutes = Lookup(Encoding(fit_encoding(trained)), {}).predict(cells)
        return self._root_mean_square(month, minutes[row])

    def _window(self, judged: "Month", weight_of_a_month_ago: float) -> "Window":
        months = ((month, self._sums[month]) for month in self.trained_on(judged))
        return window.training_window(judged - 1, months, weight_of_a_month_ago)

    def _asked(self, month: "Month") -> "tuple[Cells, NDArray[np.int32]]":
        """The cells that a month has trips of, and which of them each row of its sums is of."""
        cells, row, _ = window.distinct(window.cells_of(self._sums[month]))
        return cells, row

    def _root_mean_square(self, month: "Month", minutes: "NDArray[np.float64]") -> float:
        """The RMSE of answers, which are none outside what trips can take."""
        import numpy as np

        rows = self._sums[month]
        answered = np.clip(minutes, SHORTEST, LONGEST)
        return sqrt(squared_error(rows, answered) / int(rows["trips"].sum()))
