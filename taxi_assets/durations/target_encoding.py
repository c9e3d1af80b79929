"""Fitting the target encoding: zone effects, low-rank factors, shrunk means, and zones' places.

``inference.Encoding`` reads the arrays that are made here.
"""

from typing import TYPE_CHECKING, Any

from taxi_assets.durations.inference import ZONES, split_up
from taxi_assets.durations.sums import distinct
from taxi_assets.tlc.zones import CENTROIDS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from taxi_assets.durations.window import Window

ZONE_PRIOR = 50.0
"""Trips' worth of belief that a zone is like all others."""

PAIR_PRIOR = 20.0
"""Trips' worth of belief that a pair is what its zones let expect."""

RANK = 6
FACTOR_PRIOR = 20.0
"""Trips' worth of belief that a zone's factors are nought."""

EFFECT_ROUNDS = 6
FACTOR_ROUNDS = 16

PART_OF = {57: 56, 104: 103, 105: 103}
"""Zones that TLC's shapefile has as a part of another one, by their ids."""

KILOMETRES_A_DEGREE = (84.4, 111.2)
"""Of longitude and of latitude, in New York."""

ORIGIN = (-73.94, 40.73)
"""Longitude and latitude of a place in the middle of the city."""


def fit_encoding(window: "Window") -> "dict[str, NDArray[Any]]":
    """The arrays of an ``answers.Encoding``, from weighted sums of trips."""
    import numpy as np
    from threadpoolctl import threadpool_limits

    pickup, dropoff, _ = split_up(window.cells)
    pairs = pickup * ZONES + dropoff

    def of_pairs(name: str) -> "NDArray[np.float64]":
        sums = np.bincount(pairs, window.sums[name], ZONES * ZONES).astype(np.float64)
        return sums.reshape(ZONES, ZONES)

    trips, total = of_pairs("trips"), of_pairs("duration_sum")
    known, distance = of_pairs("distance_trips"), of_pairs("distance_sum")
    mean = total.sum() / trips.sum()
    # With several threads, sums come out otherwise in the last digit.
    with threadpool_limits(limits=1):
        effects = _zone_effects(trips, total - mean * trips)
        additive = mean + effects[0][:, None] + effects[1][None, :]
        factors = _factors(trips, total - additive * trips)
        expected = additive + factors[0] @ factors[1].T
    met, row, _ = distinct(window.cells)
    return {
        "mean": np.float64(mean),
        "pickup_effect": effects[0],
        "dropoff_effect": effects[1],
        "pickup_factors": factors[0],
        "dropoff_factors": factors[1],
        "pair_mean": ((total + PAIR_PRIOR * expected) / (trips + PAIR_PRIOR)).astype(np.float32),
        "pair_trips": trips.astype(np.float32),
        "pair_distance": np.where(
            known > 0, distance / np.maximum(known, 1e-9), np.nan
        ).astype(np.float32),
        "centres": zone_centres(),
        "cells": met.astype(np.int32),
        "cell_trips": np.bincount(row, window.sums["trips"]).astype(np.float32),
        "cell_sums": np.bincount(row, window.sums["duration_sum"]).astype(np.float32),
    }  # fmt: skip


def zone_centres() -> "NDArray[np.float32]":
    """Kilometres east and north of ``ORIGIN`` by zone, shape (zones, 2); NaN without a place."""
    import numpy as np

    nowhere = (np.nan, np.nan)
    degrees = [CENTROIDS.get(PART_OF.get(zone, zone), nowhere) for zone in range(ZONES)]
    return ((np.array(degrees) - ORIGIN) * KILOMETRES_A_DEGREE).astype(np.float32)


def _zone_effects(
    trips: "NDArray[np.float64]", total: "NDArray[np.float64]"
) -> "tuple[NDArray[np.float64], NDArray[np.float64]]":
    """How much longer trips from, and to, each zone take (minutes), by turns.

    Args:
        trips: number by pair, shape (zones, zones).
        total: sums of minutes over the mean, by pair.
    """
    import numpy as np

    pickup = dropoff = np.zeros(ZONES)
    for _ in range(EFFECT_ROUNDS):
        pickup = (total.sum(axis=1) - trips @ dropoff) / (trips.sum(axis=1) + ZONE_PRIOR)
        dropoff = (total.sum(axis=0) - trips.T @ pickup) / (trips.sum(axis=0) + ZONE_PRIOR)
    return pickup, dropoff


def _factors(
    trips: "NDArray[np.float64]", total: "NDArray[np.float64]"
) -> "tuple[NDArray[np.float64], NDArray[np.float64]]":
    """Factors of zones whose products are what pairs take longer, by alternating least squares.

    Args:
        trips: number by pair, shape (zones, zones).
        total: sums of minutes over the zones' effects, by pair.

    Returns:
        Of pick-up and of drop-off zones, each of shape (zones, rank).
    """
    import numpy as np

    random = np.random.default_rng(0)
    pickup, dropoff = random.normal(0, 0.3, (2, ZONES, RANK))
    for _ in range(FACTOR_ROUNDS):
        pickup = _least_squares(trips, total, dropoff)
        dropoff = _least_squares(trips.T, total.T, pickup)
    return pickup, dropoff


def _least_squares(
    trips: "NDArray[np.float64]", total: "NDArray[np.float64]", others: "NDArray[np.float64]"
) -> "NDArray[np.float64]":
    """The factors of zones that fit best to those of the zones at the other end."""
    import numpy as np

    squares = (others[:, :, None] * others[:, None, :]).reshape(ZONES, RANK * RANK)
    left = (trips @ squares).reshape(ZONES, RANK, RANK) + FACTOR_PRIOR * np.eye(RANK)
    return np.asarray(np.linalg.solve(left, (total @ others)[:, :, None])[:, :, 0])
