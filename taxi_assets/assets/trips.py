"""A month's trips: as TLC published them, and cleaned."""

from functools import partial
from typing import TYPE_CHECKING

import dagster as dg

from taxi_assets.checks import data as data_checks
from taxi_assets.checks import drift as drift_checks
from taxi_assets.durations import cleaning, drift
from taxi_assets.reports import plots
from taxi_assets.reports.plot_files import store_plots
from taxi_assets.runs.monthly_asset import MonthContext, monthly_asset
from taxi_assets.storage.files import Storage
from taxi_assets.storage.origins import fetched_months
from taxi_assets.storage.stored_months import earlier_profiles, neighbouring_trips, note_profile

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow.parquet as pq

    from taxi_assets.storage.origins import Incoming
    from taxi_assets.tlc.fetch import FetchedMonth
    from taxi_assets.tlc.prefetch import Prefetch


@monthly_asset(
    kinds={"parquet"},
    io_manager="month_files",
    code_version="1",
    for_run={"fetched_months": fetched_months},
    stays_in_memory=False,
    imports=["pyarrow.parquet"],
    checks=[
        data_checks.number_of_trips,
        data_checks.trips_without_zone,
        data_checks.pickups_in_month,
    ],
)
def raw_trips(
    context: MonthContext,
    fetched_months: "Prefetch[Incoming]",
    storage: dg.ResourceParam[Storage],
) -> "dg.MaterializeResult[FetchedMonth]":
    """The month's trip records, byte for byte as TLC published them.

    Look at the checks, and at `records_loaded`. *Plots*, beside *Table*, draws it over the months.
    """
    fetched, summary = fetched_months.take(context.month, context.report)
    origin = fetched.origin
    neighbours = neighbouring_trips(storage, context.fleet, context.month)
    return dg.MaterializeResult(
        value=fetched,
        metadata={
            "summary": f"{origin.trips:,} trips, {origin.size / 1e6:,.1f} MB",
            "records_loaded": origin.trips,
            "size_bytes": origin.size,
            "source": origin.location,
            "sha256": origin.sha256,
        },
        data_version=dg.DataVersion(origin.sha256),
        check_results=[
            data_checks.number_of_trips(origin.trips, neighbours),
            data_checks.trips_without_zone(summary),
            data_checks.pickups_in_month(summary),
        ],
    )


@monthly_asset(
    kinds={"pandas", "parquet"},
    io_manager="frames",
    code_version="2",
    imports=["pandas", "sklearn.model_selection", "matplotlib.backends.backend_agg"],
    checks=[
        data_checks.readable_values,
        data_checks.share_kept,
        data_checks.usual_durations,
        drift_checks.drift_from_month_before,
        drift_checks.drift_from_year_before,
    ],
)
def cleaned_trips(
    context: MonthContext,
    raw_trips: "pq.ParquetFile",
    storage: dg.ResourceParam[Storage],
) -> "dg.MaterializeResult[pd.DataFrame]":
    """Trips of 1 to 60 minutes between two known zones: zones, duration (minutes), hour, miles.

    Look at `share_kept` and at the plot of durations. *Plots*, beside *Table*, draws each
    metric over the months.
    """
    cleaned = cleaning.clean_trips(raw_trips, context.fleet, context.month)
    kept = len(cleaned.trips)
    durations = cleaned.trips[cleaning.DURATION]
    drawn = plots.cleaning_plots(cleaned, context.title)
    context.when_stored(partial(store_plots, storage, context.fleet, context.month, drawn))
    counts = drift.profile(cleaned.trips)
    context.when_stored(partial(note_profile, storage, context.fleet, context.month, counts))
    earlier = earlier_profiles(storage, context.fleet, context.month, context.report)
    return dg.MaterializeResult(
        value=cleaned.trips,
        metadata={
            "summary": f"{kept:,} of {cleaned.loaded:,} trips kept",
            "records_loaded": cleaned.loaded,
            "records_cleaned": kept,
            "share_kept": cleaned.share_kept,
            "null_zones": cleaned.null_zones,
            "null_times": cleaned.null_times,
            "unreadable_values": cleaned.unreadable.counts.total(),
            "mean_duration_minutes": float(durations.mean()),
        },
        check_results=[
            data_checks.readable_values(cleaned.unreadable),
            data_checks.share_kept(kept, cleaned.loaded),
            data_checks.usual_durations(durations),
            drift_checks.drift_from_month_before(context.month, counts, earlier),
            drift_checks.drift_from_year_before(context.month, counts, earlier),
        ],
    )
