"""Disks that are full, files that are damaged, and other things in their places."""

import errno
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from taxi_assets.errors import StorageError, explain
from taxi_assets.settings import Settings
from taxi_assets.storage.estimators import Skops
from taxi_assets.storage.files import Storage
from taxi_assets.storage.formats import Json, ParquetFrame, UnreadableFileError
from taxi_assets.storage.io_managers import MonthFileIOManager, MonthlyIOManager
from taxi_assets.storage.origins import announce_origin, is_altered, stored_origin
from taxi_assets.tlc.fetch import FetchedMonth, Origin
from taxi_assets.tlc.months import Month
from taxi_assets_tests.conftest import read_json, step_failures, write_json

Materialize = Callable[..., dg.ExecuteInProcessResult]
VECTORIZERS = Skops("DictVectorizer")
FRAMES = ParquetFrame({"duration": "float64"})


def test_long_or_deep_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "long.json").write_text(json.dumps("x" * (1 << 21)))
    with pytest.raises(UnreadableFileError, match="more than 1,048,576 bytes"):
        Json().load((tmp_path / "long.json").open("rb"))
    write_json(tmp_path / "full.json", {"rmse": 8.15})
    full = (tmp_path / "full.json").read_text()
    (tmp_path / "full.json").write_text(full.ljust(1 << 20))
    assert Json().load((tmp_path / "full.json").open("rb")) == {"rmse": 8.15}
    (tmp_path / "full.json").write_text(full.ljust((1 << 20) + 1))
    with pytest.raises(UnreadableFileError, match="more than 1,048,576 bytes"):
        Json().load((tmp_path / "full.json").open("rb"))
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(UnreadableFileError, match="nested too deeply"):
        Json().load((tmp_path / "deep.json").open("rb"))


