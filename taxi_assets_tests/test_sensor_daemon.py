"""The sensor under Dagster's real daemon, while a server publishes a month."""

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

from taxi_assets_tests.conftest import DAGSTER, Command, latest_record

pytestmark = pytest.mark.drill

PATIENCE = 240
"""Seconds: a minute until the sensor asks again, and the start of daemon and run."""


class Server(ThreadingHTTPServer):
    """A folder on the web, and what was asked of it."""

    def __init__(self, folder: Path) -> None:
        self.asked: list[tuple[str, str]] = []
        super().__init__(("127.0.0.1", 0), partial(Handler, directory=str(folder)))


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        assert isinstance(self.server, Server)
        self.server.asked.append((self.command, self.path[1:]))


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


def test_a_month_that_is_published_meanwhile_is_trained_once(
    publish: Callable[[str], None], daemon: Command, server: Server, tmp_path: Path
) -> None:
    log = tmp_path / "daemon.txt"
    with dg.DagsterInstance.from_config(str(daemon.home)) as instance:
        before = {run.run_id for run in instance.get_runs()}
        wait_for(lambda: ("HEAD", "green_tripdata_2023-02.parquet") in server.asked, log)
        assert {run.run_id for run in instance.get_runs()} == before, "there is nothing new yet"
        publish("2023-02")
        wait_for(lambda: latest_record(instance, "metrics", "2023-02") is not None, log)
        wait_for(lambda: all(run.is_finished for run in instance.get_runs()), log)
        (run,) = [run for run in instance.get_runs() if run.run_id not in before]
        assert run.tags["dagster/partition"] == "2023-02-01"
        assert run.tags["dagster/sensor_name"] == "new_green_months"
        assert run.status == dg.DagsterRunStatus.SUCCESS
    fetched = [path for method, path in server.asked if method == "GET" and "trip" in path]
    assert fetched == ["green_tripdata_2023-01.parquet", "green_tripdata_2023-02.parquet"]
