"""Stored values: they come back as they were, and replacing one is all or nothing."""

import os
import socket
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LinearRegression

from taxi_assets.storage.estimators import Skops
from taxi_assets.storage.files import Storage
from taxi_assets.storage.formats import Json, ParquetFrame


def test_a_frame_comes_back_with_its_categories(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "PULocationID": pd.Categorical(["132", "4", "132"]),
            "duration": [1.5, 1 / 3, 60.0],
            "validates": [False, True, False],
        }
    )
    columns = {"PULocationID": "category", "duration": "float64", "validates": "bool"}
    ParquetFrame(columns).dump(frame, tmp_path / "frame")
    loaded = ParquetFrame(columns).load((tmp_path / "frame").open("rb"))
    pd.testing.assert_frame_equal(loaded, frame)


@pytest.mark.parametrize("integer", [int, np.int64], ids=["older SciPy", "newer SciPy"])
def test_estimators_come_back_as_fitted(tmp_path: Path, integer: type) -> None:
    """SciPy, which Python 3.12 and later have newer, gives the rank as one integer or another."""
    vectorizer = DictVectorizer().fit([{"PULocationID": "132"}, {"PULocationID": "4"}])
    model = LinearRegression().fit(np.eye(2), [3.0, 5.0])
    model.rank_ = integer(model.rank_)
    kept = Skops({"vectorizer": "DictVectorizer", "model": "LinearRegression", "run": "str"})
    kept.dump({"vectorizer": vectorizer, "model": model, "run": "abc"}, tmp_path / "stored")
    loaded = kept.load((tmp_path / "stored").open("rb"))
    assert loaded["run"] == "abc"
    assert loaded["vectorizer"].vocabulary_ == vectorizer.vocabulary_
    assert loaded["model"].coef_.tolist() == model.coef_.tolist()
    assert loaded["model"].intercept_ == model.intercept_
    assert loaded["model"].rank_ == model.rank_


def test_figures_come_back_to_the_last_digit(tmp_path: Path) -> None:
    figures = {"rmse": 0.1 + 0.2, "trips": 3_316_216}
    Json().dump(figures, tmp_path / "figures")
    assert Json().load((tmp_path / "figures").open("rb")) == figures


@pytest.fixture(params=["local", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return Storage(str(tmp_path / "data") if request.param == "local" else f"memory://{tmp_path}")


def test_replacing_shows_the_new_file_only_when_it_is_complete(storage: Storage) -> None:
    for text in (b"old", b"new"):
        with storage.replacing("green/metrics/2023-01.json") as temporary:
            temporary.write_bytes(text)
            if text == b"new":
                assert storage.open("green/metrics/2023-01.json").read() == b"old"
        assert storage.open("green/metrics/2023-01.json").read() == text


def test_what_killed_processes_left_is_removed_and_what_others_write_is_not(
    tmp_path: Path,
) -> None:
    storage = Storage(str(tmp_path))
    living = storage.temporary_file("model")
    killed = living.with_name(living.name.replace(f"-{os.getpid()}-", f"-{2**22 + 1}-"))
    elsewhere = living.with_name(f".taxi_assets-another-host-{2**22 + 1}-{'a' * 32}.tmp")
    for path in (living, killed, elsewhere):
        path.touch()
    storage.temporary_file("model")
    assert sorted(path.exists() for path in (living, elsewhere)) == [True, True]
    assert not killed.exists()


def test_what_other_programs_left_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where files are made ready that go to another machine."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    theirs = [
        tmp_path / f".{socket.gethostname()}.{2**22 + 1}.c.tmp",
        tmp_path / f".taxi_assets-{socket.gethostname()}-{2**22 + 1}-c.tmp",
        tmp_path / "taxi_assets-notes.tmp",
    ]
    for path in theirs:
        path.touch()
        os.utime(path, (1, 1))
    Storage(str(tmp_path)).temporary_file("model")
    made = Storage("memory://stored").temporary_file("green/model")
    assert made.parent == tmp_path / f"taxi_assets-{os.getuid()}"
    assert all(path.exists() for path in theirs)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    with storage.replacing("metrics/2023-01.json") as temporary:
        temporary.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), storage.replacing("metrics/2023-01.json") as temporary:
        temporary.write_bytes(b"half")
        raise ZeroDivisionError
    assert storage.open("metrics/2023-01.json").read() == b"old"
    assert [path.name for path in (tmp_path / "metrics").iterdir()] == ["2023-01.json"]
