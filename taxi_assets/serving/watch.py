"""The version that answers, and the watch that changes over when the champion is another."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from taxi_assets.errors import explain, first_line
from taxi_assets.tracking.champions import Serving

EVERY = 30.0
"""Seconds between two looks at who is champion."""


class Watch:
    """The version that answers now, and what is known of the champion.

    To change over is to set one reference: a request that has begun is answered by the version
    that it began with.

    Attributes:
        serving: the version that answers.
        since: when it began to, here; seconds since 1970, as all times.
        looked_at: when the registry was last read.
        problem: why it could not be read since; None if it could.
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
        self.serving = load()
        self.since = self.looked_at = clock()
        self.problem: str | None = None

    def look(self) -> None:
        """See who is champion, and change over; whatever goes wrong, go on with what there is."""
        try:
            serving = self._load()
        except Exception as error:
            problem = explain(error) or f"{type(error).__name__}: {first_line(error)}"
            if self.problem is None:
                self._report(f"Version {self.serving.version.number} goes on: {problem}")
            self.problem = problem
            return
        self.looked_at = self.clock()
        if self.problem is not None:
            self.problem = None
            self._report("The champion can be seen again.")
        if serving.version != self.serving.version:
            self.serving = serving
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
