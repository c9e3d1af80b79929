"""Checks of a month's model, and of how it does."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

import dagster as dg

from taxi_assets.checks.month_checks import Judgement, month_check
from taxi_assets.checks.thresholds import (
    COVERAGE,
    DECAY_MONTHS,
    DECAYED_MONTHS,
    MAX_DECAY,
    MAX_ON_THIN_ZONES,
    MAX_RMSE_OF_EARLIER,
    MIN_GAIN_ON_LINEAR,
    MIN_GAIN_ON_MEAN,
    THIN_ZONE_TRIPS,
)
from taxi_assets.durations.sums import TRAIN, split
from taxi_assets.tlc.fleets import DROPOFF_ZONE, PICKUP_ZONE
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.zones import LAST_ZONE

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.linear_model import LinearRegression


LISTED = 20
"""Zones that a check lists at most."""

NO_EARLIER_MODEL = "There is no earlier model to score"


@month_check
def known_zones(vectorizer: "DictVectorizer") -> Judgement:
    """All zones are TLC's, numbered 1 to 265.

    If not: TLC has added zones (then raise LAST_ZONE in tlc/zones.py), or the zone columns
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
def better_than_mean(metrics: Mapping[str, float]) -> Judgement:
    """The model's RMSE is clearly below that of always predicting the mean.

    If not: the zones say little about the durations. One zone column is probably damaged or
    shuffled, or the month is too small.
    """
    gain = 1 - metrics["rmse"] / metrics["baseline_rmse"] if metrics["baseline_rmse"] else 0.0
    return Judgement(
        gain >= MIN_GAIN_ON_MEAN,
        f"RMSE {metrics['rmse']:.2f} minutes is {gain:.1%} below that of the mean, "
        f"{metrics['baseline_rmse']:.2f}; at least {MIN_GAIN_ON_MEAN:.0%} are usual",
        {"gain": gain, "rmse": metrics["rmse"], "baseline_rmse": metrics["baseline_rmse"]},
    )


@month_check
def rmse_of_earlier_months(rmse: float, earlier: Mapping[Month, float]) -> Judgement:
    """The RMSE is no worse than usual in the half year before, as far as it is stored.

    If it is: compare the plots with those of an earlier month. Traffic changes, but seldom so
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
def window_complete(
    trained_on: Sequence[str],
    missing: Sequence[Month],
    *,
    since: Sequence[Month] = (),
    alone: bool = False,
    command: str = "",
) -> Judgement:
    """The boosted model was trained on all months that it should be trained on, as they are now.

    If not: materialize the missing months, then boosted_model and what follows it once more, in
    one run over the range. A fleet's first month has none before it, and trains on itself.
    """
    metrics = {"training_months": len(trained_on), "missing_months": len(missing)}
    if alone:
        return Judgement(True, "No earlier month is stored: trained on this one alone", metrics)
    finding = f"Trained on {', '.join(trained_on)}"
    if missing:
        finding += f"; not stored: {', '.join(map(str, missing))}"
    if since:
        finding += f"; stored or changed since: {', '.join(map(str, since))}"
    complete = not (missing or since)
    if not complete and command:
        finding += f". Afterwards, in order of the months: {command}"
    return Judgement(complete, finding, metrics)


@month_check
def boosted_better_than_linear(models: Mapping[str, Mapping[str, Any]]) -> Judgement:
    """On a month that neither has seen, the boosted model does clearly better than the linear one.

    If not: it has been trained on too few trips, or on months unlike this one. See which it was
    trained on, and whether window_complete passed for them.
    """
    if not {"boosted", "linear"} <= set(models):
        return Judgement(True, NO_EARLIER_MODEL, {"scored_models": len(models)})
    boosted, linear = (models[name]["rmse"] for name in ("boosted", "linear"))
    gain = 1 - boosted / linear if linear else 0.0
    return Judgement(
        gain >= MIN_GAIN_ON_LINEAR,
        f"RMSE {boosted:.3f} minutes is {gain:.1%} below the linear model's {linear:.3f}; at least "
        f"{MIN_GAIN_ON_LINEAR:.0%} are usual",
        {"gain": gain, "boosted_rmse": boosted, "linear_rmse": linear},
    )


@month_check
def interval_coverage(models: Mapping[str, Mapping[str, Any]]) -> Judgement:
    """Eight trips of ten lie within the boosted model's interval.

    If not: durations scatter otherwise than in the month that the interval was calibrated on.
    Do not trust the bounds for this month; see coverage by quantile bin for where they fail.
    """
    if "boosted" not in models:
        return Judgement(True, NO_EARLIER_MODEL, {"scored_models": len(models)})
    coverage = float(models["boosted"]["interval_coverage"])
    low, high = COVERAGE
    return Judgement(
        low <= coverage <= high,
        f"{coverage:.1%} of the trips lie within their interval; {low:.0%} to {high:.0%} are usual",
        {"interval_coverage": coverage},
    )


@month_check
def model_decays(month: Mapping[str, Any], earlier: Sequence[Mapping[str, Any]]) -> Judgement:
    """The champion does as well beside a lookup table as when it was promoted.

    If not: it has grown old, and no challenger was let in. See the champion's decisions of the
    last months for why; a pinned one is let go by taxi-assets champion --unpin.
    """
    champion, now = month["before"] or {}, month["relative_rmse"]
    when_promoted = champion.get("ratio")
    if when_promoted is None or now is None:
        return Judgement(True, "No champion was judged by this month", {"judged": False})
    relative = [
        of["relative_rmse"] / when_promoted
        for of in reversed([month, *earlier[: DECAY_MONTHS - 1]])
        if of.get("relative_rmse") and (of["before"] or {}).get("version") == champion["version"]
    ]
    worse = sum(ratio > MAX_DECAY for ratio in relative)
    ratios = ", ".join(f"{ratio:.3f}" for ratio in relative)
    return Judgement(
        worse < DECAYED_MONTHS,
        f"The RMSE of version {champion['version']} beside the lookup table's is {ratios} times "
        f"what it was when promoted; above {MAX_DECAY} in {worse} of the last {DECAY_MONTHS} "
        "months",
        {"judged": True, "relative_rmse": now, "when_promoted": when_promoted},
    )
