"""MLflow's database in SQLite, made whole or not at all."""

import os
import sqlite3
import tempfile
from contextlib import closing, suppress
from pathlib import Path


def make_database(path: Path) -> None:
    """Make MLflow's tables in a file of their own, unless there is a file.

    MLflow's history of tables is some three hundred commits, each of which waits for the disk
    several times. Here they are made in memory, and written at once. Where that cannot be done,
    nothing is: MLflow makes its database itself, or says why not.
    """
    from mlflow.store.db.utils import _initialize_tables
    from sqlalchemy import create_engine

    if path.exists():
        return
    engine = create_engine("sqlite://")
    with suppress(OSError, sqlite3.Error), closing(engine.raw_connection()) as memory:
        _initialize_tables(engine)
        with tempfile.TemporaryDirectory(prefix=".mlflow-", dir=path.parent) as folder:
            made = Path(folder) / path.name
            with closing(sqlite3.connect(made)) as file:
                memory.backup(file)
            # Of a file that somebody else has made meanwhile, nothing is lost.
            os.link(made, path)
    engine.dispose()
