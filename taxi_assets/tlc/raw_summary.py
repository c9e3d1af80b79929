"""A first look at a month's trips as they came, before any is left out."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from taxi_assets.tlc.coercion import read_times, read_zone_ids
from taxi_assets.tlc.fleets import DROPOFF_ZONE, PICKUP_ZONE, Fleet
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.parquet import decoded_batches


@dataclass(frozen=True)
class RawSummary:
    """Numbers of a month's trips.

    Attributes:
        trips: in the file.
        null_zones: without a pick-up or drop-off zone.
        timed: whose pick-up time can be read.
        outside_month: of these, picked up in another month.
        example: the first pick-up time that cannot be read; None if all can.
        missing: needed columns that the file does not have.
    """

    trips: int
    null_zones: int
    timed: int
    outside_month: int
    example: str | None
    missing: tuple[str, ...]


def times_within(times: pa.Array, first: Month, end: Month) -> int:
    """Number of times from the beginning of a month to that of a later one."""
    begin, before = (pa.scalar(month.first_day).cast(times.type) for month in (first, end))
    within = pc.and_(pc.greater_equal(times, begin), pc.less(times, before))
    return pc.sum(within).as_py() or 0


def summarize(month_file: pq.ParquetFile, fleet: Fleet, month: Month) -> RawSummary:
    """Look at the pick-up times and the zones.

    All needed columns are decoded, so that damaged data is noticed before it is stored. Where one
    is missing, no trip has a value in it.

    Raises:
        ParquetError: the data is damaged.
    """
    # A name that two columns bear has no index either.
    schema = month_file.schema_arrow
    columns = [name for name in fleet.needed_columns if schema.get_field_index(name) >= 0]
    missing = tuple(name for name in fleet.needed_columns if name not in columns)
    trips = zoned = timed = inside = 0
    example = None
    for batch in decoded_batches(month_file, columns):
        trips += len(batch)
        if PICKUP_ZONE in columns and DROPOFF_ZONE in columns:
            pickup, dropoff = (
                read_zone_ids(batch[zone]).values for zone in (PICKUP_ZONE, DROPOFF_ZONE)
            )
            zoned += pc.sum(pc.and_(pickup.is_valid(), dropoff.is_valid())).as_py() or 0
        if fleet.pickup_time in columns:
            times = read_times(batch[fleet.pickup_time])
            example = example or times.example
            timed += len(batch) - times.values.null_count
            inside += times_within(times.values, month, month + 1)
    return RawSummary(trips, trips - zoned, timed, timed - inside, example, missing)
