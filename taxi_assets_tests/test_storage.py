"""Stored files: values come back as they were, and replacing one is all or nothing.

What is damaged, hostile or of something else is refused, in every format.
"""

import errno
import hashlib
import io
import os
import pickle
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sklearn
import skops.io
from fsspec.implementations.memory import MemoryFileSystem
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LinearRegression

from taxi_assets.errors import (
    NotStoredError,
    StorageError,
    UnreachableStorageError,
    UnusableValueError,
    explain,
)
from taxi_assets.storage import files, formats
from taxi_assets.storage.files import Storage
from taxi_assets.storage.formats import Arrays, Format, Json, ParquetFrame, Skops
from taxi_assets.storage.io_managers import MonthFileIOManager, load_stored
from taxi_assets.storage.layout import stored_file
from taxi_assets.storage.origins import announce_origin, is_altered, stored_origin
from taxi_assets.tlc.fetch import FetchedMonth, Origin
from taxi_assets.tlc.fleets import FLEETS
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.synthetic import write_month
from taxi_assets_tests.conftest import write_json

GREEN, JANUARY = FLEETS["green"], Month(2023, 1)

FRAME = pd.DataFrame(
    {
        "PULocationID": pd.Categorical(["132", "4", "132"]),
        "duration": [1.5, 1 / 3, 60.0],
        "validates": [False, True, False],
        "trip_distance": pd.Series([1.5, None, 3.25], dtype="float32"),
    }
)
VECTORIZER = DictVectorizer().fit([{"PULocationID": "132"}, {"PULocationID": "4"}])
MODEL = LinearRegression().fit(np.eye(2), [3.0, 5.0])


def shown(value: Any) -> Any:
    """A stored value in a form that can be compared."""
    if isinstance(value, pd.DataFrame):
        categories = list(value["PULocationID"].cat.categories)
        return categories, value.dtypes.to_list(), value.to_csv()
    if isinstance(value, DictVectorizer | LinearRegression):
        return {name: np.asarray(part).tolist() for name, part in sorted(vars(value).items())}
    if isinstance(value, dict):
        return {name: shown(part) for name, part in value.items()}
    return value.tolist() if isinstance(value, np.ndarray) else value


FORMATS: dict[str, tuple[Format, Any, int]] = {
    "parquet": (ParquetFrame({n: str(t) for n, t in FRAME.dtypes.items()}), FRAME, 97),
    "json": (Json(), {"rmse": 0.1 + 0.2, "tiny": 1e-7, "models": {"é": [None, "x"]}}, 1),
    "npz": (Arrays(), {"trees": np.arange(5.0), "months": np.array(["2023-01", "x"])}, 3),
    "skops": (
        Skops({"model": "LinearRegression", "vectorizer": "DictVectorizer", "run": "str"}),
        {"model": MODEL, "vectorizer": VECTORIZER, "run": "abc"},
        101,
    ),
}
"""By extension: the format, a value, and of how many flipped bits one is tried."""

each_format = pytest.mark.parametrize("extension", FORMATS)


@each_format
def test_a_value_comes_back_as_it_was(tmp_path: Path, extension: str) -> None:
    file_format, value, _ = FORMATS[extension]
    file_format.dump(value, tmp_path / "stored")
    assert shown(file_format.load((tmp_path / "stored").open("rb"))) == shown(value)


