"""Checks of a month's trips."""

from collections.abc import Mapping
from statistics import mean
from typing import TYPE_CHECKING

from taxi_assets.checks.month_checks import Judgement, month_check
from taxi_assets.checks.thresholds import (
    LONG_DURATION,
    MAX_NULL_ZONES,
    MAX_OUTSIDE_MONTH,
    MAX_UNREADABLE,
    MEDIAN_DURATION,
    MIN_SHARE_KEPT,
    ROWS_OF_NEIGHBOURS,
)
from taxi_assets.durations.cleaning import MAX_DURATION, MIN_DURATION
from taxi_assets.tlc.fleets import DROPOFF_ZONE, PICKUP_ZONE
from taxi_assets.tlc.months import Month

if TYPE_CHECKING:
    import pandas as pd

    from taxi_assets.durations.columns import Unreadable
    from taxi_assets.tlc.raw_summary import Survey


@month_check
def number_of_trips(trips: int, neighbours: Mapping[Month, int]) -> Judgement:
    """About as many trips as in the months before and after, as far as they are stored.

    If not: look at TLC's notes on the month. A file that was truncated at its source has too few,
    one that was delivered twice too many. Materialize raw_trips again when TLC has mended it. In
    2020 trips really fell by nine tenths.
    """
    if not neighbours:
        finding = f"{trips:,} trips; no neighbouring month is stored to compare with"
        return Judgement(True, finding, {"trips": trips})
    ratio = trips / max(1.0, mean(neighbours.values()))
    low, high = ROWS_OF_NEIGHBOURS
    months = " and ".join(str(month) for month in neighbours)
    return Judgement(
        low <= ratio <= high,
        f"{trips:,} trips are {ratio:.2f} of those in {months}; {low} to {high} are usual",
        {"trips": trips, "share_of_neighbours": ratio},
    )


@month_check
def trips_without_zone(survey: "Survey") -> Judgement:
    """Hardly any trip lacks its pick-up or drop-off zone.

    If many do: the file was written by another tool, or a column was damaged. Such trips are left
    out; see how many are kept in cleaned_trips before you use the model.
    """
    absent = [name for name in (PICKUP_ZONE, DROPOFF_ZONE) if name in survey.missing]
    if absent:
        return _not_judged(f"the file has no column {' or '.join(absent)}")
    return Judgement(
        survey.null_zones <= MAX_NULL_ZONES * survey.trips,
        f"{survey.null_zones:,} of {survey.trips:,} trips have no zone; "
        f"up to {MAX_NULL_ZONES:.0%} are usual",
        {"null_zones": survey.null_zones, "share": survey.null_zones / max(1, survey.trips)},
    )


@month_check
def pickups_in_month(survey: "Survey") -> Judgement:
    """Nearly all trips were picked up in the month.

    If not: it is probably another month's file under this month's name. Look at the source, and
    materialize raw_trips again.
    """
    if not survey.timed:
        times = [name for name in survey.missing if name not in (PICKUP_ZONE, DROPOFF_ZONE)]
        reason = f"the file has no column {' or '.join(times)}" if times else "no trip has a time"
        if survey.example is not None:
            reason = f"no pick-up time can be read; the first is {survey.example}"
        return _not_judged(reason)
    return Judgement(
        survey.outside_month <= MAX_OUTSIDE_MONTH * survey.timed,
        f"{survey.outside_month:,} of {survey.timed:,} trips were picked up in another month; "
        f"up to {MAX_OUTSIDE_MONTH:.0%} are usual",
        {
            "outside_month": survey.outside_month,
            "share": survey.outside_month / survey.timed,
        },
    )


def _not_judged(reason: str) -> Judgement:
    """A warning that says that nothing is known."""
    return Judgement(False, f"Not judged: {reason}", {})


@month_check
def readable_values(unreadable: "Unreadable") -> Judgement:
    """Hardly any values of the needed columns defy reading.

    If many do: look at the first of them, and at the tool that wrote the file. Trips with such
    a value are left out, as if they had none.
    """
    columns = [name for name, count in unreadable.counts.items() if count]
    if not columns:
        return Judgement(True, "All values can be read", {"unreadable_values": 0})
    said = [
        f"{unreadable.counts[name]:,} in {name} ({unreadable.share(name):.2%}; "
        f"the first is {unreadable.examples[name]})"
        for name in columns
    ]
    return Judgement(
        all(unreadable.share(name) <= MAX_UNREADABLE for name in columns),
        f"Values that cannot be read: {', '.join(said)}; up to {MAX_UNREADABLE:.0%} of a column "
        "are let pass",
        {"unreadable_values": unreadable.counts.total()},
    )


@month_check
def share_kept(kept: int, loaded: int) -> Judgement:
    """Most trips last between 1 and 60 minutes.

    If not: the times are probably in another unit or time zone than TLC's. Look at the plot of
    durations, and at the first rows of raw_trips.
    """
    share = kept / loaded
    return Judgement(
        share >= MIN_SHARE_KEPT,
        f"{share:.1%} of the trips last {MIN_DURATION:g} to {MAX_DURATION:g} minutes; "
        f"at least {MIN_SHARE_KEPT:.0%} are usual",
        {"share_kept": share},
    )


@month_check
def usual_durations(durations: "pd.Series[float]") -> Judgement:
    """The middle trip and the long ones last as long as New York's trips do.

    If not: drop-off times are probably not what they should be. Compare the plot of durations
    with another month's.
    """
    import numpy as np

    # Counted by the second, in small numbers, as sorting millions takes five times as long.
    seconds = (durations.to_numpy(np.float32) * 60 + 0.5).astype(np.int16)
    as_long = np.cumsum(np.bincount(seconds)) / len(seconds)
    median, long = (np.searchsorted(as_long, [0.5, 0.95]) / 60).tolist()
    bounds = zip((median, long), (MEDIAN_DURATION, LONG_DURATION), strict=True)
    return Judgement(
        all(low <= minutes <= high for minutes, (low, high) in bounds),
        f"The median is {median:.1f} minutes, usual are {MEDIAN_DURATION[0]:g} to "
        f"{MEDIAN_DURATION[1]:g}; 95 of 100 trips last up to {long:.1f}, usual are "
        f"{LONG_DURATION[0]:g} to {LONG_DURATION[1]:g}",
        {"median_minutes": median, "quantile_95_minutes": long},
    )


CORRECTNESS = {
    "raw_trips": (trips_without_zone, pickups_in_month),
    "cleaned_trips": (readable_values, share_kept, usual_durations),
}
"""The checks, by their assets, without which a month's trips judge no model."""
