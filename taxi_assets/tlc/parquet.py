"""Opening Parquet files that others wrote, and that may lie about what is in them."""

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    import pyarrow.parquet as pq

MAX_TRIPS = 50_000_000
"""Rows in a file; three times TLC's largest month, yellow 2012-03 with 16,146,923 trips."""

MAX_BYTES = 16 << 30
"""Bytes in a file once they are decompressed; several times those of TLC's largest month."""


class ParquetError(ValueError):
    """The file is not Parquet, is damaged, or claims more than any month can have."""


def open_parquet(file: Path | BinaryIO) -> "pq.ParquetFile":
    """Open a Parquet file after a look at its footer; nothing else of it has been read.

    Raises:
        ParquetError: the footer cannot be read, contradicts itself or exceeds the limits.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        opened = pq.ParquetFile(file, page_checksum_verification=True)
        footer = opened.metadata
        groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
        rows, size = footer.num_rows, sum(group.total_byte_size for group in groups)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ParquetError(f"not a complete Parquet file: {_first_line(error)}") from None
    if rows != sum(group.num_rows for group in groups) or any(g.num_rows < 0 for g in groups):
        raise ParquetError("damaged: its footer contradicts itself about the number of rows")
    if rows > MAX_TRIPS:
        raise ParquetError(f"refused: it claims {rows:,} rows, more than {MAX_TRIPS:,}")
    if size > MAX_BYTES:
        raise ParquetError(f"refused: it claims {size:,} bytes of data, more than {MAX_BYTES:,}")
    return opened


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
