"""Under Dagster's real daemon: the sensor, while a server publishes a month; months in order."""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import dagster as dg
import pytest

from taxi_assets_tests.conftest import DAGSTER, Command, latest_record, read_json
from taxi_assets_tests.services import PROJECT, free_port
from taxi_assets_tests.webserver import has_assets, launch_backfill, wait_for_backfill

pytestmark = pytest.mark.drill

PATIENCE = 240
"""Seconds: half a minute until the sensor asks again, and the start of daemon and run."""

COMPARED = {"boosted_metrics": ("rmse", "mae"), "champion": ("decision", "relative_rmse")}
"""Metrics by their assets that depend on the months before."""


class Server(ThreadingHTTPServer):
    """A folder on the web, and what was asked of it."""

    def __init__(self, folder: Path) -> None:
        self.asked: list[tuple[str, str]] = []
        self.slow = ""
        super().__init__(("127.0.0.1", 0), partial(Handler, directory=str(folder)))


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        assert isinstance(self.server, Server)
        self.server.asked.append((self.command, self.path[1:]))
        if self.command == "GET" and self.path[1:] == self.server.slow:
            time.sleep(20)


@pytest.fixture
def published(tmp_path: Path) -> Path:
    folder = tmp_path / "published"
    folder.mkdir()
    return folder


@pytest.fixture
def server(published: Path) -> Iterator[Server]:
    with Server(published) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def daemon(tmp_path: Path, server: Server, publish: Callable[[str], None]) -> Iterator[Command]:
    """A laptop whose sensor is on, and whose daemon runs."""
    command = Command(tmp_path, f"http://127.0.0.1:{server.server_port}")
    publish("2023-01")
    (command.home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    module = ("-m", "taxi_assets.definitions")
    done = command("--select", "*", "--partition", "2023-01-01")
    assert done.returncode == 0, done.stdout
    run = partial(subprocess.run, cwd=tmp_path, env=command.variables, check=True)
    run([DAGSTER, "sensor", "start", "new_green_months", *module])
    with (tmp_path / "daemon.txt").open("w") as log:
        process = subprocess.Popen(
            [DAGSTER.with_name("dagster-daemon"), "run", *module],
            cwd=tmp_path, env=command.variables, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        yield command
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture
def publish(published: Path, source_folder: Path) -> Callable[[str], None]:
    def publish(month: str) -> None:
        shutil.copy(source_folder / f"green_tripdata_{month}.parquet", published)

    return publish


def wait_for(what: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline, log.read_text()[-3000:]
        time.sleep(1)


def test_a_month_that_is_published_meanwhile_is_trained_once_it_is_whole(
    publish: Callable[[str], None], daemon: Command, server: Server, published: Path, tmp_path: Path
) -> None:
    """At first it is damaged at the source; each look is at once, as its cursor is removed."""
    log = tmp_path / "daemon.txt"

    def look() -> None:
        command = [DAGSTER, "sensor", "cursor", "new_green_months", "--delete"]
        module = ("-m", "taxi_assets.definitions")
        subprocess.run([*command, *module], cwd=tmp_path, env=daemon.variables, check=True)

    with dg.DagsterInstance.from_config(str(daemon.home)) as instance:

        def ended(statuses: list[str]) -> bool:
            new = [run for run in instance.get_runs() if run.run_id not in before]
            return [run.status.value for run in reversed(new)] == statuses

        before = {run.run_id for run in instance.get_runs()}
        wait_for(lambda: ("HEAD", "green_tripdata_2023-02.parquet") in server.asked, log)
        assert ended([]), "there is nothing new yet"
        (published / "green_tripdata_2023-02.parquet").write_bytes(b"PAR1 damaged")
        look()
        wait_for(lambda: ended(["FAILURE"]), log)
        publish("2023-02")
        look()
        wait_for(lambda: ended(["FAILURE", "SUCCESS"]), log)
        assert latest_record(instance, "metrics", "2023-02") is not None
        last, *_ = instance.get_runs()
        assert last.tags["dagster/partition"] == "2023-02-01"


def test_ranges_on_either_side_of_a_gap_are_made_in_order_however_slow_the_first_is(
    published: Path, server: Server, publish: Callable[[str], None], tmp_path: Path
) -> None:
    """Two runs of one backfill, two of which may go on at a time; as one range makes them."""
    months = ("2023-01", "2023-02", "2023-04", "2023-05")
    for month in months:
        publish(month)
    (tmp_path / "range").mkdir()
    alone = Command(tmp_path / "range", str(published))
    span = ("--partition-range", "2023-01-01...2023-05-01")
    assert "1 of 5 months failed" in alone("--select", "*", *span).stdout
    server.slow = "green_tripdata_2023-01.parquet"
    (tmp_path / "backfill").mkdir()
    team = Command(tmp_path / "backfill", f"http://127.0.0.1:{server.server_port}")
    shutil.copy(PROJECT / ".dagster_home" / "dagster.yaml", team.home)
    run = partial(subprocess.run, cwd=team.folder, env=team.variables, check=True)
    run([DAGSTER, "instance", "concurrency", "set", "green", "1"])
    port, module = free_port(), ("-m", "taxi_assets.definitions")
    with (tmp_path / "services.txt").open("w") as log:
        start = partial(
            subprocess.Popen, cwd=team.folder, env=team.variables, stdout=log, stderr=log
        )
        services = [
            start([DAGSTER.with_name("dagster-webserver"), "-p", str(port), *module]),
            start([DAGSTER.with_name("dagster-daemon"), "run", *module]),
        ]
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(lambda: has_assets(url), tmp_path / "services.txt")
        backfill = launch_backfill(url, "green", [f"{month}-01" for month in months])
        runs = wait_for_backfill(url, backfill, PATIENCE)
    finally:
        for service in services:
            service.terminate()
            service.wait(60)
    first, second = sorted(runs, key=lambda run: run["startTime"])
    assert [run["status"] for run in runs] == ["SUCCESS"] * 2
    assert first["tags"]["dagster/asset_partition_range_start"] == "2023-01-01"
    assert first["endTime"] <= second["startTime"]
    for month in months:
        for asset, names in COMPARED.items():
            one, other = (
                read_json(place / f"data/green/{asset}/{month}.json")
                for place in (alone.folder, team.folder)
            )
            assert [one[name] for name in names] == [other[name] for name in names]
