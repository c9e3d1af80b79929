"""Stored values: they come back as they were, and replacing one is all or nothing."""

import os
import socket
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LinearRegression

from taxi_assets.errors import StorageError, UnreachableStorageError
from taxi_assets.storage.estimators import Skops
from taxi_assets.storage.files import Storage
from taxi_assets.storage.formats import Arrays, Json, ParquetFrame, UnreadableFileError


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


def test_metrics_come_back_to_the_last_digit(tmp_path: Path) -> None:
    metrics = {"rmse": 0.1 + 0.2, "trips": 3_316_216}
    Json().dump(metrics, tmp_path / "metrics")
    assert Json().load((tmp_path / "metrics").open("rb")) == metrics


def test_a_figure_that_is_no_number_is_not_stored(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        Json().dump({"rmse": float("nan")}, tmp_path / "metrics")
    assert not (tmp_path / "metrics").exists()


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.random.default_rng(1).integers(0, 255, 3000, np.uint8), "has more than 2,000 bytes"),
        (np.zeros(3000, np.uint8), "claims more than 2,000 bytes"),
    ],
)
def test_arrays_that_are_too_large_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, array: Any, says: str
) -> None:
    Arrays().dump({"trees": array}, tmp_path / "stored")
    monkeypatch.setattr("taxi_assets.storage.formats.MAX_ARRAY_BYTES", 2000)
    with pytest.raises(UnreadableFileError, match=says):
        Arrays().load((tmp_path / "stored").open("rb"))


def test_an_estimator_in_the_place_of_another_is_refused(tmp_path: Path) -> None:
    vectorizer = DictVectorizer().fit([{"PULocationID": "132"}])
    Skops("DictVectorizer").dump(vectorizer, tmp_path / "stored")
    with pytest.raises(UnreadableFileError, match="it has something else in it: DictVectorizer"):
        Skops("LinearRegression").load((tmp_path / "stored").open("rb"))


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


def age(path: Path, written: float) -> None:
    path.touch()
    os.utime(path, (written, written))


@pytest.mark.parametrize(("seconds", "stays"), [(-1.9, True), (-2.1, False)])
def test_what_was_written_before_a_process_started_is_not_that_processs(
    tmp_path: Path, seconds: float, stays: bool
) -> None:
    """Its number was given again. File systems' clocks may be two seconds off."""
    storage = Storage(str(tmp_path))
    path = storage.temporary_file("model")
    age(path, psutil.Process().create_time() + seconds)
    storage.temporary_file("model")
    assert path.exists() == stays


@pytest.mark.parametrize(("hours", "stays"), [(23.99, True), (24.01, False)])
def test_after_a_day_a_temporary_file_is_litter_whoever_writes_it(
    tmp_path: Path, hours: float, stays: bool
) -> None:
    """Also of another machine, of whose processes nothing is known."""
    storage = Storage(str(tmp_path))
    (tmp_path / "model").mkdir()
    path = tmp_path / "model" / f".taxi_assets-another-host-1-{'a' * 32}.tmp"
    age(path, time.time() - hours * 3600)
    storage.temporary_file("model")
    assert path.exists() == stays


def test_a_file_is_on_the_disk_before_it_takes_its_place_and_its_place_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a power cut leaves the old file or the new one, whole."""
    storage, target = Storage(str(tmp_path)), tmp_path / "metrics/2023-01.json"
    target.parent.mkdir()
    target.write_bytes(b"old")
    flushed = []

    def flush(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        flushed.append((path, path.is_file() and path.read_bytes(), target.read_bytes()))

    monkeypatch.setattr(os, "fsync", flush)
    with storage.replacing("metrics/2023-01.json") as temporary:
        temporary.write_bytes(b"new")
        inode = temporary.stat().st_ino
    assert flushed == [(temporary, b"new", b"old"), (target.parent, False, b"new")]
    assert target.stat().st_ino == inode, "renamed: a copy could be seen half"


def test_an_upload_that_breaks_off_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a file shows while it is written it is written elsewhere, and renamed."""
    storage = Storage(f"memory://{tmp_path}")
    with storage.replacing("metrics/2023-01.json") as temporary:
        temporary.write_bytes(b"old")

    def break_off(self: MemoryFileSystem, _local: str, path: str, **_: object) -> None:
        self.pipe_file(path, b"ne")
        raise OSError("connection lost")

    monkeypatch.setattr(MemoryFileSystem, "put_file", break_off)
    with (
        pytest.raises(UnreachableStorageError, match="What was there before stays"),
        storage.replacing("metrics/2023-01.json") as temporary,
    ):
        temporary.write_bytes(b"new")
    assert storage.open("metrics/2023-01.json").read() == b"old"


def test_an_object_is_uploaded_in_its_place_where_it_shows_when_it_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Renaming would copy it."""
    monkeypatch.setattr(MemoryFileSystem, "protocol", ("memory", "s3"))
    monkeypatch.setattr(MemoryFileSystem, "mv", lambda *_: pytest.fail("renamed"))
    storage = Storage(f"memory://{tmp_path}")
    with storage.replacing("metrics/2023-01.json") as temporary:
        temporary.write_bytes(b"new")
    assert storage.open("metrics/2023-01.json").read() == b"new"


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


@pytest.mark.parametrize("taken", ["mode", "owner", "link", "file"])
def test_nobody_else_can_replace_what_is_made_ready_for_upload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: str
) -> None:
    """Where the folder of temporary files is somebody else's, a fresh one is made."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    usual = tmp_path / f"taxi_assets-{os.getuid()}"
    if taken == "owner":
        usual = tmp_path / "taxi_assets-4711"
        monkeypatch.setattr(os, "getuid", lambda: 4711)
    if taken == "link":
        (tmp_path / "theirs").mkdir()
        usual.symlink_to(tmp_path / "theirs")
    elif taken == "file":
        usual.touch()
    else:
        usual.mkdir()
        usual.chmod(0o777)
    folder = Storage("memory://stored").temporary_file("green/model").parent
    assert (folder == usual) == (taken == "mode")
    assert (folder.stat().st_mode & 0o777, folder.is_symlink()) == (0o700, False)


def test_what_is_removed_is_gone_and_its_neighbour_stays(storage: Storage) -> None:
    for path in (
        "green/model/2023-01.json",
        "green/model/2023-02.json",
        "green/pairs/2023-01.json",
    ):
        with storage.replacing(path) as temporary:
            temporary.write_text("{}")
    storage.remove("green/model/2023-01.json")
    assert storage.names("green/model") == ["2023-02.json"]
    storage.remove("green/model")
    assert storage.names("green/model") == []
    assert storage.names("green/pairs") == ["2023-01.json"]


def test_a_place_of_a_kind_that_nobody_knows_is_a_sentence() -> None:
    with pytest.raises(StorageError, match="TAXI_STORAGE nowhere://bucket cannot be reached"):
        Storage("nowhere://bucket").exists("2023-01.json")


def test_a_folder_that_is_not_there_yet_is_empty(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "to/be/made"))
    assert storage.names("green/metrics") == []
    assert not (tmp_path / "to").exists()


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    with storage.replacing("metrics/2023-01.json") as temporary:
        temporary.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), storage.replacing("metrics/2023-01.json") as temporary:
        temporary.write_bytes(b"half")
        raise ZeroDivisionError
    assert storage.open("metrics/2023-01.json").read() == b"old"
    assert [path.name for path in (tmp_path / "metrics").iterdir()] == ["2023-01.json"]
