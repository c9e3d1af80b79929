"""Synthetic months: always the same, in TLC's format, with TLC's quirks."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from taxi_assets.tlc.fleets import FLEETS
from taxi_assets.tlc.months import Month, months_of
from taxi_assets.tlc.schema import month_schema
from taxi_assets.tlc.synthetic import write_month
from taxi_assets_tests.conftest import REAL_FILES
from taxi_assets_tests.reference import row_level


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def make(path: Path, fleet: str, month: Month, trips: int) -> Path:
    write_month(path, FLEETS[fleet], month, trips)
    return path


def test_a_month_depends_on_fleet_month_and_trips_alone(tmp_path: Path) -> None:
    first = digest(make(tmp_path / "a", "green", Month(2023, 1), 3_000))
    assert digest(make(tmp_path / "b", "green", Month(2023, 1), 3_000)) == first
    assert digest(make(tmp_path / "c", "yellow", Month(2023, 1), 3_000)) != first
    assert digest(make(tmp_path / "d", "green", Month(2023, 2), 3_000)) != first
    assert digest(make(tmp_path / "e", "green", Month(2023, 1), 3_001)) != first


@pytest.mark.real_files
@pytest.mark.parametrize(
    "name", ["green_tripdata_2023-01", "green_tripdata_2023-02", "yellow_tripdata_2022-01"]
)
def test_the_schema_is_that_of_the_published_file(name: str) -> None:
    fleet, _, month = name.partition("_tripdata_")
    published = pq.read_schema(REAL_FILES / f"{name}.parquet").remove_metadata()
    assert month_schema(FLEETS[fleet], Month.parse(month)) == published


def test_columns_change_with_the_eras() -> None:
    yellow = FLEETS["yellow"]
    before, after = (month_schema(yellow, Month(2023, month)) for month in (1, 2))
    assert (before.field("PULocationID").type, after.field("PULocationID").type) == (
        "int64",
        "int32",
    )
    assert "airport_fee" in before.names
    assert "Airport_fee" in after.names
    assert "cbd_congestion_fee" not in month_schema(yellow, Month(2024, 12)).names
    assert "cbd_congestion_fee" in month_schema(yellow, Month(2025, 1)).names


@pytest.mark.parametrize("fleet", list(FLEETS))
def test_the_quirks_are_there_and_the_model_has_something_to_learn(
    tmp_path: Path, fleet: str
) -> None:
    month = pd.read_parquet(make(tmp_path / "month", fleet, Month(2023, 3), 60_000))
    pickup, dropoff = (month[FLEETS[fleet].needed_columns[i]] for i in (0, 1))
    seconds = (dropoff - pickup).dt.total_seconds()
    assert len(month) == 60_000
    assert ((pickup < "2023-03-01") | (pickup >= "2023-04-01")).sum() in range(1, 60)
    assert (seconds == 0).any()
    assert (seconds < 0).any()
    assert (seconds > 12 * 3600).any()
    assert month["passenger_count"].isna().any()
    assert {264, 265} <= set(month["PULocationID"])
    reference = row_level(month)
    assert reference.rmse < 0.85 * reference.baseline_rmse


def run_command(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "taxi_assets.tlc.synthetic", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_writes_a_range_of_months(tmp_path: Path) -> None:
    done = run_command(tmp_path / "new", "--months", "2022-12:2023-01", "--trips", 50)
    names = ["yellow_tripdata_2022-12.parquet", "yellow_tripdata_2023-01.parquet"]
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == names
    assert pq.read_metadata(tmp_path / "new" / names[1]).num_rows == 50


@pytest.mark.parametrize(
    ("months", "message"),
    [("2023-13", "write it as 2023-03"), ("2023-02:2023-01", "ends before it begins")],
)
def test_the_command_says_what_is_wrong_with_a_range(months: str, message: str) -> None:
    done = run_command("folder", "--months", months)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_span_names_its_months_in_order() -> None:
    winter = [Month(2022, 11), Month(2022, 12), Month(2023, 1), Month(2023, 2)]
    assert months_of("2022-11:2023-02") == winter
    assert months_of("2023-03") == months_of("2023-03:2023-03") == [Month(2023, 3)]
    with pytest.raises(ValueError, match="'2023-02:2022-11' ends before it begins"):
        months_of("2023-02:2022-11")
