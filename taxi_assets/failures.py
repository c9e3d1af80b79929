"""Errors that explain themselves, as Dagster failures: a sentence on its pages, no traceback."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from taxi_assets.errors import explain
from taxi_assets.masking import mask


class ExplainedFailure(dg.Failure):
    """A failure that knows the error that it explains.

    Attributes:
        error: the error.
    """

    def __init__(self, error: Exception, explanation: str) -> None:
        super().__init__(mask(explanation), allow_retries=False)
        self.error = error


@contextmanager
def explained_failures(what: str = "") -> Iterator[None]:
    """Turn what a person can act on into a failure; its sentence begins with ``what``.

    Raises:
        ExplainedFailure: instead.
    """
    try:
        yield
    except Exception as error:
        reason = explain(error)
        if reason is None:
            raise
        raise ExplainedFailure(error, f"{what}{reason}") from None


def explained_error(error: Exception) -> Exception:
    """What a failure explains; any other error is itself."""
    return error.error if isinstance(error, ExplainedFailure) else error
