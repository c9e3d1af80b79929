"""CSV of any of TLC's years becomes the month files that TLC has published, or is refused."""

import gzip
import re
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
HEADER = "lpep_pickup_datetime,lpep_dropoff_datetime,PULocationID,DOLocationID"
TIMES = "2019-01-05 10:00:00,2019-01-05 10:10:00"


def run(*arguments: object) -> Result:
    return taxi_assets("convert", *arguments)


def month(folder: Path, fleet: Fleet, month: Month, trips: int = 10_000) -> pd.DataFrame:
    write_month(folder / "published.parquet", fleet, month, trips)
    return pd.read_parquet(folder / "published.parquet")


def cleaned(path: Path, fleet: Fleet, month: Month) -> pd.DataFrame:
    return clean_trips(open_parquet(path), fleet, month).trips


@pytest.mark.parametrize(
    ("fleet", "name"), [(GREEN, "a.csv"), (YELLOW, "a.csv.gz"), (FLEETS["fhvhv"], "a.csv")]
)
def test_a_month_is_the_published_month(tmp_path: Path, fleet: Fleet, name: str) -> None:
    """With its strays, all columns, and every metric that follows."""
    published = month(tmp_path, fleet, JANUARY)
    strays = (published[fleet.pickup_time].dt.strftime("%Y-%m") != "2019-01").sum()
    assert strays > 0
    published.to_csv(tmp_path / name, index=False)

    result = run(tmp_path / name, tmp_path / "months")

    path = tmp_path / "months" / f"{fleet.name}_tripdata_2019-01.parquet"
    assert result.stdout == (
        f"{tmp_path / name}: 10,000 {fleet.name} trips; of 2019-01 ({10_000 - strays:,}); "
        f"{strays} others kept with them, as in TLC's own files\n"
    )
    assert list((tmp_path / "months").iterdir()) == [path]
    pd.testing.assert_frame_equal(pd.read_parquet(path), published, check_dtype=False)
    pd.testing.assert_frame_equal(
        cleaned(path, fleet, JANUARY), cleaned(tmp_path / "published.parquet", fleet, JANUARY)
    )


def test_several_months_are_split_and_the_others_counted(tmp_path: Path) -> None:
    sizes = {0: 3_000, 1: 3_001, 2: 3_002, 4: 20}
    trips = pd.concat([month(tmp_path, GREEN, JANUARY + n, sizes[n]) for n in sizes])
    trips.to_csv(tmp_path / "quarter.csv", index=False)

    result = run(tmp_path / "quarter.csv", tmp_path / "months")

    of = trips["lpep_pickup_datetime"].dt.strftime("%Y-%m")
    expected = {name: int((of == name).sum()) for name in ("2019-01", "2019-02", "2019-03")}
    others = len(trips) - sum(expected.values())
    assert others > 0
    assert result.stdout == (
        f"{tmp_path / 'quarter.csv'}: 9,023 green trips; of "
        + ", ".join(f"{name} ({count:,})" for name, count in expected.items())
        + f"; {others:,} others left out\n"
    )
    assert len(list((tmp_path / "months").iterdir())) == len(expected)
    for name, count in expected.items():
        path = tmp_path / "months" / f"green_tripdata_{name}.parquet"
        assert pq.read_metadata(path).num_rows == count
        assert set(pd.read_parquet(path)["lpep_pickup_datetime"].dt.strftime("%Y-%m")) == {name}


ROWS = f"{TIMES},132,4\n{TIMES},5,6\n"


