"""Files that somebody with write access to the storage has prepared: refused, and never run."""

import hashlib
import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sklearn
import skops.io
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LinearRegression

from taxi_assets.settings import Settings
from taxi_assets.storage.estimators import Skops
from taxi_assets.storage.files import Storage
from taxi_assets.storage.formats import ParquetFrame, UnreadableFileError
from taxi_assets.tlc import parquet
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.parquet import ParquetError, open_parquet
from taxi_assets.tracking.served_model import TripDuration
from taxi_assets_tests.conftest import step_failures

Materialize = Callable[..., dg.ExecuteInProcessResult]
VECTORIZERS = Skops("DictVectorizer")
FRAMES = ParquetFrame({"duration": "float64"})


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch '{self.marker}'",)


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "it ran"


def vectorizer() -> DictVectorizer:
    return DictVectorizer().fit([{"PULocationID": "132"}, {"PULocationID": "4"}])


def test_the_bomb_works(marker: Path) -> None:
    """Else the tests below would show nothing."""
    pickle.loads(pickle.dumps(Bomb(marker)))
    assert marker.exists()


def test_a_pickle_in_the_place_of_an_estimator_is_refused_unread(
    tmp_path: Path, marker: Path
) -> None:
    (tmp_path / "model.skops").write_bytes(pickle.dumps(Bomb(marker)))
    with pytest.raises(UnreadableFileError, match="not a skops file"):
        VECTORIZERS.load((tmp_path / "model.skops").open("rb"))
    assert not marker.exists()


def test_a_pickled_array_within_a_logged_model_is_refused(tmp_path: Path, marker: Path) -> None:
    path = tmp_path / "model.npz"
    np.savez(path, bomb=np.array([Bomb(marker)]))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    context = SimpleNamespace(artifacts={"model": str(path)}, model_config={"model_sha256": digest})
    with pytest.raises(ValueError, match="Object arrays cannot be loaded"):
        TripDuration().load_context(context)
    assert not marker.exists()


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(os.system, id="a function of the operating system"),
        pytest.param({"model": print}, id="a function that is harmless"),
        pytest.param(np.random.default_rng(1), id="a type of numpy that skops trusts"),
        pytest.param(pd.Timestamp, id="a type"),
    ],
)
def test_types_that_are_not_on_the_list_are_refused(tmp_path: Path, value: object) -> None:
    skops.io.dump(value, tmp_path / "model.skops")
    with pytest.raises(UnreadableFileError, match="types that are not trusted"):
        VECTORIZERS.load((tmp_path / "model.skops").open("rb"))


def test_a_zip_bomb_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.skops", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", bytes(100 << 20))
    assert (tmp_path / "model.skops").stat().st_size < 200_000
    with pytest.raises(UnreadableFileError, match="claims more than 67,108,864 bytes"):
        VECTORIZERS.load((tmp_path / "model.skops").open("rb"))


def test_an_estimator_of_another_scikit_learn_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "vectorizer.skops"
    VECTORIZERS.dump(vectorizer(), path)
    present, other = (rf"\"{of}\"".encode() for of in (sklearn.__version__, "0.24.2"))
    rewrite(path, "schema.json", lambda schema: schema.replace(present, other))
    with pytest.raises(UnreadableFileError, match=r"written by scikit-learn 0\.24\.2, and this is"):
        VECTORIZERS.load(path.open("rb"))


def test_values_of_another_version_of_this_project_are_refused(tmp_path: Path) -> None:
    skops.io.dump(vectorizer(), tmp_path / "vectorizer.skops")
    pd.DataFrame({"duration": [1.0]}).to_parquet(tmp_path / "frame.parquet")
    for file_format, name in ((VECTORIZERS, "vectorizer.skops"), (FRAMES, "frame.parquet")):
        with pytest.raises(UnreadableFileError, match="another version of taxi_assets"):
            file_format.load((tmp_path / name).open("rb"))


