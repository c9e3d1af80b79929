"""What the process of a run sets for itself. To import the project sets nothing.

Dagster's console logger can be replaced only by the run config of every single launch, so it is
the log records that learn to show themselves briefly. Dagster's event log stores their full
``msg``, as ever. Nor does any log record of the process show the secrets in a URL, such as those
that urllib3 warns of when it tries again.
"""

import ctypes
import gc
import logging
import os
import re
import warnings
from contextlib import suppress
from functools import cache

import dagster as dg

from taxi_assets.errors import mask
from taxi_assets.tracking.server import try_mlflow_briefly

DAGSTER_METADATA = "dagster_meta"
"""Attribute in which Dagster keeps what a log record is about."""

INTERRUPTS = ("DagsterExecutionInterruptedError", "KeyboardInterrupt")
"""What Dagster calls the end of a step by Ctrl-C."""

M_MMAP_THRESHOLD = -3
"""glibc's name of the size from which memory goes back to the system as soon as it is freed."""

_COLOUR = re.compile(r"\033\[[\d;]*m")


class BriefLogRecord(logging.LogRecord):
    """A log record that, where Dagster made it, shows its own message and nothing around it."""

    def getMessage(self) -> str:  # noqa: N802
        """The message; for a failure that explains itself or an interrupt, the sentence alone."""
        message = mask(super().getMessage())
        metadata = getattr(self, DAGSTER_METADATA, None)
        if metadata is None:
            return message
        brief = metadata.get("orig_message", message)
        # What a sensor logs is of no event.
        event = metadata.get("dagster_event")
        if event is not None and event.is_step_failure:
            failure = event.step_failure_data
            brief = failure.user_failure_data.description if failure.user_failure_data else message
            if failure.error and failure.error.cls_name in INTERRUPTS:
                brief = (
                    "Interrupted. The months that are recorded stay, and nothing is half stored. "
                    "To go on, start the same command again."
                )
        colour = _COLOUR.match(message)
        return f"{colour[0]}{mask(str(brief))}\033[0m" if colour else mask(str(brief))


@cache
def prepare_run_process() -> None:
    """Make this process one that executes runs, and stay so."""
    try_mlflow_briefly()
    # LightGBM's threads would keep their cores busy while they wait for each other, so that a fit
    # takes several times as long where another process wants a core. OpenMP reads it when it loads.
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    logging.setLogRecordFactory(BriefLogRecord)
    # Dagster stops showing a run's output before the last lines, unless it is told to wait.
    os.environ.setdefault("DAGSTER_COMPUTE_LOG_TAIL_WAIT_AFTER_FINISH", "0.1")

    # As where the graph is defined.
    for kind in (dg.BetaWarning, dg.PreviewWarning):
        warnings.filterwarnings("ignore", category=kind)

    # scikit-learn and MLflow bring a million objects that stay. Looking for garbage among them
    # every 700 allocations, as Python does by default, is a twentieth of a month's time.
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)

    # glibc would keep freed arrays of up to 32 MB for later: after the largest month, 180 MB.
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 2 << 20)
