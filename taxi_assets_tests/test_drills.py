"""Drills with real processes: killed, terminated, all at once, and served from elsewhere."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import mlflow
import pytest
from mlflow.entities import Run

from taxi_assets_tests.conftest import Command, latest_record, read_json
from taxi_assets_tests.crash_drill import drill
from taxi_assets_tests.services import free_port

pytestmark = pytest.mark.drill

MLFLOW = Path(sys.executable).with_name("mlflow")
SPAN = ("--select", "*", "--partition-range", "2023-01-01...2023-03-01")
MONTHS = ("2023-01", "2023-02", "2023-03")
RANDOM_KILLS = 3


def runs(folder: Path, uri: str | None = None, family: str = "linear") -> list[Run]:
    """The MLflow runs that trained a family; ``%`` stands for all."""
    client = mlflow.MlflowClient(uri or f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name("nyc-taxi-trip-duration")
    condition = f"tags.`taxi_assets.family` LIKE '{family}'"
    return list(client.search_runs([experiment.experiment_id], condition)) if experiment else []


def metrics(folder: Path, fleet: str = "green") -> dict[str, dict[str, float]]:
    """Each month's metrics, without the pickle's size, in which a run's id may show."""
    stored = folder / "data" / fleet / "metrics"
    return {
        path.stem: read_json(path) | {"model_size_bytes": None} for path in stored.glob("*.json")
    }


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"{url} did not come up")


@contextmanager
def serving(*command: object, url: str, cwd: Path) -> Iterator[None]:
    # `mlflow models serve` looks for uvicorn on the path, as in an activated environment.
    environment = os.environ | {"PATH": f"{Path(str(command[0])).parent}:{os.environ['PATH']}"}
    with (cwd / "server.txt").open("w") as log:
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=cwd,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_for(url, process)
        yield
    finally:
        process.terminate()
        process.wait(120)


@pytest.fixture(scope="session")
def undisturbed_folder(tmp_path_factory: pytest.TempPathFactory, source_folder: Path) -> Path:
    """Where a span has run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    done = Command(folder, str(source_folder))(*SPAN)
    assert done.returncode == 0, done.stdout
    return folder


@pytest.fixture(scope="session")
def undisturbed(undisturbed_folder: Path) -> dict[str, dict[str, float]]:
    return metrics(undisturbed_folder)


STOPPED_WHILE_A_MODEL_IS_LOGGED = """
import os, sys
from dagster._cli.asset import asset_materialize_command
from taxi_assets.tracking.tracked_run import TrackedRun

month, how, *arguments = sys.argv[1:]

def log_model(run, *values, logged=TrackedRun.log_model):
    if str(run._context.month) == month:
        os.kill(os.getpid(), int(how))
    logged(run, *values)

