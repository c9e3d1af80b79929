"""The four columns that a model needs of a batch of trips, in whatever types a file has them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from taxi_assets.errors import MonthError
from taxi_assets.tlc import clock, zone_ids
from taxi_assets.tlc.clock import Times, read_times
from taxi_assets.tlc.fleets import DISTANCE, DROPOFF_ZONE, PICKUP_ZONE, Fleet
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.numbers import read_numbers
from taxi_assets.tlc.readings import Reading
from taxi_assets.tlc.sniffing import describe_columns
from taxi_assets.tlc.zone_ids import read_zone_ids

if TYPE_CHECKING:
    import pyarrow as pa

TICKS_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}

REACH = ("1700-01-01", "2250-01-01")
"""Times in between can be subtracted in any unit; others are no trip's."""

MAX_DISTANCE = 100.0
"""Miles; a trip of an hour is not longer. Meters that were not set say 0, or thousands."""


class UnusableTripsError(MonthError):
    """A month's trips cannot give a model; the message says why."""


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

    def add(self, column: str, reading: Reading) -> None:
        """Count a batch."""
        self.counts[column] += reading.unreadable
        self.read[column] += len(reading.values) - reading.values.null_count
        if reading.example is not None:
            self.examples.setdefault(column, reading.example)

    def share(self, column: str) -> float:
        """Those that cannot be read, as a share of a column's values."""
        return self.counts[column] / max(1, self.counts[column] + self.read[column])


@dataclass(frozen=True)
class Trips:
    """A batch of trips; all arrays have its length, and nulls where the file has no value.

    Attributes:
        pickup_times: as timestamps, on New York's clock.
        seconds: from pick-up to drop-off, float64.
        pickup_zones: zone ids as dictionary-encoded strings without a decimal point: ``132``.
        dropoff_zones: likewise.
        null_zones: trips without pick-up or drop-off zone.
        null_times: trips without pick-up or drop-off time.
        hours: of the week in which trips were picked up, 0 (Monday midnight) to 167, uint8.
        distances: miles, float32; null where the file says none, or one that no trip has.
    """

    pickup_times: "pa.Array"
    seconds: "pa.Array"
    pickup_zones: "pa.DictionaryArray"
    dropoff_zones: "pa.DictionaryArray"
    null_zones: int
    null_times: int
    hours: "pa.Array"
    distances: "pa.Array"

    def picked_up_about(self, month: Month) -> int:
        """Number of trips picked up within a year of the month."""
        import pyarrow as pa
        import pyarrow.compute as pc

        earliest, latest = (
            pa.scalar((month + distance).first_day).cast(self.pickup_times.type)
            for distance in (-12, 13)
        )
        times = self.pickup_times
        near = pc.and_(pc.greater_equal(times, earliest), pc.less(times, latest))
        return pc.sum(near).as_py() or 0


def check_names(names: Sequence[str], fleet: Fleet) -> None:
    """Make sure that a file has the fleet's needed columns.

    Raises:
        UnusableTripsError: names the column, and what the file seems to be.
    """
    if problem := describe_columns(names, fleet):
        raise UnusableTripsError(f"The file {problem}")


def check_readable(unreadable: Unreadable, schema: "pa.Schema") -> None:
    """Make sure that something can be read of each column that has values.

    Args:
        unreadable: of the whole month.
        schema: of its file.

    Raises:
        UnusableTripsError: names the column, its first value, and what would be understood.
    """
    for name, example in unreadable.examples.items():
        if not unreadable.read[name]:
            wanted = zone_ids if name in (PICKUP_ZONE, DROPOFF_ZONE) else clock
            raise UnusableTripsError(
                f"None of the {unreadable.counts[name]:,} values in column {name} can be read. "
                f"The first is {example}, of type {schema.field(name).type}. Understood are "
                f"{wanted.UNDERSTOOD}.{wanted.advise(example)}"
            )


