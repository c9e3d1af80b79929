"""What people ask, in their words: zones by name or number, times by weekday and hour."""

import re
from collections import Counter
from datetime import datetime
from difflib import get_close_matches

from taxi_assets.errors import MonthError
from taxi_assets.tlc.zones import LAST_ZONE, ZONES

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

SUGGESTED = 5
"""Zones that are suggested for a name that is none."""

LONGEST = 60
"""Characters of a text that is looked up. TLC's longest name of a zone has 45."""

_COUNTS = Counter(zone.name for zone in ZONES.values())
_NUMBERS = {
    # Zones that share a name are told apart by their numbers.
    (f"{zone.name} ({number})" if _COUNTS[zone.name] > 1 else zone.name).casefold(): number
    for number, zone in ZONES.items()
}
_PARTS: dict[str, list[str]] = {}
for _name in _NUMBERS:
    for _part in {*re.split("[/ ]", _name), *_name.split("/"), _name}:
        _PARTS.setdefault(_part, []).append(_name)


class QuestionError(MonthError, ValueError):
    """A question cannot be answered. The message says why, and does not repeat the question."""


def find_zone(asked: object) -> int:
    """The zone that somebody means by its number, its name, or a part of its name.

    Raises:
        QuestionError: no zone is meant, or several zones may be.
    """
    if isinstance(asked, float) and asked.is_integer():
        asked = int(asked)
    if isinstance(asked, int) and not isinstance(asked, bool):
        asked = str(asked)
    if not isinstance(asked, str) or not asked.strip():
        raise QuestionError(f"A zone is a number from 1 to {LAST_ZONE}, or a name of TLC's.")
    text = asked[: LONGEST + 1].strip().casefold()
    if re.fullmatch(r"[+-]?[0-9.]+", text, re.ASCII):
        whole = re.fullmatch(r"\+?([0-9]+)(?:\.0*)?", text)
        zone = int(whole[1]) if whole else 0
        if zone in ZONES:
            return zone
        raise QuestionError(f"TLC numbers its zones from 1 to {LAST_ZONE}.")
    if text in _NUMBERS:
        return _NUMBERS[text]
    beginning = [name for name in _NUMBERS if name.startswith(text)]
    matches = beginning or [name for name in _NUMBERS if text in name]
    if len(matches) == 1:
        return _NUMBERS[matches[0]]
    similar = matches or dict.fromkeys(
        name for part in get_close_matches(text, _PARTS, 2 * SUGGESTED) for name in _PARTS[part]
    )
    listed = ", ".join(
        f"{ZONES[_NUMBERS[name]].name} ({_NUMBERS[name]})" for name in list(similar)[:SUGGESTED]
    )
    if matches:
        raise QuestionError(f"Several zones have this in their names: {listed}.")
    raise QuestionError(f"No zone has this name.{f' Similar are {listed}.' if listed else ''}")


def hour_at(asked: object) -> int | None:
    """The hour of the week, 0 (Monday midnight) to 167, of ``Fri 17:00`` or an ISO time.

    Nothing, and text that is blank, is no time: the result is None.

    Raises:
        QuestionError: it is something else, or a time with an offset.
    """
    if asked is None or (isinstance(asked, str) and not asked.strip()):
        return None
    text = asked.strip() if isinstance(asked, str) and len(asked) <= LONGEST else ""
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
                return time.weekday() * 24 + time.hour
    raise QuestionError(
        "A time is on New York's clock, without an offset, such as Fri 17:00 or 2023-04-07T17:00."
    )


def show_hour(hour: int) -> str:
    """An hour of the week as it can be asked for: ``Fri 17:00``."""
    return f"{WEEKDAYS[hour // 24][:3].capitalize()} {hour % 24:02}:00"
