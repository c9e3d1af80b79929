"""What is stored of other months, for a month to be compared with."""

from taxi_assets.checks.thresholds import EARLIER_MONTHS
from taxi_assets.storage.files import Storage
from taxi_assets.storage.formats import Json
from taxi_assets.storage.origins import noted_origin
from taxi_assets.storage.space import month_file
from taxi_assets.tlc.fleets import Fleet
from taxi_assets.tlc.months import Month


def neighbouring_trips(storage: Storage, fleet: Fleet, month: Month) -> dict[Month, int]:
    """Numbers of trips in the months before and after, where they are stored."""
    noted = {
        near: noted_origin(storage, month_file(fleet, near)) for near in (month - 1, month + 1)
    }
    return {near: origin.trips for near, origin in noted.items() if origin is not None}


def earlier_rmses(storage: Storage, fleet: Fleet, month: Month) -> dict[Month, float]:
    """RMSEs (minutes) of the months before, where they are stored and readable."""
    found = {}
    for back in range(EARLIER_MONTHS, 0, -1):
        try:
            with storage.open(f"{fleet.name}/metrics/{month - back}.json") as file:
                found[month - back] = float(Json().load(file)["rmse"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return found
