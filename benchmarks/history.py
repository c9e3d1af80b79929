"""All months since 2011, to see whether a month costs more when many are stored.

    .venv/bin/python benchmarks/history.py [--scale 1000]
    .venv/bin/python benchmarks/history.py --full-size

Makes 180 synthetic months with TLC's numbers of trips, divided by a scale, stores them year by year
with the command, and then makes one more month of a fixed size, in turns in an empty folder and in
the one with 180 months. With ``--full-size`` it measures what a month and a trip cost in a range,
and works out what all months would take. Times are only worth comparing within one run.
"""

import argparse
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from measure import DAGSTER, FULL_MONTH, Measured, dagster_home, folder_bytes, measure

THOUSANDS_OF_TRIPS = {
    2011: (13465, 14203, 16066, 14719, 15555, 15098, 14743, 13262, 14627, 15708, 14526, 14627),
    2012: (14969, 14984, 16147, 15478, 15568, 15096, 14379, 14382, 14547, 14522, 13776, 14697),
    2013: (14777, 13990, 15749, 15100, 15285, 14385, 13824, 12597, 14108, 15005, 14388, 13971),
    2014: (13783, 13064, 15428, 14619, 14774, 13813, 13104, 12689, 13374, 14232, 13218, 13014),
    2015: (12741, 12442, 13343, 13064, 13158, 12325, 11560, 11123, 11218, 12307, 11305, 11453),
    2016: (10905, 11375, 12204, 11928, 11832, 11132, 10294, 9942, 10116, 10855, 10102, 10447),
    2017: (9711, 9170, 10295, 10047, 10102, 9657, 8588, 8422, 8945, 9769, 9285, 9509),
    2018: (8761, 8493, 9431, 9306, 9225, 8715, 7851, 7855, 8049, 8835, 8155, 8196),
    2019: (7697, 7049, 7867, 7476, 7598, 6972, 6310, 6073, 6568, 7214, 6878, 6896),
    2020: (6405, 6299, 3008, 238, 348, 550, 800, 1007, 1341, 1681, 1509, 1462),
    2021: (1370, 1372, 1925, 2171, 2507, 2834, 2822, 2789, 2964, 3464, 3473, 3214),
    2022: (2464, 2979, 3628, 3600, 3588, 3558, 3174, 3153, 3184, 3675, 3253, 3400),
    2023: (3067, 2914, 3404, 3288, 3514, 3307, 2907, 2824, 2847, 3522, 3340, 3377),
    2024: (2965, 3008, 3583, 3514, 3724, 3539, 3077, 2979, 3633, 3834, 3646, 3668),
    2025: (3475, 3578, 4145, 3971, 4592, 4323, 3899, 3574, 4251, 4429, 4180, 4300),
}
"""Yellow trips by month, after TLC's published files, rounded; the last two are guesses."""

PROBE, PROBE_TRIPS = "2011-01", 15_000
"""A month that is trained again: its size is the same in both folders."""

PROBES = 5
LARGEST_MONTH = 16_146_923


class Folder:
    """Where commands run, with a history of their own."""

    def __init__(self, path: Path, source: Path) -> None:
        path.mkdir()
        self.path = path
        self.variables = {
            "DAGSTER_HOME": str(dagster_home(path)),
            "TAXI_TRIP_SOURCE": str(source),
        }

    def materialize(self, *span: str) -> Measured:
        return measure(
            DAGSTER, "asset", "materialize", "-m", "taxi_assets.definitions", "--select",
            "group:yellow", *span, cwd=self.path, **self.variables,
        )  # fmt: skip

    def report(self) -> Measured:
        return measure(
            sys.executable, "-m", "taxi_assets", "report", "--output", "report.html",
            cwd=self.path, **self.variables,
        )  # fmt: skip


