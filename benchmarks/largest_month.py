"""The largest month with every asset, after two short ones: trips, seconds and peak memory.

    .venv/bin/python benchmarks/largest_month.py [--trips 20000000]

Uber's and Lyft's months have some 20 million trips. The months before it give the boosted model
its window, and the backtest its models.
"""

import argparse
import tempfile
from pathlib import Path

from measure import DAGSTER, dagster_home, make_source, measure

SHORT = 300_000
"""Trips of the months before."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trips", type=int, default=20_000_000)
    trips = parser.parse_args().trips

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make_source(folder, "2023-01:2023-02", SHORT, "fhvhv")
        source = make_source(folder, "2023-03", trips, "fhvhv")
        home = dagster_home(folder)
        for months in ("2023-01-01...2023-02-01", "2023-03-01...2023-03-01"):
            done = measure(
                DAGSTER, "asset", "materialize", "-m", "taxi_assets.definitions",
                "--select", "group:fhvhv", "--partition-range", months,
                cwd=folder, DAGSTER_HOME=str(home), TAXI_TRIP_SOURCE=str(source),
            )  # fmt: skip
    print(f"{trips:,} trips   {done.seconds:.1f} s   {done.peak_mb * 1.048576:,.0f} MB")


if __name__ == "__main__":
    main()
