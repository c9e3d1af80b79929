"""CSV of any of TLC's years becomes the month files that TLC has published, or is refused."""

import errno
import gzip
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from click.testing import Result

from taxi_assets.durations.cleaning import clean_trips
from taxi_assets.tlc.fleets import FLEETS, Fleet
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.parquet import open_parquet
from taxi_assets.tlc.synthetic import write_month
from taxi_assets_tests.conftest import taxi_assets

GREEN, YELLOW = FLEETS["green"], FLEETS["yellow"]
JANUARY = Month(2019, 1)


def run(*arguments: object) -> Result:
    return taxi_assets("convert", *arguments)


def month(folder: Path, fleet: Fleet, month: Month, trips: int = 10_000) -> pd.DataFrame:
    write_month(folder / "published.parquet", fleet, month, trips)
    return pd.read_parquet(folder / "published.parquet")


def cleaned(path: Path, fleet: Fleet, month: Month) -> pd.DataFrame:
    return clean_trips(open_parquet(path), fleet, month).trips


@pytest.mark.parametrize("fleet", [GREEN, YELLOW], ids=lambda fleet: fleet.name)
@pytest.mark.parametrize("name", ["trips.csv", "trips.csv.gz"])
def test_a_month_of_csv_is_the_published_month(tmp_path: Path, fleet: Fleet, name: str) -> None:
    """With its strays, all columns, and every figure that follows."""
    published = month(tmp_path, fleet, JANUARY)
    strays = (published[fleet.pickup_time].dt.strftime("%Y-%m") != "2019-01").sum()
    assert strays > 0
    published.to_csv(tmp_path / name, index=False)

    result = run(tmp_path / name, tmp_path / "months")

    path = tmp_path / "months" / f"{fleet.name}_tripdata_2019-01.parquet"
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == (
        f"{tmp_path / name}: 10,000 {fleet.name} trips; of 2019-01 ({10_000 - strays:,}); "
        f"{strays} others kept with them, as in TLC's own files"
    )
    assert list((tmp_path / "months").iterdir()) == [path]
    pd.testing.assert_frame_equal(pd.read_parquet(path), published, check_dtype=False)
    pd.testing.assert_frame_equal(
        cleaned(path, fleet, JANUARY), cleaned(tmp_path / "published.parquet", fleet, JANUARY)
    )


def test_several_months_are_split_by_pick_up_and_the_others_counted(tmp_path: Path) -> None:
    frames = [month(tmp_path, GREEN, JANUARY + n, trips=3_000 + n) for n in range(3)]
    trips = pd.concat(frames)
    of = trips["lpep_pickup_datetime"].dt.strftime("%Y-%m")
    trips.to_csv(tmp_path / "quarter.csv", index=False)

    result = run(tmp_path / "quarter.csv", tmp_path / "months")

    expected = {f"2019-0{n}": int((of == f"2019-0{n}").sum()) for n in (1, 2, 3)}
    others = len(trips) - sum(expected.values())
    assert result.stdout.splitlines()[-1] == (
        f"{tmp_path / 'quarter.csv'}: 9,003 green trips; of "
        + ", ".join(f"{name} ({count:,})" for name, count in expected.items())
        + (f"; {others} others left out" if others else "")
    )
    for name, count in expected.items():
        path = tmp_path / "months" / f"green_tripdata_{name}.parquet"
        assert pq.read_metadata(path).num_rows == count
        assert set(pd.read_parquet(path)["lpep_pickup_datetime"].dt.strftime("%Y-%m")) == {name}


def test_wanted_months_are_all_that_is_written(tmp_path: Path) -> None:
    trips = pd.concat([month(tmp_path, GREEN, JANUARY + n, trips=2_000) for n in range(3)])
    trips.to_csv(tmp_path / "quarter.csv", index=False)
    result = run(tmp_path / "quarter.csv", tmp_path / "months", "--months", "2019-02:2019-03")
    written = sorted(path.name for path in (tmp_path / "months").iterdir())
    assert written == ["green_tripdata_2019-02.parquet", "green_tripdata_2019-03.parquet"]
    rows = sum(pq.read_metadata(tmp_path / "months" / name).num_rows for name in written)
    assert f"; {6_000 - rows:,} others left out" in result.stdout


NEEDED = "2019-01-05 10:00:00,2019-01-05 10:10:00"


