"""What goes wrong in ways that a person can act on."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager


class MonthError(Exception):
    """A month cannot be processed. The message says why and what to do, and needs no traceback.

    Attributes:
        remake: names of the month's assets that have to be made again before this one.
        may_pass: whether it may be otherwise in a while, with nothing done about it.
    """

    remake: tuple[str, ...] = ()
    may_pass: bool = False


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
            "largest month takes 1.5 GB."
        )
    return None
