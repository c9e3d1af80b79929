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
from contextlib import contextmanager, suppress
from functools import partial
from itertools import cycle
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
        self._brushes = [Brush() for _ in range(PROCESSES)]
        self._turns = cycle(self._brushes)

    def draw(self, pictures: Mapping[str, Drawing]) -> Callable[[], dict[str, bytes]]:
        """Begin to draw pictures, by their names; what is returned waits for them."""
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
        self._answers: dict[int, Any] = {}
        self._asked = self._answered = 0

    def draw(self, drawing: Drawing) -> Drawing:
        """Begin to draw; if the process is gone, the picture is drawn when it is wanted."""
        assert self._process.stdin is not None
        try:
            # Both processes would wait for ever if each had something to say to the other.
            self._listen()
            pickle.dump(drawing, self._process.stdin)
            self._process.stdin.flush()
        except (OSError, EOFError):
            return drawing
        self._asked += 1
        return partial(self._answer, self._asked - 1, drawing)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def _answer(self, number: int, drawing: Drawing) -> bytes:
        try:
            self._listen()
        except (OSError, EOFError):
            return drawing()
        answer = self._answers.pop(number)
        if isinstance(answer, Exception):
            raise answer
        return bytes(answer)

    def _listen(self) -> None:
        """Take in all that the process has been asked for."""
        assert self._process.stdout is not None
        while self._answered < self._asked:
            self._answers[self._answered] = pickle.load(self._process.stdout)
            self._answered += 1


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