def make_source(folder: Path, scale: int) -> Path:
    """Every month as a file, its trips divided by the scale."""
    from taxi_assets.tlc.fleets import FLEETS
    from taxi_assets.tlc.months import Month
    from taxi_assets.tlc.synthetic import write_month

    fleet = FLEETS["yellow"]
    folder.mkdir()
    for year, counts in THOUSANDS_OF_TRIPS.items():
        for number, thousands in enumerate(counts, 1):
            month = Month(year, number)
            trips = max(500, thousands * 1000 // scale)
            if str(month) == PROBE:
                trips = PROBE_TRIPS
            write_month(folder / fleet.file_name(month), fleet, month, trips)
    return folder


def marginal_month(scratch: Path, trips: int, months: int) -> float:
    """Seconds that each further month takes in a range of so many."""
    source = scratch / f"source{trips}"
    last = f"2023-{months:02}"
    measure(
        sys.executable, "-m", "taxi_assets", "synthetic", source,
        "--months", f"2023-01:{last}", "--trips", trips, cwd=scratch,
    )  # fmt: skip
    seconds = []
    for end in ("2023-01", last):
        folder = Folder(scratch / f"{trips}-{end}", source)
        done = folder.materialize("--partition-range", f"2023-01-01...{end}-01")
        print(f"{trips:,} trips, to {end}   {done.seconds:5.1f} s   {done.peak_mb:5,.0f} MB")
        seconds.append(done.seconds)
    return (seconds[1] - seconds[0]) / (months - 1)


def extrapolate(months: int, trips: int) -> None:
    """What all months would take on one machine, from two sizes of month."""
    with tempfile.TemporaryDirectory() as scratch:
        usual = marginal_month(Path(scratch), FULL_MONTH, months=6)
        largest = marginal_month(Path(scratch), LARGEST_MONTH, months=3)
    per_million = (largest - usual) / (LARGEST_MONTH - FULL_MONTH) * 1e6
    per_month = usual - per_million * FULL_MONTH / 1e6
    total = months * per_month + trips / 1e6 * per_million
    print(f"a month costs {per_month:.2f} s, a million trips {per_million:.2f} s more")
    print(f"{months} months with {trips:,} trips   {total / 60:.0f} min")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=int, default=1000)
    parser.add_argument("--full-size", action="store_true")
    arguments = parser.parse_args()
    scale = arguments.scale
    months = sum(map(len, THOUSANDS_OF_TRIPS.values()))
    trips = 1000 * sum(map(sum, THOUSANDS_OF_TRIPS.values()))
    if arguments.full_size:
        extrapolate(months, trips)
        return
    print(f"{months} months, {trips:,} trips, divided by {scale:,}")

    with tempfile.TemporaryDirectory() as scratch:
        source = make_source(Path(scratch) / "source", scale)
        full = Folder(Path(scratch) / "full", source)
        for year in THOUSANDS_OF_TRIPS:
            done = full.materialize("--partition-range", f"{year}-01-01...{year}-12-01")
            stored = folder_bytes(full.path) / 1e6
            print(f"{year}   {done.seconds / 12:5.2f} s a month   {stored:6,.0f} MB in all")
            if year == min(THOUSANDS_OF_TRIPS):
                first_report = full.report()

        probe = ("--partition", f"{PROBE}-01")
        seconds: dict[str, list[float]] = {"empty": [], "full": []}
        for _ in range(PROBES):
            empty = Folder(Path(scratch) / "empty", source)
            # With MLflow's database, which the first month of all has to make.
            empty.materialize(*probe)
            seconds["empty"].append(empty.materialize(*probe).seconds)
            shutil.rmtree(empty.path)
            seconds["full"].append(full.materialize(*probe).seconds)
        report = full.report()

    print(f"\nreport of 12 months {first_report.seconds:.1f} s, of {months} {report.seconds:.1f} s")
    for name, times in seconds.items():
        print(f"one month, {name:5} folder   {' '.join(f'{time:.1f}' for time in times)} s")
    ratio = statistics.median(seconds["full"]) / statistics.median(seconds["empty"])
    print(f"with {months} months stored, beside none   {ratio:.2f}")


if __name__ == "__main__":
    main()
