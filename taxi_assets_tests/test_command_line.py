"""What people see who type a command that makes months: exit code, console, history."""

import re
import subprocess
import sys

import dagster as dg

from taxi_assets_tests.conftest import LINEAR, Command


def test_a_month_is_made_and_told_by_its_metrics(command: Command) -> None:
    """By ``taxi-assets materialize``, which is Dagster's command."""
    arguments = ["materialize", "green", "2023-01", "--select", ",".join(LINEAR)]
    done = subprocess.run(
        [sys.executable, "-m", "taxi_assets", *arguments],
        cwd=command.folder, env=command.variables, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if " INFO - " in line]
    shown = [line.partition("INFO - ")[2] for line in lines]
    (summary,) = [line for line in shown if line.startswith("metrics 2023-01: ")]
    assert re.fullmatch(r"metrics 2023-01: RMSE \d\.\d{3} minutes, intercept \d\d\.\d\d", summary)
    assert re.fullmatch(r"2023-01 done in \d+\.\d s", shown[-1])
    with dg.DagsterInstance.from_config(str(command.home)) as instance:
        (run,) = instance.get_runs()
    assert run.status == dg.DagsterRunStatus.SUCCESS


def test_a_missing_month_is_a_sentence_and_no_traceback(command: Command) -> None:
    done = command("--select", "green/raw_trips", "--partition", "2019-07-01")
    assert done.returncode == 1
    assert "raw_trips 2019-07: " in done.stderr
    assert "Choose a month that the source has" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Stack Trace" not in done.stderr


def test_a_bad_variable_is_a_sentence_and_no_traceback(command: Command) -> None:
    done = command("--select", "*", "--partition", "2023-01-01", TAXI_FLEET="blue")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "Error: TAXI_FLEET is 'blue'; set it to one or more of yellow, green, synthetic, fhvhv, "
        "with commas between."
    )