@pytest.mark.parametrize(
    ("text", "zones"),
    [
        pytest.param(
            "VendorID,lpep_pickup_datetime,Lpep_dropoff_datetime,PULocationID,DOLocationID,"
            f"Store_and_fwd_flag\n\n2,{NEEDED},132,4,N,,\n2,{NEEDED},5,6,N,,\n",
            [132, 5],
            id="2013: a blank line, capitals, commas at the end",
        ),
        pytest.param(
            " lpep_pickup_datetime, lpep_dropoff_datetime , PULocationID,DOLocationID\n"
            f"{NEEDED},7,8\n",
            [7],
            id="2014: blanks in the header",
        ),
        pytest.param(
            f"\ufefflpep_pickup_datetime;lpep_dropoff_datetime;PULocationID;DOLocationID\n"
            f"{NEEDED.replace(',', ';')};9;10\n",
            [9],
            id="a spreadsheet's semicolons and byte order mark",
        ),
        pytest.param(
            "\n  \nlpep_pickup_datetime,lpep_dropoff_datetime,PULocationID,DOLocationID\n"
            f"{NEEDED},13,14\n",
            [13],
            id="blank lines before the header",
        ),
        pytest.param(
            '"lpep_pickup_datetime","lpep_dropoff_datetime","PULocationID","DOLocationID","note"\n'
            f'{NEEDED},"11.0",12,"a, b"\n',
            [11],
            id="quotes",
        ),
    ],
)
def test_headers_of_all_years_are_understood(tmp_path: Path, text: str, zones: list[int]) -> None:
    (tmp_path / "trips.csv").write_text(text)
    assert run(tmp_path / "trips.csv", tmp_path / "months").exit_code == 0
    trips = pd.read_parquet(tmp_path / "months" / "green_tripdata_2019-01.parquet")
    assert trips["PULocationID"].tolist() == zones
    assert trips["lpep_dropoff_datetime"].unique().tolist() == [pd.Timestamp("2019-01-05 10:10")]


def test_what_is_lost_is_said(tmp_path: Path) -> None:
    (tmp_path / "trips.csv").write_bytes(
        b"lpep_pickup_datetime,lpep_dropoff_datetime,PULocationID,DOLocationID,fare_amount,note\n"
        + f"{NEEDED},JFK,4,free,x\n{NEEDED},132,4,1e1,\n{NEEDED},132\n,,132,4,-2.5,".encode()
        + b"\xff\n"
    )
    result = run(tmp_path / "trips.csv", tmp_path / "months")
    assert result.stdout.splitlines()[-1] == (
        f"{tmp_path / 'trips.csv'}: 3 green trips; of 2019-01 (2); 1 others (1 of them without a "
        "time that can be read) kept with them, as in TLC's own files; 1 rows left out that have "
        "too many or too few values; values that cannot be read, now empty: 1 in PULocationID, "
        "1 in fare_amount"
    )
    trips = pd.read_parquet(tmp_path / "months" / "green_tripdata_2019-01.parquet")
    assert trips["fare_amount"].fillna(0).tolist() == [0, 10, -2.5]
    assert trips["note"].fillna("").tolist() == ["x", "", "�"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(
            b"vendor_id,pickup_datetime,dropoff_datetime,pickup_longitude\n1,2,3,4\n",
            "no column tpep_pickup_datetime or .* It has coordinates in place of zone ids",
            id="a year of coordinates",
        ),
        pytest.param(
            b"lpep_pickup_datetime,lpep_dropoff_datetime,PULocationID,DOLocationID\n"
            b"01/02/2019 12:46:40 AM,01/02/2019 12:56:40 AM,132,4\n",
            "no time in column lpep_pickup_datetime can be read. The first is "
            "'01/02/2019 12:46:40 AM'. .* could mean two days",
            id="an American's dates",
        ),
        pytest.param(
            b"lpep_pickup_datetime,lpep_dropoff_datetime,PULocationID,DOLocationID\n",
            "has no trips",
            id="a header alone",
        ),
        pytest.param(b"", "no column tpep_pickup_datetime .* It has no columns", id="nothing"),
        pytest.param(
            gzip.compress(bytes(9999), mtime=0)[:-20], "cannot be read: ", id="half a gzip"
        ),
        pytest.param(b"PAR1\0\0", "no column tpep_pickup_datetime", id="Parquet"),
    ],
)
def test_what_cannot_be_converted_is_refused_and_leaves_nothing(
    tmp_path: Path, content: bytes, words: str
) -> None:
    (tmp_path / "trips.csv").write_bytes(content)
    result = run(tmp_path / "trips.csv", tmp_path / "months")
    assert result.exit_code == 1
    (message,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert pd.Series([message]).str.contains(words).all(), message
    assert not any((tmp_path / "months").glob("*"))


def test_a_month_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    month(tmp_path, GREEN, JANUARY, trips=100).to_csv(tmp_path / "trips.csv", index=False)
    there = tmp_path / "green_tripdata_2019-01.parquet"
    there.write_bytes(b"mine")
    result = run(tmp_path / "trips.csv", tmp_path)
    assert result.exit_code == 1
    assert f"{there.name} in {tmp_path} would be overwritten. Move it away" in result.stderr
    assert there.read_bytes() == b"mine"
    assert not list(tmp_path.glob(".taxi_assets*"))


@pytest.mark.parametrize("file", ["trips.csv", None])
def test_what_the_system_refuses_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str | None
) -> None:
    """The file, where it says which; else the folder."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", file)

    monkeypatch.setattr("taxi_assets.tlc.convert.convert_all", full)
    (tmp_path / "given.csv").touch()
    said = run(tmp_path / "given.csv", tmp_path / "folder")
    assert said.exit_code == 1
    named = file or tmp_path / "folder"
    assert said.output.endswith(f"Error: {named}: No space left on device.\n")
