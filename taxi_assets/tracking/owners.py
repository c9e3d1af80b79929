"""Who works on an MLflow run, and whether they still can.

A run that nobody can finish any more must not stay RUNNING; one whose owner may be alive must not
be touched. The owner is a process, known by host, number and start time, within a Dagster run.
"""

import json
import os
import socket
from dataclasses import asdict, dataclass
from typing import Self

import dagster as dg

OWNER = "taxi_assets.owner"
"""MLflow tag that holds a run's owner."""


@dataclass(frozen=True)
class Owner:
    """The process whose end is the end of an MLflow run.

    Attributes:
        host: its name.
        pid: the process's number there.
        started: when the process started, in seconds since 1970.
        dagster_run_id: the Dagster run that it executes.
    """

    host: str
    pid: int
    started: float
    dagster_run_id: str

    @classmethod
    def of_run(cls, dagster_run_id: str) -> Self:
        """The current process, as the one that executes a Dagster run."""
        import psutil

        started = psutil.Process().create_time()
        return cls(socket.gethostname(), os.getpid(), started, dagster_run_id)

    @classmethod
    def from_tag(cls, text: str | None) -> Self | None:
        """The owner that a tag names, if it names one."""
        try:
            return cls(**json.loads(text or ""))
        except (ValueError, TypeError):
            return None

    def to_tag(self) -> str:
        """The tag's text."""
        return json.dumps(asdict(self))

    def fate(self, instance: dg.DagsterInstance) -> str | None:
        """Why the owner is provably gone, or None if it may still be at work."""
        run = instance.get_run_by_id(self.dagster_run_id)
        if run is not None and run.is_finished:
            return f"the Dagster run ended as {run.status.value}"
        if self.host == socket.gethostname() and not self._is_alive():
            return f"process {self.pid} on {self.host} is gone"
        return None

    def _is_alive(self) -> bool:
        import psutil

        try:
            # A number is given again to later processes, a start time is not.
            return bool(abs(psutil.Process(self.pid).create_time() - self.started) < 1)
        except psutil.NoSuchProcess:
            return False
