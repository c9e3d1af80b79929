"""The values of a month file's columns, whatever types a tool has given them.

Tools that touch a file make text, decimals, dictionaries or views of TLC's numbers and times. The
value counts. One that cannot be read is missing, and is counted apart from those that the file
does not have.

TLC writes times as the meter's clock showed them, without a time zone. Other tools add one. A
label of UTC is nearly always that same clock, mislabelled, and is left aside. A real time zone, or
New York's offset, says which moment is meant: then durations are true on the night when the clock
is changed, too.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

NO_VALUE = ["", "na", "n/a", "<na>", "nan", "nat", "none", "null", "nil", "\\n"]
"""What tools write as text where there is no value, in small letters."""

MAX_SHOWN = 40
"""Characters of a value that a message shows."""

ZONE_IDS = (
    "whole numbers such as 132, as numbers or as text. A zone's name is none: TLC's table of zones "
    "has the id for it"
)
"""What can be read as zone ids."""

TIMES = (
    "timestamps, or text such as 2021-01-31 08:15:00 (01/02/2021 could mean two days), on New "
    "York's clock, or with New York's offset from UTC at that moment"
)
"""What can be read as times."""

WHOLE = r"^[+-]?[0-9]{1,15}(?:\.0*)?$"
"""A whole number as text: 132 or 132.0, and neither 1e2 nor 0x84."""

NUMBER = r"^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?$"
"""Any finite number as text."""

MAX_EXACT = 2.0**53
"""Below, every whole number is a float64."""

NEW_YORK = "America/New_York"

UTC = r"(?:Etc/)?(?:UTC|UCT|GMT|Zulu|Universal|Greenwich)|Z|[+-]00(?::?00)?"
"""Labels of the time zone that files bear by mistake."""

TO_MINUTES = len("2021-01-31 08:15")
TO_MICROSECONDS = len(":00.123456")

SECONDS_AND_ZONE = (
    r"^(?P<seconds>(?::[0-9]{2}(?:\.[0-9]+)?)?)"
    rf" ?(?:{UTC}|(?P<offset>-0[45])(?::?00)?)?$"
)
"""What may follow the minutes; New York's clocks are 4 or 5 hours behind UTC."""

TIME = (
    r"^[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])[ T]"
    r"(?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:\.[0-9]+)?)?$"
)
"""A time as ISO 8601 writes it; only the days of months differ."""

END = 2**31 - 1
"""Of any text; Arrow's ``binary_slice`` fails without one."""

REACH = ("1960-01-01", "2250-01-01")
"""Times in between can be subtracted in nanoseconds; others are no trip's."""

SAMPLE = 100
"""Rows that are tried first: a cast fails slowly where all values are bad."""


@dataclass(frozen=True)
class Coerced:
    """A column's values, in the type that they should have.

    Attributes:
        values: one for each row; null where the column has no value, or one that cannot be read.
        unreadable: number of values that cannot be read.
        example: the first of them; None if all can be read.
        instants: of times, the same moments in UTC where the file says which they are, and null
            elsewhere; None if it says so nowhere.
    """

    values: pa.Array
    unreadable: int
    example: str | None
    instants: pa.Array | None = None


def read_zone_ids(column: pa.Array) -> Coerced:
    """Read whole numbers from 1 as int64."""

    def whole(given: pa.Array) -> pa.Array:
        numbers = _floats(given, WHOLE)
        zone = pc.and_(pc.greater_equal(numbers, 1.0), pc.less(numbers, MAX_EXACT))
        return _where(pc.and_(zone, pc.equal(pc.trunc(numbers), numbers)), numbers).cast(pa.int64())

    return _read_distinct(column, whole)


def read_numbers(column: pa.Array) -> Coerced:
    """Read numbers, such as distances and fares, as float64."""
    return _read_distinct(column, lambda given: _floats(given, NUMBER))


def read_times(column: pa.Array) -> Coerced:
    """Read times as timestamps without a time zone: what New York's clocks showed.

    Columns of types that hold no times have values, but none that can be read.
    """
    given, clock, instants = column, None, None
    if is_text(column.type):
        # As pandas writes them, there is nothing to trim.
        clock = _cast(column.cast(pa.large_binary()))
    if clock is None:
        given = plain(column)
        if is_text(given.type):
            clock, instants = _times_of_text(given)
        elif types.is_timestamp(given.type):
            clock, instants = _times_of_timestamps(given)
        else:
            clock = pa.nulls(len(given), pa.timestamp("us"))
    first, end = (pa.scalar(day).cast(pa.timestamp("s")).cast(clock.type) for day in REACH)
    taken = pc.and_(pc.greater_equal(clock, first), pc.less(clock, end))
    if instants is not None:
        theirs = pc.equal(_local(instants, NEW_YORK), clock)
        taken = pc.and_(taken, pc.fill_null(theirs, fill_value=True))
        instants = _where(taken, instants)
    return _coerced(given, _where(taken, clock), instants=instants)


def plain(column: pa.Array) -> pa.Array:
    """The column without what its encoding adds, and with nulls for all that means no value.

    Text of any kind becomes bytes without the blanks around it, as it need not be UTF-8.
    """
    while types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if types.is_floating(column.type):
        return pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    if not is_text(column.type):
        return column
    # Neither trimming nor comparing looks at more than single bytes.
    text = column.cast(pa.large_binary()).cast(pa.large_string(), safe=False)
    text = pc.ascii_trim_whitespace(text)
    shortest = pc.min(pc.binary_length(text)).as_py()
    if shortest is not None and shortest <= max(map(len, NO_VALUE)):
        empty = pc.is_in(pc.ascii_lower(text), pa.array(NO_VALUE, text.type))
        text = pc.if_else(empty, pa.scalar(None, text.type), text)
    return text.cast(pa.large_binary())


