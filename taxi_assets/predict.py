"""How long trips take: one, in words, or all of a file.

One:  ``--fleet yellow --from "JFK Airport" --to "Times Sq" --at "Fri 17:00"``
All:  ``trips.csv --fleet yellow --output out.parquet``, of a CSV or Parquet file that has the
columns ``PULocationID``, ``DOLocationID`` and, where the hour is to count, ``pickup_datetime``.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from taxi_assets.durations.answers import band_of, number
from taxi_assets.errors import MonthError
from taxi_assets.reporting.zone_names import ZoneNames
from taxi_assets.serving.batch import predict_file
from taxi_assets.serving.questions import WEEKDAYS, Places, QuestionError, hour_at
from taxi_assets.settings import Settings, SettingsError
from taxi_assets.storage.files import Storage
from taxi_assets.storage.layout import ZONE_LOOKUP
from taxi_assets.tlc.fleets import FLEETS, Fleet
from taxi_assets.tlc.sources import trip_sources
from taxi_assets.tracking.champions import Serving, load_serving
from taxi_assets.tracking.servers import TrackingServer, try_mlflow_briefly


def main(arguments: Sequence[str] | None = None) -> int:
    """Do as the command line says; return the exit code."""
    parser = _parser()
    asked = parser.parse_args(arguments)
    one = asked.start is not None or asked.end is not None
    if one == (asked.trips is not None) or (one and None in (asked.start, asked.end)):
        parser.error("ask for one trip with --from and --to, or name a file of trips")
    if asked.trips is not None and asked.output is None:
        parser.error("name the file for the answers: --output out.parquet")
    if (asked.at if asked.trips else asked.output) is not None:
        parser.error("--at goes with one trip, --output with a file of trips")
    try_mlflow_briefly()
    try:
        settings = Settings.from_environment()
    except SettingsError as error:
        parser.error(error.message)
    fleet = FLEETS[asked.fleet]
    try:
        serving = load_serving(TrackingServer(settings.tracking_uri), fleet.name, asked.model)
        if one:
            places = _places(settings, fleet, [asked.start, asked.end])
            print(one_trip(serving, fleet, places, asked.start, asked.end, asked.at))
        else:
            predict_file(serving, asked.trips, asked.output)
    except (MonthError, QuestionError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m taxi_assets.predict",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("trips", type=Path, nargs="?", help="a CSV or Parquet file of trips")
    parser.add_argument("--fleet", choices=FLEETS, required=True)
    parser.add_argument("--output", type=Path, help="a Parquet or CSV file for the answers")
    parser.add_argument("--from", dest="start", metavar="ZONE", help="a zone's name or number")
    parser.add_argument("--to", dest="end", metavar="ZONE", help="a zone's name or number")
    parser.add_argument("--at", metavar="TIME", help="Fri 17:00, or 2023-04-07T17:00")
    parser.add_argument("--model", type=int, metavar="VERSION", help="instead of the champion")
    return parser


def _places(settings: Settings, fleet: Fleet, asked: Sequence[str]) -> Places:
    """The zones' names, which are only fetched where somebody asks by name."""
    storage = Storage(settings.storage)
    if all(text.strip().isdigit() for text in asked) and not storage.exists(ZONE_LOOKUP):
        return Places({})
    source = trip_sources(settings.trip_source, settings.synthetic_trips).of(fleet)
    zones = ZoneNames(source, storage).zones
    return Places({number_of: zone.name for number_of, zone in zones.items()})


def one_trip(
    serving: Serving, fleet: Fleet, places: Places, start: str, end: str, at: str | None
) -> str:
    """How long one trip takes, in words.

    Raises:
        QuestionError: a zone or the time cannot be meant.
    """
    zones = [places.find(text) for text in (start, end)]
    hour = None if at is None else hour_at(at)
    band = band_of(np.array([hour or 0]))
    pickup, dropoff = (np.array([zone]) for zone in zones)
    cells = number(pickup, dropoff, band)
    minutes, low, high = serving.model.answer(cells, np.array([hour is not None]))[:, 0]
    when = "at an average hour"
    if hour is not None:
        when = f"on a {WEEKDAYS[hour // 24].capitalize()} at {hour % 24}:00"
    version = serving.version
    return (
        f"From {places.name(zones[0])} to {places.name(zones[1])} {when}: {minutes:.1f} minutes. "
        f"Eight trips of ten take {low:.1f} to {high:.1f}.\n"
        f"({version.family} model of {fleet.name} taxis, {version.month}, version "
        f"{version.number})"
    )


if __name__ == "__main__":
    sys.exit(main())
