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
"""Draws a plot and gives it (PNG)."""

Drawings = Iterable[tuple[str, Drawing]]
"""Names of plots, each with what draws it."""


class Plotter:
    """Draws plots, one after the other, while the run goes on."""

    def __init__(self) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(1, mp_context=spawn, initializer=_prepare)
        # The process inherits that Ctrl-C is not for it.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._begin(os.getpid)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    def draw(self, plots: Drawings) -> Callable[[], dict[str, bytes]]:
        """Begin to draw named plots, each as soon as it is given; what is returned waits."""
        begun = [(name, self._begin(drawing), drawing) for name, drawing in plots]
        return lambda: {name: _take(plot, drawing) for name, plot, drawing in begun}

    def close(self) -> None:
        """End the process."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _begin(self, drawing: Callable[[], object]) -> "Future[object] | None":
        try:
            return self._pool.submit(drawing)
        except (OSError, RuntimeError):
            return None


def _take(plot: "Future[object] | None", drawing: Drawing) -> bytes:
    """A plot, drawn here if there is none; a drawing that fails does so once more, here."""
    drawn = None if plot is None or plot.exception() else plot.result()
    return drawn if isinstance(drawn, bytes) else drawing()


@contextmanager
def plotter(_fleet: Fleet, _months: Sequence[Month]) -> Iterator[Plotter]:
    """A plotter for all months of a run."""
    plotter = Plotter()
    try:
        yield plotter
    finally:
        plotter.close()


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
