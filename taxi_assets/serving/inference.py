"""What a version says of trips whose zones and hours are known."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from taxi_assets.durations.inference import band_of, number
from taxi_assets.serving.parsing import WEEKDAYS, InvalidRequestError, find_zone, hour_at
from taxi_assets.tlc.zones import ZONES
from taxi_assets.tracking.champions import Serving


def predict_trips(
    serving: Serving,
    pickups: Sequence[int],
    dropoffs: Sequence[int],
    hours: Sequence[int | None],
) -> NDArray[np.float64]:
    """Minutes, lower and upper bound of trips, shape (3, len(pickups)).

    Args:
        serving: answers.
        pickups: zones, 1 to 265.
        dropoffs: likewise.
        hours: of the week, 0 to 167; None is any hour.
    """
    known = np.array([hour is not None for hour in hours], bool)
    bands = band_of(np.array([hour or 0 for hour in hours], np.int64))
    cells = number(np.array(pickups, np.int64), np.array(dropoffs, np.int64), bands)
    return np.asarray(serving.model.answer(cells, known))


def predict_week(serving: Serving, pickup: int, dropoff: int) -> NDArray[np.float64]:
    """Minutes, lower and upper bound by the hour of the week, shape (3, 168)."""
    bands, hours = np.unique(band_of(np.arange(168)), return_inverse=True)
    cells = number(np.array([pickup]), np.array([dropoff]), bands)
    return np.asarray(serving.model.answer_cells(cells))[:, hours]


def find_trip(start: str, end: str, at: str | None) -> tuple[int, int, int | None]:
    """The zones and the hour of one trip that somebody asks for in words.

    Raises:
        InvalidRequestError: a zone or the time cannot be meant; the message names the option.
    """
    given = {"--from": (find_zone, start), "--to": (find_zone, end), "--at": (hour_at, at)}
    values: list[Any] = []
    for option, (find, text) in given.items():
        try:
            values.append(find(text))
        except InvalidRequestError as error:
            raise InvalidRequestError(f"{option}: {error}") from None
    pickup, dropoff, hour = values
    return pickup, dropoff, hour


def describe_trip(serving: Serving, fleet: str, pickup: int, dropoff: int, hour: int | None) -> str:
    """How long one trip takes, in words; halves of minutes are rounded up, as on the page."""
    answer = predict_trips(serving, [pickup], [dropoff], [hour])[:, 0]
    minutes, low, high = np.floor(answer + 0.5)
    when = "trips at all hours"
    if hour is not None:
        when = f"{WEEKDAYS[hour // 24].capitalize()} {hour % 24}:00"
    version = serving.version
    return (
        f"{ZONES[pickup].name} to {ZONES[dropoff].name}, {when}: {minutes:.0f} minutes, eight "
        f"trips of ten take {low:.0f} to {high:.0f}\n"
        f"({version.family} model of {fleet} taxis, {version.month}, version {version.number})"
    )
