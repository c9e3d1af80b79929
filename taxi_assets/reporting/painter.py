"""A process beside the run's that draws its pictures, on a core that is idle otherwise.

Drawing takes a quarter of the time that a month needs. Where the process cannot be started, or
dies, the run draws for itself. It ends when the run's process does, however that ends.
"""

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from taxi_assets.tlc.fleets import Fleet
from taxi_assets.tlc.months import Month

Drawn = Callable[[], Any]
"""Waits for pictures that have been asked for, and gives them."""


class Painter:
    """Draws, by functions that give pictures, in the order in which it is asked."""

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

    def draw(self, chart: Callable[..., Any], *arguments: Any) -> Drawn:
        """Begin to draw, or, if the process is gone, draw when the pictures are wanted."""
        assert self._process.stdin is not None
        by_oneself = partial(chart, *arguments)
        try:
            # Both processes would wait for ever if each had something to say to the other.
            self._listen()
            pickle.dump(by_oneself, self._process.stdin)
            self._process.stdin.flush()
        except (OSError, EOFError):
            return by_oneself
        self._asked += 1
        return partial(self._answer, self._asked - 1, by_oneself)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def _answer(self, number: int, by_oneself: Drawn) -> Any:
        try:
            self._listen()
        except (OSError, EOFError):
            return by_oneself()
        answer = self._answers.pop(number)
        if isinstance(answer, Exception):
            raise answer
        return answer

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
