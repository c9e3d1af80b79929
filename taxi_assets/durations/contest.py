"""Whether a challenger may take over from the champion, by what both do on a month's trips."""

from collections.abc import Mapping
from math import hypot
from typing import Any

MIN_GAIN = 0.005
"""How far a challenger's RMSE must be below the champion's."""

COVERAGE, COVERAGE_TOLERANCE = 0.80, 0.04
"""Share of trips within the interval, and how far off it may be."""

SEGMENT_SHARE, SEGMENT_TRIPS = 0.01, 2_000
"""A segment counts that has more than both: a share of the month's trips, and so many."""

SEGMENT_LOSS, STANDARD_ERRORS = 0.05, 2.0
"""How far the RMSE of a segment may rise; nor does it count within these standard errors."""

Figures = Mapping[str, Any]
"""What ``backtest`` says of a model."""


def objection(trips: int, champion: Figures, challenger: Figures) -> str | None:
    """Why a challenger may not take over; None if it may.

    Args:
        trips: of the month.
        champion: its figures on them.
        challenger: likewise.
    """
    if challenger["rmse"] > (1 - MIN_GAIN) * champion["rmse"]:
        gain = 1 - challenger["rmse"] / champion["rmse"] if champion["rmse"] else 0.0
        said = f"{gain:.1%} less; {MIN_GAIN:.1%} are asked" if gain > 0 else f"{-gain:.1%} more"
        return f"has RMSE {challenger['rmse']:.3f}, {said}"
    off, own = (_off_coverage(figures) for figures in (challenger, champion))
    if off > COVERAGE_TOLERANCE and off >= own:
        return f"has a coverage of {challenger['interval_coverage']:.1%}"
    for name, segment in challenger.get("segments", {}).items():
        before = champion.get("segments", {}).get(name)
        if before is None or segment["trips"] <= max(SEGMENT_TRIPS, SEGMENT_SHARE * trips):
            continue
        loss = segment["rmse"] - before["rmse"]
        noise = hypot(*(each.get("rmse_standard_error", 0.0) for each in (segment, before)))
        if loss > SEGMENT_LOSS * before["rmse"] and loss > STANDARD_ERRORS * noise:
            return f"is worse in {name}, RMSE {segment['rmse']:.3f} instead of {before['rmse']:.3f}"
    return None


def _off_coverage(figures: Figures) -> float:
    """How far a coverage is off; one without an interval is as far as can be."""
    coverage = figures.get("interval_coverage")
    return 1.0 if coverage is None else round(abs(float(coverage) - COVERAGE), 9)


def said_coverage(figures: Figures) -> str:
    """The end of a sentence about a model with an interval."""
    coverage = figures.get("interval_coverage")
    return "" if coverage is None else f", coverage {coverage:.1%}"
