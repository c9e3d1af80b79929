"""What people ask, in their words: zones by name or number, times by weekday and hour."""

import re
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from difflib import get_close_matches

from taxi_assets.tlc.zones import LAST_ZONE

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

SUGGESTED = 5
"""Zones that are suggested for a name that is none."""


class QuestionError(ValueError):
    """Something was asked that cannot be meant; the message says what."""


class Places:
    """The taxi zones by their names, as far as TLC's names are known."""

    def __init__(self, names: Mapping[str, str]) -> None:
        """Take the zones' names by their numbers, which are text: ``132``."""
        self.names = {int(number): name for number, name in names.items()}
        shared = {name for name, zones in Counter(self.names.values()).items() if zones > 1}
        # Of zones that share a name, each is known by its number, too.
        self._by_name = {
            (f"{name} ({number})" if name in shared else name).casefold(): number
            for number, name in self.names.items()
        }

    def name(self, zone: int) -> str:
        """A zone's name, or its number where the names are not known."""
        return self.names.get(zone, f"zone {zone}")

    def find(self, text: str) -> int:
        """The zone that somebody means by its number, its name, or a part of it.

        Raises:
            QuestionError: there is none, or there are several; the message names the nearest.
        """
        asked = text.strip().casefold()
        if re.fullmatch(r"[0-9]+", asked, re.ASCII):
            zone = int(asked.lstrip("0")[:9] or 0)
            if 1 <= zone <= LAST_ZONE:
                return zone
            raise QuestionError(f"{text!r} is no zone: TLC numbers them from 1 to {LAST_ZONE}.")
        if asked in self._by_name:
            return self._by_name[asked]
        if not self._by_name:
            raise QuestionError(
                f"{text!r} is no number, and TLC's names of the zones are not here: ask by number, "
                f"1 to {LAST_ZONE}, or set TAXI_TRIP_SOURCE to where taxi_zone_lookup.csv lies."
            )
        names = list(self._by_name) if asked else []
        beginning = [name for name in names if name.startswith(asked)]
        parts = beginning or [name for name in names if asked in name]
        if len(parts) == 1:
            return self._by_name[parts[0]]
        near = parts or self._near(asked)
        shown = ", ".join(self._say(name) for name in near[:SUGGESTED])
        means = f"Near are {shown}" if shown else "No zone has a name like it"
        said = "may be several zones" if len(parts) > 1 else "is no zone"
        raise QuestionError(f"{text!r} {said}. {means}.")

    def _near(self, asked: str) -> list[str]:
        """Names that are like what was asked, as a whole or in a part."""
        named = {
            part: name
            for name in self._by_name
            for part in (*re.split("[/ ]", name), *name.split("/"), name)
        }
        found = get_close_matches(asked, named, 2 * SUGGESTED, cutoff=0.6)
        return list(dict.fromkeys(named[part] for part in found))

    def _say(self, name: str) -> str:
        zone = self._by_name[name]
        return f"{self.names[zone]} ({zone})"


def hour_at(text: str) -> int:
    """The hour of the week, 0 (Monday midnight) to 167, of ``Fri 17:00`` or an ISO time.

    Raises:
        QuestionError: it is neither.
    """
    asked = text.strip()
    match = re.fullmatch(r"([A-Za-z]+)\s+([0-9]{1,2})(?::([0-9]{2}))?", asked, re.ASCII)
    if match:
        days = [day for day in WEEKDAYS if day.startswith(match[1].casefold())]
        hour, minute = int(match[2]), int(match[3] or 0)
        if len(days) == 1 and len(match[1]) > 1 and hour < 24 and minute < 60:  # noqa: PLR2004
            return WEEKDAYS.index(days[0]) * 24 + hour
    elif re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}", asked, re.ASCII):
        try:
            time = datetime.fromisoformat(asked)
        except ValueError:
            pass
        else:
            if time.tzinfo is None:
                return time.weekday() * 24 + time.hour
    raise QuestionError(
        f"{text!r} is no time on New York's clock, such as Fri 17:00 or 2023-04-07T17:00."
    )