@each_format
def test_no_flipped_bit_is_believed(tmp_path: Path, extension: str) -> None:
    """Only what changes no value may pass, such as the E of 1e-07."""
    file_format, value, step = FORMATS[extension]
    file_format.dump(value, tmp_path / "stored")
    good = (tmp_path / "stored").read_bytes()
    refused = 0
    for bit in range(0, 8 * len(good), step):
        content = bytearray(good)
        content[bit // 8] ^= 1 << bit % 8
        try:
            loaded = file_format.load(io.BytesIO(content))
        except Exception:
            refused += 1
        else:
            assert shown(loaded) == shown(value), f"bit {bit}"
    assert refused > 0


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch '{self.marker}'",)


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "it ran"


def test_the_bomb_works(marker: Path) -> None:
    """Else the next tests would show nothing."""
    pickle.loads(pickle.dumps(Bomb(marker)))
    assert marker.exists()


@each_format
def test_a_pickle_is_not_loaded(extension: str, marker: Path) -> None:
    with pytest.raises(Exception, match=r"not a zip file|Parquet file|Expecting value|codec"):
        FORMATS[extension][0].load(io.BytesIO(pickle.dumps(Bomb(marker))))
    assert not marker.exists()


def archive_of(**members: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return content.getvalue()


def saved(save: Callable[..., None], value: Any, **options: Any) -> bytes:
    content = io.BytesIO()
    save(content, value, **options)
    return content.getvalue()


def skops_with(value: Any, change: Callable[[str, bytes], bytes]) -> bytes:
    """What skops writes of a value, with its members changed."""
    with zipfile.ZipFile(io.BytesIO(skops.io.dumps(value))) as archive:
        return archive_of(**{name: change(name, archive.read(name)) for name in archive.namelist()})


def pickled_array(marker: Path) -> bytes:
    return saved(np.save, np.array([Bomb(marker)], dtype=object), allow_pickle=True)


def of_scikit_learn(version: str) -> bytes:
    present, other = sklearn.__version__.encode(), version.encode()
    return skops_with(VECTORIZER, lambda _, member: member.replace(present, other))


REFUSED: list[tuple[Format, Callable[[Path], bytes], str]] = [
    (Arrays(), lambda _: archive_of(bomb=bytes(20_001)), "claims more than 20,000 bytes"),
    (Skops("str"), lambda _: archive_of(bomb=bytes(20_001)), "claims more than 20,000"),
    (Json(), lambda _: b" " * 20_001, "has more than 20,000 bytes"),
    (Arrays(), lambda marker: archive_of(**{"a.npy": pickled_array(marker)}), "Object arrays"),
    (
        Skops("LinearRegression"),
        lambda marker: skops_with(
            MODEL, lambda name, it: pickled_array(marker) if name.endswith("npy") else it
        ),
        "Object arrays",
    ),
    (Skops("function"), lambda _: skops.io.dumps(os.system), "ntrusted"),
    (Skops("Generator"), lambda _: of_scikit_learn("0.24.2"), r"from version 0\.24\.2"),
    (Skops("LinearRegression"), lambda _: skops.io.dumps(VECTORIZER), "in it: DictVectorizer"),
    (Skops({"model": "str"}), lambda _: skops.io.dumps({"a": "b"}), r"in it: {'a': 'str'}"),
    (ParquetFrame({}), lambda _: saved(lambda f, v: v.to_parquet(f), FRAME), "of something else"),
    (Json(), lambda _: b"[1.5]", "no values by name"),
    (Json(), lambda _: b'{"rmse": 6.559}', "it has no checksum, as an earlier version wrote it"),
    (Json(), lambda _: b'{"rmse": 6.5, "checksum": "a5"}', 'without "checksum": "edited"'),
]


@pytest.mark.parametrize(("file_format", "content", "reason"), REFUSED)
def test_what_is_hostile_or_of_something_else_is_refused(
    file_format: Format,
    content: Callable[[Path], bytes],
    reason: str,
    marker: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(formats, "MAX_BYTES", 20_000)
    with pytest.raises(Exception, match=reason):
        file_format.load(io.BytesIO(content(marker)))
    assert not marker.exists()


def test_a_file_of_as_many_bytes_as_there_may_be_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "MAX_BYTES", 20_000)
    full = b'{"rmse": 6.5, "checksum": "edited"}'.ljust(20_000)
    assert Json().load(io.BytesIO(full)) == {"rmse": 6.5}
    numbers = saved(np.save, np.zeros((20_000 - 128) // 8))
    assert len(Arrays().load(io.BytesIO(archive_of(numbers=numbers)))["numbers"]) == 2_484


def test_the_checksum_of_stored_json_comes_last_and_is_of_the_sorted_rest(tmp_path: Path) -> None:
    write_json(tmp_path / "metrics.json", {"rmse": 8.15, "mae": 5})
    digest = hashlib.sha256(b'{"mae": 5, "rmse": 8.15}').hexdigest()
    assert (tmp_path / "metrics.json").read_text() == (
        f'{{\n  "rmse": 8.15,\n  "mae": 5,\n  "checksum": "{digest}"\n}}\n'
    )


def test_a_metric_that_is_no_number_is_not_stored(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        Json().dump({"rmse": float("nan")}, tmp_path / "metrics")
    assert not (tmp_path / "metrics").exists()


def test_a_frame_of_an_earlier_version_has_no_digest_and_is_read(tmp_path: Path) -> None:
    FRAME.to_parquet(tmp_path / "frame", index=False)
    loaded = FORMATS["parquet"][0].load((tmp_path / "frame").open("rb"))
    pd.testing.assert_frame_equal(loaded, FRAME)


def test_a_frame_of_other_categories_than_were_stored_is_refused(tmp_path: Path) -> None:
    """The rows are the same numbers of categories."""
    FORMATS["parquet"][0].dump(FRAME, tmp_path / "frame")
    table = pq.read_table(tmp_path / "frame")
    indices = pa.array([0, 1, 0], pa.int8())
    zones = pa.DictionaryArray.from_arrays(indices, pa.array(["133", "4"]))
    pq.write_table(table.set_column(0, table.schema.field(0), zones), tmp_path / "frame")
    with pytest.raises(ValueError, match="its values are not those that were stored"):
        FORMATS["parquet"][0].load((tmp_path / "frame").open("rb"))


def test_no_value_of_a_column_without_nulls_is_marked_as_none(tmp_path: Path) -> None:
    """Of three million trips the marks took nearly as long to write as the values."""
    FORMATS["parquet"][0].dump(FRAME, tmp_path / "frame")
    nullable = {column.name for column in pq.read_schema(tmp_path / "frame") if column.nullable}
    assert nullable == {"trip_distance"}


@pytest.fixture(params=["local", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return Storage(str(tmp_path / "data") if request.param == "local" else f"memory://{tmp_path}")


METRICS = "green/metrics/2023-01.json"


def put(storage: Storage, path: str, content: bytes) -> None:
    with storage.replacing(path) as temporary:
        temporary.write_bytes(content)


def test_replacing_shows_the_new_file_only_when_it_is_complete(storage: Storage) -> None:
    put(storage, METRICS, b"old")
    with storage.replacing(METRICS) as temporary:
        temporary.write_bytes(b"new")
        assert storage.open(METRICS).read() == b"old"
    assert storage.open(METRICS).read() == b"new"


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(storage: Storage) -> None:
    put(storage, METRICS, b"old")
    with pytest.raises(ZeroDivisionError), storage.replacing(METRICS) as temporary:
        temporary.write_bytes(b"half")
        raise ZeroDivisionError
    assert storage.open(METRICS).read() == b"old"
    assert storage.names("green/metrics") == ["2023-01.json"]
    assert not temporary.exists()


@pytest.mark.parametrize(
    ("process", "seconds", "stays"),
    [
        pytest.param("{host}-{pid}", 1, True, id="of a process that lives"),
        pytest.param("{host}-{gone}", 1, False, id="of a process that is gone"),
        pytest.param("another-host-{gone}", 1, True, id="of a process nobody knows of here"),
        pytest.param("{host}-{pid}", -1.9, True, id="by a clock that is two seconds off"),
        pytest.param("{host}-{pid}", -2.1, False, id="of an older process with the same number"),
    ],
)
def test_what_killed_processes_left_is_removed_and_what_others_write_is_not(
    tmp_path: Path, process: str, seconds: float, stays: bool
) -> None:
    names = {"host": os.uname().nodename, "pid": os.getpid(), "gone": 2**22 + 1}
    path = tmp_path / f"model/.taxi_assets-{process.format(**names)}-{'a' * 32}.tmp"
    path.parent.mkdir()
    path.touch()
    others = path.with_name(f".taxi_assets-notes-{2**22 + 1}.tmp")
    others.touch()
    written = psutil.Process().create_time() + seconds
    os.utime(path, (written, written))
    Storage(str(tmp_path)).temporary_file("model")
    assert path.exists() == stays
    assert others.exists()


def test_a_file_is_on_the_disk_before_it_takes_its_place_and_its_place_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a power cut leaves the old file or the new one, whole."""
    storage, target = Storage(str(tmp_path)), tmp_path / METRICS
    put(storage, METRICS, b"old")
    flushed = []

    def flush(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        flushed.append((path, path.is_file() and path.read_bytes(), target.read_bytes()))

    monkeypatch.setattr(os, "fsync", flush)
    with storage.replacing(METRICS) as temporary:
        temporary.write_bytes(b"new")
        inode = temporary.stat().st_ino
    assert flushed == [(temporary, b"new", b"old"), (target.parent, False, b"new")]
    assert target.stat().st_ino == inode, "renamed: a copy could be seen half"


def test_an_upload_that_breaks_off_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a file shows while it is written it is written elsewhere, and renamed."""
    storage = Storage(f"memory://{tmp_path}")
    put(storage, METRICS, b"old")

    def break_off(self: MemoryFileSystem, _local: str, path: str, **_: object) -> None:
        self.pipe_file(path, b"ne")
        raise OSError("connection lost")

    monkeypatch.setattr(MemoryFileSystem, "put_file", break_off)
    with pytest.raises(UnreachableStorageError, match="What was there before stays"):
        put(storage, METRICS, b"new")
    assert storage.open(METRICS).read() == b"old"


def test_an_object_is_uploaded_in_its_place_where_it_shows_when_it_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Renaming would copy it."""
    monkeypatch.setattr(MemoryFileSystem, "protocol", ("memory", "s3"))
    monkeypatch.setattr(MemoryFileSystem, "mv", lambda *_: pytest.fail("renamed"))
    storage = Storage(f"memory://{tmp_path}")
    put(storage, METRICS, b"new")
    assert storage.open(METRICS).read() == b"new"


def test_nobody_else_can_replace_what_is_made_ready_for_upload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    files._private_folder.cache_clear()
    path = Storage("memory://stored").temporary_file("green/model")
    files._private_folder.cache_clear()
    assert path.parent.parent == tmp_path
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert path.parent.stat().st_uid == os.getuid()


def test_names_are_those_of_files_that_are_there_and_not_hidden(storage: Storage) -> None:
    for path in ("model/2023-01.json", "model/2023-02.json", "pairs/2023-01.json"):
        put(storage, f"green/{path}", b"{}")
    put(storage, "green/model/.notes", b"")
    storage.remove("green/model/2023-01.json")
    assert storage.names("green/model") == ["2023-02.json"]
    assert storage.exists("green/model/2023-02.json")
    assert not storage.exists("green/model"), "a folder is no file"
    storage.remove("green/model")
    assert storage.names("green/model") == []
    assert storage.names("green/pairs") == ["2023-01.json"]


def test_a_place_of_a_kind_that_nobody_knows_is_a_sentence() -> None:
    with pytest.raises(StorageError, match="TAXI_STORAGE nowhere://bucket cannot be reached"):
        Storage("nowhere://bucket").exists("2023-01.json")


@pytest.mark.parametrize("key", ["../../2023-01", "2023-01-02", "2023-13-01", "2023-01-01/../x"])
def test_partition_keys_that_are_no_months_are_refused(key: str) -> None:
    """A path in the storage is made of a fleet, an asset and a month, and a month of digits."""
    with pytest.raises(ValueError, match="is not a month"):
        Month.parse(key)


RAW = stored_file("green", "raw_trips", JANUARY)


def origin_of(content: bytes) -> Origin:
    return Origin("here", "v1", 1, 3, hashlib.sha256(content).hexdigest())


def test_between_the_note_and_the_file_either_month_counts(tmp_path: Path) -> None:
    """A crash there leaves the old file, and the old file is not damaged."""
    storage, old, new = Storage(str(tmp_path)), origin_of(b"old"), origin_of(b"new")
    announce_origin(storage, RAW, old)
    put(storage, RAW, b"old")
    announce_origin(storage, RAW, new)
    assert stored_origin(storage, RAW) == old
    assert not is_altered(storage, RAW)
    put(storage, RAW, b"new")
    assert stored_origin(storage, RAW) == new
    put(storage, RAW, b"bad")
    assert stored_origin(storage, RAW) is None
    assert is_altered(storage, RAW)


@pytest.mark.parametrize("refused", [".source.", ".parquet"])
def test_a_month_file_takes_its_place_after_the_note_of_its_origin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    """If either cannot be written the old month stays, and what is there has its note."""
    storage, key = Storage(str(tmp_path / "data")), dg.AssetKey(["green", "raw_trips"])
    manager, path = MonthFileIOManager(storage), tmp_path / "fetched"
    path.write_bytes(b"old")
    manager.store(key, JANUARY, FetchedMonth(origin_of(b"old"), path))
    replacing = Storage.replacing

    def refuse(self: Storage, path: str) -> AbstractContextManager[Path]:
        if refused in path:
            raise StorageError("The disk is full.")
        return replacing(self, path)

    monkeypatch.setattr(Storage, "replacing", refuse)
    path.write_bytes(b"new")
    with pytest.raises(StorageError):
        manager.store(key, JANUARY, FetchedMonth(origin_of(b"new"), path))
    assert storage.open(RAW).read() == b"old"
    assert stored_origin(storage, RAW) == origin_of(b"old")
    assert not path.exists(), "whoever runs the month again fetches it anew"


@pytest.mark.parametrize("note", ["", "7", "null", '{"sha256": 1, "checksum": "edited"}'])
def test_a_planted_note_of_the_origin_is_no_note(tmp_path: Path, note: str) -> None:
    storage, origin = Storage(str(tmp_path)), origin_of(b"trips")
    announce_origin(storage, RAW, origin)
    put(storage, RAW, b"trips")
    assert stored_origin(storage, RAW) == origin
    (tmp_path / f"green/raw_trips/2023-01.source.{origin.sha256[:16]}.json").write_text(note)
    assert stored_origin(storage, RAW) is None
    assert is_altered(storage, RAW)


LIMITED = """
import resource, sys
import pandas as pd
from taxi_assets.errors import StorageError
from taxi_assets.storage.files import Storage
from taxi_assets.storage.formats import ParquetFrame

resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    with Storage(sys.argv[1]).replacing("frames/2023-01.parquet") as temporary:
        ParquetFrame({}).dump(pd.DataFrame({"n": range(1_000_000)}), temporary)
except StorageError as error:
    print(error)
"""


def test_a_disk_that_takes_no_more_leaves_the_old_file(tmp_path: Path) -> None:
    """The operating system refuses to make a file longer than 100,000 bytes."""
    put(Storage(str(tmp_path)), "frames/2023-01.parquet", b"old")
    limited = [sys.executable, "-c", LIMITED, str(tmp_path)]
    done = subprocess.run(limited, capture_output=True, text=True, check=True)
    assert f"Nothing can be stored in {tmp_path}/frames/2023-01.parquet" in done.stdout
    assert "What was there before stays" in done.stdout
    assert [path.name for path in (tmp_path / "frames").iterdir()] == ["2023-01.parquet"]
    assert (tmp_path / "frames/2023-01.parquet").read_bytes() == b"old"


def test_a_place_that_takes_nothing_is_named(tmp_path: Path) -> None:
    (tmp_path / "green").touch()
    with (
        pytest.raises(StorageError, match=f"Nothing can be stored in {tmp_path}/{METRICS} "),
        Storage(str(tmp_path)).replacing(METRICS),
    ):
        pytest.fail("there is no folder to write to")


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


def making(asset: str) -> str:
    return (
        "dagster asset materialize -m taxi_assets.definitions "
        f"--select 'green/{asset}' --partition 2023-01-01"
    )


def test_a_month_that_is_not_stored_is_named_with_the_command_that_makes_it(
    storage: Storage,
) -> None:
    message = "cleaned_trips 2023-01 is needed, and is not stored. Materialize it first: " + making(
        "cleaned_trips"
    )
    with pytest.raises(NotStoredError, match=f"^{re.escape(message)}$"):
        load_stored(storage, GREEN, "cleaned_trips", JANUARY)


@pytest.mark.parametrize(
    ("asset", "other", "reason"),
    [
        ("cleaned_trips", "parquet", "it has the columns of something else"),
        ("zone_pairs", "parquet", "it has the columns of something else"),
        ("model", "skops", "it has something else in it: {'model': 'LinearRegression'"),
        ("vectorizer", "skops", "it has something else in it: {'model': 'LinearRegression'"),
        ("boosted_model", "json", "File is not a zip file"),
        ("metrics", "npz", "'utf-8' codec can't decode byte"),
    ],
)
def test_what_is_damaged_or_planted_names_itself_and_the_command_that_makes_it_anew(
    storage: Storage, asset: str, other: str, reason: str
) -> None:
    file_format, value, _ = FORMATS[other]
    with storage.replacing(stored_file("green", asset, JANUARY)) as temporary:
        file_format.dump(value, temporary)
    message = re.escape(f"{asset} 2023-01 is stored, and cannot be read: {reason}")
    again = re.escape(f". Make it anew: {making(asset)}")
    with pytest.raises(UnusableValueError, match=f"^{message}.*{again}$"):
        load_stored(storage, GREEN, asset, JANUARY)


def test_a_month_file_with_a_flipped_bit_is_not_loaded(tmp_path: Path) -> None:
    """Parquet itself takes the changed trip for another trip."""
    write_month(tmp_path / "fetched", GREEN, JANUARY, trips=1_000)
    content = (tmp_path / "fetched").read_bytes()
    storage, key = Storage(str(tmp_path / "data")), dg.AssetKey(["green", "raw_trips"])
    manager = MonthFileIOManager(storage)
    manager.store(key, JANUARY, FetchedMonth(origin_of(content), tmp_path / "fetched"))
    assert manager.load(key, JANUARY).metadata.num_rows == 1_000
    put(storage, RAW, content[:5000] + bytes([content[5000] ^ 1]) + content[5001:])
    with pytest.raises(
        UnusableValueError, match="cannot be read: its bytes are not those that were fetched"
    ):
        manager.load(key, JANUARY)
