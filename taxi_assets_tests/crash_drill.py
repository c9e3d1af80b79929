"""Spans that are killed at random moments, most of them inside a write.

``python -m taxi_assets_tests.crash_drill 200`` kills two hundred. Every span replaces all values
of the one before, as the source changes in between, so that half of a new value, or a mixture,
would be seen. After each kill:

- every stored file opens, and is the complete old value or the complete new one;
- the latest records say the same, but for the one value that was being stored and recorded;
- the span, run again, ends like one that nobody disturbed, and leaves no litter and no open run.
"""

import contextlib
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PRELOADED = [
    *("dagster", "dagster._cli.asset", "dagster._core.storage.sqlite_storage"),
    *("dagster._core.workspace.autodiscovery", "dagster_mlflow", "structlog"),
    *("mlflow.pyfunc", "lightgbm", "mlflow.tracking", "alembic", "git", "IPython"),
    *("mlflow.store.model_registry.sqlalchemy_store", "mlflow.store.tracking.sqlalchemy_store"),
    *("pandas", "pyarrow.parquet", "fsspec", "matplotlib.backends.backend_agg"),
    *("sklearn.linear_model", "sklearn.feature_extraction", "sklearn.model_selection", "skops.io"),
]
"""Imports that take most of a span's time; they are done once, and each process is forked then."""

FIGURES = {
    "raw_trips": "records_loaded",
    "cleaned_trips": "records_cleaned",
    "zone_pairs": "train_trips",
    "vectorizer": "feature_count",
    "model": "intercept",
    "metrics": "rmse",
    "hourly_pairs": "trips",
    "boosted_model": "training_months",
    "boosted_metrics": "rmse",
    "backtest": "trips",
}
"""The metric by which the record of each asset tells one version from another."""

ASSETS = tuple(FIGURES)
MONTHS = ("2023-01", "2023-02", "2023-03")
TRIPS = {"old": 2_000, "new": 2_500}
ELSEWHERE = 4
"""Every fourth kill does not aim at a write; of the others, some come too late for theirs."""


@dataclass(frozen=True)
class Kill:
    """When a process kills itself: so many seconds after it has begun a phase for the n-th time."""

    phases: str
    number: int
    seconds: float


