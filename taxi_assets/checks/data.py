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
from taxi_assets.tlc.months import Month

if TYPE_CHECKING:
    import pandas as pd

    from taxi_assets.durations.columns import Unreadable
    from taxi_assets.tlc.raw_summary import RawSummary


@month_check
def number_of_trips(trips: int, neighbours: Mapping[Month, int]) -> Judgement:
    """The month has 0.7 to 1.4 times the trips of its stored neighbours.

    If not: look at TLC's notes on the month. A file that was truncated at its source has too few
    trips, a file that was delivered twice has too many. Materialize raw_trips again when TLC has
    mended it. In 2020 the trips really fell by nine tenths.
    """
    if not neighbours:
        finding = f"{trips:,} trips; no neighbouring month is stored to compare with"
        return Judgement(True, finding, {"trips": trips})
    ratio = trips / max(1.0, mean(neighbours.values()))
    low, high = ROWS_OF_NEIGHBOURS
    months = " and ".join(map(str, neighbours))
    return Judgement(
        low <= ratio <= high,
        f"{trips:,} trips are {ratio:.2f} of those in {months}; {low} to {high} are usual",
        {"trips": trips, "share_of_neighbours": ratio},
    )


@month_check
def trips_without_zone(summary: "RawSummary") -> Judgement:
    """At most 1 % of the trips lack their pick-up or drop-off zone.

    If not: the file was written by another tool, or a column is missing or damaged. cleaned_trips
    leaves such trips out; look at its share_kept before you use the model.
    """
    share = summary.null_zones / max(1, summary.trips)
    return Judgement(
        share <= MAX_NULL_ZONES,
        f"{summary.null_zones:,} of {summary.trips:,} trips have no zone; "
        f"up to {MAX_NULL_ZONES:.0%} are usual",
        {"null_zones": summary.null_zones, "share": share},
    )


@month_check
def pickups_in_month(summary: "RawSummary") -> Judgement:
    """At most 1 % of the trips were picked up in another month.

    If not: it is probably another month's file under this month's name. Look at the source, and
    materialize raw_trips again.
    """
    if not summary.timed:
        reason = "; missing columns: " + ", ".join(summary.missing) if summary.missing else ""
        if summary.example is not None:
            reason = f"; the first is {summary.example}"
        return Judgement(False, f"Not judged: no pick-up time can be read{reason}", {})
    share = summary.outside_month / summary.timed
    return Judgement(
        share <= MAX_OUTSIDE_MONTH,
        f"{summary.outside_month:,} of {summary.timed:,} trips were picked up in another month; "
        f"up to {MAX_OUTSIDE_MONTH:.0%} are usual",
        {"outside_month": summary.outside_month, "share": share},
    )


@month_check
def readable_values(unreadable: "Unreadable") -> Judgement:
    """At most 1 % of the values of a needed column cannot be read.

    If not: look at the first unreadable value, and at the tool that wrote the file. Trips with
    such a value are left out.
    """
    columns = {name: unreadable.share(name) for name, count in unreadable.counts.items() if count}
    described = [
        f"{unreadable.counts[name]:,} in {name} ({share:.2%}; the first is "
        f"{unreadable.examples[name]})"
        for name, share in columns.items()
    ]
    return Judgement(
        all(share <= MAX_UNREADABLE for share in columns.values()),
        f"Values that cannot be read: {', '.join(described) or 'none'}; "
        f"up to {MAX_UNREADABLE:.0%} of a column are usual",
        {"unreadable_values": unreadable.counts.total()},
    )


@month_check
def share_kept(kept: int, loaded: int) -> Judgement:
    """At least 90 % of the trips last 1 to 60 minutes.

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
    """The median and the 95 % quantile of the durations are those of New York's trips.

    If not: the drop-off times are probably wrong. Compare the plot of durations with another
    month's.
    """
    import numpy as np

    # Counted by the second, in small numbers, as sorting millions takes five times as long.
    seconds = (durations.to_numpy(np.float32) * 60 + 0.5).astype(np.int16)
    shares = np.cumsum(np.bincount(seconds)) / len(seconds)
    median, long = (np.searchsorted(shares, [0.5, 0.95]) / 60).tolist()
    bounds = zip((median, long), (MEDIAN_DURATION, LONG_DURATION), strict=True)
    return Judgement(
        all(low <= minutes <= high for minutes, (low, high) in bounds),
        f"The median is {median:.1f} minutes, {MEDIAN_DURATION[0]:g} to {MEDIAN_DURATION[1]:g} are "
        f"usual; the 95 % quantile is {long:.1f}, {LONG_DURATION[0]:g} to {LONG_DURATION[1]:g} are "
        "usual",
        {"median_minutes": median, "quantile_95_minutes": long},
    )


CORRECTNESS = {
    "raw_trips": (trips_without_zone, pickups_in_month),
    "cleaned_trips": (readable_values, share_kept, usual_durations),
}
"""The checks, by their assets, that a month's trips have to pass to judge a model."""
