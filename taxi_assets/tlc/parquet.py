"""Opening Parquet files that others wrote, and that may lie about what is in them."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from taxi_assets.errors import first_line
from taxi_assets.tlc.fleets import FLEETS

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

MAX_TRIPS = 50_000_000
"""Rows in a file; three times TLC's largest month, yellow 2012-03 with 16,146,923 trips."""

MAX_BYTES = 16 << 30
"""Bytes in a file once they are decompressed; several times those of TLC's largest month."""

MAX_TEXT = 64
"""Bytes of a value that is a time or a number; a dictionary repeats a longer one at no cost."""

READ_COLUMNS = {
    name for fleet in FLEETS.values() for name in (*fleet.needed_columns, fleet.distance)
}
"""Columns that are decoded, of any fleet's files."""

LARGE_MONTH = 8_000_000
"""Rows from which a process spares memory at the cost of time; most months have fewer."""

BATCH_ROWS = 1 << 18
"""Rows decoded at a time: enough to be fast, few enough to be small beside the interpreter."""


class ParquetError(ValueError):
    """The file is not Parquet, is damaged, or claims more than any month can have."""


class NoParquetError(ParquetError):
    """The file has no footer that can be read: it is cut off, or something else altogether."""


def open_parquet(file: Path | BinaryIO, *, check_text: bool = True) -> "pq.ParquetFile":
    """Open a Parquet file after a look at its footer.

    Args:
        file: the file.
        check_text: whether to look at text in the columns of trips, too.

    Raises:
        NoParquetError: the footer cannot be read.
        ParquetError: the footer contradicts itself, or the file exceeds the limits.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        opened = pq.ParquetFile(file, page_checksum_verification=True)
        footer = opened.metadata
        groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
        rows, size = footer.num_rows, sum(group.total_byte_size for group in groups)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise NoParquetError(f"not a complete Parquet file: {first_line(error)}") from None
    if rows != sum(group.num_rows for group in groups) or any(g.num_rows < 0 for g in groups):
        raise ParquetError("damaged: its footer contradicts itself about the number of rows")
    if rows > MAX_TRIPS:
        raise ParquetError(f"refused: it claims {rows:,} rows, more than {MAX_TRIPS:,}")
    if size > MAX_BYTES:
        raise ParquetError(f"refused: it claims {size:,} bytes of data, more than {MAX_BYTES:,}")
    if check_text:
        _check_text(file, footer)
    if rows > LARGE_MONTH:
        _spare_memory()
    return opened


@cache
def _spare_memory() -> None:
    """Have Arrow give back at once what it frees, from now on.

    By default it keeps some of it for later; a month of 20 million trips takes 150 MB more.
    """
    import pyarrow as pa

    # Not every build of Arrow has this allocator.
    with suppress(NotImplementedError):
        pa.jemalloc_set_decay_ms(0)
        pa.set_memory_pool(pa.jemalloc_memory_pool())


def _check_text(file: Path | BinaryIO, footer: "pq.FileMetaData") -> None:
    """Make sure that text of trips takes as much room in the file as it says, before it is decoded.

    A dictionary says a long value once, and DELTA_BYTE_ARRAY says what a value has in common with
    the one before: a few bytes can become gigabytes.

    Raises:
        ParquetError: names the column.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    text = []
    for number in range(len(footer.schema)):
        column = footer.schema.column(number)
        name, *nested = column.path.split(".")
        if name not in READ_COLUMNS:
            continue
        if nested or column.length > MAX_TEXT:
            raise ParquetError(f"refused: column {name} has lists, or values over {MAX_TEXT} bytes")
        if column.physical_type == "BYTE_ARRAY":
            text.append(name)
    for name, group in product(text, range(footer.num_row_groups)):
        try:
            # Of a dictionary, the first row shows all values.
            encoded = pq.ParquetFile(
                file, metadata=footer, read_dictionary=[name], page_checksum_verification=True
            )
            rows = next(encoded.iter_batches(1, row_groups=[group], columns=[name]), None)
        except (pa.ArrowException, OSError) as error:
            if "DeltaLengthByteArray" in str(error):
                continue  # Each value takes its own room, and Arrow has no dictionary of them.
            raise ParquetError(
                f"column {name} is damaged, or encoded as DELTA_BYTE_ARRAY: {first_line(error)}"
            ) from None
        longest = rows and pc.max(pc.binary_length(rows[0].dictionary)).as_py()
        if (longest or 0) > MAX_TEXT:
            raise ParquetError(
                f"refused: column {name} has a text of {longest:,} bytes, more than {MAX_TEXT}"
            )


def decoded_batches(
    month_file: "pq.ParquetFile", columns: Sequence[str]
) -> "Iterator[pa.RecordBatch]":
    """The rows of an open file, a batch at a time; the next is decoded meanwhile.

    Raises:
        ParquetError: the data is damaged.
    """
    import pyarrow as pa

    try:
        batches = month_file.iter_batches(BATCH_ROWS, columns=list(columns))
        with ThreadPoolExecutor(1, "decode") as decoder:
            coming = decoder.submit(next, batches, None)
            while (batch := coming.result()) is not None:
                coming = decoder.submit(next, batches, None)
                yield batch
    except MemoryError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise ParquetError(f"damaged: {first_line(error)}") from None
    finally:
        # Arrow keeps what it no longer needs for later; after a month, as much as the month.
        pa.default_memory_pool().release_unused()
