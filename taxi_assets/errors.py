"""Errors that explain themselves, the command that mends one, and what no message may show."""

import errno
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from urllib.parse import unquote


class MonthError(Exception):
    """A month cannot be processed. The message says why and what to do, and needs no traceback.

    Attributes:
        remake: names of the month's assets that have to be made again before this one.
    """

    remake: tuple[str, ...] = ()


class NotStoredError(MonthError):
    """A month of an asset is needed, and is not stored."""


class UnusableValueError(MonthError):
    """A month of an asset is stored, and cannot be read."""


class ServiceError(MonthError):
    """Something that every month needs does not do its part: other months need not be tried."""


class OutageError(ServiceError):
    """Something that every month needs does not answer, and may do so again in a moment."""


class StorageError(ServiceError):
    """The place where files are kept does not take one: it is full, read-only, or gone."""


class UnreachableStorageError(StorageError, OutageError):
    """The place where files are kept is on other machines, which do not answer."""


@contextmanager
def writing_to(place: str) -> Iterator[None]:
    """Turn what the operating system says against writing to a place into a sentence.

    Raises:
        StorageError: instead of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"Nothing can be stored in {place} ({error.strerror or error}). What was there before "
            "stays. Make room or give access, or set TAXI_STORAGE to another place, then run the "
            "month again."
        ) from None


def first_line(error: Exception) -> str:
    """The beginning of what a library says, or the error's name where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def is_memory_error(error: Exception) -> bool:
    """Whether the error says, in one of several ways, that there is no more memory."""
    return (
        isinstance(error, MemoryError)
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
        # The dynamic linker, when it finds no room for a library.
        or (isinstance(error, ImportError) and "failed to map segment" in str(error))
        # Python, when it finds none for a thread's stack.
        or (isinstance(error, RuntimeError) and "can't start new thread" in str(error))
    )


def explain(error: Exception) -> str | None:
    """What to tell a person about an error; None if only its traceback helps."""
    if isinstance(error, MonthError):
        return str(error)
    if is_memory_error(error):
        return (
            "The memory is used up. Run fewer months at once, or give the process more: TLC's "
            "largest month takes 1.3 GB."
        )
    return None


def command(assets: Iterable[str], first: str, last: str | None = None) -> str:
    """The command that materializes assets of a month, or of all months from one to another.

    Args:
        assets: their keys, as ``green/model``.
        first: the month's partition key, ``2023-03-01``.
        last: likewise.
    """
    chosen = f"--partition {first}"
    if last not in (None, first):
        chosen = f"--partition-range {first}...{last}"
    select = ",".join(assets)
    return f"dagster asset materialize -m taxi_assets.definitions --select '{select}' {chosen}"


# What must not be read by whoever reads logs: passwords and tokens, in URLs and beside names.

_END = r"(?=[\"'>)\]}]*[.,;:!]?(?:\s|$))"
"""Where a word ends, without the quotes, brackets and stops around it."""

_CLAUSE_END = (
    r"(?=[\"'>)\]}]*(?:[.,;:!]?(?:\n|$)|[.,;:!]\s)|[\"'>)\]}]+\s|\s+(?:[\"'<(\[{]|[\w-]+\s?=))"
)
"""Where a value ends that may have blanks in it: there, or before the next ``name=``."""

_NAMES = (
    r"[\w-]{0,40}(?:password|passwd|pwd|secret|token|signature|credential|"
    r"(?:api|access|account)_?key)[\w-]{0,40}|sig"
)

_SECRETS: tuple[tuple[re.Pattern[str], str], ...] = (
    # user:password@ after a scheme; passwords hold all kinds of characters, also blanks.
    (
        re.compile(
            r"(?<!\S)((?>\S*?://))(?:[^\s/@:]{0,200}:(?:(?!://)[^\n]){0,200}@)?(?:\S*@)?(?<=@)"
        ),
        r"\1***@",
    ),
    # The @ may have been in a query, the rest of which follows.
    (re.compile(rf"(://\*\*\*@[^\s?&;]*[&;])\S+?{_END}"), r"\1***"),
    # user:password@ without a scheme; an image's digest is no password.
    (re.compile(r"(?<!\S)(?!\S*://)(?!sha\d+:)[^\s:]+:\S+(?=@)"), "***"),
    # ?signature=…&expires=…, but neither <?xml …?> nor the end of a question.
    (re.compile(rf"(?<=[^\s<\"'?]\?)(?![\s>)\"'.,;:!])\S+?{_END}"), "***"),
    # Authorization: Bearer …
    (re.compile(rf"(?i)(\bauthorization[\"']?\s?[:=]\s?[\"']?)(?:[\w-]+ +)?\S+?{_END}"), r"\1***"),
    (re.compile(rf"\b(Bearer +)\S+?{_END}"), r"\1***"),
    # password=…, "token": "…", and whatever such names begin or end with.
    (
        re.compile(
            rf"(?i)\b((?:{_NAMES})(?:\s?=\s?|[\"']\s?:\s?))"
            rf"(?:\"[^\"]*\"|'[^']*'|[^\n]+?{_CLAUSE_END})"
        ),
        r"\1***",
    ),
)

_WORD = re.compile(r"[^\s\"'<>()\[\]{}]+")


def mask(text: str) -> str:
    """The text with ``***`` for user names, passwords, tokens and the query strings of URLs in it.

    In doubt more is masked than need be.
    """
    return _mask_plain(_WORD.sub(_mask_escaped, text))


def _mask_escaped(word: re.Match[str]) -> str:
    """A word, masked if it has a secret once its percent signs are resolved."""
    if "%" not in word[0]:
        return word[0]
    resolved = re.sub(r"[\s\"'<>()\[\]{}]", "_", unquote(unquote(word[0])))
    masked = _mask_plain(resolved)
    return word[0] if masked == resolved else masked


def _mask_plain(text: str) -> str:
    for secret, stars in _SECRETS:
        text = secret.sub(stars, text)
    return text
