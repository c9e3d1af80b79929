"""A first look at a month's trips as they came, before any is left out."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from taxi_assets.tlc.fleets import DROPOFF_ZONE, PICKUP_ZONE, Fleet
from taxi_assets.tlc.months import Month

if TYPE_CHECKING:
    import pyarrow.parquet as pq

BATCH_TRIPS = 1 << 19


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

    Where a column is missing or cannot be read, no trip has a value in it.
    """
    import pyarrow as pa

    try:
        return _survey(month_file, fleet, month)
    except (pa.ArrowException, OSError):
        trips = month_file.metadata.num_rows
        return Survey(trips, trips, trips)


def _survey(month_file: "pq.ParquetFile", fleet: Fleet, month: Month) -> Survey:
    import pyarrow as pa
    import pyarrow.compute as pc

    first, end = (pa.scalar(day.first_day) for day in (month, month + 1))
    names = set(month_file.schema_arrow.names)
    columns = [name for name in (fleet.pickup_time, PICKUP_ZONE, DROPOFF_ZONE) if name in names]
    trips = inside = 0
    nulls = dict.fromkeys((PICKUP_ZONE, DROPOFF_ZONE), 0)
    for batch in month_file.iter_batches(BATCH_TRIPS, columns=columns):
        trips += len(batch)
        for zone in nulls:
            nulls[zone] += batch[zone].null_count if zone in columns else len(batch)
        if fleet.pickup_time in columns:
            # Nanoseconds reach from 1677 to 2262 only, which is as good as any other time here.
            times = batch[fleet.pickup_time].cast(pa.timestamp("us"), safe=False)
            within = pc.and_(
                pc.greater_equal(times, first.cast(times.type)),
                pc.less(times, end.cast(times.type)),
            )
            inside += pc.sum(within).as_py() or 0
    return Survey(trips, max(nulls.values()), trips - inside)
