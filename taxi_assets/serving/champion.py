"""The version that serves."""

from typing import TYPE_CHECKING, NamedTuple

from taxi_assets.durations.reigns import Version
from taxi_assets.tracking.champion_record import ChampionRecord
from taxi_assets.tracking.servers import TrackingServer
from taxi_assets.tracking.versions import (
    UnusableVersionError,
    load_version,
    registered_versions,
)

if TYPE_CHECKING:
    from taxi_assets.tracking.served import TripDuration


class Serving(NamedTuple):
    """A version that answers.

    Attributes:
        version: its number, month and family.
        model: the model; ``answer(cells, known)`` and ``answer_cells(cells)`` answer.
    """

    version: Version
    model: "TripDuration"


def load_serving(server: TrackingServer, fleet: str, number: int | None = None) -> Serving:
    """The champion, or another version.

    Raises:
        UnusableVersionError: there is none, or it cannot be read.
        TrackingError: MLflow does not do its part.
    """
    if number is None:
        number = champion_number(server, fleet)
    found = [each for each in registered_versions(server, fleet) if each.number == number]
    if not found:
        raise UnusableVersionError(f"The {fleet} model has no version {number}.")
    return Serving(found[0], load_version(server, fleet, number))


def champion_number(server: TrackingServer, fleet: str) -> int:
    """The number of the version that the record of champions names.

    Raises:
        UnusableVersionError: there is no champion yet.
    """
    number = ChampionRecord(server, fleet).standing().get("version")
    if not isinstance(number, int):
        raise UnusableVersionError(
            f"No model of {fleet} taxis serves yet. A first champion is found by the second month: "
            f"materialize two months that follow each other, with all assets of {fleet}."
        )
    return number
