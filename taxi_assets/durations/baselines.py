"""What a model has to beat: the mean, and a table of means."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taxi_assets.durations.answers import Arrays, Cells, Encoding, Floats


class Mean:
    """The mean of all trips, whatever is asked."""

    def __init__(self, encoding: "Encoding", _arrays: "Arrays") -> None:
        self._mean = encoding.mean

    def predict(self, cells: "Cells") -> "Floats":
        """Minutes, shape (len(cells),)."""
        import numpy as np

        return np.full(len(cells), self._mean)

    def predict_with_spread(self, cells: "Cells") -> "tuple[Floats, Floats]":
        """Minutes, and one for all."""
        import numpy as np

        return self.predict(cells), np.ones(len(cells))


class Lookup(Mean):
    """The mean of the pair in that band of the week, shrunk to what is coarser."""

    def __init__(self, encoding: "Encoding", arrays: "Arrays") -> None:
        super().__init__(encoding, arrays)
        self._encoding = encoding

    def predict(self, cells: "Cells") -> "Floats":
        """Minutes, shape (len(cells),)."""
        return self._encoding.cell_mean(cells)
