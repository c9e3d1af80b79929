"""MLflow's database in SQLite: made whole or not at all."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient

from taxi_assets.tracking import new_database
from taxi_assets.tracking.new_database import make_database

pytestmark = pytest.mark.linear


def schema(path: Path) -> set[tuple[str, ...]]:
    """Each table's, index's and trigger's kind, name and columns, in no order."""
    with closing(sqlite3.connect(path)) as database:
        found = database.execute("SELECT type, name, tbl_name FROM sqlite_master").fetchall()
        columns = {
            (name, *map(str, column[1:]))
            for kind, name, _ in found
            if kind == "table"
            for column in database.execute(f"PRAGMA table_info({name})")
        }
        (revision,) = database.execute("SELECT version_num FROM alembic_version")
    return {*found, *columns, revision}


def test_it_is_the_one_that_mlflow_makes(tmp_path: Path) -> None:
    MlflowClient(f"sqlite:///{tmp_path / 'own.db'}").search_experiments()
    make_database(tmp_path / "ours.db")
    assert schema(tmp_path / "ours.db") == schema(tmp_path / "own.db")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ours.db", "own.db"]


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
