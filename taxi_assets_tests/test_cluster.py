"""Six months of high-volume trips over a Ray cluster, one of whose two nodes dies at one of them.

What does not look back is made of two months at a time, the rest as a range.
"""

import contextlib
import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import fsspec
import mlflow
import psutil
import pytest

from taxi_assets.tlc.fleets import FLEETS
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.synthetic import write_month
from taxi_assets_tests import services as team
from taxi_assets_tests.conftest import Command, read_json
from taxi_assets_tests.services import Services
from taxi_assets_tests.webserver import ASSETS, backfill_state, launch_backfill, wait_for_backfill

pytestmark = pytest.mark.cluster

MONTHS = [f"2023-{month:02}" for month in range(1, 7)]
KEYS = [f"{month}-01" for month in MONTHS]
FLEET = "fhvhv"
TRIPS = 5_000
STORAGE = "s3://trips/stored"
EXTENSIONS = {
    **dict.fromkeys(("raw_trips", "cleaned_trips", "zone_pairs", "hourly_pairs"), "parquet"),
    "predictions": "parquet",
    "boosted_model": "npz",
    **dict.fromkeys(("vectorizer", "model"), "skops"),
    **dict.fromkeys(("metrics", "boosted_metrics", "backtest", "champion"), "json"),
}
SIDE_BY_SIDE = (
    *("raw_trips", "cleaned_trips", "zone_pairs", "vectorizer", "model", "metrics"),
    "hourly_pairs",
)
"""What does not look back, and is made of several months at once; the rest follows as a range."""

MODEL = f"nyc-taxi-trip-duration-{FLEET}"
MONTH = "dagster/asset_partition_range_start"
"""Tag of a run of a backfill: its first month, which here is its only one."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder of month files."""
    folder = tmp_path_factory.mktemp("source")
    for month in map(Month.parse, MONTHS):
        write_month(folder / FLEETS[FLEET].file_name(month), FLEETS[FLEET], month, TRIPS)
    return str(folder)


@pytest.fixture(scope="module")
def cluster(source: str) -> Iterator[tuple[Services, str]]:
    """The services, and the URL of Dagster's web server."""
    with team.services() as running:
        running.environment |= {
            "TAXI_FLEET": FLEET,
            "TAXI_TRIP_SOURCE": source,
            "TAXI_STORAGE": STORAGE,
            "TAXI_MONTHS_PER_RUN": "1",
        }
        team.start_postgres(running, ["dagster", "mlflow"])
        team.start_object_store(running)
        team.start_mlflow(running, "mlflow")
        team.start_ray(running)
        url = team.start_dagster(running, **{"run_monitoring.poll_interval_seconds": 3})
        yield running, url


def executing(node: psutil.Process) -> list[str]:
    """The Dagster runs that a Ray node executes."""
    commands = []
    for process in node.children(recursive=True):
        with contextlib.suppress(psutil.Error):
            commands.append(process.cmdline())
    runs = (json.loads(command[-1]) for command in commands if "execute_run" in command)
    return [str(run["pipeline_run_id"]) for run in runs]


def kill_node_at_work(services: Services, url: str, backfill: str, name: str) -> str:
    """Kill a Ray node and all that it runs, in the middle of a month; return the Dagster run."""
    node = psutil.Process(services.processes[name].pid)
    deadline = time.monotonic() + 240
    with dg.DagsterInstance.from_config(services.environment["DAGSTER_HOME"]) as instance:
        while time.monotonic() < deadline:
            for run_id in executing(node):
                logs = instance.all_logs(run_id, dg.DagsterEventType.ASSET_MATERIALIZATION)
                made = [log.asset_materialization.asset_key.path[-1] for log in logs]
                # With the model an MLflow run is open, so that there is most to leave behind.
                if not made or made[-1] != "model":
                    continue
                for part in [*node.children(recursive=True), node]:
                    with contextlib.suppress(psutil.NoSuchProcess):  # Ray ends workers, too.
                        part.kill()
                return run_id
            time.sleep(0.1)
    raise TimeoutError(f"{name} executes nothing: {backfill_state(url, backfill)}")


@pytest.fixture(scope="module")
def backfilled(
    cluster: tuple[Services, str], monkeypatch_module: pytest.MonkeyPatch
) -> tuple[list[dict[str, Any]], str]:
    """The runs of the backfill, after its end, and the one whose node was killed."""
    services, url = cluster
    for name, value in services.environment.items():
        monkeypatch_module.setenv(name, value)
    worker = team.start_ray_worker(services)
    team.limit_pool(services, FLEET, 2)
    backfill = launch_backfill(url, FLEET, KEYS, SIDE_BY_SIDE)
    killed = kill_node_at_work(services, url, backfill, worker)
    team.start_ray_worker(services)
    runs = wait_for_backfill(url, backfill, seconds=900)
    team.limit_pool(services, FLEET, 1)
    select = ",".join(f"{FLEET}/{asset}" for asset in ASSETS if asset not in SIDE_BY_SIDE)
    services.run(
        team.PROGRAMS / "dagster", "asset", "materialize", "-m", "taxi_assets.definitions",
        "--select", select, "--partition-range", f"{KEYS[0]}...{KEYS[-1]}",
        TAXI_MONTHS_PER_RUN="all",
    )  # fmt: skip
    return runs, killed


