"""Checks of whether a month's trips are like those of other months."""

from collections.abc import Mapping
from math import hypot
from statistics import median

from taxi_assets.checks.month_checks import Judgement, month_check
from taxi_assets.checks.thresholds import DEVIATIONS, MAX_DRIFT, MONTHS_FOR_SPREAD
from taxi_assets.durations.profiles import MEASURES, Profile, chance, distances
from taxi_assets.tlc.months import Month


@month_check
def drift_from_month_before(
    month: Month, profile: Profile, earlier: Mapping[Month, Profile]
) -> Judgement:
    """Zones, hours and durations are spread as in the month before.

    If not: a column was exchanged, or times were shifted, or the city has changed, as in March
    2020. See which of the four measures it is, and compare the pictures of both months.
    """
    before = earlier.get(month - 1)
    if before is None:
        finding = "The month before is not stored to compare with"
        return Judgement(True, finding, {"earlier_months": len(earlier)})
    return _judge(before, profile, f"from {month - 1}", _limits(earlier, 1))


@month_check
def drift_from_year_before(
    month: Month, profile: Profile, earlier: Mapping[Month, Profile]
) -> Judgement:
    """Zones, hours and durations are spread as in the same month a year before.

    If not: look at drift_from_month_before first; a drift that grows slowly shows here only. It is
    judged once 24 months are stored, by what is usual among them.
    """
    before = earlier.get(month - 12)
    if before is None:
        finding = "The same month a year before is not stored to compare with"
        return Judgement(True, finding, {"earlier_months": len(earlier)})
    limits = _limits(earlier, 12) if len(earlier) >= MONTHS_FOR_SPREAD else None
    return _judge(before, profile, f"from {month - 12}", limits)


def _limits(earlier: Mapping[Month, Profile], apart: int) -> dict[str, float]:
    """What is usual: the default, or, of enough months, what their spread says."""
    if len(earlier) < MONTHS_FOR_SPREAD:
        return dict.fromkeys(MEASURES, MAX_DRIFT)
    pairs = [
        distances(earlier[month - apart], profile)
        for month, profile in earlier.items()
        if month - apart in earlier
    ]
    return {name: _usual([pair[name] for pair in pairs]) for name in MEASURES}


def _usual(values: list[float]) -> float:
    """Some deviations above the median, both of which a few odd months do not move."""
    if not values:
        return MAX_DRIFT
    middle = median(values)
    # The median deviation of what is normally distributed is 0.6745 standard deviations.
    return middle + DEVIATIONS * median(abs(value - middle) for value in values) / 0.6745


def _judge(
    before: Profile, now: Profile, since: str, limits: Mapping[str, float] | None
) -> Judgement:
    """Compare distances with what is usual, beside which chance has its share."""
    found, by_chance = distances(before, now), chance(before, now)
    said, over = [], []
    for name in MEASURES:
        text = f"{name.replace('_', ' ')} {found[name]:.3f}"
        if limits is not None:
            limit = hypot(limits[name], by_chance[name])
            text += f" (up to {limit:.3f})"
            over += [name] if found[name] > limit else []
        said.append(text)
    finding = f"Distance {since}: {', '.join(said)}"
    if over:
        finding += f"; too far: {', '.join(name.replace('_', ' ') for name in over)}"
    return Judgement(not over, finding, found)
