"""Taxi zone ids: whole numbers, however a file writes them."""

import re
from typing import TYPE_CHECKING

from taxi_assets.tlc.readings import Reading, compare, is_text, plain

if TYPE_CHECKING:
    import pyarrow as pa

UNDERSTOOD = "whole numbers such as 132, as numbers or as text"
"""What can be read as zone ids."""

WRITTEN = r"^(?P<number>[+-]?[0-9]{1,18})(?:\.0*)?$"
"""A whole number as text: 132 or 132.0, and neither 1e2 nor 0x84."""

MAX_EXACT = 2.0**53
"""Up to here every whole number is a float64."""


def read_zone_ids(column: "pa.Array") -> Reading:
    """Read zone ids as int64.

    Columns of types that hold no numbers have values, but none that can be read.
    """
    import pyarrow as pa
    from pyarrow import types

    if is_text(column.type):
        # A few hundred different texts are each read once.
        encoded = column.cast(pa.large_binary()).dictionary_encode()
        texts = plain(encoded.dictionary)
        read = compare(texts, _from_text(texts))
        values = read.values.take(encoded.indices)
        return compare(plain(encoded), values) if read.unreadable else Reading(values, 0, None)
    given = plain(column)
    if is_text(given.type):
        return compare(given, _from_text(given))
    if not (
        types.is_integer(given.type)
        or types.is_floating(given.type)
        or types.is_decimal(given.type)
        or types.is_null(given.type)
    ):
        return compare(given, pa.nulls(len(given), pa.int64()))
    try:
        return compare(given, given.cast(pa.int64()))
    except pa.ArrowInvalid:
        # One value is enough to fail the cast of all.
        return compare(given, _one_by_one(given))


def _one_by_one(given: "pa.Array") -> "pa.Array":
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import types

    if types.is_decimal(given.type):
        return _from_text(given.cast(pa.string()).cast(pa.large_binary()))
    if types.is_integer(given.type):
        small = pc.less_equal(given, pa.scalar(2**63 - 1, given.type))
        return pc.if_else(small, given, pa.scalar(None, given.type)).cast(pa.int64())
    given = given.cast(pa.float64())
    whole = pc.and_(pc.equal(pc.trunc(given), given), pc.less_equal(pc.abs(given), MAX_EXACT))
    return pc.if_else(whole, given, pa.scalar(None, given.type)).cast(pa.int64())


def _from_text(given: "pa.Array") -> "pa.Array":
    import pyarrow as pa
    import pyarrow.compute as pc

    numbers = pc.struct_field(pc.extract_regex(given, WRITTEN), "number")
    # What the pattern has let through is ASCII. Arrow does not read a sign before it.
    unsigned = pc.ascii_ltrim(numbers.cast(pa.large_string()), characters="+")
    return unsigned.cast(pa.int64())


def advise(example: str) -> str:
    """What else to say of a zone id that cannot be read: a sentence, after a blank, or nothing."""
    if re.match(r"'[A-Za-z]{3}", example):
        return " A zone's name is none: TLC's table of zones has the id for it."
    return ""
