"""The models that are fitted on sums of months, each by its name.

To add one: write a module with a class like ``Lookup`` (an ``answers.DurationModel`` made
of the encoding and of its own arrays) and, if it has arrays, a function that fits them; and add a
line to ``FAMILIES``. It is then fitted with ``boosted_model`` and scored by ``backtest``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from taxi_assets.durations.boosted import fit_boosted
from taxi_assets.durations.inference import (
    Arrays,
    Boosted,
    Cells,
    DurationModel,
    Encoding,
    Floats,
    part,
)
from taxi_assets.durations.target_encoding import fit_encoding
from taxi_assets.durations.window import Window

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Mean:
    """The mean of all trips, whatever is asked."""

    def __init__(self, encoding: Encoding, _arrays: Arrays) -> None:
        self._mean = encoding.mean

    def predict(self, cells: Cells) -> Floats:
        """Minutes, shape (len(cells),)."""
        return np.full(len(cells), self._mean)

    def predict_with_spread(self, cells: Cells) -> tuple[Floats, Floats]:
        """Minutes, and one for all."""
        return self.predict(cells), np.ones(len(cells))


class Lookup(Mean):
    """The mean of the pair in that band of the week, shrunk to what is coarser."""

    def __init__(self, encoding: Encoding, arrays: Arrays) -> None:
        super().__init__(encoding, arrays)
        self._encoding = encoding

    def predict(self, cells: Cells) -> Floats:
        """Minutes, shape (len(cells),)."""
        return self._encoding.cell_mean(cells)


@dataclass(frozen=True)
class Family:
    """A kind of model.

    Attributes:
        read: makes the model of the window's encoding and its own arrays.
        fit: makes these arrays; none by default.
    """

    read: Callable[[Encoding, Arrays], DurationModel]
    fit: Callable[[Window, Encoding], Mapping[str, Any]] = lambda _window, _encoding: {}


FAMILIES = {
    "mean": Family(Mean),
    "lookup": Family(Lookup),
    "boosted": Family(Boosted, fit_boosted),
}

ENCODING = "encoding"


def fit_models(window: Window) -> "dict[str, NDArray[Any]]":
    """Fit all families; arrays by the family's name and their own: ``boosted.mean_trees``."""
    encoding_arrays = fit_encoding(window)
    encoding = Encoding(encoding_arrays)
    fitted = {ENCODING: encoding_arrays}
    fitted |= {name: dict(family.fit(window, encoding)) for name, family in FAMILIES.items()}
    return join(fitted)


def read_models(arrays: Arrays) -> dict[str, DurationModel]:
    """The fitted models, by their names.

    Raises:
        TreesError, KeyError: the arrays are not those of fitted models.
    """
    encoding = Encoding(part(arrays, ENCODING))
    return {name: family.read(encoding, part(arrays, name)) for name, family in FAMILIES.items()}


def join(parts: Mapping[str, Arrays]) -> "dict[str, NDArray[Any]]":
    """The arrays of several parts, each with its part's name before its own; see ``part``."""
    return {
        f"{name}.{array}": values
        for name, arrays in parts.items()
        for array, values in arrays.items()
    }
