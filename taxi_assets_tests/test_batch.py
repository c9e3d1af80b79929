"""Files of trips: every row is answered as the model answers it, or named; nothing is lost."""

import gzip
import tracemalloc
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from taxi_assets.durations.predictions import MINUTES
from taxi_assets.serving import batch
from taxi_assets.serving.batch import predict_file
from taxi_assets.serving.parsing import InvalidRequestError
from taxi_assets.tracking.champions import Serving, load_serving
from taxi_assets.tracking.server import TrackingServer
from taxi_assets_tests.conftest import laptop

ANSWERS = list(MINUTES)


@pytest.fixture(scope="module")
def serving(three_months: Path, source_folder: Path) -> Serving:
    """The champion of three months."""
    return load_serving(TrackingServer(laptop(three_months, source_folder).tracking_uri), "green")


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "BLOCK_ROWS", 3)


def model_says(serving: Serving, *trips: tuple[int, int, str | None]) -> list[list[float]]:
    """Minutes and bounds of trips, by the model's own reading of them."""
    columns = ["PULocationID", "DOLocationID", "pickup_datetime"]
    answers = serving.model.predict(None, pd.DataFrame(trips, columns=columns))
    return [[float(np.float32(value)) for value in row] for row in answers.to_numpy()]


CSV = """id,PULocationID,note,DOLocationID,pickup_datetime
1,132,"a, b",230,2023-03-03 17:00:00
2,230.0,,132,
3,x,"two
lines",230,2023-03-03 17:00:00

4,132,-1.50,266,
5,132,,230,2023-02-30 08:00
6,132
7,,NA,230,NA
007,74,"a ""q"" b",166,2023-03-05T04:00
9,132,,230,2023-03-03T17:00Z
10,132,,230,2023-03-03 17:00:00-05:00
11,132.5,,0,
"""


