"""The next month's file is fetched while this month is worked on."""

import queue
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Generic, TypeVar

from taxi_assets.tlc.months import Month
from taxi_assets.tlc.source import Report

T = TypeVar("T")
Fetch = Callable[[Month, Path, Report], T]
"""Fetches a month to a path where there is nothing yet, and leaves nothing there if it fails."""

LAST_WORDS = 2
"""Seconds that a fetch which nobody wants any more has to end by itself."""


class FetchAhead(Generic[T]):
    """Fetches months in their order, one ahead of whoever takes them."""

    def __init__(
        self, months: Iterable[Month], fetch: Fetch[T], path_for: Callable[[Month], Path]
    ) -> None:
        self._months = iter(months)
        self._fetch = fetch
        self._path_for = path_for
        self._under_way: _UnderWay[T] | None = None
        self._begin()

    def take(self, month: Month, report: Report) -> T:
        """What was fetched of the month whose turn it is; from now on the next month's is fetched.

        A fetch that has failed does so here, and what it had to report is reported here.

        Raises:
            SourceError, StorageError: as ``fetch`` does.
        """
        under_way = self._under_way
        if under_way is None or under_way.month != month:
            return self._fetch(month, self._path_for(month), report)
        under_way.wait(report)
        self._begin()
        return under_way.fetched.result()

    def close(self) -> None:
        """End the fetch that is under way, and remove what it has written."""
        if self._under_way is not None:
            self._under_way.cancel()

    def _begin(self) -> None:
        month = next(self._months, None)
        self._under_way = None
        if month is not None:
            self._under_way = _UnderWay(month, self._fetch, self._path_for)


class _UnderWay(Generic[T]):
    """A month's fetch in a thread, which does not keep the process from ending."""

    def __init__(self, month: Month, fetch: Fetch[T], path_for: Callable[[Month], Path]) -> None:
        self.month = month
        self.fetched: Future[T] = Future()
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._cancelled = False
        self._path: Path | None = None
        self._thread = threading.Thread(target=self._run, args=(fetch, path_for), daemon=True)
        self._thread.start()

    def wait(self, report: Report) -> None:
        """Wait until the fetch has ended, well or not, and report its lines meanwhile."""
        while (line := self._lines.get()) is not None:
            report(line)

    def cancel(self) -> None:
        """End the fetch at its next line; of one that is stuck, remove the file."""
        self._cancelled = True
        self._thread.join(LAST_WORDS)
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _run(self, fetch: Fetch[T], path_for: Callable[[Month], Path]) -> None:
        try:
            self._path = path_for(self.month)
            self.fetched.set_result(fetch(self.month, self._path, self._tell))
        except BaseException as error:
            self.fetched.set_exception(error)
        finally:
            self._lines.put(None)

    def _tell(self, line: str) -> None:
        if self._cancelled:
            raise CancelledError
        self._lines.put(line)
