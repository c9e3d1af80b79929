"""People's say in which version of a fleet's model serves: ``taxi-assets champion``.

To choose a version moves MLflow's alias, as MLflow's pages do; a pin keeps months from moving it.
"""

import sys
from collections.abc import Iterator, Mapping
from functools import partial

from taxi_assets.durations.promotion import Metrics, Standing, Version, find_previous
from taxi_assets.errors import MonthError
from taxi_assets.storage.files import Storage
from taxi_assets.storage.io_managers import load_stored
from taxi_assets.storage.stored_months import stored_decisions
from taxi_assets.tlc.fleets import Fleet
from taxi_assets.tracking.champions import Champions
from taxi_assets.tracking.server import TrackingServer
from taxi_assets.tracking.versions import registered_versions

SHOWN = 10
"""Decisions that are shown."""


def choose_champion(
    storage: Storage,
    server: TrackingServer,
    fleet: Fleet,
    number: int | None,
    back: bool,
    pin: bool | None,
    why: str,
) -> Iterator[str]:
    """Do what a person wants, and say how things stand then.

    Args:
        storage: has the months' decisions.
        server: MLflow.
        fleet: whose model.
        number: the version that is to serve, if one is chosen.
        back: whether the previous champion is to serve.
        pin: whether months may no longer move the alias; None leaves that as it is.
        why: the reason of a choice or a pin.

    Raises:
        MonthError: there is no such version, or none that could be pinned.
    """
    champions = Champions(server, fleet.name)
    decided = stored_decisions(
        storage, fleet, partial(load_stored, storage, fleet), partial(print, file=sys.stderr)
    )
    versions = {each.number: each for each in registered_versions(server, fleet.name)}
    standing = champions.standing()
    if back:
        number = find_previous(standing, versions, decided)
        if number not in versions:
            raise MonthError(f"No version of {fleet.name} has served before this one.")
    if number is not None and number not in versions:
        there = ", ".join(map(str, versions)) or "none"
        raise MonthError(f"The {fleet.name} model has no version {number}; there are: {there}.")
    if number is not None:
        champions.choose(number, why)
    elif standing.champion is None and (pin or (pin is False and standing.pinned is None)):
        raise MonthError(f"No version of {fleet.name} serves, so there is none to pin.")
    if pin is not None:
        champions.pin(why if pin else None)
    yield from _shown(champions.standing(), versions, decided)


def _shown(
    standing: Standing, versions: Mapping[int, Version], decided: Mapping[str, Metrics]
) -> Iterator[str]:
    """How things stand, and how they came to."""
    before = find_previous(standing, versions, decided)
    for name, number in (("champion", standing.champion), ("previous", before)):
        version = "none" if number is None else f"version {number}, {versions.get(number)}"
        yield f"{name}  {version}"
    if standing.pinned is not None:
        yield f"pinned    {standing.pinned}"
    yield from [f"  {month}  {of['decision']}" for month, of in decided.items()][-SHOWN:]
