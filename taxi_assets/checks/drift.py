"""Checks of whether a month's trips are like those of other months."""

from collections.abc import Mapping

from taxi_assets.checks.month_checks import Judgement, month_check
from taxi_assets.checks.thresholds import MAX_DRIFT_IN_A_MONTH, MAX_DRIFT_IN_A_YEAR
from taxi_assets.durations.drift import Profile, distances
from taxi_assets.tlc.months import Month


@month_check
def drift_from_month_before(
    month: Month, profile: Profile, earlier: Mapping[Month, Profile]
) -> Judgement:
    """Zones, hours and durations are distributed as in the month before.

    If not: a column was exchanged, times were shifted, or the city has changed, as in March 2020.
    Look which of the four measures is too far, and compare the plots of both months.
    """
    return _judge(month - 1, profile, earlier, MAX_DRIFT_IN_A_MONTH)


@month_check
def drift_from_year_before(
    month: Month, profile: Profile, earlier: Mapping[Month, Profile]
) -> Judgement:
    """Zones, hours and durations are distributed much as in the same month a year before.

    If not: look at drift_from_month_before first. A drift that grows slowly shows only here.
    """
    return _judge(month - 12, profile, earlier, MAX_DRIFT_IN_A_YEAR)


def _judge(
    before: Month, profile: Profile, earlier: Mapping[Month, Profile], limits: Mapping[str, float]
) -> Judgement:
    """Compare the distances from a month before, if it is stored, with what is usual."""
    if before not in earlier:
        return Judgement(True, f"{before} is not stored to compare with", {})
    measured = distances(earlier[before], profile)
    described = [
        f"{name.replace('_', ' ')} {measured[name]:.3f} (up to {limit:g})"
        for name, limit in limits.items()
    ]
    too_far = [name for name, limit in limits.items() if measured[name] > limit]
    finding = f"Distance from {before}: {', '.join(described)}"
    if too_far:
        finding += f"; too far: {', '.join(too_far)}"
    return Judgement(not too_far, finding, measured)
