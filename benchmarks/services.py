"""A span of full-size months on a team's services, beside the same with everything local.

    .venv/bin/python benchmarks/services.py [--trips 3403766] [--months 6]

An object store for the assets, Postgres for Dagster's history, MLflow's server on Postgres and the
object store; all on this machine, as `make cluster-test` has them (run that for the packages).
Times are only worth comparing within one run of this benchmark.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from statistics import median

import yaml
from measure import DAGSTER, FULL_MONTH, PROJECT, dagster_home, make_source, measure

sys.path.append(str(PROJECT))

from taxi_assets_tests import services as team

TURNS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trips", type=int, default=FULL_MONTH)
    parser.add_argument("--months", type=int, default=6)
    arguments = parser.parse_args()
    last = f"2023-{arguments.months:02}"

    with tempfile.TemporaryDirectory() as scratch, team.services() as running:
        folder = Path(scratch)
        source = make_source(folder, f"2023-01:{last}", arguments.trips)
        team.start_postgres(running, ["dagster", "mlflow"])
        team.start_object_store(running)
        team.start_mlflow(running, "mlflow")
        shared = folder / "shared_home"
        shared.mkdir()
        instance = yaml.safe_load((PROJECT / "deploy/dagster.yaml").read_text())
        # A command is its own run, whatever launches those of the pages.
        del instance["run_launcher"]
        (shared / "dagster.yaml").write_text(yaml.safe_dump(instance))
        running.run(team.PROGRAMS / "dagster", "instance", "migrate", DAGSTER_HOME=str(shared))

        seconds: dict[str, list[float]] = {"local": [], "services": []}
        for turn in range(TURNS):
            local = folder / f"local{turn}"
            local.mkdir()
            places = {
                "local": {"DAGSTER_HOME": str(dagster_home(local))},
                "services": running.environment
                | {"DAGSTER_HOME": str(shared), "TAXI_STORAGE": f"s3://trips/stored{turn}"},
            }
            for name, variables in places.items():
                done = measure(
                    DAGSTER, "asset", "materialize", "-m", "taxi_assets.definitions",
                    "--select", "group:yellow", "--partition-range", f"2023-01-01...{last}-01",
                    cwd=local, TAXI_TRIP_SOURCE=str(source), **variables,
                )  # fmt: skip
                seconds[name].append(done.seconds)
                print(f"{name:8}  {done.seconds:6.1f} s  {done.peak_mb:6,.0f} MB", flush=True)

    ratio = median(seconds["services"]) / median(seconds["local"])
    print(f"{arguments.months} months on services, beside local   {ratio:.2f}")


if __name__ == "__main__":
    main()