def read(batch: "pa.RecordBatch", fleet: Fleet, unreadable: Unreadable) -> Trips:
    """Read a batch that has the fleet's columns, and count what cannot be read of it."""
    import pyarrow as pa

    pickup_zones, dropoff_zones = (
        read_zone_ids(batch[name]) for name in (PICKUP_ZONE, DROPOFF_ZONE)
    )
    pickup_times, dropoff_times = (
        read_times(batch[name]) for name in (fleet.pickup_time, fleet.dropoff_time)
    )
    try:
        seconds = _seconds(pickup_times, dropoff_times)
    except pa.ArrowInvalid:
        # Some are further from each other, or from now, than any unit reaches.
        pickup_times, dropoff_times = (_within_reach(t) for t in (pickup_times, dropoff_times))
        seconds = _seconds(pickup_times, dropoff_times)
    readings = (pickup_times, dropoff_times, pickup_zones, dropoff_zones)
    for name, reading in zip(fleet.needed_columns, readings, strict=True):
        unreadable.add(name, reading)
    return Trips(
        pickup_times=pickup_times.values,
        seconds=seconds,
        pickup_zones=_as_category(pickup_zones.values),
        dropoff_zones=_as_category(dropoff_zones.values),
        null_zones=_nulls(pickup_zones.values, dropoff_zones.values),
        null_times=_nulls(pickup_times.values, dropoff_times.values),
        hours=_hours_of_week(pickup_times.values),
        distances=_distances(batch),
    )


def decoded_columns(names: Sequence[str], fleet: Fleet) -> list[str]:
    """The columns of a file that are decoded: the needed ones, and the distance if it is there."""
    return [*fleet.needed_columns, *([DISTANCE] if names.count(DISTANCE) == 1 else [])]


def _hours_of_week(times: "pa.Array") -> "pa.Array":
    import pyarrow as pa
    import pyarrow.compute as pc

    hours = pc.add(pc.multiply(pc.day_of_week(times), 24), pc.hour(times))
    return hours.cast(pa.uint8())


def _distances(batch: "pa.RecordBatch") -> "pa.Array":
    import pyarrow as pa
    import pyarrow.compute as pc

    if DISTANCE not in batch.schema.names:
        return pa.nulls(len(batch), pa.float32())
    miles = read_numbers(batch[DISTANCE]).values
    sensible = pc.and_(pc.greater(miles, 0.0), pc.less_equal(miles, MAX_DISTANCE))
    return pc.if_else(sensible, miles, pa.scalar(None, pa.float64())).cast(pa.float32())


def _seconds(pickup: Times, dropoff: Times) -> "pa.Array":
    """Seconds from pick-up to drop-off, float64: between moments, where both are known.

    Raises:
        pyarrow.ArrowInvalid: times are too far from each other, or from now.
    """
    import pyarrow.compute as pc

    clocks = _difference(pickup.values, dropoff.values)
    if pickup.instants is None or dropoff.instants is None:
        return clocks
    return pc.coalesce(_difference(pickup.instants, dropoff.instants), clocks)


def _difference(start: "pa.Array", end: "pa.Array") -> "pa.Array":
    import pyarrow as pa
    import pyarrow.compute as pc

    unit = max(start.type.unit, end.type.unit, key=lambda unit: TICKS_PER_SECOND[unit])
    same = pa.timestamp(unit)
    elapsed = pc.subtract_checked(end.cast(same), start.cast(same))
    ticks = elapsed.cast(pa.int64()).cast(pa.float64(), safe=False)
    return pc.divide(ticks, float(TICKS_PER_SECOND[unit]))


def _within_reach(times: Times) -> Times:
    """Count as unreadable what is out of any trip's reach."""
    import pyarrow as pa
    import pyarrow.compute as pc

    first, last = (pa.scalar(day).cast(pa.timestamp("s")) for day in REACH)
    kind = times.values.type
    near = pc.and_(
        pc.greater_equal(times.values, first.cast(kind)), pc.less(times.values, last.cast(kind))
    )
    lost = pc.sum(pc.invert(near)).as_py() or 0
    nothing = pa.scalar(None, kind)
    return Times(
        pc.if_else(near, times.values, nothing),
        times.unreadable + lost,
        times.example or (f"a time before {REACH[0]} or after {REACH[1]}" if lost else None),
        times.instants and pc.if_else(near, times.instants, nothing),
    )


def _as_category(zone_ids: "pa.Array") -> "pa.DictionaryArray":
    import pyarrow as pa

    encoded = zone_ids.dictionary_encode()
    return pa.DictionaryArray.from_arrays(encoded.indices, encoded.dictionary.cast(pa.string()))


def _nulls(one: "pa.Array", other: "pa.Array") -> int:
    """Number of rows where either column has no value."""
    import pyarrow.compute as pc

    return pc.sum(pc.or_(pc.is_null(one), pc.is_null(other))).as_py() or 0
