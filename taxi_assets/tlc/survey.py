"""A first look at a month's trips as they came, before any is left out."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from taxi_assets.tlc.fleets import DROPOFF_ZONE, PICKUP_ZONE, Fleet
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.parquet import decoded_batches

if TYPE_CHECKING:
    import pyarrow.parquet as pq


@dataclass(frozen=True)
class Survey:
    """Numbers of trips.

    Attributes:
        trips: in the file.
        null_zones: without a pick-up or drop-off zone; at least, as the columns are counted apart.
        outside_month: picked up in another month, or with no pick-up time.
    """

    trips: int
    null_zones: int
    outside_month: int


def survey_trips(month_file: "pq.ParquetFile", fleet: Fleet, month: Month) -> Survey:
    """Look at the pick-up times and the zones.

    All needed columns are decoded, so that damaged data is noticed before it is stored. Where a
    column is missing, or is not of times, no trip has a value in it.

    Raises:
        ParquetError: the data is damaged.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    first, end = (pa.scalar(day.first_day) for day in (month, month + 1))
    # A name that two columns bear has no index either.
    schema = month_file.schema_arrow
    columns = [name for name in fleet.needed_columns if schema.get_field_index(name) >= 0]
    trips = inside = 0
    nulls = dict.fromkeys((PICKUP_ZONE, DROPOFF_ZONE), 0)
    for batch in decoded_batches(month_file, columns):
        trips += len(batch)
        for zone in nulls:
            nulls[zone] += batch[zone].null_count if zone in columns else len(batch)
        if fleet.pickup_time in columns and pa.types.is_timestamp(batch[fleet.pickup_time].type):
            # Nanoseconds reach from 1677 to 2262 only, which is as good as any other time here.
            times = batch[fleet.pickup_time].cast(pa.timestamp("us"), safe=False)
            within = pc.and_(
                pc.greater_equal(times, first.cast(times.type)),
                pc.less(times, end.cast(times.type)),
            )
            inside += pc.sum(within).as_py() or 0
    return Survey(trips, max(nulls.values()), trips - inside)
