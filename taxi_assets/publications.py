"""Which months a source has: asked seldom, briefly, and no more when it has had enough.

The source is asked in rounds: about the months after the newest that is known to be published, and
once a day about all. Rounds in which nothing is new come half as often each time. A round that
takes too long, or that the source ends, goes on another time where it stopped.
"""

import json
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from threading import Thread
from typing import Self

from taxi_assets.tlc.fleets import Fleet
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.source import (
    BusySourceError,
    RefusedSourceError,
    SourceError,
    TripSource,
    UnreachableSourceError,
)

FIRST_WAIT = 60
"""Seconds from a round to the next; then twice as long, and so on."""

LONGEST_WAIT = 6 * 60 * 60
"""Seconds from a round to the next at most."""

ALL_AFTER = 24 * 60 * 60
"""Seconds from a round over all months to the next one."""

EXPECTED = 6
"""Months after the newest published one that every round asks about."""

LONGEST_SILENCE = 60 * 60
"""Seconds for which a source that is busy or away is left alone at most."""

LONGEST_LOOK, LONGEST_ANSWER = 10, 8
"""Seconds. Dagster ends a sensor's tick after 60, and forgets what it has learnt."""

Wanted = Callable[[Month, str], bool]
"""Whether a month is to be run that the source has in this version."""


@dataclass
class Publications:
    """What is known of the months at a source; kept as text between two looks.

    Attributes:
        source: where the fleet's first month would be.
        newest: the newest month that is known to be published; empty if none is.
        going_on: the month with which a round goes on that has begun; else empty.
        all_months: whether that round is about all months.
        all_asked: when a round over all months began last. This and all times are in seconds,
            since 1970 where they are moments.
        wait: from the last round to the next.
        due: when the next round begins.
        silence: for how long the source is left alone; 0 if it answers.
        silent_until: when that ends.
    """

    source: str = ""
    newest: str = ""
    going_on: str = ""
    all_months: bool = False
    all_asked: float = 0
    wait: float = 0
    due: float = 0
    silence: float = 0
    silent_until: float = 0

    @classmethod
    def of(cls, source: str, text: str | None) -> Self:
        """Read what ``to_text`` has written; of anything else, or another source, know nothing."""
        try:
            known = cls(**json.loads(text or ""))
            if known.newest:
                Month.parse(known.newest)
        except (ValueError, TypeError):
            return cls(source)
        return known if known.source == source else cls(source)

    def to_text(self) -> str:
        """All that is known, as JSON."""
        return json.dumps(asdict(self))

    def look(
        self,
        source: TripSource,
        fleet: Fleet,
        months: Sequence[Month],
        wanted: Wanted,
        now: float,
        again: Collection[Month] = (),
        had: Collection[Month] = (),
    ) -> list[tuple[Month, str]]:
        """Ask about the months whose turn it is.

        Args:
            source: to ask.
            fleet: whose months.
            months: that could be published, in order.
            wanted: judges a month that is.
            now: in seconds since 1970.
            again: months that every round is also about.
            had: months that were published once. A server that refuses one of these has had enough
                of questions.

        Returns:
            The months to run, the oldest first, each with its version at the source.
        """
        if now < self.silent_until:
            return []
        end = time.monotonic() + LONGEST_LOOK
        found: list[tuple[Month, str]] = []
        for month in self._round(months, again, now):
            self.going_on = str(month)
            if time.monotonic() > end:
                break
            try:
                version = _ask(source, fleet, month)
            except (BusySourceError, UnreachableSourceError):
                self._be_silent(now)
                break
            except SourceError as error:
                if isinstance(error, RefusedSourceError) and month in had:
                    self.going_on = str(month - 1)
                    self._be_silent(now)
                    break
                continue
            self.silence = 0
            self.newest = max(self.newest, str(month))
            if wanted(month, version):
                found.append((month, version))
        else:
            self.going_on = ""
        if found:
            self.wait = 0
            self.due = now + FIRST_WAIT
        return sorted(found)

    def _round(self, months: Sequence[Month], again: Collection[Month], now: float) -> list[Month]:
        """The months that are still to be asked about in this round, the newest first."""
        if not self.going_on:
            if now < self.due:
                return []
            self.wait = min(max(FIRST_WAIT, 2 * self.wait), LONGEST_WAIT)
            self.due = now + self.wait
            self.all_months = now - self.all_asked >= ALL_AFTER
            if self.all_months:
                self.all_asked = now
        newest = Month.parse(self.newest) if self.newest else None
        return [
            month
            for month in reversed(months)
            if (not self.going_on or str(month) <= self.going_on)
            and (
                self.all_months
                or newest is None
                or month in again
                or newest < month <= newest + EXPECTED
            )
        ]

    def _be_silent(self, now: float) -> None:
        self.silence = min(max(FIRST_WAIT, 2 * self.silence), LONGEST_SILENCE)
        self.silent_until = now + self.silence
        # What it could not be asked about it is asked about then.
        self.due = self.silent_until


def _ask(source: TripSource, fleet: Fleet, month: Month) -> str:
    """A month's version at the source, or an error in good time whatever the source does."""
    answer: Future[str] = Future()

    def ask() -> None:
        try:
            answer.set_result(source.version(fleet, month, patient=False))
        except BaseException as error:
            answer.set_exception(error)

    Thread(target=ask, daemon=True).start()
    try:
        return answer.result(LONGEST_ANSWER)
    except TimeoutError:
        raise UnreachableSourceError(
            f"{source.location(fleet, month)} gets no answer in {LONGEST_ANSWER} s."
        ) from None
