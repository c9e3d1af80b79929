"""Which version of a fleet's model serves, and people's say in it.

``python -m taxi_assets.champion --fleet yellow`` shows the champion, the one before, and the last
decisions. ``--set`` and ``--back`` move MLflow's alias, as its pages do; ``--pin`` keeps months
from moving it.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from taxi_assets.durations.promotion import Figures, Standing, Version, find_previous
from taxi_assets.errors import MonthError
from taxi_assets.settings import Settings, SettingsError
from taxi_assets.storage.files import Storage
from taxi_assets.storage.io_managers import load_stored
from taxi_assets.storage.stored_months import stored_decisions
from taxi_assets.tlc.fleets import FLEETS
from taxi_assets.tracking.champions import Champions
from taxi_assets.tracking.servers import TrackingServer, try_mlflow_briefly
from taxi_assets.tracking.versions import registered_versions

SHOWN = 10
"""Decisions that are shown."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do as the command line says; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m taxi_assets.champion", description=__doc__)
    parser.add_argument("--fleet", choices=FLEETS, required=True)
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--set", type=int, metavar="VERSION", help="have this version serve")
    chosen.add_argument("--back", action="store_true", help="have the previous champion serve")
    pinned = parser.add_mutually_exclusive_group()
    pinned.add_argument("--pin", action="store_true", help="keep months from moving the alias")
    pinned.add_argument("--unpin", action="store_true", help="let months move the alias again")
    parser.add_argument("--why", default="by hand", help="the reason, which is kept")
    options = parser.parse_args(arguments)
    try_mlflow_briefly()
    try:
        settings = Settings.from_environment()
    except SettingsError as error:
        parser.error(error.message)
    server, fleet = TrackingServer(settings.tracking_uri), FLEETS[options.fleet]
    champions = Champions(server, fleet.name)
    try:
        storage = Storage(settings.storage)
        load = partial(load_stored, storage, fleet)
        decided = stored_decisions(storage, fleet, load, partial(print, file=sys.stderr))
        versions = {each.number: each for each in registered_versions(server, fleet.name)}
        standing = champions.standing()
        number = find_previous(standing, versions, decided) if options.back else options.set
        if options.back and number not in versions:
            raise MonthError(f"No version of {fleet.name} has served before this one.")
        if number is not None and number not in versions:
            there = ", ".join(map(str, versions)) or "none"
            raise MonthError(f"The {fleet.name} model has no version {number}; there are: {there}.")
        if number is not None:
            champions.choose(number, options.why)
        elif (options.pin or (options.unpin and standing.pinned is None)) and (
            standing.champion is None
        ):
            raise MonthError(f"No version of {fleet.name} serves, so there is none to pin.")
        if options.pin or options.unpin:
            champions.pin(options.why if options.pin else None)
        print("\n".join(_shown(champions.standing(), versions, decided)))
    except MonthError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _shown(
    standing: Standing, versions: Mapping[int, Version], decided: Mapping[str, Figures]
) -> Iterator[str]:
    """How things stand, and how they came to."""
    before = find_previous(standing, versions, decided)
    for name, number in (("champion", standing.champion), ("previous", before)):
        told = "none" if number is None else f"version {number}, {versions.get(number)}"
        yield f"{name}  {told}"
    if standing.pinned is not None:
        yield f"pinned    {standing.pinned}"
    yield from [f"  {month}  {of['decision']}" for month, of in decided.items()][-SHOWN:]


if __name__ == "__main__":
    sys.exit(main())