def materialize(folder: Path, source: Path, kill: Kill | None) -> None:
    """Run the command in this process, which has been started for it."""
    os.chdir(folder)
    os.environ |= {
        "DAGSTER_HOME": str(folder / "home"),
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "MLFLOW_DISABLE_TELEMETRY": "1",
        "TAXI_FLEET": "green",
        "TAXI_TRIP_SOURCE": str(source),
    }
    log = os.open(folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    announce_phases(folder / "phases.txt", kill)
    from dagster._cli.asset import asset_materialize_command

    span = f"{MONTHS[0]}-01...{MONTHS[-1]}-01"
    asset_materialize_command.main(
        ["-m", "taxi_assets.definitions", "--select", "*", "--partition-range", span]
    )


def announce_phases(path: Path, kill: Kill | None) -> None:
    """Have this process note in a file what it is doing, and kill itself when it is time."""
    from taxi_assets.runs.event_log import Records
    from taxi_assets.runs.monthly_asset import MonthlyAsset
    from taxi_assets.runs.one_month import MonthMaker
    from taxi_assets.storage import files
    from taxi_assets.tlc.months import Month
    from taxi_assets.tracking.tracked_run import TrackedRun

    notes = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    place = ["", ""]
    seen = 0

    def begin(phase: str) -> None:
        nonlocal seen
        os.write(notes, f"{place[0]} {place[1]}: {phase}\n".encode())
        if kill is None or not phase.startswith(kill.phases):
            return
        seen += 1
        if seen == kill.number and kill.seconds:
            end = threading.Timer(kill.seconds, os.kill, (os.getpid(), signal.SIGKILL))
            end.daemon = True
            end.start()
        elif seen == kill.number:
            os.kill(os.getpid(), signal.SIGKILL)

    def announced(function: Callable[..., Any], phase: str) -> Callable[..., Any]:
        def announce(*arguments: Any, **more: Any) -> Any:
            begin(phase)
            return function(*arguments, **more)

        return announce

    def make(maker: MonthMaker, asset: MonthlyAsset, month: Month, *more: Any) -> Iterator[Any]:
        place[:] = asset.name, str(month)
        begin("compute")
        yield from made(maker, asset, month, *more)

    @contextlib.contextmanager
    def replacing(storage: files.Storage, target: str) -> Iterator[Path]:
        with replaced(storage, target) as temporary:
            begin(f"write {target.rpartition('.')[2]}")
            yield temporary
            begin("write: flush and rename")
        begin("written")

    made, replaced = MonthMaker._make, files.Storage.replacing
    MonthMaker._make = make  # type: ignore[method-assign]
    files.Storage.replacing = replacing  # type: ignore[method-assign, assignment]
    Records.add = announced(Records.add, "record")  # type: ignore[method-assign]
    TrackedRun.complete = announced(TrackedRun.complete, "register")  # type: ignore[method-assign]


def values(folder: Path) -> dict[tuple[str, str], Any]:
    """Everything that is stored, in a form that can be compared; opening all of it."""
    import dagster as dg
    import pandas as pd

    from taxi_assets.assets.graph import GRAPH
    from taxi_assets.storage.files import Storage
    from taxi_assets.storage.io_managers import io_managers
    from taxi_assets.storage.layout import stored_file
    from taxi_assets.tlc.months import Month

    storage = Storage(str(folder / "data"))
    context = dg.build_init_resource_context(resources={"storage": storage})
    managers = {name: defined(context) for name, defined in io_managers().items()}
    kept_by = {asset.name: managers[asset.io_manager] for asset in GRAPH}
    found: dict[tuple[str, str], Any] = {}
    for asset in ASSETS:
        for month in MONTHS:
            key = dg.AssetKey(["green", asset])
            manager = kept_by[asset]
            if not (folder / "data" / stored_file("green", asset, Month.parse(month))).exists():
                continue
            value = manager.load(key, Month.parse(month))
            if asset == "raw_trips":
                value = value.read().num_rows, value.metadata.serialized_size
            elif asset == "vectorizer":
                value = sorted(value.vocabulary_)
            elif asset == "model":
                value = [float(value["model"].intercept_), *value["model"].coef_.tolist()]
            elif asset in ("metrics", "boosted_metrics"):
                value = value | {"model_size_bytes": None}
            elif asset == "backtest":
                for model in value["models"].values():
                    del model["mlflow_run_id"]
            elif asset == "boosted_model":
                value = {name: array.tobytes() for name, array in value.items()}
                del value["mlflow_run_id"]
            else:
                value = pd.util.hash_pandas_object(value).tolist()
            found[asset, month] = value
    return found


def recorded(folder: Path) -> dict[tuple[str, str], Any]:
    """The metric of the latest record of each value."""
    import dagster as dg

    found: dict[tuple[str, str], Any] = {}
    with dg.DagsterInstance.from_config(str(folder / "home")) as instance:
        for asset in ASSETS:
            for month in MONTHS:
                wanted = dg.AssetRecordsFilter(
                    dg.AssetKey(["green", asset]), asset_partitions=[f"{month}-01"]
                )
                records = instance.fetch_materializations(wanted, limit=1).records
                if records:
                    record = records[0].asset_materialization
                    assert record is not None
                    found[asset, month] = record.metadata[FIGURES[asset]].value
    return found


def open_runs(folder: Path) -> int:
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name("nyc-taxi-trip-duration")
    assert experiment is not None
    return len(client.search_runs([experiment.experiment_id], "attributes.status = 'RUNNING'"))


class Drill:
    """A folder in which spans are killed, and the undisturbed ends of its two sources."""

    def __init__(self, folder: Path) -> None:
        from taxi_assets.tlc.fleets import FLEETS
        from taxi_assets.tlc.months import Month
        from taxi_assets.tlc.synthetic import write_month

        self.folder = folder
        self.processes = multiprocessing.get_context("forkserver")
        self.processes.set_forkserver_preload(PRELOADED)
        (folder / "home").mkdir()
        (folder / "home/dagster.yaml").write_text(
            "telemetry: {enabled: false}\npython_logs: {python_log_level: INFO}\n"
        )
        self.values, self.records = {}, {}
        for name, trips in TRIPS.items():
            (folder / name).mkdir()
            for month in MONTHS:
                path = folder / name / f"green_tripdata_{month}.parquet"
                write_month(path, FLEETS["green"], Month.parse(month), trips)
            assert self.run(name) == 0, self.log
            self.values[name], self.records[name] = values(folder), recorded(folder)

    @property
    def log(self) -> str:
        return (self.folder / "log.txt").read_text()

    def run(self, source: str, kill: Kill | None = None) -> int:
        arguments = (self.folder, self.folder / source, kill)
        process = self.processes.Process(target=materialize, args=arguments)
        process.start()
        process.join()
        assert process.exitcode is not None
        return process.exitcode

    def kill(self, source: str, kill: Kill) -> str:
        """Kill a span over to a source, look at what is there, finish it; return where it was."""
        exit_code = self.run(source, kill)
        phase = (self.folder / "phases.txt").read_text().splitlines()[-1]
        assert exit_code in (0, -signal.SIGKILL), self.log
        self.check_values(source, phase)
        assert self.run(source) == 0, self.log
        assert values(self.folder) == self.values[source]
        assert recorded(self.folder) == self.records[source]
        assert [path for path in self.folder.rglob("*.tmp") if "data" in path.parts] == []
        assert open_runs(self.folder) == 0
        return phase if exit_code else "too late"

    def check_values(self, source: str, phase: str) -> None:
        (old,) = set(TRIPS) - {source}
        stored, told = values(self.folder), recorded(self.folder)
        disagreeing = []
        for key in self.values[old]:
            fits = {name for name in TRIPS if stored[key] == self.values[name][key]}
            assert fits, f"{key} is neither the old value nor the new one"
            if not any(told[key] == self.records[name][key] for name in fits):
                disagreeing.append(f"{key[0]} {key[1]}")
        assert disagreeing in ([], [phase.partition(":")[0]]), (disagreeing, phase)


def drill(folder: Path, kills: int, seed: int) -> Counter[str]:
    """Kill that many spans, tell of each, and return how many were in which kind of phase."""
    choice = random.Random(seed)
    spans = Drill(folder)
    # Of each month ten values, the origin of its trips, and seven plots.
    writes, computes = 18 * len(MONTHS), 10 * len(MONTHS)
    counted: Counter[str] = Counter()
    for number in range(1, kills + 1):
        source = list(TRIPS)[number % 2]
        if number % ELSEWHERE:
            flush = choice.random() < 1 / 3
            phases = "write: flush" if flush else "write "
            seconds = 0 if flush else choice.choice([0, choice.uniform(0, 0.002)])
            kill = Kill(phases, choice.randint(1, writes), seconds)
        else:
            phases = choice.choice(["compute", "record", "register", "written"])
            times = 2 * len(MONTHS) if phases == "register" else computes
            kill = Kill(phases, choice.randint(1, times), choice.uniform(0, 0.3))
        phase = spans.kill(source, kill)
        inside = phase.partition(": ")[2].startswith("write") and not phase.endswith("written")
        counted["inside a write" if inside else "elsewhere"] += 1
        print(f"kill {number} of {kills}: {phase}", flush=True)
    return counted


if __name__ == "__main__":
    multiprocessing.set_start_method("forkserver")
    KILLS, *SEED = (int(argument) for argument in sys.argv[1:])
    with tempfile.TemporaryDirectory() as temporary:
        print(json.dumps(drill(Path(temporary), KILLS, *(SEED or [1]))))
