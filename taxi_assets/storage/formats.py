"""The file formats of stored assets. Reading any of them executes no code."""

import hashlib
import io
import json
import shutil
import warnings
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from taxi_assets.tlc.parquet import BATCH_ROWS, open_parquet

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow.parquet as pq


MAX_BYTES = 128 << 20
"""Bytes in a file that is not Parquet, also once it is decompressed.

The trees of TLC's largest month take some 10 MB.
"""

CHECKSUM, EDITED = "checksum", "edited"
"""The name in stored JSON of what shows that nothing is damaged, and what people write there."""


_DIGEST = b"taxi_assets.digest"


class UnreadableFileError(ValueError):
    """A stored file is damaged, hostile, or of something else; the message says which."""


class Format(ABC):
    """How one kind of value is kept in a file."""

    @abstractmethod
    def dump(self, value: Any, path: Path) -> None:
        """Write the value to a local file that does not exist yet."""

    @abstractmethod
    def load(self, file: BinaryIO) -> Any:
        """Read the value from an open file, which is the value's from now on.

        Raises:
            Exception: the file is damaged, hostile, or of something else. The libraries that read
                files raise errors of many kinds.
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


class ParquetFrame(Format):
    """A pandas DataFrame without its index; categories stay categories."""

    def __init__(self, columns: Mapping[str, str]) -> None:
        """Keep frames of these columns, given with their pandas types."""
        self._columns = columns

    def dump(self, value: "pd.DataFrame", path: Path) -> None:
        """Write the frame, compressed with zstd, and its digest."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.Table.from_pandas(value, preserve_index=False)
        # Of a column that may have nulls, Arrow writes for each value whether it is one.
        fields = [field.with_nullable(table[field.name].null_count > 0) for field in table.schema]
        schema = pa.schema(fields, table.schema.metadata | {_DIGEST: _digest(value)})
        marked = pa.Table.from_arrays(table.columns, schema=schema)
        pq.write_table(marked, path, compression="zstd", write_statistics=False)

    def load(self, file: BinaryIO) -> "pd.DataFrame":
        """Read the whole frame."""
        import pandas as pd
        import pyarrow as pa

        # Categories stay categories, however long.
        with file, open_parquet(file, check_text=False) as opened:
            # A column at a time, as Arrow's copy of the largest month is longer than pandas'.
            schema = opened.schema_arrow
            columns = {}
            for name in schema.names:
                columns[name] = _read_column(opened, name)
                # Arrow keeps what it no longer needs for later.
                pa.default_memory_pool().release_unused()
        types = {name: str(values.dtype) for name, values in columns.items()}
        if types != self._columns:
            raise UnreadableFileError(f"it has the columns of something else: {types}")
        digest = (schema.metadata or {}).get(_DIGEST)
        # Earlier versions kept a checksum of each page instead, which Arrow compares.
        if digest not in (None, _digest(columns)):
            raise UnreadableFileError("its values are not those that were stored")
        return pd.DataFrame(columns, copy=False)


def _read_column(opened: "pq.ParquetFile", name: str) -> "pd.Series[Any]":
    """A column; one of real numbers a part at a time, of which Arrow would hold a copy or two."""
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    kind = opened.schema_arrow.field(name).type
    if not pa.types.is_floating(kind):
        return opened.read([name]).to_pandas()[name]
    values, end = np.empty(opened.metadata.num_rows, kind.to_pandas_dtype()), 0
    for batch in opened.iter_batches(BATCH_ROWS, columns=[name]):
        start, end = end, end + len(batch)
        values[start:end] = batch.column(0).to_numpy(zero_copy_only=False)
    return pd.Series(values[:end], name=name)


