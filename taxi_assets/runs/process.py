"""What the process of a run sets for itself. To import the project sets nothing."""

import gc
import os
import warnings
from functools import cache

import dagster as dg

from taxi_assets.runs.console import show_brief_lines
from taxi_assets.tracking.server import try_mlflow_briefly


@cache
def prepare_run_process() -> None:
    """Make this process one that executes runs, and stay so."""
    try_mlflow_briefly()
    # Dagster stops showing a run's output before the last lines, unless it is told to wait.
    os.environ.setdefault("DAGSTER_COMPUTE_LOG_TAIL_WAIT_AFTER_FINISH", "0.1")

    # As where the graph is defined.
    for kind in (dg.BetaWarning, dg.PreviewWarning):
        warnings.filterwarnings("ignore", category=kind)

    # scikit-learn and MLflow bring a million objects that stay. Looking for garbage among them
    # every 700 allocations, as Python does by default, is a twentieth of a month's time.
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)

    show_brief_lines()
