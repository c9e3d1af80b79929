"""``taxi-assets``: one command for everything, its settings, and the slips that people make."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from taxi_assets import cli
from taxi_assets.cli import main
from taxi_assets.errors import MonthError
from taxi_assets.settings import Settings
from taxi_assets_tests.conftest import taxi_assets

COMMANDS = [
    *("champion", "convert", "materialize", "predict", "relocate", "report", "serve", "synthetic"),
    *("tune", "wipe"),
]


def test_the_commands_are_these() -> None:
    assert sorted(main.commands) == COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_help_says_what_a_command_does_and_shows_an_example(name: str) -> None:
    done = taxi_assets(name, "--help")
    assert done.exit_code == 0
    assert f"taxi-assets {name} " in done.output.partition("Example")[2]


def test_every_command_obeys_the_env_file_that_dagster_obeys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text(
        'TAXI_STORAGE=elsewhere\nTAXI_FLEET=green\nAWS_PROFILE="${NAME:-mine}"\n'
    )
    monkeypatch.setenv("TAXI_FLEET", "yellow")
    seen: list[object] = []

    @click.command()
    def see() -> None:
        settings = Settings.from_environment()
        seen.extend([settings.storage, settings.fleets[0].name, os.environ["AWS_PROFILE"]])

    monkeypatch.setitem(main.commands, "see", see)
    assert taxi_assets("see", folder=tmp_path).exit_code == 0
    assert seen == [str(tmp_path / "elsewhere"), "yellow", "mine"]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MonthError("No model serves."), "Error: No model serves."),
        (KeyboardInterrupt(), "Aborted!"),
    ],
)
def test_what_goes_wrong_is_one_line(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, message: str
) -> None:
    @click.command()
    def fail() -> None:
        raise error

    monkeypatch.setitem(main.commands, "fail", fail)
    done = taxi_assets("fail")
    assert (done.exit_code, done.stderr.strip()) == (1, message)


@pytest.mark.parametrize(
    "command",
    [["predict", "--from", 1, "--to", 2], ["champion"], ["champion", "--set", 1], ["serve"]],
    ids=str,
)
def test_who_only_reads_makes_no_database(tmp_path: Path, command: list[object]) -> None:
    done = taxi_assets(*command, "--fleet", "green", folder=tmp_path)
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: There is no MLflow database at sqlite:////")
    assert list(tmp_path.iterdir()) == []


def test_who_only_reads_locks_nothing(tmp_path: Path, mlflow_database: Path) -> None:
    shutil.copy(mlflow_database, tmp_path)
    done = taxi_assets("champion", "--fleet", "green", folder=tmp_path)
    assert (done.exit_code, done.stdout) == (0, "champion  none\nprevious  none\n")
    assert {path.name for path in tmp_path.iterdir()} == {"mlflow.db"}


def test_a_pipe_that_closes_is_no_traceback() -> None:
    """As in ``taxi-assets --help | head -0``."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "taxi_assets", "--help"],
        stdout=writing, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    os.close(writing)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["blue", "2023-01"], "'blue' is not one of 'yellow', 'green', 'synthetic'"),
        (["green", "2023-01-15"], "'2023-01-15' is not a month: write it as 2023-03."),
        (["green", "2023-03...2023-01"], "'2023-03...2023-01' ends before it begins."),
        (["green", "2013-12"], "green has the months 2014-01 to "),
        (["green", "2023-01...2999-01"], "green has the months 2014-01 to "),
        (
            ["green", "2023-01", "--select", "modle"],
            "green has no asset 'modle'; it has raw_trips,",
        ),
    ],
)
def test_what_does_not_exist_is_a_sentence(arguments: list[str], message: str) -> None:
    done = taxi_assets("materialize", *arguments)
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("months", "chosen"),
    [
        ("2023-01", ["--partition", "2023-01-01"]),
        ("2023-01-01", ["--partition", "2023-01-01"]),
        ("2023-01...2023-03", ["--partition-range", "2023-01-01...2023-03-01"]),
    ],
)
def test_materialize_is_dagsters_command(
    monkeypatch: pytest.MonkeyPatch, months: str, chosen: list[str]
) -> None:
    launched: list[object] = []

    class Dagster:
        def load(self) -> object:
            return lambda: launched.extend([*sys.argv, os.environ["TAXI_FLEET"]])

    monkeypatch.setattr(sys, "argv", [])
    monkeypatch.setenv("TAXI_FLEET", "yellow")
    monkeypatch.setattr(cli, "entry_points", lambda **_: [Dagster()])
    options = ["--select", "raw_trips, green/cleaned_trips"]
    assert taxi_assets("materialize", "green", months, *options).exit_code == 0
    assert launched == [
        *("dagster", "asset", "materialize", "-m", "taxi_assets.definitions"),
        *("--select", "green/raw_trips,green/cleaned_trips", *chosen, "green"),
    ]
