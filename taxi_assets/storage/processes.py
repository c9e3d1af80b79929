"""Which process something is of, and whether it lives."""

import json
import os
import socket
from dataclasses import asdict, dataclass
from typing import Self


@dataclass(frozen=True)
class Process:
    """A process: its host's name, its number there, and when it lived, in seconds since 1970."""

    host: str
    pid: int
    started: float

    @classmethod
    def current(cls) -> Self:
        """The process that asks."""
        import psutil

        return cls(socket.gethostname(), os.getpid(), psutil.Process().create_time())

    @classmethod
    def from_text(cls, text: str | None) -> Self | None:
        """The process that ``to_text`` has written down; None if the text is none of its own."""
        try:
            return cls(**json.loads(text or ""))
        except (ValueError, TypeError):
            return None

    def to_text(self) -> str:
        """The process in a line."""
        return json.dumps(asdict(self))

    @property
    def is_gone(self) -> bool:
        """Whether it has ended for certain; of another host's nobody can tell.

        A number is given again to later processes. Clocks of file systems and of the process table
        differ by less than two seconds.
        """
        import psutil

        if self.host != socket.gethostname():
            return False
        try:
            return bool(psutil.Process(self.pid).create_time() >= self.started + 2)
        except (psutil.NoSuchProcess, OverflowError):
            return True
