"""MLflow's database in SQLite, made in memory and written at once."""

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path


def make_database(path: Path) -> None:
    """Make MLflow's tables in a file of their own, unless there is a file.

    MLflow's history of tables is some three hundred commits, each of which waits for the disk
    several times; a process that is killed meanwhile leaves a part of them. Here the file is there
    when it is complete. Where that cannot be done, as on a file system without hard links, nothing
    is left: MLflow makes its database itself, or says why not.

    Args:
        path: of the database; nobody else of this project makes it meanwhile.
    """
    if path.exists():
        return
    made = path.with_name(f".{path.name}.new")
    # Whatever fails here, MLflow tries next.
    with suppress(Exception):
        try:
            made.unlink(missing_ok=True)
            _write_tables(made)
            # Of a file that somebody else has made meanwhile, nothing is lost.
            os.link(made, path)
        finally:
            made.unlink(missing_ok=True)


def _write_tables(path: Path) -> None:
    from mlflow.store.db.utils import _initialize_tables
    from sqlalchemy import create_engine

    engine = create_engine("sqlite://")
    try:
        with closing(engine.raw_connection()) as memory, closing(sqlite3.connect(path)) as file:
            _initialize_tables(engine)
            # Nobody reads the file before it is complete.
            file.execute("PRAGMA journal_mode = MEMORY")
            memory.backup(file)
    finally:
        engine.dispose()
