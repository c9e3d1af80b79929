"""What the process of a run sets for itself. To import the project sets nothing."""

import ctypes
import gc
import os
import warnings
from contextlib import suppress
from functools import cache

import dagster as dg

from taxi_assets.runs.console import show_brief_lines
from taxi_assets.tracking.servers import try_mlflow_briefly

M_MMAP_THRESHOLD = -3
"""glibc's number of the option, in ``malloc.h``."""

LARGE_BLOCK = 2 << 20
"""Bytes from which a block of memory is the system's own. From 1 MB months of the boosted model
take a twentieth more time, as the system clears each block; from 4 MB an invented month of TLC's
largest size keeps 120 MB more."""


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

    _give_memory_back()
    show_brief_lines()


def _give_memory_back() -> None:
    """Have the C library return what is freed of a month's arrays to the system, where it can.

    By default glibc keeps up to 64 MB at hand once a block of half that size has been freed; told
    anything of its blocks, it keeps 128 KB.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)
