"""Times of trips, as New York's clocks showed them.

TLC writes what the meter's clock showed, without a zone of time. Other tools add one. Labels of
UTC are nearly always that same clock, mislabelled: they are left aside. A real zone, or another
offset, says which moment is meant: then the hour is read off New York's clock, and a duration is
the time between two moments, true on the night when the clock is changed too.
"""

import re
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

from taxi_assets.tlc.readings import Reading, compare, is_text, plain

if TYPE_CHECKING:
    import pyarrow as pa

NEW_YORK = "America/New_York"

UTC = {
    *("UTC", "Etc/UTC", "UCT", "Etc/UCT", "Universal", "Etc/Universal", "Zulu", "Etc/Zulu"),
    *("GMT", "Etc/GMT", "Greenwich", "Etc/Greenwich", "Z", "+00:00", "-00:00", "+0000", "+00"),
}
"""Labels of the zone of time that files bear by mistake."""

UNDERSTOOD = (
    "timestamps, or text such as 2021-01-31 08:15:00, on New York's clock, or with New York's "
    "offset from UTC at that moment"
)
"""What can be read as times."""

TO_SECONDS = len("2021-01-31 08:15:00")
TO_MINUTES = len("2021-01-31 08:15")
TO_DAYS = len("2021-01-31")

WRITTEN = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[ T](?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9])?$"
"""A time as ISO 8601 writes it, to the minute or second; the day may still be none."""

ENDING = r"^(?P<fraction>\.[0-9]+)? ?(?P<zone>Z|UTC|GMT|[+-][0-9]{2}(?::?[0-5][0-9])?)?$"
"""What may follow the seconds."""

MICROSECONDS = len(".123456")

SAMPLE = 100
"""Rows that are tried first."""

END = 2**31 - 1
"""Of any text; Arrow's ``binary_slice`` fails without one."""


@dataclass(frozen=True)
class Times(Reading):
    """A column of times.

    Attributes:
        values: timestamps without a zone: what New York's clock showed.
        instants: the same moments in UTC, where the file says which they are, and null elsewhere;
            None if it says so nowhere.
    """

    instants: "pa.Array | None" = None


def read_times(column: "pa.Array") -> Times:
    """Read times; columns of types that hold none have values, but none that can be read."""
    import pyarrow as pa
    from pyarrow import types

    if is_text(column.type):
        # As pandas writes them, there is nothing to trim.
        clock = _cast(column.cast(pa.large_binary()))
        if clock is not None:
            return Times(clock, 0, None)
    given = plain(column)
    if is_text(given.type):
        return _from_text(given)
    if not types.is_timestamp(given.type):
        return _times(given, pa.nulls(len(given), pa.timestamp("us")))
    unzoned = given.cast(pa.timestamp(given.type.unit))
    if given.type.tz is None or given.type.tz in UTC:
        return _times(given, unzoned)
    try:
        return _at_new_york(given, unzoned, _local(unzoned, given.type.tz))
    except pa.ArrowInvalid:
        # Nobody knows a zone of this name.
        return _times(given, pa.nulls(len(given), unzoned.type))


def _times(given: "pa.Array", values: "pa.Array", instants: "pa.Array | None" = None) -> Times:
    reading = compare(given, values)
    return Times(reading.values, reading.unreadable, reading.example, instants)


