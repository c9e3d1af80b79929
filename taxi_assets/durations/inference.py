"""Inference of fitted models: minutes, and the interval that holds eight trips of ten.

This module needs nothing but NumPy, and LightGBM for boosted trees, and imports nothing of this
project. Its text is logged with every model, so that a model also works without the project.

A request is a *cell*: a pair of zones and one of 48 bands of the week, the 24 hours of working
days and those of weekends. Models are views of arrays by name, which are all that is stored.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Cells = NDArray[np.int32 | np.int64]
Arrays = Mapping[str, NDArray[Any]]

ZONES = 266
"""TLC's zones from 1 to 265, and 0 for all others."""

BANDS = 48
SATURDAY = 5

DECIMALS = 1
"""Of the minutes that are answered: a tenth is six seconds."""

SHORTEST, LONGEST = 1.0, 60.0
"""Minutes: the range of the trips that models are fitted on. No answer is outside."""

MANY_CELLS, BLOCK_CELLS = 10_000, 1 << 18
"""From so many cells on, a second thread saves time, and changes no digit of a prediction; and
whose features are held at a time."""

HOUR_PRIOR = 10.0
"""Trips' worth of belief that an hour is like its pair's average."""

FEATURES = (
    *("pickup_zone", "dropoff_zone"),
    *("pair_mean", "expected", "distance", "pair_trips", "reverse_pair_mean", "reverse_distance"),
    *("kilometres", "kilometres_east", "kilometres_north"),
    *("pickup_east", "pickup_north", "dropoff_east", "dropoff_north"),
    *("hour", "weekend", "cell_mean"),
)
"""What trees look at; the first two are categories."""

PAIR_FEATURES = FEATURES.index("hour")
"""How many of the features, the first ones, are those of a pair at any hour."""


def part(arrays: Arrays, name: str) -> dict[str, NDArray[Any]]:
    """Those arrays that bear a name before theirs, without it."""
    beginning = f"{name}."
    return {
        array.removeprefix(beginning): values
        for array, values in arrays.items()
        if array.startswith(beginning)
    }