TrackedRun.log_model = log_model
asset_materialize_command.main(["-m", "taxi_assets.definitions", *arguments])
"""


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_terminated_run_leaves_nothing_running(command: Command, how: signal.Signals) -> None:
    """Stopped while the second of three months is tracked: the first is done, the third unbegun."""
    stopped = (sys.executable, "-c", STOPPED_WHILE_A_MODEL_IS_LOGGED, MONTHS[1], str(int(how)))
    done = subprocess.run(
        [*stopped, *SPAN],
        cwd=command.folder,
        env=command.variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert f"model {MONTHS[2]}" not in done.stdout
    tracked = {run.data.tags["dagster.partition"][:7]: run for run in runs(command.folder)}
    assert {month: run.info.status for month, run in tracked.items()} == {
        MONTHS[0]: "FINISHED",
        MONTHS[1]: "KILLED",
    }
    assert "rmse" in tracked[MONTHS[0]].data.metrics
    assert "Interrupt" in tracked[MONTHS[1]].data.tags["taxi_assets.reason"]


def test_the_multiprocess_executor_ends_runs_too(
    command: Command, undisturbed_folder: Path, undisturbed: dict[str, dict[str, float]]
) -> None:
    """A span from ``model`` on: the step that begins the MLflow runs, and those that go on."""
    trained = shutil.ignore_patterns("model", "metrics", "backtest")
    shutil.copytree(undisturbed_folder / "data", command.folder / "data", ignore=trained)
    config = '{"execution": {"config": {"multiprocess": {}}}}'
    done = command("--select", 'key:"green/model"+', *SPAN[2:], "--config-json", config)
    assert done.returncode == 0, done.stdout
    assert [run.info.status for run in runs(command.folder)] == ["FINISHED"] * 3
    assert metrics(command.folder) == undisturbed


def test_eight_processes_train_eight_months_at_once_without_a_database(tmp_path: Path) -> None:
    command = Command(tmp_path, fleet="synthetic")
    # Dagster's own history is there first, as after `make install`: it has the same race.
    dg.DagsterInstance.from_config(str(command.home)).dispose()
    processes = [
        command.start("--select", "*", "--partition", f"2023-{month:02}-01",
                      TAXI_SYNTHETIC_TRIPS="3000")
        for month in range(1, 9)
    ]  # fmt: skip
    outputs = [process.communicate()[0] for process in processes]
    for process, output in zip(processes, outputs, strict=True):
        assert process.returncode == 0, output
        assert "database is locked" not in output
    tracked = runs(tmp_path)
    assert len(tracked) == 8
    for run in tracked:
        assert run.info.status == "FINISHED"
        assert run.data.metrics["records_loaded"] == 3_000
        assert len(run.outputs.model_outputs) == 1
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    newest = client.get_model_version_by_alias("nyc-taxi-trip-duration-synthetic", "newest_linear")
    assert newest.tags["month"] == "2023-08"


def test_an_mlflow_server_keeps_everything(command: Command, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    server = (
        MLFLOW, "server", "--port", url.rpartition(":")[2], "--workers", 1,
        "--backend-store-uri", "sqlite:///server.db", "--artifacts-destination", "artifacts",
    )  # fmt: skip
    with serving(*server, url=f"{url}/health", cwd=tmp_path):
        for months in (SPAN, ("--select", "*", "--partition", "2023-02-01")):
            done = command(*months, MLFLOW_TRACKING_URI=url)
            assert done.returncode == 0, done.stdout
        tracked = runs(tmp_path, url)
        assert [run.info.status for run in tracked] == ["FINISHED"] * 4
        (superseded,) = [run for run in tracked if "taxi_assets.superseded_by" in run.data.tags]
        assert superseded.data.tags["dagster.partition"] == "2023-02-01"
        client = mlflow.MlflowClient(url)
        version = client.get_model_version_by_alias("nyc-taxi-trip-duration-green", "newest_linear")
        assert version.tags["month"] == "2023-03"
    assert not (tmp_path / "mlruns").exists()
    with dg.DagsterInstance.from_config(str(command.home)) as instance:
        link = latest_record(instance, "metrics", "2023-03").metadata["mlflow_run"].value
    assert re.fullmatch(rf"{url}/#/experiments/\d+/runs/{version.run_id}", link)


@pytest.fixture
def logged_model(undisturbed_folder: Path) -> Path:
    """The folder of a boosted model that MLflow keeps."""
    folders = [path.parent for path in (undisturbed_folder / "mlruns").rglob("MLmodel")]
    return next(f for f in folders if "lightgbm" in (f / "requirements.txt").read_text())


@pytest.fixture
def bare_environment(logged_model: Path, tmp_path: Path) -> Path:
    """The programs of an environment with the model's requirements and nothing else."""
    uv = Path(sys.executable).with_name("uv")
    programs = tmp_path / "bare/bin"
    for command in (
        [uv, "venv", "--quiet", "--python", sys.executable, programs.parent],
        [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", programs / "python",
         "-r", logged_model / "requirements.txt"],
    ):  # fmt: skip
        subprocess.run(command, check=True)
    return programs


