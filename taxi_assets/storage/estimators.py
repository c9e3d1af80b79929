"""Fitted scikit-learn estimators in files, without pickles.

skops writes an estimator as JSON and plain arrays in a zip file. Before it reads one, the types
that the file names are compared with a list: those that the estimators kept here consist of.
"""

import importlib
import json
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO
from unittest import mock

from taxi_assets.storage.formats import (
    LAYOUT,
    Format,
    UnreadableFileError,
    check_layout,
    read_archive,
    read_bytes,
)

TRUSTED_TYPES = frozenset(
    {
        "builtins.dict",
        "builtins.list",
        "builtins.str",
        "numpy.float64",
        # The model's rank; an int by older SciPys.
        "numpy.int64",
        "numpy.ndarray",
        "sklearn.feature_extraction._dict_vectorizer.DictVectorizer",
        "sklearn.linear_model._base.LinearRegression",
    }
)
TRUSTED_LOADERS = frozenset(
    {"DictNode", "JsonNode", "ListNode", "NdArrayNode", "ObjectNode", "TypeNode"}
)

MAX_BYTES = 64 << 20
"""Bytes in a file once it is decompressed; a model of all zones takes 0.1 MB."""

_SCHEMA, _LAYOUT = "schema.json", "taxi_assets.layout"


class Skops(Format):
    """Fitted scikit-learn estimators, alone or in plain dicts, as skops keeps them."""

    extension = ".skops"

    def __init__(self, contents: str | Mapping[str, str]) -> None:
        """Keep values of this type, or dicts with values of these types; by the types' names."""
        self._contents = contents

    def dump(self, value: Any, path: Path) -> None:
        """Write the estimator."""
        _skops().dump(value, path)
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(_LAYOUT, LAYOUT)

    def load(self, file: BinaryIO) -> Any:
        """Read the estimator, if it consists of trusted types and fits scikit-learn's version."""
        from sklearn.exceptions import InconsistentVersionWarning

        content = read_bytes(file, MAX_BYTES)
        _check(content)
        with warnings.catch_warnings():
            warnings.simplefilter("error", InconsistentVersionWarning)
            try:
                value = _skops().loads(content, trusted=sorted(TRUSTED_TYPES))
            except InconsistentVersionWarning as warning:
                raise UnreadableFileError(
                    f"it was written by scikit-learn {warning.original_sklearn_version}, and this "
                    f"is {warning.current_sklearn_version}"
                ) from None
        found: object = type(value).__name__
        if isinstance(value, dict):
            found = {name: type(part).__name__ for name, part in value.items()}
        if found != self._contents:
            raise UnreadableFileError(f"it has something else in it: {found}")
        return value


def _check(content: bytes) -> None:
    """Look at what a file is made of, without making it.

    Raises:
        UnreadableFileError: it is no skops file, too big, or has untrusted types.
    """
    try:
        members = read_archive(content, MAX_BYTES)
        schema = json.loads(members[_SCHEMA])
    except (zipfile.BadZipFile, KeyError) as error:
        raise UnreadableFileError(f"it is not a skops file ({error})") from None
    untrusted = sorted(
        {
            f"{node.get('__module__')}.{node.get('__class__')}, by {node.get('__loader__')}"
            for node in _nodes(schema)
            if f"{node.get('__module__')}.{node.get('__class__')}" not in TRUSTED_TYPES
            or node.get("__loader__") not in TRUSTED_LOADERS
        }
    )
    if untrusted:
        raise UnreadableFileError(f"it has types that are not trusted ({'; '.join(untrusted)})")
    check_layout(members.get(_LAYOUT))


def _nodes(part: Any) -> Iterator[dict[str, Any]]:
    """Every part of a skops schema that stands for a value."""
    if isinstance(part, dict):
        if "__loader__" in part or "__class__" in part or "__module__" in part:
            yield part
        part = list(part.values())
    if isinstance(part, list):
        for child in part:
            yield from _nodes(child)


def _skops() -> ModuleType:
    """skops.io, looking at no more of scikit-learn and SciPy than is kept here.

    To list the types that it trusts, skops imports every module of scikit-learn, and looks for
    each function of ``scipy.special`` in all modules there are, which takes longer than all the
    work of a month. For the length of the import it finds our two estimators, and no functions;
    so nothing else is trusted either.
    """
    import scipy.special
    import sklearn.utils
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.linear_model import LinearRegression

    stored = [(kind.__name__, kind) for kind in (DictVectorizer, LinearRegression)]
    with (
        mock.patch.object(sklearn.utils, "all_estimators", return_value=stored),
        mock.patch.object(scipy, "special", _Unlisted(scipy.special)),
    ):
        return importlib.import_module("skops.io")


class _Unlisted(ModuleType):
    """A module that has all that another has, but does not list it."""

    def __init__(self, module: ModuleType) -> None:
        super().__init__(module.__name__)
        self._module = module

    def __dir__(self) -> list[str]:
        return []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)
