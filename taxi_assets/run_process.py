"""What the process of a run sets for itself. To import the project sets nothing."""

import ctypes
import gc
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

import dagster as dg
from dagster._core.storage.event_log.sqlite import sqlite_event_log
from dagster._core.storage.event_log.sqlite.sqlite_event_log import (
    INDEX_SHARD_NAME,
    SqliteEventLogStorage,
)
from sqlalchemy import Engine, create_engine
from sqlalchemy.pool import QueuePool

from taxi_assets.console import show_brief_lines

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


class KeptConnections(QueuePool):
    """Connections that stay open when their engine is disposed of, until they are closed."""

    def dispose(self) -> None:
        """Keep them."""

    def recreate(self) -> "KeptConnections":
        """What the engine goes on with."""
        return self

    def close(self) -> None:
        """Close them."""
        super().dispose()


@contextmanager
def open_event_log(instance: dg.DagsterInstance, run_id: str) -> Iterator[None]:
    """Keep the databases of a run's events open, where Dagster has them in SQLite.

    Dagster makes an engine, opens a database and closes it several times an event. Whenever nobody
    else has it open, SQLite writes its journal into it, waits for the disk, and removes it; each
    new connection reads the schema and has the folder written to disk; and a new engine of
    SQLAlchemy's compiles each statement anew: together a tenth of a month's time.
    """
    storage = instance.event_log_storage
    if not isinstance(storage, SqliteEventLogStorage):
        yield
        return
    kept = {storage.conn_string_for_shard(database) for database in (INDEX_SHARD_NAME, run_id)}
    engines: dict[str, Engine] = {}

    def make_once(url: str, **options: Any) -> Engine:
        if url not in kept:
            return create_engine(url, **options)
        pooled = options | {"poolclass": KeptConnections}
        return engines.get(url) or engines.setdefault(url, create_engine(url, **pooled))

    sqlite_event_log.create_engine = make_once  # type: ignore[assignment, attr-defined]
    try:
        yield
    finally:
        sqlite_event_log.create_engine = create_engine  # type: ignore[attr-defined]
        for engine in engines.values():
            engine.pool.close()  # type: ignore[attr-defined]


def try_mlflow_briefly() -> None:
    """Have MLflow not try for minutes a server that is away."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")


def _give_memory_back() -> None:
    """Have the C library return what is freed of a month's arrays to the system, where it can.

    By default glibc keeps up to 64 MB at hand once a block of half that size has been freed; told
    anything of its blocks, it keeps 128 KB.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)
