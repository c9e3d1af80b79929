"""What a model needs of a batch of trips, in whatever types a file has it."""

from collections import Counter
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from taxi_assets.tlc.coercion import Coerced, read_numbers, read_times, read_zone_ids
from taxi_assets.tlc.fleets import DISTANCE, DROPOFF_ZONE, PICKUP_ZONE, Fleet

MAX_DISTANCE = 100.0
"""Miles; a trip of an hour is not longer. Meters that were not set say 0, or thousands."""


@dataclass
class Unreadable:
    """The values of columns that cannot be read, of all batches so far.

    Attributes:
        counts: their number, by column.
        read: number of values that can be read, by column.
        examples: the first of each column, by column.
    """

    counts: Counter[str] = field(default_factory=Counter)
    read: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, column: str, coerced: Coerced) -> None:
        """Count a batch."""
        self.counts[column] += coerced.unreadable
        self.read[column] += len(coerced.values) - coerced.values.null_count
        if coerced.example is not None:
            self.examples.setdefault(column, coerced.example)

    def share(self, column: str) -> float:
        """Those that cannot be read, as a share of a column's values."""
        return self.counts[column] / max(1, self.counts[column] + self.read[column])


def read(batch: pa.RecordBatch, fleet: Fleet, unreadable: Unreadable) -> pa.Table:
    """Read a batch that has the fleet's needed columns, and count what cannot be read of it.

    Returns:
        One row a trip, with nulls where the file has no value: ``PULocationID`` and
        ``DOLocationID`` (dictionary-encoded strings without a decimal point: ``132``),
        ``duration`` (minutes, float64), ``pickup_hour`` (of the week, 0 is Monday midnight,
        uint8), ``trip_distance`` (miles, float32; null also where no trip is as long) and
        ``pickup_time`` (a timestamp on New York's clock).
    """
    pickup, dropoff = (read_times(batch[name]) for name in fleet.needed_columns[:2])
    pickup_zones, dropoff_zones = (read_zone_ids(batch[name]) for name in fleet.needed_columns[2:])
    coerced = (pickup, dropoff, pickup_zones, dropoff_zones)
    for name, column in zip(fleet.needed_columns, coerced, strict=True):
        unreadable.add(name, column)
    hours = pc.add(pc.multiply(pc.day_of_week(pickup.values), 24), pc.hour(pickup.values))
    columns = {
        PICKUP_ZONE: _as_category(pickup_zones.values),
        DROPOFF_ZONE: _as_category(dropoff_zones.values),
        "duration": _minutes(pickup, dropoff),
        "pickup_hour": hours.cast(pa.uint8()),
        DISTANCE: _distances(batch, fleet),
        "pickup_time": pickup.values,
    }
    return pa.table(columns)


def _as_category(zone_ids: pa.Array) -> pa.DictionaryArray:
    encoded = zone_ids.dictionary_encode()
    # Two bytes for each trip do, unless there are too many zones for any model.
    indices = encoded.indices.cast(pa.int16() if len(encoded.dictionary) < 1 << 15 else pa.int32())
    return pa.DictionaryArray.from_arrays(indices, encoded.dictionary.cast(pa.string()))


def _minutes(pickup: Coerced, dropoff: Coerced) -> pa.Array:
    """Minutes from pick-up to drop-off, float64: between moments, where both are known."""
    elapsed = pc.subtract(dropoff.values, pickup.values)  # In the finer of their units.
    if pickup.instants is not None and dropoff.instants is not None:
        elapsed = pc.coalesce(pc.subtract(dropoff.instants, pickup.instants), elapsed)
    nanoseconds = elapsed.cast(pa.duration("ns")).cast(pa.int64()).cast(pa.float64(), safe=False)
    return pc.divide(pc.divide(nanoseconds, 1e9), 60.0)


def _distances(batch: pa.RecordBatch, fleet: Fleet) -> pa.Array:
    if fleet.distance not in batch.schema.names:
        return pa.nulls(len(batch), pa.float32())
    miles = read_numbers(batch[fleet.distance]).values
    sensible = pc.and_(pc.greater(miles, 0.0), pc.less_equal(miles, MAX_DISTANCE))
    return pc.if_else(sensible, miles, pa.scalar(None, pa.float64())).cast(pa.float32())
