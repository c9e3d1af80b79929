"""Month files on their way into the storage."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import dagster as dg

from taxi_assets.storage.files import Storage
from taxi_assets.storage.layout import stored_file
from taxi_assets.storage.origins import stored_origin
from taxi_assets.tlc.fetch import FetchedMonth, TripSources, fetch_month, refused_if_damaged
from taxi_assets.tlc.fleets import Fleet
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.parquet import open_parquet
from taxi_assets.tlc.prefetch import Prefetch
from taxi_assets.tlc.raw_summary import Survey, survey_trips
from taxi_assets.tlc.source import Report


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
) -> Iterator[Prefetch[Incoming]]:
    """Fetch and survey months, each when the one before is taken.

    A fetch that fails does so when its month is taken.
    """
    source = trip_source.of(fleet)

    def path_for(_month: Month) -> Path:
        return storage.temporary_file(f"{fleet.name}/raw_trips")

    def fetch(month: Month, path: Path, report: Report) -> Incoming:
        file = stored_file(fleet.name, "raw_trips", month)
        fetched = fetch_month(source, fleet, month, path, report, stored_origin(storage, file))
        with (
            refused_if_damaged(fetched.origin.location, fetched.path),
            open_parquet(fetched.path or storage.open(file)) as opened,
        ):
            return Incoming(fetched, survey_trips(opened, fleet, month))

    with closing(Prefetch(months, fetch, path_for)) as ahead:
        yield ahead