@pytest.mark.parametrize(
    "text",
    [
        "VendorID,lpep_pickup_datetime,Lpep_dropoff_datetime,PULocationID,DOLocationID,fare_amount"
        f"\n\n2,{TIMES},132,4,N,,\n2,{TIMES},5,6,N,,\n",
        " lpep_pickup_datetime, lpep_dropoff_datetime , PULocationID,DOLocationID, fare_amount\n"
        f"{TIMES},132,4,1\n{TIMES},5,6,2\n",
        f"\ufeff{HEADER}\n{ROWS}".replace(",", ";"),
        f"\n  \n{HEADER}\n{ROWS}",
        '"' + HEADER.replace(",", '","') + f'","note"\n{TIMES},"132.0",4,"a, b"\n{TIMES},"5",6,\n',
        f"{HEADER},note,note\n{TIMES},132,4,a,b\n{TIMES},5,6,,\n",
    ],
    ids=["2013: commas at the end", "2014: blanks", "Excel's", "blank lines", "quotes", "twice"],
)
def test_headers_of_all_years_are_understood(tmp_path: Path, text: str) -> None:
    (tmp_path / "trips.csv").write_text(text)
    assert run(tmp_path / "trips.csv", tmp_path / "months").exit_code == 0
    trips = pd.read_parquet(tmp_path / "months" / "green_tripdata_2019-01.parquet")
    assert trips["PULocationID"].tolist() == [132, 5]
    assert trips["lpep_dropoff_datetime"].unique().tolist() == [pd.Timestamp("2019-01-05 10:10")]
    assert list(trips.columns) == [name.strip() for name in trips.columns]


def test_what_is_lost_is_said(tmp_path: Path) -> None:
    (tmp_path / "trips.csv").write_bytes(
        f"{HEADER},fare_amount,note\n{TIMES},JFK,4,free,x\n{TIMES},132,4,1e1,\n".encode()
        + f"{TIMES},132\n,,132,4,-2.5,".encode()
        + b"\xff\n"
    )
    result = run(tmp_path / "trips.csv", tmp_path / "months")
    assert result.stdout == (
        f"{tmp_path / 'trips.csv'}: 3 green trips; of 2019-01 (2); 1 rows left out that have too "
        "many or too few values; 1 values of PULocationID that cannot be read, now empty; 1 values "
        "of fare_amount that cannot be read, now empty; 1 others kept with them, as in TLC's own "
        "files\n"
    )
    trips = pd.read_parquet(tmp_path / "months" / "green_tripdata_2019-01.parquet")
    assert trips["fare_amount"].fillna(0).tolist() == [0, 10, -2.5]
    assert trips["note"].fillna("").tolist() == ["x", "", "�"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(
            b"vendor_id,pickup_datetime,dropoff_datetime,pickup_longitude\n1,2,3,4\n",
            "has no column tpep_pickup_datetime or .* with coordinates in place of zone ids",
            id="a year of coordinates",
        ),
        pytest.param(
            f"{HEADER}\n01/02/2019 12:46:40 AM,01/02/2019 12:56:40 AM,132,4\n".encode(),
            "None of the 1 trips in .* can be read; the first is '01/02/2019 12:46:40 AM'. Write",
            id="an American's dates",
        ),
        pytest.param(f"{HEADER}\n".encode(), "None of the 0 trips in", id="a header alone"),
        pytest.param(b"", "cannot be read: Empty CSV file", id="nothing"),
        pytest.param(
            gzip.compress(f"{HEADER}\n{TIMES},132,4\n".encode() * 9999, mtime=0)[:-20],
            "cannot be read: ",
            id="half a gzip",
        ),
        pytest.param(b"PAR1\0\nPAR1\0", "has no column tpep_pickup_datetime", id="Parquet"),
    ],
)
def test_what_cannot_be_converted_is_refused_and_leaves_nothing(
    tmp_path: Path, content: bytes, words: str
) -> None:
    (tmp_path / "trips.csv").write_bytes(content)
    assert_refused(run(tmp_path / "trips.csv", tmp_path / "months"), words)
    assert not any((tmp_path / "months").glob("*"))


def test_a_month_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    month(tmp_path, GREEN, JANUARY, trips=100).to_csv(tmp_path / "trips.csv", index=False)
    there = tmp_path / "green_tripdata_2019-01.parquet"
    there.write_bytes(b"mine")
    result = run(tmp_path / "trips.csv", tmp_path)
    assert_refused(result, f"{there.name} in {tmp_path} would be overwritten. Move it away")
    assert there.read_bytes() == b"mine"
    assert not list(tmp_path.glob(".taxi_assets*"))


def assert_refused(result: Result, words: str) -> None:
    assert result.exit_code == 1
    assert re.search(f"^Error: .*{words}", result.stderr, re.MULTILINE)