def _local(instants: "pa.Array", zone: str) -> "pa.Array":
    """What clocks in a zone show at moments that are given in UTC."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.local_timestamp(instants.cast(pa.timestamp(instants.type.unit, zone)))


def _at_new_york(given: "pa.Array", instants: "pa.Array", clock: "pa.Array") -> Times:
    """Take the moments at which New York's clocks showed what the file's clock does."""
    import pyarrow as pa
    import pyarrow.compute as pc

    theirs = pc.fill_null(pc.equal(_local(instants, NEW_YORK), clock), fill_value=False)
    nothing = pa.scalar(None, clock.type)
    taken = pc.if_else(theirs, clock, nothing)
    return _times(given, taken, pc.if_else(theirs, instants, nothing))


def _from_text(given: "pa.Array") -> Times:
    """Read text as pandas and others write it; with a closer look only where Arrow cannot."""
    import pyarrow.compute as pc

    clock = _cast(given)
    if clock is not None:
        return _times(given, clock)
    endings = pc.binary_slice(given, TO_SECONDS, END).dictionary_encode()
    read = pc.extract_regex(endings.dictionary, ENDING)
    fraction, zone = (pc.struct_field(read, name) for name in ("fraction", "zone"))
    offset = _offsets(zone).take(endings.indices)
    fraction = pc.binary_slice(fraction, 0, MICROSECONDS).take(endings.indices)
    clock = _join(pc.binary_slice(given, 0, TO_SECONDS), fraction)
    if offset.null_count == len(offset):
        return _times(given, clock)
    moments = _at_new_york(given, pc.subtract(clock, offset), clock)
    taken = pc.if_else(pc.is_null(offset), clock, moments.values)
    return _times(given, taken, moments.instants)


def _join(seconds: "pa.Array", fraction: "pa.Array") -> "pa.Array":
    """Times from text up to the seconds and what follows; null where either is not as it should."""
    import pyarrow as pa
    import pyarrow.compute as pc

    nothing = pa.scalar(None, seconds.type)
    text = pc.if_else(pc.is_valid(fraction), seconds, nothing)
    if pc.max(pc.binary_length(fraction)).as_py():
        text = pc.binary_join_element_wise(text, fraction, pa.scalar(b"", text.type))
    clock = _cast(text)
    if clock is not None:
        return clock
    days = pc.binary_slice(seconds, 0, TO_DAYS).dictionary_encode()
    exist = pa.array([_exists(day) for day in days.dictionary.to_pylist()], pa.bool_())
    written = pc.and_(pc.match_substring_regex(seconds, WRITTEN), exist.take(days.indices))
    written = pc.fill_null(written, fill_value=False)
    return pc.if_else(written, text, nothing).cast(pa.large_string()).cast(pa.timestamp("us"))


def _cast(text: "pa.Array") -> "pa.Array | None":
    """Have Arrow read all; None if it cannot, or would take what is no time for one."""
    import pyarrow as pa
    import pyarrow.compute as pc

    shortest = pc.min(pc.binary_length(text)).as_py()
    if shortest is not None and shortest < TO_MINUTES:
        return None
    try:
        # One value is enough to fail a cast; where all do, it takes long.
        text[:SAMPLE].cast(pa.large_string()).cast(pa.timestamp("us"))
        return text.cast(pa.large_string()).cast(pa.timestamp("us"))
    except pa.ArrowInvalid:
        return None


def _exists(day: bytes | None) -> bool:
    """Whether the calendar has a day: not 30 February."""
    try:
        return date.fromisoformat((day or b"").decode("ascii")) is not None
    except ValueError:
        return False


def _offsets(zones: "pa.Array") -> "pa.Array":
    """Offsets from UTC; null where text has none, or one of nothing, which is a mistaken label."""
    import pyarrow as pa

    texts = (zone.decode() if zone else "" for zone in zones.to_pylist())
    return pa.array([_offset(text) for text in texts], pa.duration("us"))


def _offset(zone: str) -> timedelta | None:
    match = re.fullmatch(r"([+-])(\d\d):?(\d\d)?", zone, re.ASCII)
    if match is None or zone in UTC:
        return None
    sign, hours, minutes = match.groups()
    size = timedelta(hours=int(hours), minutes=int(minutes or 0))
    return -size if sign == "-" else size


def advise(example: str) -> str:
    """What else to say of a time that cannot be read: a sentence, after a blank, or nothing."""
    if re.match(r"'?\d{1,2}[/.-]\d{1,2}[/.-]\d{2,4}\b", example):
        return " Such a date could mean two days: write the year first, then the month."
    return ""
