"""Month files on their way into the storage: whether they fit, and where they are fetched to."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import dagster as dg

from taxi_assets.errors import StorageError
from taxi_assets.storage.files import Storage
from taxi_assets.storage.layout import folder, month_file
from taxi_assets.storage.origins import stored_origin
from taxi_assets.tlc.ahead import FetchAhead
from taxi_assets.tlc.fetch import FetchedMonth, fetch_month
from taxi_assets.tlc.fleets import Fleet
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.parquet import open_parquet
from taxi_assets.tlc.source import Report, SourceError, TripSource, UnreachableSourceError
from taxi_assets.tlc.sources import TripSources
from taxi_assets.tlc.survey import Survey, survey_trips

STORED_BYTES = 1.85
"""What trips, their sums and their predictions take, for each byte of a month's file at the source;
measured, 1.78."""

MODEL_BYTES = 8_000_000
"""What models and pictures of a month take; measured, 3 MB, and 7 MB for the largest month."""

ASKED_MONTHS = 12
"""Months whose size the source is asked for; the others are taken to be like them."""


class Incoming(NamedTuple):
    """A month's file, not stored yet or unchanged, and what is in it."""

    file: FetchedMonth
    survey: Survey


@contextmanager
def fetched_months(
    fleet: Fleet,
    months: Sequence[Month],
    trip_source: dg.ResourceParam[TripSources],
    storage: dg.ResourceParam[Storage],
) -> Iterator[FetchAhead[Incoming]]:
    """Fetch and survey months, each when the one before is taken.

    Raises:
        StorageError: several months will not fit.
        SourceError: the source does not answer at all.
    """
    source = trip_source.of(fleet)
    if len(months) > 1:
        check_space(fleet, months, source, storage)

    def path_for(month: Month) -> Path:
        return storage.temporary_file(folder(month_file(fleet, month)))

    def fetch(month: Month, path: Path, report: Report) -> Incoming:
        file = month_file(fleet, month)
        fetched = fetch_month(source, fleet, month, path, report, stored_origin(storage, file))
        with (
            fetched.refused_if_damaged(),
            open_parquet(fetched.path or storage.open(file)) as opened,
        ):
            return Incoming(fetched, survey_trips(opened, fleet, month))

    with closing(FetchAhead(months, fetch, path_for)) as ahead:
        yield ahead


def check_space(
    fleet: Fleet, months: Sequence[Month], trip_source: TripSource, storage: Storage
) -> None:
    """Make sure that the months that are not stored yet will fit, and a file that is ahead.

    Raises:
        StorageError: they will not.
        SourceError: the source does not answer at all.
    """
    free = storage.free_bytes()
    new = [month for month in months if not storage.exists(month_file(fleet, month))]
    if free is None or not new:
        return
    sizes = [_size(trip_source, fleet, month) for month in new[:: -(-len(new) // ASKED_MONTHS)]]
    known = [size for size in sizes if size]
    needed = (STORED_BYTES * len(new) + 1) * sum(known) / max(1, len(known))
    needed += MODEL_BYTES * len(new)
    if needed > free:
        raise StorageError(
            f"{len(new)} months need about {needed / 1e6:,.0f} MB in {storage.shown}, and "
            f"{free / 1e6:,.0f} MB are free. Make room, choose fewer months, or set TAXI_STORAGE "
            "to another place."
        )


def _size(source: TripSource, fleet: Fleet, month: Month) -> int | None:
    try:
        return source.size(fleet, month)
    except UnreachableSourceError:
        raise
    except SourceError:
        # The month will fail for this reason when it is its turn.
        return None
