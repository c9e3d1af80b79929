"""Measuring whole processes."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[1]
DAGSTER = Path(sys.executable).with_name("dagster")
FULL_MONTH = 3_403_766
"""Trips in yellow's March 2023, the month of the exercise."""


@dataclass(frozen=True)
class Measured:
    seconds: float
    peak_mb: float
    output: str


def measure(*command: object, cwd: Path, **variables: str) -> Measured:
    """Run a command to its end; wall time, and peak resident memory of it and its children."""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), **variables}
    with (cwd / "output.txt").open("w+") as output:
        start = time.perf_counter()
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=cwd,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read()
    if process.returncode:
        raise SystemExit(f"{command} failed:\n{text}")
    return Measured(seconds, usage.ru_maxrss / 1024, text)


def make_source(folder: Path, months: str, trips: int = FULL_MONTH, fleet: str = "yellow") -> Path:
    """Synthetic month files in a folder of their own."""
    source = folder / "source"
    measure(
        sys.executable, "-m", "taxi_assets", "synthetic", source,
        "--fleet", fleet, "--months", months, "--trips", trips, cwd=folder,
    )  # fmt: skip
    return source


def dagster_home(folder: Path) -> Path:
    """A Dagster home with the project's settings and no history, as `make install` leaves it."""
    home = folder / "home"
    home.mkdir()
    settings = (PROJECT / ".dagster_home" / "dagster.yaml").read_text()
    (home / "dagster.yaml").write_text(settings)
    measure(DAGSTER, "instance", "info", cwd=folder, DAGSTER_HOME=str(home))
    return home


def folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
