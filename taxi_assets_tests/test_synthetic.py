"""Synthetic months: always the same, in TLC's format, with TLC's quirks."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from taxi_assets.tlc.fleets import FLEETS
from taxi_assets.tlc.months import Month, months_of
from taxi_assets.tlc.schema import month_schema
from taxi_assets.tlc.synthetic import GENERATOR_VERSION, make_month, write_month
from taxi_assets_tests.conftest import REAL_FILES, taxi_assets
from taxi_assets_tests.reference import row_level


def test_a_month_depends_on_fleet_month_and_trips_alone(tmp_path: Path) -> None:
    made = (
        ("green", Month(2023, 1), 3_000),
        ("yellow", Month(2023, 1), 3_000),
        ("green", Month(2023, 2), 3_000),
        ("green", Month(2023, 1), 3_001),
    )
    contents = []
    for fleet, month, trips in (*made, made[0]):
        write_month(tmp_path / "month", FLEETS[fleet], month, trips)
        contents.append((tmp_path / "month").read_bytes())
    assert len(set(contents)) == len(made)
    assert contents[-1] == contents[0]


def sums(fleet: str, month: Month) -> dict[str, float]:
    """The sums of the columns of 5,000 trips; of times, the seconds since the month began."""
    trips = pa.concat_tables(make_month(FLEETS[fleet], month, 5000)).to_pandas()
    times = trips.select_dtypes("datetime")
    seconds = times.sub(pd.Timestamp(month.first_day)).apply(
        lambda column: column.dt.total_seconds()
    )
    return {**trips.select_dtypes("number").sum(), **seconds.sum()}


def test_other_trips_come_with_another_version_of_the_generator() -> None:
    """Whoever changes the trips changes the version, and these sums."""
    assert GENERATOR_VERSION == "1"
    assert sums("green", Month(2023, 1)) == pytest.approx(
        {
            "VendorID": 7550,
            "RatecodeID": 4888,
            "payment_type": 7496,
            "trip_type": 4888,
            "lpep_pickup_datetime": 6_643_804_614,
            "lpep_dropoff_datetime": 6_650_542_057,
            "PULocationID": 676_139,
            "DOLocationID": 667_242,
            "passenger_count": 7302,
            "trip_distance": 20_863.89,
            "fare_amount": 65_912.5,
            "tip_amount": 7_718.58,
            "mta_tax": 2500,
            "improvement_surcharge": 1500,
            "congestion_surcharge": 12_220,
            "extra": 0,
            "tolls_amount": 0,
            "total_amount": 77_631.08,
        },
        rel=1e-9,
    )
    for fleet, month, distance, fee in (
        ("yellow", Month(2025, 1), 15_009.49, 3750),
        ("synthetic", Month(2023, 3), 14_035.57, None),
    ):
        other = sums(fleet, month)
        assert other["trip_distance"] == pytest.approx(distance, rel=1e-9)
        assert other.get("cbd_congestion_fee") == fee


@pytest.mark.real_files
@pytest.mark.parametrize(
    "name", ["green_tripdata_2023-01", "green_tripdata_2023-02", "yellow_tripdata_2022-01"]
)
def test_the_schema_is_that_of_the_published_file(name: str) -> None:
    fleet, _, month = name.partition("_tripdata_")
    published = pq.read_schema(REAL_FILES / f"{name}.parquet").remove_metadata()
    assert month_schema(FLEETS[fleet], Month.parse(month)) == published


def test_uber_and_lyft_have_columns_of_their_own() -> None:
    trips = pa.concat_tables(make_month(FLEETS["fhvhv"], Month(2023, 3), 100)).to_pandas()
    (trip,) = trips.head(1).to_dict("records")
    assert list(trip)[:4] == [
        *("hvfhs_license_num", "dispatching_base_num", "originating_base_num"),
        "request_datetime",
    ]
    assert trip["hvfhs_license_num"] == "HV0003"
    assert trip["wav_match_flag"] == "N"
    assert trip["pickup_datetime"] - trip["request_datetime"] == pd.Timedelta(minutes=5)
    took = trip["dropoff_datetime"] - trip["pickup_datetime"]
    assert trip["trip_time"] == took.total_seconds()
    assert trip["trip_miles"] > 0
    assert trip["tolls"] == 0


def test_columns_change_with_the_eras() -> None:
    yellow = FLEETS["yellow"]
    before, after = (month_schema(yellow, Month(2023, month)) for month in (1, 2))
    assert before.field("PULocationID").type == "int64"
    assert after.field("PULocationID").type == "int32"
    assert "airport_fee" in before.names
    assert "Airport_fee" in after.names
    assert "cbd_congestion_fee" not in month_schema(yellow, Month(2024, 12)).names
    assert "cbd_congestion_fee" in month_schema(yellow, Month(2025, 1)).names


@pytest.mark.parametrize("fleet", list(FLEETS))
def test_the_quirks_are_there_and_the_model_has_something_to_learn(
    tmp_path: Path, fleet: str
) -> None:
    write_month(tmp_path / "month", FLEETS[fleet], Month(2023, 3), 60_000)
    month = pd.read_parquet(tmp_path / "month")
    pickup, dropoff = (month[FLEETS[fleet].needed_columns[i]] for i in (0, 1))
    seconds = (dropoff - pickup).dt.total_seconds()
    assert len(month) == 60_000
    assert ((pickup < "2023-03-01") | (pickup >= "2023-04-01")).sum() in range(1, 60)
    assert (seconds == 0).any()
    assert (seconds < 0).any()
    assert (seconds > 12 * 3600).any()
    assert month["on_scene_datetime" if fleet == "fhvhv" else "passenger_count"].isna().any()
    assert {264, 265} <= set(month["PULocationID"])
    reference = row_level(month)
    assert reference.rmse < 0.85 * reference.baseline_rmse


def test_the_command_writes_a_range_of_months(tmp_path: Path) -> None:
    done = taxi_assets(
        "synthetic", tmp_path / "new", "--months", "2022-12...2023-01", "--trips", 50
    )
    names = ["yellow_tripdata_2022-12.parquet", "yellow_tripdata_2023-01.parquet"]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == names
    assert pq.read_metadata(tmp_path / "new" / names[1]).num_rows == 50
    assert done.output.splitlines() == [str(tmp_path / "new" / name) for name in names]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--months", "2023-13"], "write it as 2023-03"),
        (["--months", "2023-02:2023-01"], "ends before it begins"),
        (["--months", "2023-02", "--trips", 0], "0 is not in the range x>=1"),
    ],
)
def test_the_command_says_what_is_wrong_with_what_it_is_given(
    arguments: list[object], message: str
) -> None:
    done = taxi_assets("synthetic", "folder", *arguments)
    assert (done.exit_code, message in done.stderr) == (2, True)


def test_a_span_names_its_months_in_order() -> None:
    winter = [Month(2022, 11), Month(2022, 12), Month(2023, 1), Month(2023, 2)]
    assert months_of("2022-11:2023-02") == months_of("2022-11...2023-02") == winter
    assert months_of("2023-03") == months_of("2023-03:2023-03") == [Month(2023, 3)]
    with pytest.raises(ValueError, match="'2023-02:2022-11' ends before it begins"):
        months_of("2023-02:2022-11")
