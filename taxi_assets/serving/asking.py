"""Requests as they come: parameters of an address, and lists of questions as JSON."""

import json
import re
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from taxi_assets.durations.answers import split_up
from taxi_assets.serving.questions import WEEKDAYS, Places, QuestionError, hour_at
from taxi_assets.tlc.fleets import DROPOFF_ZONE, PICKUP_ZONE
from taxi_assets.tracking.asked import read_cells

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.datastructures import QueryParams
    from starlette.requests import Request

MOST = 10_000
"""Questions in one list: 0.4 s with times, 3 s without, for which each stands for 48."""

LARGEST = 2 << 20
"""Bytes of a list of questions."""

NUMBER = re.compile(r"\s*[+-]?[0-9.]+\s*", re.ASCII)

EXAMPLE = {"PULocationID": 132, "DOLocationID": 230, "pickup_datetime": "2023-04-07T17:00"}


class Question(NamedTuple):
    """A trip that is asked about.

    Attributes:
        pickup, dropoff: zones, 1 to 265.
        hour: of the week, 0 to 167; None if it does not matter.
    """

    pickup: int
    dropoff: int
    hour: int | None = None


def read_question(asked: "QueryParams", places: Places, timed: bool = True) -> Question:
    """What the parameters ``from``, ``to`` and ``at`` ask; the last only if it may be timed.

    Raises:
        QuestionError: they ask nothing that can be meant; the message begins with the parameter.
        RefusedError: a number is no zone; the message is the model's own.
    """
    names = ("from", "to", "at") if timed else ("from", "to")
    for name in asked:
        if name not in names:
            raise QuestionError(f"{name!r} is no parameter here: there are {', '.join(names)}.")
    pickup, dropoff = (
        _read(name, asked, partial(_find, places, column))
        for name, column in (("from", PICKUP_ZONE), ("to", DROPOFF_ZONE))
    )
    timeless = not any(text.strip() for text in asked.getlist("at"))
    return Question(pickup, dropoff, None if timeless else _read("at", asked, hour_at))


def _read(name: str, asked: "QueryParams", read: "Callable[[str], int]") -> int:
    given = asked.getlist(name)
    if len(given) != 1 or not given[0].strip():
        what = "is given twice" if len(given) > 1 else "is missing"
        raise QuestionError(f"{name} {what}. Ask as in /duration?from=132&to=230&at=Fri 17:00.")
    try:
        return read(given[0])
    except QuestionError as error:
        raise QuestionError(f"{name}: {error}") from None


def _find(places: Places, column: str, text: str) -> int:
    """The zone that is meant; of numbers, the model says itself which it takes."""
    try:
        return places.find(text)
    except QuestionError:
        if not NUMBER.fullmatch(text):
            raise
    cells, _ = read_cells([{PICKUP_ZONE: 1, DROPOFF_ZONE: 1, column: text}])
    pickup, dropoff, _ = split_up(cells)
    return int((pickup if column == PICKUP_ZONE else dropoff)[0])


async def read_list(request: "Request") -> Any:
    """The JSON of a request, which may be anything still, but not too much of it.

    Raises:
        QuestionError: it is none, or too long.
    """
    received = bytearray()
    async for part in request.stream():
        received += part
        if len(received) > LARGEST:
            raise QuestionError(f"At most {LARGEST >> 20} MB can be asked at once.")
    try:
        asked = json.loads(bytes(received))
        questions = _questions(asked)
    except (ValueError, RecursionError) as error:
        why = "too deep" if isinstance(error, RecursionError) else error
        raise QuestionError(
            f"This is no JSON ({why}). Ask with a list such as {json.dumps([EXAMPLE])}."
        ) from None
    if questions > MOST:
        raise QuestionError(f"At most {MOST:,} questions can be asked at once.")
    return asked


def _questions(asked: Any) -> int:
    """How many a list has, or the longest of an object's, with those in lists within."""
    match asked:
        case list():
            return sum(map(_questions, asked))
        case dict():
            return max(map(_questions, asked.values()), default=0)
        case _:
            return 1


def show_hour(hour: int) -> str:
    """An hour of the week as it can be asked for: ``Fri 17:00``."""
    return f"{WEEKDAYS[hour // 24][:3].capitalize()} {hour % 24:02}:00"
