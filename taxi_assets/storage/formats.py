"""The file formats of stored assets. Reading any of them executes no code."""

import hashlib
import io
import json
import math
import shutil
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from taxi_assets.tlc.parquet import open_parquet

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq


LAYOUT = "1"
"""Kept in every stored frame and estimator; changes when older ones can no longer be used."""

MAX_JSON_BYTES = 1 << 20

MAX_ARRAY_BYTES = 128 << 20
"""Bytes of a file of arrays; TLC's largest month takes some 10 MB."""

CHECKSUM, EDITED = "checksum", "edited"
"""The name in stored JSON of what shows that nothing is damaged, and what people write there."""

_LAYOUT_NAME = "taxi_assets.layout"


class UnreadableFileError(ValueError):
    """A stored file is damaged, hostile, or of another version; the message says which."""


def check_layout(found: bytes | None) -> None:
    """Make sure that a file was written by a version of this project that agrees on its layout.

    Raises:
        UnreadableFileError: it was not.
    """
    if found != LAYOUT.encode():
        raise UnreadableFileError("it was written by another version of taxi_assets")


class Format(ABC):
    """How one kind of value is kept in a file."""

    @abstractmethod
    def dump(self, value: Any, path: Path) -> None:
        """Write the value to a local file that does not exist yet."""

    @abstractmethod
    def load(self, file: BinaryIO) -> Any:
        """Read the value from an open file, which is the value's from now on.

        Raises:
            ValueError: the file is damaged, hostile, or of another version.
        """


class MonthFile(Format):
    """A TLC month file, kept byte for byte.

    Dumped from the path of a complete local file, which is moved; loaded as an open
    ``ParquetFile``, of which nothing but the footer has been read.
    """

    def dump(self, value: Path, path: Path) -> None:
        """Move the file."""
        shutil.move(value, path)

    def load(self, file: BinaryIO) -> "pq.ParquetFile":
        """Open the file."""
        return open_parquet(file)


_LAYOUT_KEY = b"taxi_assets.layout"


def _pandas_type(kind: "pa.DataType") -> str:
    """Of the types that are kept here, the name of pandas; of others, Arrow's."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind) and pa.types.is_string(kind.value_type):
        return "category"
    return {"double": "float64", "float": "float32"}.get(str(kind), str(kind))


class ParquetFrame(Format):
    """A pandas DataFrame without its index; categories stay categories."""

    def __init__(self, columns: Mapping[str, str]) -> None:
        """Keep frames of these columns, given with their pandas types."""
        self._columns = columns

    def dump(self, value: "pd.DataFrame", path: Path) -> None:
        """Write the frame, compressed with zstd, with a checksum for every page."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.Table.from_pandas(value, preserve_index=False)
        # Of a column that may have nulls, Arrow writes for each value whether it is one.
        fields = [field.with_nullable(table[field.name].null_count > 0) for field in table.schema]
        schema = pa.schema(fields, table.schema.metadata | {_LAYOUT_KEY: LAYOUT})
        marked = pa.Table.from_arrays(table.columns, schema=schema)
        pq.write_table(
            marked, path, compression="zstd", write_statistics=False, write_page_checksum=True
        )

    def load(self, file: BinaryIO) -> "pd.DataFrame":
        """Read the whole frame."""
        import pandas as pd
        import pyarrow as pa

        # Categories stay categories, however long.
        with file, open_parquet(file, check_text=False) as opened:
            check_layout((opened.schema_arrow.metadata or {}).get(_LAYOUT_KEY))
            found = {field.name: _pandas_type(field.type) for field in opened.schema_arrow}
            if found != self._columns:
                raise UnreadableFileError(f"it has the columns of something else: {found}")
            # A column at a time, as Arrow's copy of the largest month is longer than pandas'.
            columns = {name: opened.read([name]).to_pandas()[name] for name in found}
        # Arrow keeps what it no longer needs for later; of a long frame, as much as the frame.
        pa.default_memory_pool().release_unused()
        return pd.DataFrame(columns, copy=False)


class Json(Format):
    """Numbers and text by name, for people and programs alike; the last is a checksum of the rest.

    Who edits a file by hand writes ``"checksum": "edited"``.
    """

    def dump(self, value: dict[str, Any], path: Path) -> None:
        """Write the value, indented."""
        marked = value | {CHECKSUM: _checksum(value)}
        path.write_text(json.dumps(marked, indent=2, allow_nan=False) + "\n", encoding="utf-8")

    def load(self, file: BinaryIO) -> dict[str, Any]:
        """Read the value, without its checksum."""
        try:
            value = json.loads(read_bytes(file, MAX_JSON_BYTES))
        except RecursionError:
            raise UnreadableFileError("its values are nested too deeply") from None
        if not isinstance(value, dict):
            raise UnreadableFileError("it has no metrics by name")
        found = value.pop(CHECKSUM, None)
        if found is None:
            raise UnreadableFileError("it has no checksum, as an earlier version wrote it")
        if found not in (EDITED, _checksum(value)):
            raise UnreadableFileError(
                "its checksum is of other values, as it is damaged, or was edited without "
                f'"{CHECKSUM}": "{EDITED}"'
            )
        return value


def _checksum(value: dict[str, Any]) -> str:
    """The sha256 of a value in JSON, whatever the order of its names."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


class Arrays(Format):
    """NumPy arrays by name, in a zip file; of numbers and text, never of objects."""

    def dump(self, value: Mapping[str, Any], path: Path) -> None:
        """Write the arrays."""
        import numpy as np

        arrays = {**value, _LAYOUT_NAME: LAYOUT}
        # NumPy's own would take four times as long for a twentieth less.
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w") as file:
                    np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)

    def load(self, file: BinaryIO) -> "dict[str, np.ndarray[Any, Any]]":
        """Read the arrays, which are as long as they claim to be."""
        import numpy as np

        members = read_archive(read_bytes(file, MAX_ARRAY_BYTES), MAX_ARRAY_BYTES)
        value = {
            name.removesuffix(".npy"): np.lib.format.read_array(io.BytesIO(content))
            for name, content in members.items()
        }
        check_layout(str(value.pop(_LAYOUT_NAME, "")).encode())
        return value


def read_bytes(file: BinaryIO, most: int) -> bytes:
    """All that is in a file, which is closed.

    Raises:
        UnreadableFileError: there are more bytes than ``most``.
    """
    with file:
        content = file.read(most + 1)
    if len(content) > most:
        raise UnreadableFileError(f"it has more than {most:,} bytes")
    return content


def read_archive(content: bytes, most: int) -> dict[str, bytes]:
    """What is in a zip file, by name; NumPy's arrays in it are as long as they claim to be.

    Raises:
        UnreadableFileError: it claims more bytes than ``most``, or an array is not.
        zipfile.BadZipFile: it is no zip file, or damaged.
    """
    import numpy as np

    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if sum(member.file_size for member in archive.infolist()) > most:
            raise UnreadableFileError(f"it claims more than {most:,} bytes")
        members = {name: archive.read(name) for name in archive.namelist()}
    for name, member in members.items():
        if name.endswith(".npy"):
            file = io.BytesIO(member)
            np.lib.format.read_magic(file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            claimed = math.prod(shape) * dtype.itemsize
            if dtype.hasobject or claimed != len(member) - file.tell():
                raise UnreadableFileError(f"an array in it claims {claimed:,} bytes, or objects")
    return members
