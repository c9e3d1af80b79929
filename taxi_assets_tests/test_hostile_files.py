"""Parquet files that claim more than a month can have, or grow when they are decoded: refused."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from taxi_assets.tlc import parquet
from taxi_assets.tlc.parquet import ParquetError, open_parquet


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
