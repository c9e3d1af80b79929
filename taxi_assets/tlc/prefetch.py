"""The next month's file is fetched while this month is worked on."""

from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, wait
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread
from typing import Generic, TypeVar

from taxi_assets.tlc.months import Month
from taxi_assets.tlc.source import Report

T = TypeVar("T")
Fetch = Callable[[Month, Path, Report], T]
"""Fetches a month to a path where there is nothing yet, and leaves nothing there if it fails."""

LAST_WORDS = 2
"""Seconds that are waited for a cancelled fetch, which ends at its next line of progress."""


class Prefetch(Generic[T]):
    """Fetches months in their order, one ahead of whoever takes them.

    The threads are daemons, as an interrupted command does not wait for a server that is silent.
    """

    def __init__(
        self, months: Sequence[Month], fetch: Fetch[T], path_for: Callable[[Month], Path]
    ) -> None:
        self._months = months
        self._fetch = fetch
        self._path_for = path_for
        self._cancelled = Event()
        self._fetches: dict[Month, tuple[Future[T], SimpleQueue[str | None]]] = {}
        self._paths: dict[Month, Path] = {}
        for month in months[:1]:
            self._begin(month)

    def take(self, month: Month, report: Report) -> T:
        """What was fetched of a month; from now on the month after it is fetched.

        A fetch that has failed does so here, and what it had to report is reported here.

        Raises:
            SourceError, StorageError: as ``fetch`` does.
        """
        self._begin(month)
        fetched, lines = self._fetches[month]
        while (line := lines.get()) is not None:
            report(line)
        for following in [later for later in self._months if later > month][:1]:
            self._begin(following)
        del self._fetches[month]
        self._paths.pop(month, None)
        return fetched.result()

    def close(self) -> None:
        """Cancel the fetch that is under way, and remove what nobody has taken."""
        self._cancelled.set()
        wait((fetched for fetched, _ in self._fetches.values()), LAST_WORDS)
        for path in self._paths.values():
            path.unlink(missing_ok=True)

    def _begin(self, month: Month) -> None:
        if month not in self._fetches:
            self._fetches[month] = fetch = Future[T](), SimpleQueue[str | None]()
            Thread(target=self._run, args=(month, *fetch), name="fetch", daemon=True).start()

    def _run(self, month: Month, fetched: Future[T], lines: SimpleQueue[str | None]) -> None:
        def report(line: str) -> None:
            if self._cancelled.is_set():
                raise CancelledError
            lines.put(line)

        try:
            path = self._paths[month] = self._path_for(month)
            fetched.set_result(self._fetch(month, path, report))
        except BaseException as error:
            fetched.set_exception(error)
        finally:
            lines.put(None)
