"""The four columns that a model needs, in whatever types a file has them.

Over the years TLC has written zone ids as int64, int32 and double, and times in microseconds;
other tools that touch a file make dictionaries, nanoseconds or time zones of them.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from taxi_assets.errors import MonthError
from taxi_assets.tlc.fleets import DROPOFF_ZONE, PICKUP_ZONE, Fleet
from taxi_assets.tlc.months import Month

if TYPE_CHECKING:
    import pyarrow as pa

TICKS_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}

COORDINATES = {"Start_Lon", "pickup_longitude"}
"""Columns of TLC's files of 2009 and of 2010."""


class UnusableTripsError(MonthError):
    """A month's trips cannot give a model; the message says why."""


@dataclass(frozen=True)
class Trips:
    """A batch of trips; all arrays have its length, and nulls where the file has no value.

    Attributes:
        pickup_times: as timestamps.
        seconds: from pick-up to drop-off, float64.
        pickup_zones: zone ids as dictionary-encoded strings without a decimal point: ``132``.
        dropoff_zones: likewise.
        null_zones: trips without pick-up or drop-off zone.
        null_times: trips without pick-up or drop-off time.
    """

    pickup_times: "pa.Array"
    seconds: "pa.Array"
    pickup_zones: "pa.DictionaryArray"
    dropoff_zones: "pa.DictionaryArray"
    null_zones: int
    null_times: int

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


def check_types(schema: "pa.Schema", fleet: Fleet) -> None:
    """Make sure that a file has the fleet's needed columns, in types that can be read.

    Raises:
        UnusableTripsError: names the column.
    """
    from pyarrow import types

    missing = [name for name in fleet.needed_columns if schema.get_field_index(name) < 0]
    if missing:
        reason = (
            "It has coordinates in place of zone ids, as TLC's files of 2009 and 2010."
            if COORDINATES & set(schema.names)
            else f"Is it a file of another fleet than {fleet.name}?"
        )
        raise UnusableTripsError(f"The file has no column {' or '.join(missing)}. {reason}")
    for name in fleet.needed_columns:
        kind = schema.field(name).type
        kind = kind.value_type if types.is_dictionary(kind) else kind
        times = name in (fleet.pickup_time, fleet.dropoff_time)
        readable = (
            types.is_timestamp(kind) if times else types.is_integer(kind) or types.is_floating(kind)
        )
        if not (readable or types.is_null(kind)):
            wanted = "timestamps" if times else "zone ids, which are whole numbers"
            raise UnusableTripsError(f"Column {name} has type {kind}; it should hold {wanted}.")


def read(batch: "pa.RecordBatch", fleet: Fleet) -> Trips:
    """Read a batch whose schema ``check_types`` has accepted.

    Raises:
        UnusableTripsError: a value cannot be a zone id, or times are too far apart to subtract.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    pickup_zones, dropoff_zones = (
        _zone_ids(batch[name], name) for name in (PICKUP_ZONE, DROPOFF_ZONE)
    )
    pickup_times, dropoff_times = (
        _times(batch[name]) for name in (fleet.pickup_time, fleet.dropoff_time)
    )
    try:
        unit = max(
            pickup_times.type.unit, dropoff_times.type.unit, key=lambda unit: TICKS_PER_SECOND[unit]
        )
        same = pa.timestamp(unit)
        elapsed = pc.subtract_checked(dropoff_times.cast(same), pickup_times.cast(same))
    except pa.ArrowInvalid:
        raise UnusableTripsError(
            f"Columns {fleet.pickup_time} and {fleet.dropoff_time} hold dates that are too far "
            "from each other, or from now, to be times."
        ) from None
    ticks = elapsed.cast(pa.int64()).cast(pa.float64(), safe=False)
    return Trips(
        pickup_times=pickup_times,
        seconds=pc.divide(ticks, float(TICKS_PER_SECOND[unit])),
        pickup_zones=_as_category(pickup_zones),
        dropoff_zones=_as_category(dropoff_zones),
        null_zones=_nulls(pickup_zones, dropoff_zones),
        null_times=_nulls(pickup_times, dropoff_times),
    )


def _plain(column: "pa.Array") -> "pa.Array":
    """The column's values where it is a dictionary of them."""
    import pyarrow as pa

    return column.dictionary_decode() if isinstance(column, pa.DictionaryArray) else column


def _zone_ids(column: "pa.Array", name: str) -> "pa.Array":
    import pyarrow as pa
    import pyarrow.compute as pc

    values = _plain(column)
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_nan(values), None, values)
    try:
        return values.cast(pa.int64())
    except pa.ArrowInvalid as error:
        raise UnusableTripsError(
            f"Column {name} holds what cannot be a zone id, a whole number ({error})."
        ) from None


def _times(column: "pa.Array") -> "pa.Array":
    """Timestamps without a zone: with one they are instants, whose distances are the same."""
    import pyarrow as pa

    values = _plain(column)
    if pa.types.is_null(values.type):
        return values.cast(pa.timestamp("us"))
    return values.cast(pa.timestamp(values.type.unit))


def _as_category(zone_ids: "pa.Array") -> "pa.DictionaryArray":
    import pyarrow as pa

    encoded = zone_ids.dictionary_encode()
    return pa.DictionaryArray.from_arrays(encoded.indices, encoded.dictionary.cast(pa.string()))


def _nulls(one: "pa.Array", other: "pa.Array") -> int:
    """Number of rows where either column has no value."""
    import pyarrow.compute as pc

    return pc.sum(pc.or_(pc.is_null(one), pc.is_null(other))).as_py() or 0
