"""Reading a column of a month file, whatever type a tool has given it: what all columns share.

Tools that touch a file make text, decimals, dictionaries or views of TLC's numbers and times. What
counts is the value. One that cannot be read is missing, and is counted apart from those that the
file does not have.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

NO_VALUE = ["", "na", "n/a", "<na>", "nan", "nat", "none", "null", "nil", "\\n"]
"""What tools write as text where there is no value, in small letters."""

MAX_SHOWN = 40
"""Characters of a value that a message shows."""


@dataclass(frozen=True)
class Reading:
    """A column's values.

    Attributes:
        values: of the type that the column should have, as long as the column; null where it has
            no value, and where it has one that cannot be read.
        unreadable: number of values that cannot be read.
        example: the first of them; None if all can be read.
    """

    values: "pa.Array"
    unreadable: int
    example: str | None


def plain(column: "pa.Array") -> "pa.Array":
    """The column without what its encoding adds, and with nulls for all that means no value.

    Text of any kind becomes bytes without the blanks around it, as it need not be UTF-8.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import types

    while types.is_dictionary(column.type):
        column = _without_view(column.dictionary).take(column.indices)
    if types.is_run_end_encoded(column.type):
        column = pc.run_end_decode(column)
    column = _without_view(column)
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


def is_text(kind: "pa.DataType") -> bool:
    """Whether values of a type are characters, or bytes that may be."""
    from pyarrow import types

    tests = (
        *(types.is_string, types.is_large_string, types.is_string_view),
        *(types.is_binary, types.is_large_binary, types.is_binary_view, types.is_fixed_size_binary),
    )
    return any(test(kind) for test in tests)


def compare(given: "pa.Array", values: "pa.Array") -> Reading:
    """What came of a plain column's values."""
    import pyarrow.compute as pc

    if values.null_count == given.null_count:
        return Reading(values, 0, None)
    lost = pc.and_(pc.is_valid(given), pc.is_null(values))
    first = given[pc.index(lost, value=True).as_py()]
    return Reading(values, pc.sum(lost).as_py(), show(first))


def show(value: "pa.Scalar") -> str:
    """A value as a message shows it: on one line, and not too long."""
    import pyarrow as pa

    try:
        shown = value.as_py()
        if isinstance(shown, bytes):
            shown = shown.decode(errors="replace")
        text = repr(shown) if isinstance(shown, str) else str(shown)
    except (ValueError, OverflowError, KeyError, pa.ArrowException):
        # Dates that Python's calendar does not have, zones of time that nobody knows.
        return "unprintable"
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def _without_view(column: "pa.Array") -> "pa.Array":
    """Views hold text in another place; few of Arrow's functions know them."""
    import pyarrow as pa
    from pyarrow import types

    views = (types.is_string_view, types.is_binary_view)
    return column.cast(pa.binary()) if any(view(column.type) for view in views) else column