def rewrite(path: Path, ending: str, change: Callable[[bytes], bytes]) -> None:
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w") as new:
        for name, content in members.items():
            new.writestr(name, change(content) if name.endswith(ending) else content)


def test_a_small_file_of_billions_of_rows_is_refused(tmp_path: Path) -> None:
    """One value, repeated, takes a few bytes a million rows."""
    million = pa.table({"n": pa.nulls(1_000_000, pa.bool_())})
    for name, more in (("most", 0), ("bomb", 1)):
        with pq.ParquetWriter(tmp_path / name, million.schema) as writer:
            for _ in range(50):
                writer.write_table(million)
            writer.write_table(million.slice(0, more))
        assert (tmp_path / name).stat().st_size < 100_000
    assert open_parquet(tmp_path / "most").metadata.num_rows == 50_000_000
    with pytest.raises(ParquetError, match="claims 50,000,001 rows, more than 50,000,000"):
        open_parquet(tmp_path / "bomb")
    with pytest.raises(ParquetError, match="claims 50,000,001 rows"):
        FRAMES.load((tmp_path / "bomb").open("rb"))


def test_a_small_file_of_many_bytes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "MAX_BYTES", 1 << 20)
    long = pa.table({"store_and_fwd_flag": pa.array(["N" * 100_000 + str(n) for n in range(20)])})
    pq.write_table(long, tmp_path / "bomb.parquet", compression="zstd")
    with pytest.raises(ParquetError, match=r"claims .* bytes of data, more than 1,048,576"):
        open_parquet(tmp_path / "bomb.parquet")


@pytest.mark.parametrize(
    ("column", "options", "message"),
    [
        pytest.param(
            pa.DictionaryArray.from_arrays(
                np.zeros(300_000, np.int32), pa.array(["x" * 1_000_000])
            ),
            {"compression": "zstd", "store_schema": False},
            "column PULocationID has a text of 1,000,000 bytes, more than 64",
            id="300 GB of a megabyte in a dictionary",
        ),
        pytest.param(
            pa.array(["132"] * 20 + ["x" * 65]),
            {"row_group_size": 10},
            "column PULocationID has a text of 65 bytes",
            id="a later row group",
        ),
        pytest.param(
            pa.array(["x" * rows for rows in range(50)]),
            {"use_dictionary": False, "column_encoding": {"PULocationID": "DELTA_BYTE_ARRAY"}},
            "column PULocationID is damaged, or encoded as DELTA_BYTE_ARRAY",
            id="a page that repeats what came before",
        ),
        pytest.param(pa.array([b"x" * 65], pa.binary(65)), {}, "values over 64 bytes", id="bytes"),
        pytest.param(pa.array([["132"]]), {}, "column PULocationID has lists", id="lists"),
    ],
)
def test_text_that_grows_when_it_is_decoded_is_refused(
    tmp_path: Path, column: pa.Array, options: dict[str, object], message: str
) -> None:
    pq.write_table(pa.table({"PULocationID": column}), tmp_path / "bomb.parquet", **options)
    with pytest.raises(ParquetError, match=message):
        open_parquet(tmp_path / "bomb.parquet")


@pytest.mark.parametrize("encoding", ["PLAIN", "DELTA_LENGTH_BYTE_ARRAY"])
def test_text_of_64_bytes_is_not_refused(tmp_path: Path, encoding: str) -> None:
    table = pa.table({"PULocationID": ["132", "x" * 64], "notes": ["x" * 65] * 2})
    options = {
        "use_dictionary": False,
        "column_encoding": dict.fromkeys(table.schema.names, encoding),
    }
    pq.write_table(table, tmp_path / "month.parquet", **options)
    assert open_parquet(tmp_path / "month.parquet").read() == table


