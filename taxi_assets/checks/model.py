"""Checks of a month's model, and of how it does."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

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

ZONES = (PICKUP_ZONE, DROPOFF_ZONE)

NO_EARLIER_MODEL = "There is no earlier model to score"


@month_check
def known_zones(vectorizer: "DictVectorizer") -> Judgement:
    """All zones are TLC's, numbered 1 to 265.

    If not: either TLC has added zones (then raise LAST_ZONE in tlc/zones.py), or the zone columns
    hold something else. The linear model learns unknown zones like any other.
    """
    zones = {feature.partition("=")[2] for feature in vectorizer.feature_names_}
    unknown = sorted(zones - {str(zone) for zone in range(1, LAST_ZONE + 1)})
    return Judgement(
        not unknown,
        f"{len(unknown)} of {len(zones)} zones are unknown to TLC",
        {"unknown_zones": unknown},
    )


@month_check
def thin_zones(zone_pairs: "pd.DataFrame") -> Judgement:
    """Few training trips begin or end in zones that have under ten of them.

    If not: the month is too small, or its trips are scattered; train on a fuller month. Do not
    trust a prediction from or to the zones that are listed: their coefficients rest on few trips.
    """
    train = split(zone_pairs, TRAIN)
    by_zone = [train.groupby(side, observed=True)["trips"].sum() for side in ZONES]
    thin = [trips[trips < THIN_ZONE_TRIPS] for trips in by_zone]
    share = float(max(trips.sum() for trips in thin) / train["trips"].sum())
    zones = {side: trips.index.tolist() for side, trips in zip(ZONES, thin, strict=True)}
    return Judgement(
        share <= MAX_ON_THIN_ZONES,
        f"{sum(map(len, thin))} coefficients rest on fewer than {THIN_ZONE_TRIPS} trips, with "
        f"{share:.2%} of the training trips; up to {MAX_ON_THIN_ZONES:.0%} are usual",
        {"share_of_trips": share, **zones},
    )


@month_check
def better_than_mean(metrics: Mapping[str, float]) -> Judgement:
    """The model's RMSE is at least 10 % below that of always predicting the mean.

    If not: the zones say little about the durations. A zone column is probably damaged or
    shuffled, or the month is too small. Look at drift_from_month_before.
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
    """The RMSE is at most 1.15 times the median of the stored months of the half year before.

    If not: compare the plots with those of an earlier month. Traffic seldom changes so fast; a
    damaged column is likelier.
    """
    if not earlier:
        finding = f"RMSE {rmse:.2f} minutes; no earlier month is stored to compare with"
        return Judgement(True, finding, {"rmse": rmse})
    usual = median(earlier.values())
    return Judgement(
        rmse <= MAX_RMSE_OF_EARLIER * usual,
        f"RMSE {rmse:.2f} minutes; the median of {len(earlier)} earlier months is {usual:.2f}, "
        f"up to {MAX_RMSE_OF_EARLIER} times that is usual",
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
    """The boosted model was trained on every month of its window, as the months are stored now.

    If not: materialize the missing months, then boosted_model and what follows it once more, in
    one run over the range. A fleet's first month trains on itself alone.
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
    """On a month that neither has seen, the boosted model's RMSE is 15 % below the linear one's.

    If not: the boosted model was trained on too few trips, or on months unlike this one. Look at
    its training months, and at window_complete of the month before.
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
    """75 to 85 % of the trips lie within the boosted model's interval, which is made for 80 %.

    If not: durations scatter otherwise than in the month that the interval was calibrated on. Do
    not trust the bounds for this month. The coverage by quantile bin shows where they fail.
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
