"""Errors that explain themselves, as Dagster failures: a sentence on its pages, no traceback."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from taxi_assets.errors import explain
from taxi_assets.masking import mask
from taxi_assets.tlc.months import Month


@contextmanager
def explained_failures(asset: str, month: Month) -> Iterator[None]:
    """Turn what a person can act on into a failure that names asset and month.

    Raises:
        dagster.Failure: instead.
    """
    try:
        yield
    except Exception as error:
        reason = explain(error)
        if reason is None:
            raise
        raise dg.Failure(mask(f"{asset} {month}: {reason}"), allow_retries=False) from None
