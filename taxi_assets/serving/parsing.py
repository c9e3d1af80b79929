"""What people ask, in their words: zones by name or number, times by weekday and hour."""

import re
from datetime import datetime
from difflib import get_close_matches
from zoneinfo import ZoneInfo

from taxi_assets.errors import MonthError
from taxi_assets.tlc.zones import LAST_ZONE, ZONES

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

SUGGESTED = 5
"""Zones that are suggested for a name that is none."""

LONGEST = 60
"""Characters of a text that is looked up. TLC's longest name of a zone has 45."""

NEW_YORK = ZoneInfo("America/New_York")

SPELLINGS = {"sq": "square", "hts": "heights", "theater": "theatre"}
"""Words as some write them, and the words that stand for them here."""


def words_of(text: str) -> list[str]:
    """The words of a name or of what somebody asks for, in small letters."""
    words = re.findall(r"[^\W_]+", text.casefold().replace("'", ""))
    return [SPELLINGS.get(word, word) for word in words]


NAMES: dict[int, list[str]] = {
    number: [zone.name, f"{zone.name} ({number})", *zone.also] for number, zone in ZONES.items()
}
"""What each zone is called; some share a name, and their numbers tell them apart."""

_WORDS = [(words_of(name), number) for number, names in NAMES.items() for name in names]
_PARTS: dict[str, list[int]] = {}
for _number, _names in NAMES.items():
    for _name in map(str.casefold, _names):
        for _part in {*re.split("[/ ]", _name), *_name.split("/"), _name}:
            _PARTS.setdefault(_part, []).append(_number)


class InvalidRequestError(MonthError, ValueError):
    """A question cannot be answered. The message says why, and does not repeat the question."""


def find_zone(value: object) -> int:
    """The zone that somebody means by its number, or by beginnings of words of one of its names.

    Raises:
        InvalidRequestError: no zone is meant, or several zones may be.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        raise InvalidRequestError(f"A zone is a number from 1 to {LAST_ZONE}, or a name of TLC's.")
    text = value[: LONGEST + 1].strip().casefold()
    if re.fullmatch(r"[+-]?[0-9.]+", text, re.ASCII):
        whole = re.fullmatch(r"\+?([0-9]+)(?:\.0*)?", text)
        zone = int(whole[1]) if whole else 0
        if zone in ZONES:
            return zone
        raise InvalidRequestError(f"TLC numbers its zones from 1 to {LAST_ZONE}.")
    words = words_of(text)
    exact = {number for name, number in _WORDS if name == words}
    matches = exact or {number for name, number in _WORDS if _fits(words, name)}
    if len(matches) == 1:
        return matches.pop()
    close = get_close_matches(text, _PARTS, 2 * SUGGESTED)
    similar = sorted(matches) or [*dict.fromkeys(zone for part in close for zone in _PARTS[part])]
    listed = ", ".join(f"{ZONES[zone].name} ({zone})" for zone in similar[:SUGGESTED])
    if len(similar) > SUGGESTED:
        listed += f" and {len(similar) - SUGGESTED} more"
    if matches:
        raise InvalidRequestError(f"Several zones have this in their names: {listed}.")
    raise InvalidRequestError(
        f"No zone has this name.{f' Similar are {listed}.' if listed else ''}"
    )


def _fits(words: list[str], name: list[str]) -> bool:
    """Whether there are words, and each begins a word of the name."""
    return bool(words) and all(any(part.startswith(word) for part in name) for word in words)


def hour_at(value: object) -> int | None:
    """The hour of the week, 0 (Monday midnight) to 167, of ``Fri 17:00``, an ISO time or ``now``.

    Nothing, and text that is blank, is no time: the result is None.

    Raises:
        InvalidRequestError: it is something else, or a time with an offset.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    text = value.strip() if isinstance(value, str) and len(value) <= LONGEST else ""
    if text.casefold() == "now":
        return _hour_of(datetime.now(NEW_YORK))
    match = re.fullmatch(r"([A-Za-z]+)\s+([0-9]{1,2})(?::([0-9]{2}))?", text, re.ASCII)
    if match:
        days = [day for day in WEEKDAYS if day.startswith(match[1].casefold())]
        hour, minute = int(match[2]), int(match[3] or 0)
        if len(days) == 1 and len(match[1]) > 1 and hour < 24 and minute < 60:  # noqa: PLR2004
            return WEEKDAYS.index(days[0]) * 24 + hour
    elif re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}", text, re.ASCII):
        try:
            time = datetime.fromisoformat(text)
        except ValueError:
            pass
        else:
            if time.tzinfo is None:
                return _hour_of(time)
    raise InvalidRequestError(
        "A time is on New York's clock, without an offset, such as Fri 17:00 or 2023-04-07T17:00."
    )


def _hour_of(time: datetime) -> int:
    return time.weekday() * 24 + time.hour


def show_hour(hour: int) -> str:
    """An hour of the week as it can be asked for: ``Fri 17:00``."""
    return f"{WEEKDAYS[hour // 24][:3].capitalize()} {hour % 24:02}:00"
