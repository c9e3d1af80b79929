"""What a version answers, and the watch that changes over to another."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from taxi_assets.durations.answers import BANDS, Cells, band_of, number
from taxi_assets.errors import explain, first_line
from taxi_assets.tracking.champions import Serving

WEEK = band_of(np.arange(168))
"""The band of each hour of the week."""

REMEMBERED = 100_000
"""Answers that are kept of a version, some 30 MB: of busy pairs at busy hours."""

EVERY = 30.0
"""Seconds between two looks at who serves."""


class Minutes(NamedTuple):
    """A trip's minutes, and the bounds that eight trips of ten lie between."""

    minutes: float
    minutes_p10: float
    minutes_p90: float


class Answering:
    """A version that answers, and remembers what it has answered.

    A version that follows is another object, with nothing to remember yet.
    """

    def __init__(self, serving: Serving) -> None:
        self.version = serving.version
        self._model = serving.model
        self._remembered = lru_cache(REMEMBERED)(self._answer)

    def one(self, pickup: int, dropoff: int, hour: int | None) -> Minutes:
        """The answer for zones, 1 to 265, and an hour of the week, 0 to 167, if it is known."""
        return self._remembered(pickup, dropoff, None if hour is None else int(WEEK[hour]))

    def many(self, cells: Cells, known: NDArray[np.bool_]) -> list[Minutes]:
        """The answers for cells, of which some may have no known hour, in order."""
        return [Minutes(*row) for row in self._model.answer(cells, known).T.tolist()]

    def week(self, pickup: int, dropoff: int) -> NDArray[np.float64]:
        """Minutes, lower and upper bound by the hour of the week, shape (3, 168)."""
        bands = np.arange(BANDS)
        cells = number(np.full(BANDS, pickup), np.full(BANDS, dropoff), bands)
        return np.array(self._model.answer_cells(cells))[:, WEEK]

    def _answer(self, pickup: int, dropoff: int, band: int | None) -> Minutes:
        cells = number(np.array([pickup]), np.array([dropoff]), np.array([band or 0]))
        if band is None:
            return Minutes(*self._model.answer(cells, np.array([False]))[:, 0].tolist())
        return Minutes(*(float(value[0]) for value in self._model.answer_cells(cells)))


class Watch:
    """The version that answers now, and what is known of the champion.

    To change over is to set one reference: a request that has begun is answered by the version
    that it began with.

    Attributes:
        answering: the version that answers.
        since: when it began to, here; seconds since 1970, as all times.
        looked_at: when it was last seen who is champion.
        problem: why it could not be seen since; None if it could.
    """

    def __init__(
        self,
        load: Callable[[], Serving],
        report: Callable[[str], None] = print,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Load the champion.

        Args:
            load: gives the champion, and raises what it likes.
            report: takes sentences about what changes.
            clock: the time.
        """
        self._load = load
        self._report = report
        self.clock = clock
        self.answering = Answering(load())
        self.since = self.looked_at = clock()
        self.problem: str | None = None

    def look(self) -> None:
        """See who is champion, and change over; whatever goes wrong, go on with what there is."""
        try:
            serving = self._load()
        except Exception as error:
            problem = explain(error) or f"{type(error).__name__}: {first_line(error)}"
            if self.problem is None:
                self._report(f"Version {self.answering.version.number} goes on: {problem}")
            self.problem = problem
            return
        self.looked_at = self.clock()
        if self.problem is not None:
            self.problem = None
            self._report("The champion can be seen again.")
        if serving.version != self.answering.version:
            self.answering = Answering(serving)
            self.since = self.looked_at
            self._report(f"Version {serving.version.number} ({serving.version}) answers now.")

    @contextmanager
    def looking(self, every: float = EVERY) -> Iterator[None]:
        """Look every so many seconds for a block, on a thread that nobody waits for.

        MLflow may take minutes to say that it is away.
        """
        stopped = threading.Event()

        def look_again() -> None:
            while not stopped.wait(every):
                self.look()

        threading.Thread(target=look_again, name="watch", daemon=True).start()
        try:
            yield
        finally:
            stopped.set()
