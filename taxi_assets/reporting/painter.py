"""Processes beside the run's that draw its pictures, on cores that are idle otherwise.

Drawing takes a quarter of the time that a month needs. Where such a process cannot be started, or
dies, the run draws for itself. They end when the run's process does, however that ends.
"""

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import partial
from itertools import cycle
from queue import SimpleQueue
from threading import Thread
from typing import Any

from taxi_assets.tlc.fleets import Fleet
from taxi_assets.tlc.months import Month

Drawing = Callable[[], bytes]
"""Draws a picture, or waits for one that is being drawn, and gives it (PNG)."""

PROCESSES = 2
"""A month's pictures are wanted when the run itself has nothing else to do."""


class Painter:
    """Draws pictures while the run goes on."""

    def __init__(self) -> None:
        self._brushes: list[Brush] = []
        with suppress(OSError):
            for _ in range(PROCESSES):
                self._brushes.append(Brush())
        self._turns = cycle(self._brushes)

    def draw(self, pictures: Mapping[str, Drawing]) -> Callable[[], dict[str, bytes]]:
        """Begin to draw pictures, by their names; what is returned waits for them."""
        drawn = pictures
        if self._brushes:
            drawn = {name: next(self._turns).draw(drawing) for name, drawing in pictures.items()}
        return lambda: {name: picture() for name, picture in drawn.items()}

    def close(self) -> None:
        """End the processes."""
        for brush in self._brushes:
            brush.close()


class Brush:
    """A process that draws one picture after the other."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        self._awaited: SimpleQueue[Future[bytes] | None] = SimpleQueue()
        self._listener = Thread(target=self._listen, daemon=True)
        self._listener.start()

    def draw(self, drawing: Drawing) -> Drawing:
        """Begin to draw; if the process is gone, the picture is drawn when it is wanted."""
        assert self._process.stdin is not None
        picture: Future[bytes] = Future()
        self._awaited.put(picture)
        with suppress(OSError):
            pickle.dump(drawing, self._process.stdin)
            self._process.stdin.flush()
        return partial(self._take, picture, drawing)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._awaited.put(None)
        self._listener.join()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                pipe.close()  # type: ignore[union-attr]
        self._process.wait()

    def _take(self, picture: "Future[bytes]", drawing: Drawing) -> bytes:
        try:
            return picture.result()
        except EOFError:
            return drawing()

    def _listen(self) -> None:
        """Take in what the process answers, also while more is asked of it."""
        assert self._process.stdout is not None
        while (picture := self._awaited.get()) is not None:
            try:
                answer = pickle.load(self._process.stdout)
            except (OSError, EOFError, pickle.UnpicklingError):
                answer = EOFError("the process is gone")
            if isinstance(answer, Exception):
                picture.set_exception(answer)
            else:
                picture.set_result(answer)


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