def test_the_model_predicts_where_only_its_requirements_are_installed(
    logged_model: Path, bare_environment: Path, tmp_path: Path
) -> None:
    """Served, from JSON and from CSV, with numbers and with strings: the same minutes."""
    importing = [bare_environment / "python", "-c", "import taxi_assets"]
    assert subprocess.run(importing, capture_output=True, check=False, cwd=tmp_path).returncode == 1
    numbers = {"dataframe_records": [{"PULocationID": 132, "DOLocationID": 230}]}
    strings = {"dataframe_records": [{"PULocationID": "132", "DOLocationID": "230"}]}
    (tmp_path / "trips.json").write_text(json.dumps(numbers))
    (tmp_path / "trips.csv").write_text("PULocationID,DOLocationID\n132,230\n")

    def predict(file: str) -> float:
        command = [
            bare_environment / "mlflow", "models", "predict", "--env-manager", "local",
            "-m", logged_model, "-i", file, "-t", file.rpartition(".")[2],
        ]  # fmt: skip
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        (answer,) = json.loads(done.stdout.splitlines()[-1])["predictions"]
        assert answer["minutes_p10"] < answer["minutes"] < answer["minutes_p90"]
        return float(answer["minutes"])

    minutes = predict("trips.json")
    assert 1 < minutes < 60
    assert predict("trips.csv") == minutes

    port = free_port()
    serve: tuple[object, ...] = (
        bare_environment / "mlflow", "models", "serve", "--env-manager", "local",
        "-m", logged_model, "--port", port,
    )  # fmt: skip
    with serving(*serve, url=f"http://127.0.0.1:{port}/health", cwd=tmp_path):
        for question in (numbers, strings):
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/invocations",
                json.dumps(question).encode(),
                {"Content-Type": "application/json"},
            )
            with urllib.request.urlopen(request, timeout=60) as answer:
                (served,) = json.load(answer)["predictions"]
                assert served["minutes"] == pytest.approx(minutes, rel=1e-9)


@pytest.mark.parametrize("seed", [20261123])
def test_spans_killed_inside_their_writes_lose_nothing(tmp_path: Path, seed: int) -> None:
    kills = drill(tmp_path, RANDOM_KILLS, seed)
    assert kills.total() == RANDOM_KILLS
    assert kills["inside a write"] >= RANDOM_KILLS / 2


def test_two_spans_of_the_same_months_at_once_complete(
    command: Command, undisturbed: dict[str, dict[str, float]]
) -> None:
    """One Dagster home, one MLflow database, one storage: what is stored is whole and tracked.

    A span may be overtaken between a model and its metrics; then its MLflow run says so.
    """
    dg.DagsterInstance.from_config(str(command.home)).dispose()
    for process in [command.start(*SPAN) for _ in range(2)]:
        output, _ = process.communicate()
        assert process.returncode == 0, output
    assert metrics(command.folder) == undisturbed
    tracked = runs(command.folder)
    assert len(tracked) == 6
    current = [run for run in tracked if "taxi_assets.superseded_by" not in run.data.tags]
    assert sorted(run.data.tags["dagster.partition"][:7] for run in current) == list(MONTHS)
    for run in tracked:
        if run in current or run.info.status == "FINISHED":
            assert run.info.status == "FINISHED"
            assert "rmse" in run.data.metrics
        else:
            assert "was trained by another Dagster run" in run.data.tags["taxi_assets.reason"]
    assert list((command.folder / "data").rglob("*.tmp")) == []


LARGEST_MONTH = 16_146_923
"""Trips in yellow 2012-03."""


def test_the_largest_month_of_taxis_takes_at_most_1_4_gigabytes(tmp_path: Path) -> None:
    command = Command(tmp_path, fleet="synthetic")
    trips = str(LARGEST_MONTH)
    process = command.start(
        "--select", "*", "--partition", "2023-01-01", TAXI_SYNTHETIC_TRIPS=trips
    )
    output, _ = process.communicate()
    assert process.returncode == 0, output
    assert metrics(tmp_path, "synthetic")["2023-01"]["records_loaded"] == LARGEST_MONTH
    # The largest of all children that have ended, in KiB; no other drill comes near it.
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 1.4e9 / 1024


ABORTED = "terminate called after throwing an instance of 'arrow::stl::BadAlloc'"
"""What Arrow says when a thread of its own finds no memory: it ends the process, which nothing in
it can prevent. That happens one time in some twenty."""


def test_a_month_that_finds_no_memory_fails_in_a_sentence(tmp_path: Path) -> None:
    """1.45 GB of address space (``ulimit -v``) hold the libraries, and not three million trips.

    A little more would hold the trips, and not what OpenBLAS needs for the fit: it tries for ever.
    """
    limit = 1_450_000_000
    for attempt in range(3):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        process = Command(folder, fleet="synthetic").start(
            "--select", "*", "--partition-range", "2023-01-01...2023-02-01",
            TAXI_SYNTHETIC_TRIPS="3400000",
            preexec=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
        )  # fmt: skip
        output, _ = process.communicate(timeout=600)
        if process.returncode != -signal.SIGABRT or ABORTED not in output:
            break
    assert process.returncode == 1, output
    assert "2023-01: The memory is used up. Run fewer months at once, or give the" in output
    assert "Traceback" not in output
    assert list((folder / "data").rglob("*.tmp")) == []
