"""MLflow's database in SQLite: complete or not there."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.store.db import utils

from taxi_assets.tracking import new_database
from taxi_assets.tracking.new_database import make_database

pytestmark = pytest.mark.linear


def schema(path: Path) -> set[tuple[str, frozenset[str]]]:
    """Each table's, index's and trigger's name and SQL, whose lines have no order."""
    with closing(sqlite3.connect(path)) as database:
        found = database.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
        made = {(name, frozenset(re.split(r",?\s*\n\s*", sql))) for name, sql in found}
        (revision,) = database.execute("SELECT version_num FROM alembic_version")
    return made | {("revision", frozenset(revision))}


def test_it_is_the_one_that_mlflow_makes(tmp_path: Path) -> None:
    make_database(tmp_path / "ours.db")
    MlflowClient(f"sqlite:///{tmp_path / 'own.db'}").search_experiments()
    assert len(schema(tmp_path / "own.db")) > 100
    assert schema(tmp_path / "ours.db") == schema(tmp_path / "own.db")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ours.db", "own.db"]


def test_what_a_killed_process_has_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".mlflow.db.new").write_bytes(b"half a database")
    make_database(tmp_path / "mlflow.db")
    assert list(tmp_path.iterdir()) == [tmp_path / "mlflow.db"]


def test_another_mlflow_makes_its_database_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that makes its tables in another way."""
    monkeypatch.delattr(utils, "_initialize_tables")
    make_database(tmp_path / "mlflow.db")
    assert list(tmp_path.iterdir()) == []


def test_one_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    there = tmp_path / "mlflow.db"
    there.write_bytes(b"somebody's")
    make_database(there)
    assert there.read_bytes() == b"somebody's"


def test_one_that_somebody_makes_at_the_same_moment_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow's server, started beside the first run, does not wait for the run."""
    database = tmp_path / "mlflow.db"
    link = new_database.os.link

    def link_late(made: Path, path: Path) -> None:
        path.write_bytes(b"the server's")
        link(made, path)

    monkeypatch.setattr(new_database.os, "link", link_late)
    make_database(database)
    assert database.read_bytes() == b"the server's"
    assert list(tmp_path.iterdir()) == [database]


def test_where_it_cannot_be_written_nothing_is_left(tmp_path: Path) -> None:
    """MLflow tries then, and says why not."""
    make_database(tmp_path / "no folder" / "mlflow.db")
    assert list(tmp_path.iterdir()) == []
