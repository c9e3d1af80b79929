"""Plain numbers, such as distances and fares, in whatever types a file has them."""

from typing import TYPE_CHECKING

from taxi_assets.tlc.readings import Reading, compare, is_text, plain

if TYPE_CHECKING:
    import pyarrow as pa

WRITTEN = r"^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?$"


def read_numbers(column: "pa.Array") -> Reading:
    """Read numbers as float64; types that hold none have values, but none that can be read."""
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import types

    given = plain(column)
    if types.is_decimal(given.type):
        given = given.cast(pa.string()).cast(pa.large_binary())
    if is_text(given.type):
        number = pc.fill_null(pc.match_substring_regex(given, WRITTEN), fill_value=False)
        numbers = pc.if_else(number, given, pa.scalar(None, given.type))
        return compare(given, numbers.cast(pa.large_string()).cast(pa.float64()))
    numeric = (types.is_integer, types.is_floating, types.is_null)
    if not any(test(given.type) for test in numeric):
        return compare(given, pa.nulls(len(given), pa.float64()))
    return compare(given, given.cast(pa.float64(), safe=False))
