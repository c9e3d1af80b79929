"""MLflow's database after its folder has moved: it says where things are now."""

import sqlite3
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest

from taxi_assets.settings import Settings
from taxi_assets.tracking.relocate import PLACES, relocate
from taxi_assets.tracking.server import TrackingServer
from taxi_assets.tracking.versions import load_version
from taxi_assets_tests.conftest import taxi_assets


@pytest.mark.after_three_months
def test_models_load_after_the_folder_has_moved(settings: Settings, tmp_path: Path) -> None:
    """Moved by renaming: an experiment, six runs, logged models, and versions at two places."""
    old, new = tmp_path / "mlruns", tmp_path / "moved"
    new.mkdir()
    for name in ("mlruns", "mlflow.db"):
        (tmp_path / name).rename(new / name)
    assert not old.exists()
    changed = relocate(new / "mlflow.db", tmp_path, new)
    uri = f"sqlite:///{new}/mlflow.db"
    version = mlflow.MlflowClient(uri).get_model_version_by_alias(
        "nyc-taxi-trip-duration-green", "newest_linear"
    )
    mlflow.set_tracking_uri(uri)
    try:
        model = mlflow.pyfunc.load_model(f"models:/{version.name}@newest_linear")
    finally:
        mlflow.set_tracking_uri(None)
    answers = model.predict(pd.DataFrame({"PULocationID": [132], "DOLocationID": [230]}))
    assert 1 < answers["minutes"][0] < 60
    assert changed == 1 + 6 + 6 + 2 * 6
    # As it is served.
    served = load_version(TrackingServer(uri), "green", int(version.version))
    assert served.answer_cells(np.array([0]))[0].shape == (1,)


def test_the_command_tells_the_database_where_its_folder_is_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing of other folders, though they have similar names."""
    others = ["/home/a_b-old/1", "/home/axb/1", "/HOME/A_B/1", "s3://x/home/a_b/1"]
    database = sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)
    for table, column in PLACES:
        database.execute(f"create table if not exists {table} (id integer)")
        database.execute(f"alter table {table} add column {column} text")
    (tmp_path / "1").mkdir()
    for place in ("/home/a_b/1", "/home/a_b/2", *others):
        database.execute("insert into runs (artifact_uri) values (?)", (place,))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    assert taxi_assets("relocate", "/home/a_b", folder=tmp_path).output == "2 paths changed\n"
    places = [place for (place,) in database.execute("select artifact_uri from runs")]
    assert places == [f"{tmp_path}/1", f"{tmp_path}/2", *others]


@pytest.mark.after_three_months
@pytest.mark.parametrize("named", ["", "was", "was/taxi/mlruns", "never", "taxi"])
def test_a_folder_that_the_artifacts_were_not_in_changes_nothing_and_theirs_is_named(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    """They were in ``was/taxi``; the folder is ``taxi`` now."""
    was, now, old = tmp_path / "was/taxi", tmp_path / "taxi", tmp_path / named
    for folder in (was, now):
        folder.mkdir(parents=True)
    for name in ("mlruns", "mlflow.db"):
        (tmp_path / name).rename(now / name)
    (was / "mlruns").symlink_to(now / "mlruns")
    database = now / "mlflow.db"
    relocate(database, tmp_path, was)
    (was / "mlruns").unlink()
    before = database.read_bytes()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")
    done = taxi_assets("relocate", old, folder=now)
    assert done.exit_code == 1
    assert f"No artifact of MLflow was moved from {old} to {now}; " in done.stderr
    assert f"; the artifacts are noted in {was}. Nothing has been changed. " in done.stderr
    assert database.read_bytes() == before
    assert taxi_assets("relocate", was, folder=now).output == "25 paths changed\n"
    assert "moved from" in taxi_assets("relocate", now, folder=now).stderr


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "sqlite:////nowhere/mlflow.db"])
def test_what_is_no_database_here_has_not_moved(monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    done = taxi_assets("relocate", "/home/old")
    assert done.exit_code == 2
    assert "MLFLOW_TRACKING_URI is not an SQLite database that exists here." in done.stderr