@pytest.fixture(scope="module")
def monkeypatch_module() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def local_metrics(
    tmp_path_factory: pytest.TempPathFactory, source: str
) -> dict[str, dict[str, Any]]:
    """What one command gives for the same months on a laptop."""
    command = Command(tmp_path_factory.mktemp("local"), source, FLEET)
    span = ("--partition-range", f"{KEYS[0]}...{KEYS[-1]}")
    done = command("--select", "*", *span)
    assert done.returncode == 0, done.stdout
    stored = command.folder / "data" / FLEET / "metrics"
    return {
        f"{asset}/{path.stem}": read_json(path)
        for asset in ("metrics", "boosted_metrics", "champion")
        for path in (stored.parent / asset).glob("*.json")
    }


def test_the_dead_nodes_month_is_run_again_elsewhere(
    backfilled: tuple[list[dict[str, Any]], str],
) -> None:
    runs, killed = backfilled
    by_month = Counter(run["tags"][MONTH] for run in runs)
    (lost,) = [run for run in runs if run["runId"] == killed]
    assert lost["status"] == "FAILURE"
    (again,) = [run for run in runs if run["tags"].get("dagster/parent_run_id") == killed]
    assert again["status"] == "SUCCESS"
    assert again["tags"]["dagster/is_resume_retry"] == "true"
    assert {run["status"] for run in runs if run is not lost} == {"SUCCESS"}
    month = lost["tags"][MONTH]
    assert by_month == Counter(KEYS) + Counter([month])


def test_every_month_is_stored_once(backfilled: tuple[list[dict[str, Any]], str]) -> None:
    """And nothing half: an object is there when it is complete, or not at all."""
    files, place = fsspec.url_to_fs(STORAGE, use_listings_cache=False)
    for asset, extension in EXTENSIONS.items():
        names = {Path(path).name for path in files.ls(f"{place}/{FLEET}/{asset}", detail=False)}
        notes = r"\.(source\.\w+|stored|profile)\.json$"
        names = {name for name in names if not re.search(notes, name)}
        assert names == {f"{month}.{extension}" for month in MONTHS}


def test_the_metrics_are_those_of_a_laptop(
    backfilled: tuple[list[dict[str, Any]], str], local_metrics: dict[str, dict[str, Any]]
) -> None:
    files, place = fsspec.url_to_fs(STORAGE, use_listings_cache=False)
    assert len(local_metrics) == 3 * len(MONTHS)
    for path, local in local_metrics.items():
        stored = json.loads(files.cat_file(f"{place}/{FLEET}/{path}.json"))
        for name in set(local) - {"model_size_bytes", "champion", "before"}:
            expected = local[name]
            if isinstance(expected, float):
                expected = pytest.approx(expected, rel=1e-9)
            assert stored[name] == expected, (path, name)


def test_the_latest_records_are_right(
    cluster: tuple[Services, str], backfilled: tuple[list[dict[str, Any]], str]
) -> None:
    files, place = fsspec.url_to_fs(STORAGE, use_listings_cache=False)
    services, _ = cluster
    with dg.DagsterInstance.from_config(services.environment["DAGSTER_HOME"]) as instance:
        for asset in ASSETS:
            key = dg.AssetKey([FLEET, asset])
            assert instance.get_materialized_partitions(key) == set(KEYS)
        for month, partition in zip(MONTHS, KEYS, strict=True):
            wanted = dg.AssetRecordsFilter(
                dg.AssetKey([FLEET, "metrics"]), asset_partitions=[partition]
            )
            (record,) = instance.fetch_materializations(wanted, limit=1).records
            assert record.asset_materialization is not None
            stored = json.loads(files.cat_file(f"{place}/{FLEET}/metrics/{month}.json"))
            assert record.asset_materialization.metadata["rmse"].value == round(stored["rmse"], 3)


def test_each_month_has_one_finished_mlflow_run(
    cluster: tuple[Services, str], backfilled: tuple[list[dict[str, Any]], str]
) -> None:
    """Beside it at most the run whose node died, which is not left as if it were going on."""
    services, _ = cluster
    client = mlflow.MlflowClient(services.environment["MLFLOW_TRACKING_URI"])
    experiment = client.get_experiment_by_name("nyc-taxi-trip-duration")
    assert experiment is not None
    family = "tags.`taxi_assets.family` = 'linear'"
    tracked = client.search_runs([experiment.experiment_id], family)
    finished = [run for run in tracked if run.info.status == "FINISHED"]
    assert sorted(run.data.tags["dagster.partition"] for run in finished) == KEYS
    for run in finished:
        assert run.data.metrics["records_loaded"] == TRIPS
        assert "rmse" in run.data.metrics
    assert {run.info.status for run in tracked if run not in finished} <= {"FAILED", "KILLED"}
    newest = client.get_model_version_by_alias(MODEL, "newest_linear")
    assert newest.tags["month"] == MONTHS[-1]
