"""TLC's names of the taxi zones, from the lookup file that it publishes beside the trips."""

import csv
import io
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import BinaryIO, NamedTuple

import dagster as dg

from taxi_assets.errors import MonthError, first_line
from taxi_assets.storage.files import Storage
from taxi_assets.storage.layout import ZONE_LOOKUP
from taxi_assets.tlc.fleets import Fleet
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.source import TripSource
from taxi_assets.tlc.sources import TripSources

MAX_BYTES = 1 << 20
"""TLC's own file has 12 kB."""


class Zone(NamedTuple):
    """A taxi zone, as TLC names it."""

    borough: str
    name: str


class Zones(dict[str, Zone]):
    """Borough and name of each zone, by its id as a string: ``132``."""

    def name(self, zone_id: str) -> str:
        """A zone's name, or its id where the names are not known."""
        return self[zone_id].name if zone_id in self else f"zone {zone_id}"

    def borough(self, zone_id: str) -> str:
        """A zone's borough, where it is known."""
        return self[zone_id].borough if zone_id in self else "unknown borough"


class ZoneNames:
    """The zones' names; none where the source has no lookup file, as it is only for people.

    The file is kept in the storage, and asked for once in a run at most.
    """

    def __init__(self, source: TripSource, storage: Storage) -> None:
        self._source = source
        self._storage = storage

    @cached_property
    def zones(self) -> Zones:
        """The zones that have names."""
        try:
            if not self._storage.exists(ZONE_LOOKUP):
                with self._storage.replacing(ZONE_LOOKUP) as temporary:
                    self._source.fetch_lookup(temporary)
                    with temporary.open("rb") as fetched:
                        _parse(fetched)
            with self._storage.open(ZONE_LOOKUP) as file:
                return _parse(file)
        except (MonthError, OSError):
            return Zones()
        except (ValueError, KeyError, csv.Error) as error:
            logging.getLogger(__name__).warning(
                "%s is not TLC's table of zones (%s). Zones are shown by their numbers.",
                ZONE_LOOKUP.rpartition("/")[2],
                first_line(error),
            )
            return Zones()


@contextmanager
def zone_names(
    fleet: Fleet,
    _months: Sequence[Month],
    trip_source: dg.ResourceParam[TripSources],
    storage: dg.ResourceParam[Storage],
) -> Iterator[ZoneNames]:
    """The names for all months of a run."""
    yield ZoneNames(trip_source.of(fleet), storage)


def _parse(file: BinaryIO) -> Zones:
    content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES >> 20} MB")
    rows = csv.DictReader(io.StringIO(content.decode("utf-8-sig")))
    zones = Zones(
        {
            row["LocationID"]: Zone(row["Borough"], row["Zone"])
            for row in rows
            if row["LocationID"].isdecimal() and row["Borough"] and row["Zone"]
        }
    )
    if not zones:
        raise ValueError("the lookup file has no zones")
    return zones