@pytest.mark.parametrize(
    "path",
    ["../outside.json", "/etc/passwd", "green/../../outside.json", "green//x", "~/x", "", "a\n",
     ".hidden", "green/model/2023-01.skops\0.json"],
)  # fmt: skip
def test_no_path_leads_out_of_the_storage(tmp_path: Path, path: str) -> None:
    storage = Storage(str(tmp_path / "data"))
    for use in (storage.exists, storage.open, storage.temporary_file):
        with pytest.raises(ValueError, match="not a path in the storage"):
            use(path)


@pytest.mark.parametrize("key", ["../../2023-01", "2023-01-02", "2023-13-01", "2023-01-01/../x"])
def test_partition_keys_that_are_no_months_are_refused(key: str) -> None:
    """A path in the storage is made of a fleet, an asset and a month, and a month of digits."""
    with pytest.raises(ValueError, match="is not a month"):
        Month.parse(key)


def test_arrays_of_objects_or_of_more_than_there_is_are_refused(
    tmp_path: Path, marker: Path
) -> None:
    path = tmp_path / "model.skops"
    Skops("LinearRegression").dump(LinearRegression().fit(np.eye(2), [3.0, 5.0]), path)
    pickled = io.BytesIO()
    np.save(pickled, np.array([Bomb(marker)], dtype=object), allow_pickle=True)
    for change, claimed in (
        (lambda array: array.replace(b"(2,), }" + b" " * 8, b"(999999999,), }"), "7,999,999,992"),
        (lambda array: pickled.getvalue(), "8 bytes, or objects"),
    ):
        rewrite(path, ".npy", change)
        with pytest.raises(UnreadableFileError, match=f"an array in it claims {claimed}"):
            Skops("LinearRegression").load(path.open("rb"))
    assert not marker.exists()


def test_a_small_frame_of_long_texts_is_refused_by_its_types(tmp_path: Path) -> None:
    """The same text a hundred thousand times takes hardly any room, until it is read."""
    text = pa.array(["x" * 9999]).dictionary_encode()
    repeated = pa.DictionaryArray.from_arrays(np.zeros(100_000, np.int32), text.dictionary)
    table = pa.table({"duration": repeated.cast(pa.large_string())})
    marked = table.replace_schema_metadata({"taxi_assets.layout": "1"})
    pq.write_table(marked, tmp_path / "frame.parquet", compression="zstd")
    assert (tmp_path / "frame.parquet").stat().st_size < 20_000
    with pytest.raises(UnreadableFileError, match="the columns of something else"):
        FRAMES.load((tmp_path / "frame.parquet").open("rb"))


PLANTED = {
    "cleaned_trips": ("zone_pairs", "zone_pairs", "the columns of something else"),
    "zone_pairs": ("vectorizer", "cleaned_trips", "the columns of something else"),
    "model": ("metrics", "vectorizer", "something else in it: DictVectorizer"),
    "vectorizer": ("model", "model", "something else in it: {'model': 'LinearRegression'"),
}
"""By asset: the asset that reads it, the one whose file is put in its place, and what is said."""


def test_what_is_planted_names_itself_and_the_command_that_makes_it_anew(
    materialize: Materialize, settings: Settings, marker: Path
) -> None:
    """Hostile, or of another asset: the step that would read it fails, and nothing runs."""
    assert materialize("2023-01").success
    data = Path(settings.storage) / "green"
    stored = {asset: next((data / asset).glob("*[!n]")) for asset in PLANTED}
    contents = {asset: path.read_bytes() for asset, path in stored.items()}
    for asset, (reader, other, why) in PLANTED.items():
        for content, said in ((contents[other], f"it has {why}"), (pickle.dumps(Bomb(marker)), "")):
            stored[asset].write_bytes(content)
            (message,) = step_failures(materialize("2023-01", reader))
            assert f": {asset} 2023-01 is stored, and cannot be read: {said}" in message
        assert message.endswith(
            "Make it anew: dagster asset materialize -m taxi_assets.definitions "
            f"--select 'green/{asset}' --partition 2023-01-01"
        )
        stored[asset].write_bytes(contents[asset])
    assert not marker.exists()
    assert materialize("2023-01", "metrics").success