def test_no_flipped_bit_of_stored_json_is_believed(tmp_path: Path) -> None:
    """Only what changes no value may pass, such as the E of 1e-07."""
    path, value = tmp_path / "metrics", {"rmse": 4.559, "tiny": 1e-7, "models": {"é": [None, "x"]}}
    write_json(path, value)
    good = path.read_bytes()
    for bit in range(8 * len(good)):
        content = bytearray(good)
        content[bit // 8] ^= 1 << bit % 8
        try:
            assert Json().load(io.BytesIO(content)) == value
        except ValueError:
            continue


def test_who_edits_stored_json_by_hand_says_so(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    path.write_text('{"rmse": 6.559, "checksum": "edited"}')
    assert read_json(path) == {"rmse": 6.559}
    path.write_text('{"rmse": 6.559}')
    with pytest.raises(UnreadableFileError, match="it has no checksum, as an earlier version"):
        read_json(path)
    path.write_text('{"rmse": 6.559, "checksum": "a5"}')
    with pytest.raises(UnreadableFileError, match='without "checksum": "edited"'):
        read_json(path)


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "2023-01.json")
    with pytest.raises(OSError, match="is not a file"):
        Storage(str(tmp_path)).open("2023-01.json")


@pytest.mark.parametrize("planted", ["pipe", "folder"])
def test_something_else_in_the_place_of_a_month_file_is_noticed(
    materialize: Materialize, settings: Settings, planted: str
) -> None:
    assert materialize("2023-01", "raw_trips").success
    file = Path(settings.storage) / "green/raw_trips/2023-01.parquet"
    file.unlink()
    if planted == "pipe":
        os.mkfifo(file)
    else:
        file.mkdir()
    (message,) = step_failures(materialize("2023-01", "cleaned_trips"))
    assert "raw_trips 2023-01 is stored, and cannot be read" in message
    if planted == "pipe":
        assert materialize("2023-01", "raw_trips", "cleaned_trips").success
    else:
        (message,) = step_failures(materialize("2023-01", "raw_trips"))
        assert "Nothing can be stored in" in message


def test_a_month_file_that_was_altered_is_noticed(
    materialize: Materialize, settings: Settings
) -> None:
    """One byte among the trips, which Parquet itself would take for another trip."""
    assert materialize("2023-01", "raw_trips").success
    file = Path(settings.storage) / "green/raw_trips/2023-01.parquet"
    content = bytearray(file.read_bytes())
    content[5000] ^= 1
    file.write_bytes(content)
    (message,) = step_failures(materialize("2023-01", "cleaned_trips"))
    assert "raw_trips 2023-01 is stored, and cannot be read: its bytes are not those" in message
    assert materialize("2023-01", "raw_trips", "cleaned_trips").success


def test_every_page_of_a_stored_frame_has_a_checksum(tmp_path: Path) -> None:
    """Uncompressed numbers would otherwise turn into others."""
    frame = pd.DataFrame({"duration": np.random.default_rng(1).random(1000)})
    FRAMES.dump(frame, tmp_path / "frame")
    content = bytearray((tmp_path / "frame").read_bytes())
    content[len(content) // 3] ^= 1
    (tmp_path / "frame").write_bytes(content)
    with pytest.raises(OSError, match="CRC checksum"):
        FRAMES.load((tmp_path / "frame").open("rb"))


def test_no_value_of_a_column_without_nulls_is_marked_as_none(tmp_path: Path) -> None:
    """Of three million trips the marks took nearly as long to write as the values."""
    frames = ParquetFrame({"duration": "float64", "trip_distance": "float32"})
    distances = pd.Series([1.5, None], dtype="float32")
    frame = pd.DataFrame({"duration": [1.0, 60.0], "trip_distance": distances})
    frames.dump(frame, tmp_path / "frame")
    columns = pq.read_schema(tmp_path / "frame")
    assert [(c.name, c.nullable) for c in columns] == [("duration", False), ("trip_distance", True)]
    pd.testing.assert_frame_equal(frames.load((tmp_path / "frame").open("rb")), frame)


def test_between_the_note_and_the_file_either_month_counts(tmp_path: Path) -> None:
    """A crash there leaves the old file, and the old file is not damaged."""
    storage, path = Storage(str(tmp_path)), "green/raw_trips/2023-01.parquet"
    origins = []
    for content in (b"old", b"new"):
        sha256 = hashlib.sha256(content).hexdigest()
        origins.append(Origin("here", content.decode(), 1, 3, sha256))
    old, new = origins
    announce_origin(storage, path, old)
    with storage.replacing(path) as temporary:
        temporary.write_bytes(b"old")
    for _ in range(3):
        announce_origin(storage, path, new)
        assert stored_origin(storage, path) == old
        assert not is_altered(storage, path)
    with storage.replacing(path) as temporary:
        temporary.write_bytes(b"new")
    assert stored_origin(storage, path) == new
    (tmp_path / path).write_bytes(b"bad")
    assert is_altered(storage, path)


@pytest.mark.parametrize("refused", [".source.", ".parquet"])
def test_a_month_file_takes_its_place_after_the_note_of_its_origin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    """If either cannot be written the old month stays, and what is there has its note."""
    storage, key = Storage(str(tmp_path / "data")), dg.AssetKey(["green", "raw_trips"])
    manager = MonthFileIOManager(storage)
    fetched = []
    for content in (b"old", b"new"):
        path = tmp_path / content.decode()
        path.write_bytes(content)
        origin = Origin("here", path.name, 1, 3, hashlib.sha256(content).hexdigest())
        fetched.append(FetchedMonth(origin, path))
    old, new = fetched
    manager.store(key, Month(2023, 1), old)
    replacing = Storage.replacing

    def refuse(self: Storage, path: str) -> AbstractContextManager[Path]:
        if refused in path:
            raise StorageError("The disk is full.")
        return replacing(self, path)

    monkeypatch.setattr(Storage, "replacing", refuse)
    with pytest.raises(StorageError):
        manager.store(key, Month(2023, 1), new)
    path = manager.path(key, Month(2023, 1))
    assert storage.open(path).read() == b"old"
    assert stored_origin(storage, path) == old.origin
    assert new.path is not None
    assert not new.path.exists(), "whoever runs the month again fetches it anew"


def test_a_planted_note_of_the_origin_is_no_note(tmp_path: Path) -> None:
    path = "green/raw_trips/2023-01.parquet"
    digest = hashlib.sha256(b"trips").hexdigest()
    beside = tmp_path / f"green/raw_trips/2023-01.source.{digest[:16]}.json"
    beside.parent.mkdir(parents=True)
    (tmp_path / path).write_bytes(b"trips")
    sound = {"location": "x", "version": "1", "trips": 1, "size": 1, "sha256": digest}
    write_json(beside, sound)
    assert stored_origin(Storage(str(tmp_path)), path) == Origin(**sound)
    for text in (
        *("", "[" * 100_000, "7", '{"sha256": 1}', "null", json.dumps(sound)),
        *(json.dumps(sound | {name: None, "checksum": "edited"}) for name in sound),
    ):
        beside.write_text(text)
        assert stored_origin(Storage(str(tmp_path)), path) is None


LIMITED = """
import resource, sys
from pathlib import Path
import pandas as pd
from taxi_assets.errors import StorageError
from taxi_assets.storage.files import Storage
from taxi_assets.storage.formats import ParquetFrame

storage = Storage(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    with storage.replacing("frames/2023-01.parquet") as temporary:
        ParquetFrame({}).dump(pd.DataFrame({"n": range(1_000_000)}), temporary)
except StorageError as error:
    print(error)
"""


def test_a_disk_that_takes_no_more_leaves_the_old_file(tmp_path: Path) -> None:
    """The operating system refuses to make a file longer than 100,000 bytes."""
    storage = Storage(str(tmp_path))
    with storage.replacing("frames/2023-01.parquet") as temporary:
        temporary.write_bytes(b"old")
    limited = [sys.executable, "-c", LIMITED, str(tmp_path)]
    done = subprocess.run(limited, capture_output=True, text=True, check=True)
    assert f"Nothing can be stored in {tmp_path}/frames/2023-01.parquet" in done.stdout
    assert "What was there before stays" in done.stdout
    assert [path.name for path in (tmp_path / "frames").iterdir()] == ["2023-01.parquet"]
    assert (tmp_path / "frames/2023-01.parquet").read_bytes() == b"old"


def test_a_place_that_takes_nothing_stops_a_span_at_its_first_month(
    materialize: Materialize, settings: Settings
) -> None:
    data = Path(settings.storage)
    (data / "green").mkdir(parents=True)
    (data / "green/raw_trips").touch()
    (message,) = step_failures(materialize("2023-01:2023-03", "raw_trips"))
    first, january, *rest = message.splitlines()
    assert first == "3 of 3 months failed:"
    assert f"Nothing can be stored in {data}/green/raw_trips" in january
    assert rest == ["  2023-02: not tried", "  2023-03: not tried"]
    shutil.rmtree(data)
    assert materialize("2023-01:2023-03", "raw_trips").success


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        ImportError("libx.so: failed to map segment from shared object"),
        RuntimeError("can't start new thread"),
    ],
)
def test_every_way_of_finding_no_memory_has_the_same_advice(error: Exception) -> None:
    assert str(explain(error)).startswith("The memory is used up. Run fewer months at once")


def test_a_month_that_is_not_stored_is_named_with_the_command_that_makes_it(
    materialize: Materialize,
) -> None:
    (message,) = step_failures(materialize("2023-01", "zone_pairs"))
    assert message == (
        "zone_pairs 2023-01: cleaned_trips 2023-01 is needed, and is not stored. Materialize it "
        "first: dagster asset materialize -m taxi_assets.definitions "
        "--select 'green/cleaned_trips' --partition 2023-01-01"
    )


def test_what_an_asset_of_somebodys_own_cannot_store_is_named(tmp_path: Path) -> None:
    """In a run of this project's assets the run says which it was."""
    (tmp_path / "green").touch()
    manager = MonthlyIOManager(Storage(str(tmp_path)))
    context = dg.build_output_context(
        asset_key=dg.AssetKey(["green", "metrics"]), partition_key="2023-01-01"
    )
    with pytest.raises(dg.Failure) as failure:
        manager.handle_output(context, {"rmse": 8.15})
    assert str(failure.value.description).startswith("metrics 2023-01: Nothing can be stored in")
