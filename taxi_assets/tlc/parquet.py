"""Opening Parquet files that others wrote, and that may lie about what is in them."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from taxi_assets.errors import first_line

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

MAX_TRIPS = 50_000_000
"""Rows in a file; three times TLC's largest month, yellow 2012-03 with 16,146,923 trips."""

MAX_BYTES = 16 << 30
"""Bytes in a file once they are decompressed; several times those of TLC's largest month."""

BATCH_ROWS = 1 << 18
"""Rows decoded at a time: enough to be fast, few enough to be small beside the interpreter."""


class ParquetError(ValueError):
    """The file is not Parquet, is damaged, or claims more than any month can have."""


class NoParquetError(ParquetError):
    """The file has no footer that can be read: it is cut off, or something else altogether."""


def open_parquet(file: Path | BinaryIO) -> "pq.ParquetFile":
    """Open a Parquet file after a look at its footer; nothing else of it has been read.

    Raises:
        NoParquetError: the footer cannot be read.
        ParquetError: the footer contradicts itself or exceeds the limits.
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
    return opened


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
