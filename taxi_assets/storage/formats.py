"""The file formats of stored assets. Reading any of them executes no code."""

import importlib
import json
import shutil
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

if TYPE_CHECKING:
    from types import ModuleType

    import pandas as pd
    import pyarrow.parquet as pq


class Format(ABC):
    """How one kind of value is kept in a file.

    Attributes:
        extension: of the file's name, with its dot.
    """

    extension: ClassVar[str]

    @abstractmethod
    def dump(self, value: Any, path: Path) -> None:
        """Write the value to a local file that does not exist yet."""

    @abstractmethod
    def load(self, file: BinaryIO) -> Any:
        """Read the value from an open file, which is the value's from now on."""


class MonthFile(Format):
    """A TLC month file, kept byte for byte.

    Dumped from the path of a complete local file, which is moved; loaded as an open
    ``ParquetFile``, of which nothing but the footer has been read.
    """

    extension = ".parquet"

    def dump(self, value: Path, path: Path) -> None:
        """Move the file."""
        shutil.move(value, path)

    def load(self, file: BinaryIO) -> "pq.ParquetFile":
        """Open the file."""
        import pyarrow.parquet as pq

        return pq.ParquetFile(file)


class ParquetFrame(Format):
    """A pandas DataFrame without its index; categories stay categories."""

    extension = ".parquet"

    def dump(self, value: "pd.DataFrame", path: Path) -> None:
        """Write the frame, compressed with zstd."""
        value.to_parquet(
            path, engine="pyarrow", compression="zstd", index=False, write_statistics=False
        )

    def load(self, file: BinaryIO) -> "pd.DataFrame":
        """Read the whole frame."""
        import pandas as pd

        with file:
            return pd.read_parquet(file, engine="pyarrow")


class Skops(Format):
    """Fitted scikit-learn estimators, alone or in plain dicts, as skops keeps them."""

    extension = ".skops"

    def dump(self, value: Any, path: Path) -> None:
        """Write the estimator."""
        _skops().dump(value, path)

    def load(self, file: BinaryIO) -> Any:
        """Read the estimator; any type that skops does not trust is refused."""
        with file:
            return _skops().loads(file.read(), trusted=[])


def _skops() -> "ModuleType":
    """skops.io, importing no more of scikit-learn than the two estimators kept here.

    To list the types that it trusts, skops imports every module of scikit-learn, which takes
    longer than all the work of a month. It asks ``all_estimators`` for them; for the length of
    the import that knows our two only, and so nothing else is trusted either.
    """
    import sklearn.utils
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.linear_model import LinearRegression

    all_estimators = sklearn.utils.all_estimators
    stored = [(kind.__name__, kind) for kind in (DictVectorizer, LinearRegression)]
    sklearn.utils.all_estimators = lambda: stored
    try:
        return importlib.import_module("skops.io")
    finally:
        sklearn.utils.all_estimators = all_estimators


class Json(Format):
    """Numbers and text by name, for people and programs alike."""

    extension = ".json"

    def dump(self, value: dict[str, Any], path: Path) -> None:
        """Write the value, indented."""
        path.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", encoding="utf-8")

    def load(self, file: BinaryIO) -> Any:
        """Read the value."""
        with file:
            return json.load(file)