@pytest.mark.parametrize("kind", ["text", "gzip", "byte order mark", "Windows"])
def test_each_row_of_csv_is_answered_or_named(
    serving: Serving, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    """What the file is shows its content, whatever its name."""
    content = CSV.encode()
    written = {
        "text": content,
        "gzip": gzip.compress(content),
        "byte order mark": b"\xef\xbb\xbf" + content,
        "Windows": content.replace(b"\n", b"\r\n"),
    }
    path, output = tmp_path / "trips.parquet", tmp_path / "out.parquet"
    path.write_bytes(written[kind])
    predict_file(serving, path, output)
    printed = capsys.readouterr()
    assert f"{output}: 3 of 11 trips answered by boosted 2023-0" in printed.out
    assert printed.err.splitlines()[1:] == [
        "row 3: PULocationID 'x' is no zone from 1 to 265; left empty",
        "row 4: DOLocationID '266' is no zone from 1 to 265; left empty",
        "row 5: pickup_datetime '2023-02-30 08:00' is no time on New York's clock; left empty",
        "row 6: DOLocationID '' is no zone from 1 to 265; left empty",
        "row 7: PULocationID '' is no zone from 1 to 265; left empty",
        "row 9: pickup_datetime '2023-03-03T17:00Z' is no time on New York's clock; left empty",
        "row 10: pickup_datetime '2023-03-03 17:00:00-05:00' is no time on New York's clock; left "
        "empty",
        "row 11: PULocationID '132.5' is no zone from 1 to 265; left empty",
    ]
    scored = pd.read_parquet(output)
    given = pd.read_csv(BytesIO(content), dtype=str, keep_default_na=False)
    pd.testing.assert_frame_equal(
        scored.drop(columns=ANSWERS).replace("two\r\nlines", "two\nlines"), given
    )
    answered = scored[ANSWERS].dropna()
    assert answered.index.tolist() == [0, 1, 7]
    assert answered.to_numpy().tolist() == model_says(
        serving, (132, 230, "2023-03-03 17:00"), (230, 132, None), (74, 166, "2023-03-05 04:00")
    )


def test_columns_of_parquet_stay_as_they_are(serving: Serving, tmp_path: Path) -> None:
    trips = pa.table(
        {
            "tags": pa.array([["a"], None, [], ["b", "c"]]),
            "DOLocationID": pa.array([230, None, 166, 132], pa.int32()),
            "PULocationID": pa.array([132.0, 1.0, 74.0, 230.0]),
            "kind": pa.array(["=x", None, "=x", "y"]).dictionary_encode(),
            "pickup_datetime": pa.array([10**15, None, 10**16 // 7, None], pa.timestamp("us")),
        }
    )
    path, output = tmp_path / "trips.csv", tmp_path / "out.parquet"
    pq.write_table(trips, path)
    predict_file(serving, path, output)
    scored = pq.read_table(output)
    assert scored.select(trips.column_names).equals(trips)
    assert scored.column_names == [*trips.column_names, *ANSWERS]
    minutes = scored.select(ANSWERS).to_pandas().to_numpy().tolist()
    times = [str(time) for time in trips["pickup_datetime"].to_pylist()]
    assert np.isnan(minutes.pop(1)).all()
    assert minutes == model_says(
        serving, (132, 230, times[0]), (74, 166, times[2][:19]), (230, 132, None)
    )
    with pytest.raises(InvalidRequestError, match=r"out.csv cannot be written: .*list"):
        predict_file(serving, path, tmp_path / "out.csv")


def test_tlcs_own_month_is_answered_as_its_trips_are(
    serving: Serving, source_folder: Path, three_months: Path, tmp_path: Path
) -> None:
    """From TLC's own columns, and to the last digit what the model says of the cleaned trips."""
    month = source_folder / "green_tripdata_2023-03.parquet"
    expected = pd.read_parquet(three_months / "data/green/predictions/2023-03.parquet")
    version = int(expected["model_version"].iloc[0])
    server = TrackingServer(laptop(three_months, source_folder).tracking_uri)
    predict_file(load_serving(server, "green", version), month, tmp_path / "out.parquet")
    scored, raw = pd.read_parquet(tmp_path / "out.parquet"), pd.read_parquet(month)
    pd.testing.assert_frame_equal(scored[list(raw)], raw)
    minutes = (raw["lpep_dropoff_datetime"] - raw["lpep_pickup_datetime"]).dt.total_seconds() / 60
    kept = scored[minutes.between(1, 60) & raw["PULocationID"].notna()]
    np.testing.assert_array_equal(kept[ANSWERS].to_numpy(), expected[ANSWERS].to_numpy())


def test_spreadsheets_run_nothing_of_csv(serving: Serving, tmp_path: Path) -> None:
    """Numbers stay numbers, and zones and times of any case and kind what they are."""
    run = ["=1+1", "+1+1", "-cmd", "@SUM(A1)", "\tx", "\x01x", "-", "=HYPERLINK(x)", "-1.5x"]
    stay = ["-1.5", "+12", "-.5e-3", "a=b", "", "'=1", " -1"]
    notes = [*run, *stay]
    path, output = tmp_path / "trips.csv", tmp_path / "out.csv"
    rows = {" pulocationid ": [132] * len(notes), "DOLOCATIONID": 230, "=note": notes}
    pd.DataFrame(rows).to_csv(path, index=False)
    predict_file(serving, path, output)
    scored = pd.read_csv(output, keep_default_na=False)
    assert list(scored) == [" pulocationid ", "DOLOCATIONID", "'=note", *ANSWERS]
    assert scored["'=note"].tolist() == [*(f"'{text}" for text in run), *stay]
    assert scored[ANSWERS].iloc[0].tolist() == pytest.approx(
        model_says(serving, (132, 230, None))[0]
    )
    # As readable as any other file.
    assert output.stat().st_mode == path.stat().st_mode


def test_a_file_without_rows_has_no_answers(serving: Serving, tmp_path: Path) -> None:
    (tmp_path / "trips.csv").write_text("PULocationID,x,x,DOLocationID\n")
    predict_file(serving, tmp_path / "trips.csv", tmp_path / "out.csv")
    names = (tmp_path / "out.csv").read_text().replace('"', "").strip().split(",")
    assert names == ["PULocationID", "x", "x", "DOLocationID", *ANSWERS]
    pq.write_table(pa.table({name: [0] for name in names[2:4]} | {"PULocationID": [0]})[:0],
                   tmp_path / "trips.parquet")  # fmt: skip
    predict_file(serving, tmp_path / "trips.parquet", tmp_path / "out.parquet")
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 0


def refusal(serving: Serving, path: Path) -> str:
    """Why a file is refused; there is nothing then that was not there before."""
    before = sorted(path.parent.iterdir())
    with pytest.raises(InvalidRequestError) as refused:
        predict_file(serving, path, path.parent / "out.parquet")
    assert sorted(path.parent.iterdir()) == before
    return str(refused.value).replace(str(path), "FILE")


ZONES = b"PULocationID,DOLocationID"
OTHER = "FILE has a time under another name: {}. Name the time of the pick-up pickup_datetime, and"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a,b\n1,2\n", "FILE is to have one column PULocationID; its columns are: a, b."),
        (ZONES + b",dolocationid\n", "FILE is to have one column DOLocationID; its columns are: "),
        (ZONES + b",minutes\n", "FILE has answers already: rename its columns minutes, minutes_"),
        (ZONES + b",at\n1,2,\n", OTHER.format("at")),
        (ZONES + b",lpep_pickup_datetime\n1,2,\n", OTHER.format("lpep_pickup_datetime")),
        (ZONES + b",pickup_datetime,AT,Tpep_x\n1,2,,,\n", OTHER.format("at, tpep_x")),
        (b"", "FILE is to have one column PULocationID; its columns are: ."),
        (ZONES + b"\n1,2\n1,2\n\n1,2\n1,2,\n1,2,3\n", "FILE cannot be read: row 5 has more values"),
        (ZONES + b"\n1,2\n1,2,,4\n", "FILE cannot be read: Error tokenizing data. C error: "
                                     "Expected 3 fields in line 3, saw 4."),
        (ZONES + b'\n1,2\n1,"2\n', "FILE cannot be read: Error tokenizing data. C error: EOF ins"),
        (ZONES + b",caf\xe9\n", "FILE cannot be read: it is neither Parquet nor CSV"),
        (ZONES + b"\n1,2\0\n", "FILE cannot be read: it is neither Parquet nor CSV"),
        (b"PK\3\4\x14\0\6\0", "FILE cannot be read: it is neither Parquet nor CSV"),
        (CSV.encode("utf-16"), "FILE cannot be read: it is neither Parquet nor CSV"),
        (gzip.compress(CSV.encode())[:-9], "FILE cannot be read: Compressed file ended before"),
        (b"\x1f\x8bnothing", "FILE cannot be read: "),
        (b"PAR1 and no end", "FILE cannot be read: not a complete Parquet file"),
        (None, "FILE cannot be read: [Errno 2] No such file"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_meant_leaves_no_answers(
    serving: Serving, tmp_path: Path, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / "odd.csv").write_bytes(content)
    assert refusal(serving, tmp_path / "odd.csv").startswith(message)


def endless(kind: str) -> Iterator[bytes]:
    """Text of 300 MB after a header, in which a row does not end."""
    yield ZONES + (b',x\n1,2,"' if kind.endswith("quotes") else b",x\n1,2,")
    many = {"line": b"x", "line of values": b",", "line in quotes": b"x", "quotes": b"1,2,3456\n"}
    for _ in range(300):
        yield many[kind] * ((1 << 20) // len(many[kind]))


@pytest.mark.parametrize("kind", ["line", "line of values", "line in quotes", "quotes"])
def test_what_does_not_end_is_not_read_to_the_end(
    serving: Serving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(batch, "BLOCK_BYTES", 8 << 20)
    with gzip.open(tmp_path / "trips.csv.gz", "wb", compresslevel=1) as file:
        file.writelines(endless(kind))
    tracemalloc.start()
    message = refusal(serving, tmp_path / "trips.csv.gz")
    assert message == "FILE cannot be read: it has a line or a quoted value that does not end."
    assert tracemalloc.get_traced_memory()[1] < 100 << 20
    tracemalloc.stop()


def test_times_with_a_zone_are_none(
    serving: Serving, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trips = pd.DataFrame({"PULocationID": [1, 2], "DOLocationID": 3})
    trips["pickup_datetime"] = pd.to_datetime(["2023-03-03 22:00Z", None])
    trips.to_parquet(tmp_path / "trips.parquet")
    predict_file(serving, tmp_path / "trips.parquet", tmp_path / "out.parquet")
    assert "row 1: pickup_datetime 2023-03-03 22:00:00+00:00 is no time" in capsys.readouterr().err
    scored = pd.read_parquet(tmp_path / "out.parquet")["minutes"].tolist()
    assert [np.isnan(scored[0]), scored[1]] == [True, model_says(serving, (2, 3, None))[0][0]]


def test_many_rows_without_an_answer_are_counted(
    serving: Serving, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "trips.csv").write_bytes(ZONES + b"\n0,1" * 23 + b"\n1,2\n")
    predict_file(serving, tmp_path / "trips.csv", tmp_path / "out.csv")
    printed = capsys.readouterr()
    assert "1 of 24 trips answered" in printed.out
    assert printed.err.splitlines()[-2:] == [
        "row 20: PULocationID '0' is no zone from 1 to 265; left empty",
        "and 3 more rows",
    ]


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("trips.csv", "trips.csv has the trips. Name another file for the answers."),
        ("link.csv", "link.csv has the trips. Name another file for the answers."),
        ("x/../trips.csv", "trips.csv has the trips. Name another file for the answers."),
        ("out.csv.gz", "out.csv.gz is to end in .csv or .parquet."),
        ("nowhere/out.csv", "nowhere/out.csv cannot be written: .*No such file"),
    ],
)
def test_answers_take_the_place_of_nothing_else(
    serving: Serving, tmp_path: Path, output: str, message: str
) -> None:
    path = tmp_path / "trips.csv"
    path.write_bytes(ZONES + b"\n1,2\n")
    (tmp_path / "link.csv").symlink_to(path)
    (tmp_path / "x").mkdir()
    with pytest.raises(InvalidRequestError, match=message):
        predict_file(serving, path, tmp_path / output)
    assert path.read_bytes() == ZONES + b"\n1,2\n"


def test_answers_take_the_place_of_older_answers(serving: Serving, tmp_path: Path) -> None:
    path, output = tmp_path / "trips.csv", tmp_path / "out.csv"
    path.write_bytes(ZONES + b"\n1,2\n")
    output.write_text("older")
    predict_file(serving, path, output)
    assert pd.read_csv(output)["DOLocationID"].tolist() == [2]


def test_a_damaged_file_leaves_the_older_answers(serving: Serving, tmp_path: Path) -> None:
    path, output = tmp_path / "trips.parquet", tmp_path / "out.parquet"
    rows = pa.table({"PULocationID": list(range(1, 201)), "DOLocationID": list(range(1, 201))})
    pq.write_table(rows, path, row_group_size=50, use_dictionary=False, compression=None)
    content = bytearray(path.read_bytes())
    at = pq.read_metadata(path).row_group(2).column(0).data_page_offset
    content[at : at + 40] = b"\xff" * 40
    path.write_bytes(content)
    output.write_bytes(b"older")
    assert refusal(serving, path).startswith("FILE cannot be read: ")
    assert output.read_bytes() == b"older"
