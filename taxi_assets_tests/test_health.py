"""What ``deploy/compose.yaml`` takes for a healthy web server."""

import subprocess
import sys

import pytest
import yaml

from taxi_assets_tests.deployment import wait_until
from taxi_assets_tests.services import (
    PATIENCE,
    PROGRAMS,
    PROJECT,
    accepts,
    answers,
    free_port,
    services,
)

pytestmark = pytest.mark.drill


def test_a_web_server_is_healthy_once_it_has_assets_to_show() -> None:
    compose = yaml.safe_load((PROJECT / "deploy/compose.yaml").read_text())
    _, _, *check = compose["services"]["webserver"]["healthcheck"]["test"]
    code, web = free_port(), free_port()

    def is_healthy() -> bool:
        here = [part.replace("localhost:3000", f"127.0.0.1:{web}") for part in check]
        return subprocess.run([sys.executable, *here], check=False).returncode == 0

    with services() as running:
        running.environment |= {
            "DAGSTER_HOME": str(running.folder),
            "DAGSTER_CODE_HOST": "127.0.0.1",
            "DAGSTER_CODE_PORT": str(code),
        }
        running.start(
            "webserver", PROGRAMS / "dagster-webserver", "-h", "127.0.0.1", "-p", web,
            "-w", PROJECT / "deploy/workspace.yaml",
            ready=lambda: answers(f"http://127.0.0.1:{web}/server_info"),
        )  # fmt: skip
        assert not is_healthy()
        running.start(
            "code", PROGRAMS / "dagster", "code-server", "start", "-m", "taxi_assets.definitions",
            "-h", "127.0.0.1", "-p", code, ready=lambda: accepts(code),
        )  # fmt: skip
        wait_until(is_healthy, "the web server is healthy", PATIENCE)