def _digest(columns: "Mapping[str, pd.Series[Any]]") -> bytes:
    """The sha256 of the columns' names and values. Parquet has no checksum of its page headers."""
    import numpy as np

    digest = hashlib.sha256()
    for name, values in columns.items():
        digest.update(name.encode())
        numbers = values
        if values.dtype == "category":
            # Of no rows, Parquet keeps no categories.
            digest.update(str(list(values.cat.categories[: len(values)])).encode())
            numbers = values.cat.codes
        digest.update(np.ascontiguousarray(numbers).data)
    return digest.hexdigest().encode()


class Json(Format):
    """Numbers and text by name, for people and programs alike; the last is a checksum of the rest.

    Who edits a file by hand writes ``"checksum": "edited"``.
    """

    def dump(self, value: dict[str, Any], path: Path) -> None:
        """Write the value, indented."""
        marked = value | {CHECKSUM: _checksum(value)}
        path.write_text(json.dumps(marked, indent=2, allow_nan=False) + "\n", encoding="utf-8")

    def load(self, file: BinaryIO) -> dict[str, Any]:
        """Read the value, without its checksum.

        Raises:
            ValueError: the file is damaged, hostile, or of something else.
        """
        value = json.loads(_content(file))
        if not isinstance(value, dict):
            raise UnreadableFileError("it has no values by name")
        checksum = value.pop(CHECKSUM, None)
        if checksum is None:
            raise UnreadableFileError("it has no checksum, as an earlier version wrote it")
        if checksum not in (EDITED, _checksum(value)):
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

        # NumPy's own would take four times as long for a twentieth less.
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for name, array in value.items():
                with archive.open(f"{name}.npy", "w") as file:
                    np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)

    def load(self, file: BinaryIO) -> "dict[str, np.ndarray[Any, Any]]":
        """Read the arrays."""
        import numpy as np

        return {
            name.removesuffix(".npy"): np.lib.format.read_array(io.BytesIO(content))
            for name, content in _members(_content(file)).items()
        }


class Skops(Format):
    """Fitted scikit-learn estimators, alone or in plain dicts, as skops keeps them.

    skops writes an estimator as JSON and arrays in a zip file. It makes nothing of a file that has
    types which it does not know to be harmless.
    """

    def __init__(self, contents: str | Mapping[str, str]) -> None:
        """Keep values of this type, or dicts with values of these types; by the types' names."""
        self._contents = contents

    def dump(self, value: Any, path: Path) -> None:
        """Write the estimator."""
        import skops.io

        skops.io.dump(value, path)

    def load(self, file: BinaryIO) -> Any:
        """Read the estimator, if the present version of scikit-learn has written it."""
        import skops.io
        from sklearn.exceptions import InconsistentVersionWarning

        content = _content(file)
        _members(content)
        with warnings.catch_warnings():
            warnings.simplefilter("error", InconsistentVersionWarning)
            value = skops.io.loads(content)
        types: object = type(value).__name__
        if isinstance(value, dict):
            types = {name: type(part).__name__ for name, part in value.items()}
        if types != self._contents:
            raise UnreadableFileError(f"it has something else in it: {types}")
        return value


def _content(file: BinaryIO) -> bytes:
    """All that is in a file, which is closed.

    Raises:
        UnreadableFileError: there are more bytes than ``MAX_BYTES``.
    """
    with file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise UnreadableFileError(f"it has more than {MAX_BYTES:,} bytes")
    return content


def _members(content: bytes) -> dict[str, bytes]:
    """What is in a zip file, by name. Each member is read to its end, which shows any damage.

    Raises:
        UnreadableFileError: the members claim more bytes than ``MAX_BYTES``.
        zipfile.BadZipFile: it is no zip file, or damaged.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        if sum(member.file_size for member in members) > MAX_BYTES:
            raise UnreadableFileError(f"it claims more than {MAX_BYTES:,} bytes")
        # What looks like one hides the members that follow.
        if any(member.comment or member.extra for member in members):
            raise zipfile.BadZipFile("A member has a comment")
        return {name: archive.read(name) for name in archive.namelist()}