def band_of(hour: NDArray[Any]) -> NDArray[np.int64]:
    """The band, 0 to 47, of an hour of the week, 0 (Monday midnight) to 167."""
    hours = np.asarray(hour, np.int64)
    return (hours // 24 >= SATURDAY) * 24 + hours % 24


def number(pickup: NDArray[Any], dropoff: NDArray[Any], band: NDArray[Any]) -> Cells:
    """The numbers of cells, by pick-up zone, drop-off zone and band."""
    pair = np.asarray(pickup, np.int64) * ZONES + np.asarray(dropoff, np.int64)
    return np.asarray(pair * BANDS + band, np.int64)


def split_up(cells: Cells) -> tuple[Cells, Cells, Cells]:
    """Pick-up zone, drop-off zone and band of cells."""
    pairs = cells // BANDS
    return pairs // ZONES, pairs % ZONES, cells % BANDS


class DurationModel(Protocol):
    """Predicts a cell's mean duration (minutes), unbounded, and how far its trips scatter."""

    def predict(self, cells: Cells) -> Floats:
        """Minutes, shape (len(cells),)."""

    def predict_with_spread(self, cells: Cells) -> tuple[Floats, Floats]:
        """Minutes, and the scale of errors (minutes): ones where it is the same for all."""


class Encoding:
    """What past trips say of a cell: means by pair and hour, each shrunk to what is coarser.

    The mean of a pair is shrunk to what its zones let expect, by their effects and by low-rank
    factors; that of a cell to its pair's.
    """

    def __init__(self, arrays: Arrays) -> None:
        if "centres" not in arrays:
            raise TreesError(
                "an earlier version fitted it, without the places of zones: materialize "
                "boosted_model again"
            )
        self.mean = float(arrays["mean"])
        additive = self.mean + arrays["pickup_effect"][:, None] + arrays["dropoff_effect"][None, :]
        self.expected = additive + arrays["pickup_factors"] @ arrays["dropoff_factors"].T
        self.pair_mean = arrays["pair_mean"]
        self._pairs = self._pair_features(arrays).reshape(ZONES * ZONES, PAIR_FEATURES)
        self._trips = np.zeros(ZONES * ZONES * BANDS, np.float32)
        self._sums = np.zeros(ZONES * ZONES * BANDS, np.float32)
        self._trips[arrays["cells"]] = arrays["cell_trips"]
        self._sums[arrays["cells"]] = arrays["cell_sums"]

    def cell_mean(self, cells: Cells) -> Floats:
        """Mean minutes of cells, shrunk to those of their pairs."""
        pickup, dropoff, _ = split_up(cells)
        trips = self._trips[cells].astype(np.float64)
        pair = self.pair_mean[pickup, dropoff]
        return np.asarray((self._sums[cells] + HOUR_PRIOR * pair) / (trips + HOUR_PRIOR))

    def features(self, cells: Cells) -> NDArray[np.float32]:
        """The values of ``FEATURES``, shape (len(cells), features)."""
        band = cells % BANDS
        features = np.empty((len(cells), len(FEATURES)), np.float32)
        features[:, :PAIR_FEATURES] = self._pairs[cells // BANDS]
        of_cell = (band % 24, band // 24, self.cell_mean(cells))
        for column, values in enumerate(of_cell, PAIR_FEATURES):
            features[:, column] = values
        return features

    def _pair_features(self, arrays: Arrays) -> NDArray[np.float32]:
        """The features of all pairs, shape (zones, zones, ``PAIR_FEATURES``)."""
        pickup, dropoff = np.indices((ZONES, ZONES), np.float32)
        distance = arrays["pair_distance"]
        east, north = arrays["centres"].T
        pickup_east, dropoff_east = np.meshgrid(east, east, indexing="ij")
        pickup_north, dropoff_north = np.meshgrid(north, north, indexing="ij")
        to_east, to_north = dropoff_east - pickup_east, dropoff_north - pickup_north
        columns = (
            *(pickup, dropoff, self.pair_mean, self.expected),
            *(distance, np.log1p(arrays["pair_trips"]), self.pair_mean.T, distance.T),
            *(np.hypot(to_east, to_north), to_east, to_north),
            *(pickup_east, pickup_north, dropoff_east, dropoff_north),
        )
        return np.stack(columns, axis=-1, dtype=np.float32, casting="same_kind")


class Boosted:
    """Gradient-boosted trees for the mean, and others for the squared error around it.

    Attributes:
        prefix: of the names of their arrays.
        features: how many of the features they look at, the first ones.
    """

    prefix = ""
    features = len(FEATURES)

    def __init__(self, encoding: Encoding, arrays: Arrays) -> None:
        self._encoding = encoding
        self._mean, self._variance = (
            parse_trees(arrays[f"{name}_trees"], str(arrays[f"{name}_sha256"]))
            for name in (f"{self.prefix}mean", f"{self.prefix}variance")
        )

    def predict(self, cells: Cells) -> Floats:
        """Minutes, shape (len(cells),)."""
        return np.asarray(self._ask(cells, self._mean)[0])

    def predict_with_spread(self, cells: Cells) -> tuple[Floats, Floats]:
        """Minutes, and the standard deviation (minutes) of a cell's trips, one at least."""
        minutes, variance = self._ask(cells, self._mean, self._variance)
        return minutes, np.sqrt(np.maximum(variance, 1.0))

    def _ask(self, cells: Cells, *trees: Any) -> Floats:
        """What trees say of cells, shape (len(trees), len(cells)); a block of cells at a time."""
        answers = np.empty((len(trees), len(cells)))
        for start in range(0, len(cells), BLOCK_CELLS):
            block = slice(start, start + BLOCK_CELLS)
            features = self._encoding.features(cells[block])[:, : self.features]
            for row, each in enumerate(trees):
                answers[row, block] = ask_trees(each, features)
        return answers


class BoostedPairs(Boosted):
    """The same for a pair's trips at all hours: the band of a cell makes no difference."""

    prefix = "pair_"
    features = PAIR_FEATURES


class Linear:
    """The exercise's model: an intercept, and a coefficient for each zone that it knows."""

    def __init__(self, arrays: Arrays) -> None:
        self._arrays = arrays

    def predict(self, cells: Cells) -> Floats:
        """Minutes, shape (len(cells),)."""
        pickup, dropoff, _ = split_up(cells)
        zones = self._arrays["pickup"][pickup] + self._arrays["dropoff"][dropoff]
        return np.asarray(float(self._arrays["intercept"]) + zones)

    def predict_with_spread(self, cells: Cells) -> tuple[Floats, Floats]:
        """Minutes, and one for all."""
        return self.predict(cells), np.ones(len(cells))


class TreesError(ValueError):
    """The arrays are damaged, or those of another version's model."""


def parse_trees(text: NDArray[np.uint8], sha256: str) -> Any:
    """LightGBM's trees from their text (bytes).

    LightGBM ends the process when it meets a damaged text, so that none is given to it.

    Raises:
        TreesError: the text is another.
    """
    import lightgbm

    content = text.tobytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise TreesError("the text of its trees is damaged")
    return lightgbm.Booster(model_str=content.decode())


def ask_trees(trees: Any, features: NDArray[np.float32]) -> Floats:
    """What LightGBM's trees say of rows of features, shape (rows,)."""
    threads = 1 if len(features) < MANY_CELLS else 2
    return np.asarray(trees.predict(features, num_threads=threads))


class Interval:
    """From predicted minutes to the bounds that eight trips of ten lie between.

    The bounds are quantiles of the errors, by quantile bin of the prediction, in spreads.
    """

    def __init__(self, arrays: Arrays) -> None:
        self.edges, self.low, self.high = (
            np.asarray(arrays[name]) for name in ("edges", "low", "high")
        )

    def bounds(self, minutes: Floats, spread: Floats) -> tuple[Floats, Floats]:
        """Lower and upper bound (minutes), each of shape (len(minutes),)."""
        quantile_bin = np.searchsorted(self.edges, minutes, side="right")
        return minutes + self.low[quantile_bin] * spread, minutes + self.high[quantile_bin] * spread


def answer(model: DurationModel, interval: Interval, cells: Cells) -> tuple[Floats, Floats, Floats]:
    """Minutes, and the interval's lower and upper bound, none outside what trips can take.

    All to a tenth of a minute, far less than anybody knows.
    """
    minutes, spread = model.predict_with_spread(cells)
    low, high = interval.bounds(minutes, spread)
    minutes, low, high = (
        np.asarray(np.round(np.clip(values, SHORTEST, LONGEST), DECIMALS), np.float64)
        for values in (minutes, low, high)
    )
    return minutes, np.minimum(low, minutes), np.maximum(high, minutes)