def is_text(kind: pa.DataType) -> bool:
    """Whether values of a type are characters, or bytes that may be."""
    return re.match(r"(?:large_)?(?:string|binary)|fixed_size_binary", str(kind)) is not None


def show(value: pa.Scalar) -> str:
    """A value as a message shows it: on one line, and not too long."""
    try:
        shown = value.as_py()
        if isinstance(shown, bytes):
            shown = shown.decode(errors="replace")
        text = repr(shown) if isinstance(shown, str) else str(shown)
    except (ValueError, OverflowError, KeyError, pa.ArrowException):
        # Dates that Python's calendar does not have, time zones that nobody knows.
        return "unprintable"
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def _coerced(
    given: pa.Array,
    values: pa.Array,
    indices: pa.Array | None = None,
    instants: pa.Array | None = None,
) -> Coerced:
    """What came of a column's values, or of its distinct values and the column's indices."""
    lost = pc.and_(given.is_valid(), values.is_null())
    if indices is not None:
        values, lost = values.take(indices), lost.take(indices)
    unreadable = pc.sum(lost).as_py() or 0
    if not unreadable:
        return Coerced(values, 0, None, instants)
    row = pc.index(lost, value=True).as_py()
    example = given[row if indices is None else indices[row].as_py()]
    return Coerced(values, unreadable, show(example), instants)


def _where(taken: pa.Array, values: pa.Array) -> pa.Array:
    """The values, null where they are not taken; in the usual case, they all are."""
    if pc.all(taken).as_py():
        return values
    return pc.if_else(taken, values, pa.scalar(None, values.type))


def _read_distinct(column: pa.Array, read: Callable[[pa.Array], pa.Array]) -> Coerced:
    """Read a column of numbers; of text, which has a few hundred values, each of them once."""
    indices = None
    if is_text(column.type):
        column = column.dictionary_encode()
    if types.is_dictionary(column.type):
        column, indices = column.dictionary, column.indices
    given = plain(column)
    return _coerced(given, read(given), indices)


def _floats(given: pa.Array, written: str) -> pa.Array:
    """Plain values as float64; null where text is written in another way, and for other types."""
    if is_text(given.type):
        number = pc.match_substring_regex(given, written)
        return _where(number, given).cast(pa.large_string()).cast(pa.float64())
    numeric = (types.is_integer, types.is_floating, types.is_decimal, types.is_null)
    if any(test(given.type) for test in numeric):
        return given.cast(pa.float64(), safe=False)
    return pa.nulls(len(given), pa.float64())


def _times_of_timestamps(given: pa.Array) -> tuple[pa.Array, pa.Array | None]:
    """What the clock of the column's time zone showed, and the moments in UTC if it is a real one.

    Both are null in a time zone of a name that nobody knows.
    """
    unzoned = given.cast(pa.timestamp(given.type.unit))
    if given.type.tz is None or re.fullmatch(UTC, given.type.tz):
        return unzoned, None
    try:
        return _local(unzoned, given.type.tz), unzoned
    except pa.ArrowInvalid:
        return pa.nulls(len(given), unzoned.type), None


def _times_of_text(given: pa.Array) -> tuple[pa.Array, pa.Array | None]:
    """What text says that the clock showed, and the moments in UTC if any has an offset."""
    import pandas as pd

    endings = pc.binary_slice(given, TO_MINUTES, END).dictionary_encode()
    read = pc.extract_regex(endings.dictionary, SECONDS_AND_ZONE)
    seconds, offset = (pc.struct_field(read, name) for name in ("seconds", "offset"))
    seconds = pc.binary_slice(seconds, 0, TO_MICROSECONDS).take(endings.indices)
    minutes = pc.binary_slice(given, 0, TO_MINUTES)
    text = pc.binary_join_element_wise(minutes, seconds, pa.scalar(b"", given.type))
    clock = _cast(text)
    if clock is None:
        times = _where(pc.match_substring_regex(text, TIME), text).cast(pa.large_string())
        # Days such as 30 February are still among them.
        times = pd.to_datetime(times.to_pandas(), format="ISO8601", errors="coerce")
        clock = pa.array(times, pa.timestamp("us"), from_pandas=True)
    hours = pc.add(pc.index_in(offset, pa.array([b"-04", b"-05"], offset.type)), 4)
    if hours.null_count == len(hours):
        return clock, None
    behind = pc.multiply(hours.cast(pa.int64()), 3_600_000_000).cast(pa.duration("us"))
    return clock, pc.add(clock, behind.take(endings.indices))


def _cast(text: pa.Array) -> pa.Array | None:
    """Have Arrow read all times; None if it cannot, or would take what is no time for one."""
    shortest = pc.min(pc.binary_length(text)).as_py()
    if shortest is not None and shortest < TO_MINUTES:
        return None
    try:
        for part in (text[:SAMPLE], text):
            times = part.cast(pa.large_string()).cast(pa.timestamp("us"))
    except pa.ArrowInvalid:
        return None
    return times


def _local(instants: pa.Array, zone: str) -> pa.Array:
    """What clocks in a time zone show at moments that are given in UTC."""
    return pc.local_timestamp(instants.cast(pa.timestamp(instants.type.unit, zone)))
