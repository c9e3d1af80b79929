"""Which months the source has that are not trained yet, or that it has published anew.

The source is asked as seldom as will do: about a month that is not there, or has not changed,
half as often each time; about nothing at all for a while when the server has had enough.
"""

import json
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, dataclass, field
from typing import Self

from taxi_assets.tlc.fleets import Fleet
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.source import (
    BusySourceError,
    SourceError,
    TripSource,
    UnreachableSourceError,
)

FIRST_WAIT = 60
"""Seconds until a month is asked about again; then twice as long, and so on."""

LONGEST_WAIT = {True: 24 * 60 * 60, False: 6 * 60 * 60}
"""Seconds, for months that are published and for months that are not."""

LONGEST_SILENCE = 60 * 60
"""Seconds for which a server that is busy or away is left alone at most."""

TIME_FOR_A_LOOK = 30
"""Seconds; what is not asked by then is asked the next time. Dagster ends a tick after 60."""


@dataclass
class Known:
    """What is known of a month.

    Attributes:
        version: at the source, when it was last asked; empty if it was not there.
        requested: the version for which a run has been requested.
        wait: seconds from one question to the next.
        due: when the next question is due, in seconds since 1970.
    """

    version: str = ""
    requested: str = ""
    wait: float = 0
    due: float = 0


@dataclass
class Publications:
    """What has been learnt of a fleet's months so far; kept as text between two looks.

    Attributes:
        months: what is known of each, by month.
        silence: seconds for which the source is left alone; 0 if it answers.
        silent_until: in seconds since 1970.
    """

    months: dict[str, Known] = field(default_factory=dict)
    silence: float = 0
    silent_until: float = 0

    @classmethod
    def from_text(cls, text: str | None) -> Self:
        """Read what ``to_text`` has written; of anything else, know nothing."""
        try:
            kept = json.loads(text or "")
            months = {month: Known(**known) for month, known in kept.pop("months").items()}
            return cls(months, **kept)
        except (ValueError, TypeError, KeyError, AttributeError):
            return cls()

    def to_text(self) -> str:
        """All that is known, as JSON."""
        return json.dumps(asdict(self))

    def look(
        self,
        source: TripSource,
        fleet: Fleet,
        months: Iterable[Month],
        trained: Collection[Month],
        stored_version: Callable[[Month], str | None],
        now: float,
    ) -> list[tuple[Month, str]]:
        """Ask about the months that are due.

        Args:
            source: to ask.
            fleet: whose months.
            months: that could be published.
            trained: those that have a model.
            stored_version: of a month's stored file at this source; None if it is not known.
            now: in seconds since 1970.

        Returns:
            The months to run, the oldest first, each with its version at the source. None is
            returned twice for the same version.
        """
        if now < self.silent_until:
            return []
        wanted = []
        end = time.monotonic() + TIME_FOR_A_LOOK
        for month in sorted(months, reverse=True):
            known = self.months.setdefault(str(month), Known())
            if known.due > now:
                continue
            if time.monotonic() > end:
                break
            try:
                known.version = source.version(fleet, month) or "unversioned"
            except (BusySourceError, UnreachableSourceError):
                self._be_silent(now)
                break
            except SourceError:
                if known.version:
                    # A server that denies what it had before has had enough of questions.
                    self._be_silent(now)
                    break
                _wait_longer(known, now, published=False)
                continue
            self.silence = 0
            stored = stored_version(month)
            changed = stored is not None and known.version not in (stored, "unversioned")
            if (month not in trained or changed) and known.requested != known.version:
                known.requested = known.version
                known.wait = 0
                wanted.append((month, known.version))
            _wait_longer(known, now, published=True)
        return sorted(wanted)

    def newest(self) -> Month | None:
        """The newest month that is known to be published."""
        published = [Month.parse(month) for month, known in self.months.items() if known.version]
        return max(published, default=None)

    def _be_silent(self, now: float) -> None:
        self.silence = min(max(FIRST_WAIT, 2 * self.silence), LONGEST_SILENCE)
        self.silent_until = now + self.silence


def _wait_longer(known: Known, now: float, *, published: bool) -> None:
    known.wait = min(max(FIRST_WAIT, 2 * known.wait), LONGEST_WAIT[published])
    known.due = now + known.wait
