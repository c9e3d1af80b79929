"""Who works on an MLflow run, and whether they still can.

A run that nobody can finish any more must not stay RUNNING; one whose owner may be alive must not
be touched. The owner is a process, within a Dagster run.
"""

from dataclasses import asdict, dataclass
from typing import Self

import dagster as dg

from taxi_assets.storage.processes import Process

OWNER = "taxi_assets.owner"
"""MLflow tag that holds a run's owner."""


@dataclass(frozen=True)
class Owner(Process):
    """The process whose end is the end of an MLflow run.

    Attributes:
        dagster_run_id: the Dagster run that it executes.
    """

    dagster_run_id: str = ""

    @classmethod
    def of_run(cls, dagster_run_id: str) -> Self:
        """The current process, as the one that executes a Dagster run."""
        return cls(**asdict(Process.current()), dagster_run_id=dagster_run_id)

    def fate(self, instance: dg.DagsterInstance) -> str | None:
        """Why the owner is provably gone, or None if it may still be at work."""
        run = instance.get_run_by_id(self.dagster_run_id)
        if run is not None and run.is_finished:
            return f"the Dagster run ended as {run.status.value}"
        return f"process {self.pid} on {self.host} is gone" if self.is_gone else None
