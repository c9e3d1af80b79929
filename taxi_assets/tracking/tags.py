"""What the MLflow run of a month is tagged with."""

import platform
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Protocol

import dagster as dg

from taxi_assets.durations import cleaning
from taxi_assets.tlc.fleets import Fleet
from taxi_assets.tlc.months import Month

DAGSTER_RUN = "dagster.run_id"
"""The Dagster run that opened the MLflow run last. When it is over, both are."""

PARTITION = "dagster.partition"
FLEET = "taxi_assets.fleet"
FAMILY = "taxi_assets.family"
DATA_VERSION = "taxi_assets.data_version"
REASON = "taxi_assets.reason"
BACKTEST_MONTH = "taxi_assets.backtest_month"
SUPERSEDED = "taxi_assets.superseded"
"""``true`` once another run's model is stored in the place of this one's, else ``false``."""

SUPERSEDED_BY = "taxi_assets.superseded_by"
DESCRIPTION = "mlflow.note.content"


class TrainedMonth(Protocol):
    """A month whose model is trained, and where its training can say how it goes."""

    @property
    def fleet(self) -> Fleet:
        """Whose trips."""

    @property
    def month(self) -> Month:
        """Of them."""

    @property
    def code_version(self) -> str:
        """Of the asset that trains the model."""

    @property
    def dagster(self) -> dg.AssetExecutionContext:
        """The context of Dagster's run."""

    def report(self, line: str) -> None:
        """Log a line about the month."""


version = cache(metadata.version)
"""The version of a package that is installed."""

VERSIONED_PACKAGES = ("dagster", "dagster-mlflow", "mlflow", "numpy", "pandas", "scikit-learn")


def run_tags(context: TrainedMonth, family: str, dagster_ui_url: str | None) -> dict[str, str]:
    """The tags that a run has from its beginning."""
    run_id = context.dagster.run_id
    tags = {
        DAGSTER_RUN: run_id,
        PARTITION: context.month.partition_key,
        FLEET: context.fleet.name,
        FAMILY: family,
        SUPERSEDED: "false",
        "taxi_assets.code_version": context.code_version,
        "python": platform.python_version(),
        **{package: version(package) for package in VERSIONED_PACKAGES},
    }
    dagster_run = f"Dagster run {run_id[:8]}"
    if dagster_ui_url is not None:
        url = tags["dagster.url"] = f"{dagster_ui_url.rstrip('/')}/runs/{run_id}"
        # The description is the only text on a run's page that can have a link.
        dagster_run = f"[{dagster_run}]({url})"
    model = f"The {family} model of {context.fleet.name} taxis, {context.month}"
    tags[DESCRIPTION] = f"{model}, trained by {dagster_run}."
    if (commit := _git_commit()) is not None:
        tags["mlflow.source.git.commit"] = commit
    return tags


def month_parameters(context: TrainedMonth) -> dict[str, object]:
    """What every model of a month is made with."""
    return {
        "fleet": context.fleet.name,
        "month": str(context.month),
        "test_size": cleaning.TEST_SIZE,
        "random_state": cleaning.RANDOM_STATE,
        "min_duration": cleaning.MIN_DURATION,
        "max_duration": cleaning.MAX_DURATION,
    }


def with_tags(fleet: Fleet, month: Month | None, family: str | None = None) -> str:
    """The condition by which MLflow finds the runs of a fleet, of its month, of a family."""
    wanted = {FLEET: fleet.name, PARTITION: month and month.partition_key, FAMILY: family}
    return " and ".join(f"tags.`{name}` = '{value}'" for name, value in wanted.items() if value)


@cache
def _git_commit() -> str | None:
    """The commit of the project's checkout, if it is one, and not of one that it lies in."""
    repository = str(Path(__file__).parents[2] / ".git")
    command = ["git", "--git-dir", repository, "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
