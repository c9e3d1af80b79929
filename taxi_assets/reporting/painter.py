"""A process beside the run's that draws its plots, on a core that is idle otherwise.

Drawing takes a quarter of the time that a month needs. Where the process cannot be started, dies,
or cannot be sent a drawing, the run draws for itself.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import wait

from taxi_assets.tlc.fleets import Fleet
from taxi_assets.tlc.months import Month

Drawing = Callable[[], bytes]
"""Draws a picture and gives it (PNG)."""

Drawings = Iterable[tuple[str, Drawing]]
"""Names of pictures, each with what draws it."""


class Painter:
    """Draws pictures, one after the other, while the run goes on."""

    def __init__(self) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(1, mp_context=spawn, initializer=_prepare)
        # The process inherits that Ctrl-C is not for it.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._begin(os.getpid)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    def draw(self, pictures: Drawings) -> Callable[[], dict[str, bytes]]:
        """Begin to draw named pictures, each as soon as it is given; what is returned waits."""
        begun = [(name, self._begin(drawing), drawing) for name, drawing in pictures]
        return lambda: {name: _take(picture, drawing) for name, picture, drawing in begun}

    def close(self) -> None:
        """End the process."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _begin(self, drawing: Callable[[], object]) -> "Future[object] | None":
        try:
            return self._pool.submit(drawing)
        except (OSError, RuntimeError):
            return None


def _take(picture: "Future[object] | None", drawing: Drawing) -> bytes:
    """A picture, drawn here if there is none; a drawing that fails does so once more, here."""
    drawn = None if picture is None or picture.exception() else picture.result()
    return drawn if isinstance(drawn, bytes) else drawing()


@contextmanager
def painter(_fleet: Fleet, _months: Sequence[Month]) -> Iterator[Painter]:
    """A painter for all months of a run."""
    painting = Painter()
    try:
        yield painting
    finally:
        painting.close()


def _prepare() -> None:
    """Import what draws, and end with the run's process, however that ends."""
    run = multiprocessing.parent_process()
    if run is not None:
        ending = partial(_end_after, run.sentinel)
        threading.Thread(target=ending, daemon=True).start()
    from matplotlib.backends import backend_agg  # noqa: F401


def _end_after(run: int) -> None:
    wait([run])
    os._exit(1)
