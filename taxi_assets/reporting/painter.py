"""A process beside the run's that draws its pictures, on a core that is idle otherwise.

Drawing takes a quarter of the time that a month needs. Where the process cannot be started, or
dies, the run draws for itself. It ends when the run's process does, however that ends.
"""

import gc
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module
from queue import SimpleQueue
from threading import Thread
from typing import Any

from taxi_assets.tlc.fleets import Fleet
from taxi_assets.tlc.months import Month

Drawing = Callable[[], bytes]
"""Draws a picture, or waits for one that is being drawn, and gives it (PNG)."""

Drawings = Iterable[tuple[str, Drawing]]
"""Names of pictures, each with what draws it."""


class Painter:
    """Draws pictures, one after the other, while the run goes on."""

    def __init__(self) -> None:
        self._awaited: SimpleQueue[Future[bytes] | None] = SimpleQueue()
        self._process: subprocess.Popen[bytes] | None = None
        with suppress(OSError):
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            )
        # Also while more is asked of the process, or both would wait for ever.
        self._listener = Thread(target=self._listen, daemon=True)
        self._listener.start()

    def draw(self, pictures: Drawings) -> Callable[[], dict[str, bytes]]:
        """Begin to draw named pictures, each as soon as it is given; what is returned waits."""
        drawn = {name: self._ask(drawing) for name, drawing in pictures}
        return lambda: {name: picture() for name, picture in drawn.items()}

    def close(self) -> None:
        """End the process."""
        self._awaited.put(None)
        if self._process is not None:
            self._process.kill()
            self._listener.join()
            for pipe in (self._process.stdin, self._process.stdout):
                with suppress(OSError):
                    pipe.close()  # type: ignore[union-attr]
            self._process.wait()

    def _ask(self, drawing: Drawing) -> Drawing:
        picture: Future[bytes] = Future()
        self._awaited.put(picture)
        with suppress(OSError):
            if self._process is not None and self._process.stdin is not None:
                pickle.dump(drawing, self._process.stdin)
                self._process.stdin.flush()
        return partial(_take, picture, drawing)

    def _listen(self) -> None:
        """Take in what the process answers."""
        while (picture := self._awaited.get()) is not None:
            answer: Any = EOFError("there is no process")
            with suppress(OSError, EOFError, pickle.UnpicklingError):
                if self._process is not None and self._process.stdout is not None:
                    answer = pickle.load(self._process.stdout)
            if isinstance(answer, Exception):
                picture.set_exception(answer)
            else:
                picture.set_result(answer)


def _take(picture: "Future[bytes]", drawing: Drawing) -> bytes:
    try:
        return picture.result()
    except EOFError:
        return drawing()


@contextmanager
def painter(_fleet: Fleet, _months: Sequence[Month]) -> Iterator[Painter]:
    """A painter for all months of a run."""
    painting = Painter()
    try:
        yield painting
    finally:
        painting.close()


def main() -> None:
    """Draw what standard input asks for, until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = sys.stdout.buffer
    # Whatever a library prints must not come among the answers.
    sys.stdout = sys.stderr
    for module in ("matplotlib.backends.backend_agg", "matplotlib.figure", "pandas"):
        import_module(module)
    # What the libraries bring stays; a tenth of each picture would be looking for garbage there.
    gc.freeze()
    with suppress(EOFError, BrokenPipeError):
        while True:
            draw = pickle.load(sys.stdin.buffer)
            answer: Any
            try:
                answer = draw()
            except Exception as error:
                answer = error
            pickle.dump(answer, answers)
            answers.flush()


if __name__ == "__main__":
    main()
