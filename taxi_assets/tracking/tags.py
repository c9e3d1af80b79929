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
from taxi_assets.tracking.run_ownership import OWNER, Owner

DAGSTER_RUN = "dagster.run_id"
PARTITION = "dagster.partition"
FLEET = "taxi_assets.fleet"
FAMILY = "taxi_assets.family"
DATA_VERSION = "taxi_assets.data_version"
REASON = "taxi_assets.reason"
BACKTEST_MONTH = "taxi_assets.backtest_month"
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
        OWNER: Owner.of_run(run_id).to_text(),
        "taxi_assets.code_version": context.code_version,
        "python": platform.python_version(),
        **{package: version(package) for package in VERSIONED_PACKAGES},
    }
    trained = f"The {family} model of {context.fleet.name} taxis, {context.month}, trained by "
    if dagster_ui_url is None:
        tags[DESCRIPTION] = f"{trained}Dagster run {run_id[:8]}."
    else:
        url = f"{dagster_ui_url.rstrip('/')}/runs/{run_id}"
        tags["dagster.url"] = url
        # The only text on a run's page that can have a link.
        tags[DESCRIPTION] = f"{trained}[Dagster run {run_id[:8]}]({url})."
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


def same_month(context: TrainedMonth) -> str:
    """The condition by which MLflow finds the runs of a month."""
    month = context.month.partition_key
    return f"tags.`{FLEET}` = '{context.fleet.name}' and tags.`{PARTITION}` = '{month}'"


@cache
def _git_commit() -> str | None:
    """The commit of the project's checkout, if it is one, and not of one that it lies in."""
    project = Path(__file__).resolve().parents[2]
    command = ["git", "-C", str(project), "rev-parse", "--show-toplevel", "HEAD"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    checkout, commit = found.split("\n")[:2]
    return commit if Path(checkout) == project else None
