"""Checks of a month's model, and of how it does."""

from collections.abc import Mapping
from statistics import median
from typing import TYPE_CHECKING, Any

import dagster as dg

from taxi_assets.checks.month_checks import Judgement, month_check
from taxi_assets.checks.thresholds import (
    LAST_ZONE,
    MAX_ON_THIN_ZONES,
    MAX_RMSE_OF_EARLIER,
    MAX_RMSE_OF_PREVIOUS_MODEL,
    MIN_GAIN_ON_MEAN,
    THIN_ZONE_TRIPS,
)
from taxi_assets.durations.zone_pairs import TRAIN, split
from taxi_assets.tlc.fleets import DROPOFF_ZONE, PICKUP_ZONE
from taxi_assets.tlc.months import Month

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.linear_model import LinearRegression

LISTED = 20
"""Zones that a check lists at most."""


@month_check
def known_zones(vectorizer: "DictVectorizer") -> Judgement:
    """All zones are TLC's, numbered 1 to 265.

    If not: TLC has added zones (then raise LAST_ZONE in checks/thresholds.py), or the zone columns
    hold something else. The model learns unknown zones like any other.
    """
    features = (feature.partition("=") for feature in vectorizer.feature_names_)
    zones = {value for name, _, value in features if name in (PICKUP_ZONE, DROPOFF_ZONE)}
    unknown = sorted(zones - {str(zone) for zone in range(1, LAST_ZONE + 1)})
    named = f": {', '.join(unknown[:LISTED])}" if unknown else ""
    return Judgement(
        not unknown,
        f"{len(unknown)} of {len(zones)} zones are unknown to TLC{named}",
        {"unknown_zones": len(unknown)},
    )


@month_check
def finite_coefficients(model: "LinearRegression") -> Judgement:
    """The intercept and all coefficients are finite numbers.

    If not: the fit has failed, and the model predicts nothing. Do not use it; look at zone_pairs.
    """
    import numpy as np

    infinite = int(np.sum(~np.isfinite([model.intercept_, *model.coef_])))
    return Judgement(
        infinite == 0,
        f"{infinite} of {len(model.coef_) + 1} coefficients are not finite",
        {"infinite_coefficients": infinite},
    )


@month_check
def thin_zones(zone_pairs: "pd.DataFrame") -> Judgement:
    """Few trips begin or end in zones that hardly any training trip knows.

    Those zones are listed: their coefficients rest on fewer than ten trips, so do not trust a
    prediction from or to them. If many trips do: the month is too small, or its zones are
    scattered; train on a fuller month.
    """
    train = split(zone_pairs, TRAIN)
    total = int(train["trips"].sum())
    thin = {
        zone: trips[trips < THIN_ZONE_TRIPS]
        for zone in (PICKUP_ZONE, DROPOFF_ZONE)
        for trips in [train.groupby(zone, observed=True)["trips"].sum()]
    }
    share = max(float(trips.sum()) / total for trips in thin.values())
    rows: list[dict[str, str | int | float | bool | None]] = [
        {"zone": str(zone), "as": column, "training_trips": int(trips)}
        for column, counts in thin.items()
        for zone, trips in counts.sort_values().items()
    ]
    metadata: dict[str, Any] = {"thin_zones": len(rows), "share_of_trips": share}
    if rows:
        metadata["zones"] = dg.MetadataValue.table([dg.TableRecord(row) for row in rows[:LISTED]])
        metadata["zone_ids"] = sorted({str(row["zone"]) for row in rows})
    return Judgement(
        share <= MAX_ON_THIN_ZONES,
        f"{len(rows)} coefficients rest on fewer than {THIN_ZONE_TRIPS} trips, with {share:.2%} of "
        f"the training trips; up to {MAX_ON_THIN_ZONES:.0%} are usual",
        metadata,
    )


@month_check
def better_than_mean(figures: Mapping[str, float]) -> Judgement:
    """The model's RMSE is clearly below that of always predicting the mean.

    If not: the zones say little about the durations. One zone column is probably damaged or
    shuffled, or the month is too small.
    """
    gain = 1 - figures["rmse"] / figures["baseline_rmse"] if figures["baseline_rmse"] else 0.0
    return Judgement(
        gain >= MIN_GAIN_ON_MEAN,
        f"RMSE {figures['rmse']:.2f} minutes is {gain:.1%} below that of the mean, "
        f"{figures['baseline_rmse']:.2f}; at least {MIN_GAIN_ON_MEAN:.0%} are usual",
        {"gain": gain, "rmse": figures["rmse"], "baseline_rmse": figures["baseline_rmse"]},
    )


@month_check
def rmse_of_earlier_months(rmse: float, earlier: Mapping[Month, float]) -> Judgement:
    """The RMSE is no worse than usual in the half year before, as far as it is stored.

    If it is: compare the pictures with those of an earlier month. Traffic changes, but seldom so
    fast; a damaged column is likelier.
    """
    if not earlier:
        finding = f"RMSE {rmse:.2f} minutes; no earlier month is stored to compare with"
        return Judgement(True, finding, {"rmse": rmse})
    usual = median(earlier.values())
    return Judgement(
        rmse <= MAX_RMSE_OF_EARLIER * usual,
        f"RMSE {rmse:.2f} minutes; the median of {len(earlier)} earlier months is {usual:.2f}, and "
        f"{MAX_RMSE_OF_EARLIER} times that is usual",
        {"rmse": rmse, "median_of_earlier": usual, "earlier_months": len(earlier)},
    )


@month_check
def last_months_model(figures: Mapping[str, Any]) -> Judgement:
    """Last month's model does nearly as well as the month's own on trips that neither has seen.

    If not: models grow old within a month here. Look for what has changed, a holiday, a strike, a
    damaged month, before you use a model on the month after its own.
    """
    previous, own = figures["previous_validation_rmse"], figures["own_validation_rmse"]
    if previous is None:
        return Judgement(False, str(figures["why_not_scored"]), {"own_rmse": own})
    ratio = previous / own if own else 1.0
    return Judgement(
        ratio <= MAX_RMSE_OF_PREVIOUS_MODEL,
        f"The model of {figures['scored_model']} has RMSE {previous:.2f} minutes on the month's "
        f"validation trips, {ratio:.2f} of its own model's {own:.2f}; up to "
        f"{MAX_RMSE_OF_PREVIOUS_MODEL} are usual",
        {"previous_rmse": previous, "own_rmse": own, "ratio": ratio},
    )
