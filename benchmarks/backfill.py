"""A year of full-size months: one command, a backfill from the pages, and the row-level script.

    .venv/bin/python benchmarks/backfill.py [--trips 3403766] [--without-pages]

All run one after the other on the same twelve synthetic months, which lie in a folder; once more
they come from a web server that gives 15 MB/s. The backfills are launched over GraphQL, as
Dagster's pages do it. Times are only worth comparing within one run of this benchmark. The
exercise and the script take turns: of each the middle time of three counts, and the middle of the
three ratios to the script's time in the same turn, as machines get slower and faster meanwhile.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import requests
from measure import DAGSTER, FULL_MONTH, PROJECT, Measured, dagster_home, make_source, measure
from slow_server import slow_server

sys.path.append(str(PROJECT))

from taxi_assets_tests.webserver import ask, launch_backfill, wait_for_backfill

MONTHS = [f"2023-{month:02d}-01" for month in range(1, 13)]
PORT = 3777
URL = f"http://127.0.0.1:{PORT}"
PACE = 15e6
"""Bytes a second that the slow server gives."""

ROUNDS = 3
"""Turns that the exercise and the script take."""

LONGEST = 3600
"""Seconds that a backfill may take."""


EXERCISE = '+key:"yellow/metrics"'
BOOSTED = f'{EXERCISE} or +key:"yellow/boosted_metrics"'
EVERYTHING = "group:yellow"


def command_line(folder: Path, source: object, months: int, selection: str = EXERCISE) -> Measured:
    """The whole command for the first months of the year, in a folder of its own."""
    folder.mkdir()
    span = (
        ["--partition", MONTHS[0]]
        if months == 1
        else ["--partition-range", f"{MONTHS[0]}...{MONTHS[months - 1]}"]
    )
    return measure(
        DAGSTER, "asset", "materialize", "-m", "taxi_assets.definitions", "--select",
        selection, *span,
        cwd=folder, DAGSTER_HOME=str(dagster_home(folder)), TAXI_TRIP_SOURCE=str(source),
    )  # fmt: skip


def middle(measured: Sequence[Measured]) -> Measured:
    """The middle time and the highest peak of several turns."""
    seconds = median(one.seconds for one in measured)
    return Measured(seconds, max(one.peak_mb for one in measured), measured[-1].output)


def middle_ratio(measured: Sequence[Measured], beside: Sequence[Measured]) -> float:
    """The middle of the ratios of times, each to the time beside it."""
    turns = zip(measured, beside, strict=True)
    return median(one.seconds / other.seconds for one, other in turns)


def fetch_all(url: str, source: Path) -> float:
    """Seconds that it takes to do nothing but fetch all files."""
    begun = time.perf_counter()
    for path in sorted(source.iterdir()):
        requests.get(f"{url}/{path.name}", timeout=600).raise_for_status()
    return time.perf_counter() - begun


@contextmanager
def dagster_dev(folder: Path, source: Path, **variables: str) -> Iterator[None]:
    """Dagster's pages and daemon, in a folder of their own."""
    folder.mkdir()
    environment = os.environ | variables
    environment |= {
        "DAGSTER_HOME": str(dagster_home(folder)),
        "TAXI_TRIP_SOURCE": str(source),
        "PYTHONPATH": str(PROJECT),
    }
    command = [DAGSTER, "dev", "-m", "taxi_assets.definitions", "--port", str(PORT)]
    with (folder / "dev.txt").open("w") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            while True:
                try:
                    ask(URL, "{ version }")
                    break
                except (urllib.error.URLError, ConnectionError):
                    time.sleep(0.5)
            yield
        finally:
            os.killpg(process.pid, signal.SIGINT)
            process.wait(60)


def backfill() -> dict[str, float]:
    """Backfill the year as the dialog does; seconds of the daemon's waiting and of the runs."""
    submitted = time.time()
    runs = wait_for_backfill(URL, launch_backfill(URL, "yellow", MONTHS), LONGEST)
    if {run["status"] for run in runs} != {"SUCCESS"}:
        raise SystemExit(f"runs ended {[run['status'] for run in runs]}")
    started, ended = min(r["startTime"] for r in runs), max(r["endTime"] for r in runs)
    return {"runs": len(runs), "waiting": started - submitted, "running": ended - started}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trips", type=int, default=FULL_MONTH)
    parser.add_argument("--without-pages", action="store_true", help="leave the backfills out")
    arguments = parser.parse_args()
    trips = arguments.trips

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        source = make_source(folder, "2023-01:2023-12", trips)
        month_file = source / "yellow_tripdata_2023-01.parquet"
        script = PROJECT / "benchmarks" / "row_level.py"

        turns: dict[int, list[Measured]] = {months: [] for months in (0, 1, 6, 12)}
        for turn in range(ROUNDS):
            turns[0].append(measure(sys.executable, script, month_file, cwd=folder))
            for months in (1, 6, 12):
                own_folder = folder / f"command{months}-{turn}"
                turns[months].append(command_line(own_folder, source, months))
                shutil.rmtree(own_folder)
        spans = {months: middle(measured) for months, measured in turns.items()}
        ratios = {months: middle_ratio(measured, turns[0]) for months, measured in turns.items()}
        plain = spans.pop(0)
        print(f"row-level script, 1 month   {plain.seconds:6.1f} s   {plain.peak_mb:6,.0f} MB")
        for months, span in spans.items():
            shown = f"{span.seconds:6.1f} s   {span.peak_mb:6,.0f} MB"
            print(f"command, {months:2} months          {shown}   {ratios[months]:.2f} row-level")
        wider = {}
        for name, selection in (("boosted", BOOSTED), ("everything", EVERYTHING)):
            wider[name] = command_line(folder / name, source, 12, selection)
            seconds, peak = wider[name].seconds, wider[name].peak_mb
            print(f"{name:10}, 12 months       {seconds:6.1f} s   {peak:6,.0f} MB")
        with slow_server(source, PACE) as url:
            fetching = fetch_all(url, source)
            served = command_line(folder / "served", url, 12)
        print(f"fetching alone, 12 months   {fetching:6.1f} s")
        print(f"command, 12 months served   {served.seconds:6.1f} s   {served.peak_mb:6,.0f} MB")
        for size in () if arguments.without_pages else ("all", "1"):
            with dagster_dev(folder / f"pages{size}", source, TAXI_MONTHS_PER_RUN=size):
                figures = backfill()
            print(
                f"backfill, {figures['runs']:2} runs of {size:3}    {figures['running']:6.1f} s   "
                f"after waiting {figures['waiting']:.1f} s for the daemon"
            )

    year, month = spans[12], spans[1]
    print(f"\nyear / row-level month   {ratios[12]:.2f}")
    row_level_year = 12 * plain.seconds
    added = (wider["boosted"].seconds - year.seconds) / row_level_year
    print(f"boosted adds a month     {added:.3f} row-level")
    print(f"everything / row-level   {wider['everything'].seconds / plain.seconds:.2f}")
    longer = max(fetching, year.seconds)
    print(f"served / longer of both  {served.seconds / longer:.2f}")
    print(f"month / row-level month  {ratios[1]:.2f}")
    print(f"seconds a month          {year.seconds / 12:.2f}")
    marginal = (year.seconds - month.seconds) / 11
    print(f"marginal month           {marginal:.2f} s, {marginal / plain.seconds:.3f} row-level")
    print(f"peak, 12 months / 1      {year.peak_mb / month.peak_mb:.2f}")


if __name__ == "__main__":
    main()
