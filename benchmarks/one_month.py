"""The exercise on a full-size month: the row-level script and the whole Dagster command, in turn.

    .venv/bin/python benchmarks/one_month.py [--repeats 3]

Both read the same synthetic month of 3,403,766 trips from a local folder, each as a process of
its own from cold start to exit. Times are only worth comparing within one run of this benchmark.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from measure import DAGSTER, PROJECT, dagster_home, folder_bytes, make_source, measure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        source = make_source(folder, "2023-03")
        month_file = source / "yellow_tripdata_2023-03.parquet"
        command = [
            DAGSTER, "asset", "materialize", "-m", "taxi_assets.definitions",
            "--select", '+key:"yellow/metrics"', "--partition", "2023-03-01",
        ]  # fmt: skip

        plain, whole = [], []
        print(f"{'':8}{'row-level script':>24}{'dagster command':>24}")
        for turn in range(1, repeats + 1):
            script = PROJECT / "benchmarks" / "row_level.py"
            plain.append(measure(sys.executable, script, month_file, cwd=folder))
            # In a folder of its own, as nothing is fetched again that has not changed.
            own = folder / f"turn{turn}"
            own.mkdir()
            environment = {"DAGSTER_HOME": str(dagster_home(own)), "TAXI_TRIP_SOURCE": str(source)}
            whole.append(measure(*command, cwd=own, **environment))
            cells = (f"{m.seconds:.1f} s, {m.peak_mb:,.0f} MB" for m in (plain[-1], whole[-1]))
            print(f"turn {turn:<3}{''.join(f'{cell:>24}' for cell in cells)}")

        stored, published = folder_bytes(own / "data"), month_file.stat().st_size
        imports = {
            name: statistics.median(
                measure(sys.executable, "-c", f"import {name}", cwd=folder).seconds
                for _ in range(repeats)
            )
            for name in ("dagster", "taxi_assets.definitions")
        }

    times = [statistics.median(m.seconds for m in runs) for runs in (plain, whole)]
    peaks = [max(m.peak_mb for m in runs) for runs in (plain, whole)]
    print(f"\nmedian time   {times[0]:.1f} s and {times[1]:.1f} s: {times[1] / times[0]:.2f}")
    print(f"peak memory   {peaks[0]:,.0f} MB and {peaks[1]:,.0f} MB: {peaks[1] / peaks[0]:.2f}")
    print(f"stored        {stored:,} bytes, {stored / published:.2f} of the source file")
    loading = imports["taxi_assets.definitions"] - imports["dagster"]
    print(f"code location {loading:+.2f} s beside import dagster ({imports['dagster']:.2f} s)")
    print(plain[-1].output.splitlines()[-1])
    print(next(line for line in whole[-1].output.splitlines() if "metrics 2023-03" in line))


if __name__ == "__main__":
    main()
