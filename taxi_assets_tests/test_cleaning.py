"""Which trips are kept, and what becomes of them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from taxi_assets.durations import cleaning
from taxi_assets.durations.cleaning import UnusableTripsError, clean_trips
from taxi_assets.durations.regression import fit_model, fit_vectorizer
from taxi_assets.durations.sums import group_by_zone_pair
from taxi_assets.tlc.fleets import FLEETS
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.synthetic import write_month

GREEN = FLEETS["green"]
JANUARY = Month(2023, 1)
START = pd.Timestamp("2023-01-31 23:50:00")


def month_file(
    tmp_path: Path, seconds: list[float | None], pickup: object = 132, dropoff: object = 230
) -> pq.ParquetFile:
    """Trips of the given durations, all between the same zones."""
    frame = pd.DataFrame({"seconds": pd.Series(seconds, dtype=float)})
    table = pa.table(
        {
            "lpep_pickup_datetime": pa.array([START] * len(frame), pa.timestamp("us")),
            "lpep_dropoff_datetime": pa.array(
                START + pd.to_timedelta(frame["seconds"], "s"), pa.timestamp("us")
            ),
            "PULocationID": pa.array([pickup] * len(frame)),
            "DOLocationID": pa.array([dropoff] * len(frame)),
        }
    )
    pq.write_table(table, tmp_path / "month.parquet")
    return pq.ParquetFile(tmp_path / "month.parquet")


@pytest.mark.parametrize(
    ("seconds", "kept"),
    [
        pytest.param(59, False, id="a second under a minute"),
        pytest.param(60, True, id="a minute sharp"),
        pytest.param(3600, True, id="an hour sharp"),
        pytest.param(3601, False, id="a second over an hour"),
        pytest.param(0, False, id="no time at all"),
        pytest.param(-600, False, id="dropped off before picked up"),
        pytest.param(None, False, id="no drop-off time"),
    ],
)
def test_durations_from_1_to_60_minutes_are_kept(
    tmp_path: Path, seconds: float | None, kept: bool
) -> None:
    cleaned = clean_trips(month_file(tmp_path, [600, 660, seconds]), GREEN, JANUARY)
    assert cleaned.trips["duration"].tolist() == [10, 11, *([seconds / 60] if kept else [])]
    assert cleaned.loaded == 3
    assert cleaned.share_kept == (2 + kept) / 3


def test_durations_are_counted_by_minute_whether_kept_or_not(tmp_path: Path) -> None:
    """An hour sharp, which is kept, is counted with the minute before it."""
    seconds = [-1, 0, 59, 60, 3599, 3600, 3601, 5399, 5400, 99_999, None]
    counts = clean_trips(month_file(tmp_path, seconds), GREEN, JANUARY).durations
    found = {up_to: n for up_to, n in enumerate(counts) if n}
    assert found == {0: 1, 1: 2, 2: 1, 60: 2, 61: 1, 90: 1, 91: 2}
    assert len(counts) == 92


@pytest.mark.parametrize(("fleet", "column"), [("green", "trip_distance"), ("fhvhv", "trip_miles")])
def test_miles_come_from_the_fleets_column(tmp_path: Path, fleet: str, column: str) -> None:
    """Meters that were not set say 0 or thousands, which is no distance."""
    path = tmp_path / "month.parquet"
    write_month(path, FLEETS[fleet], JANUARY, trips=100)
    trips = pd.read_parquet(path)
    trips[column] = [0.0, 0.01, 100.0, 100.01, None] * 20
    trips[FLEETS[fleet].dropoff_time] = trips[FLEETS[fleet].pickup_time] + pd.Timedelta("5min")
    trips.to_parquet(path)
    miles = clean_trips(pq.ParquetFile(path), FLEETS[fleet], JANUARY).trips["trip_distance"]
    nothing = float("nan")
    expected = np.tile(np.float32([nothing, 0.01, 100, nothing, nothing]), 20)
    np.testing.assert_array_equal(miles, expected)


def test_data_that_was_damaged_after_it_was_fetched_is_named(tmp_path: Path) -> None:
    """The footer is whole, so that the file opens."""
    month_file(tmp_path, [600.0] * 100)
    content = bytearray((tmp_path / "month.parquet").read_bytes())
    content[4:200] = b"\xff" * 196
    (tmp_path / "month.parquet").write_bytes(content)
    with pytest.raises(
        UnusableTripsError,
        match=r"The file's data cannot be read \(.+\)\. Have raw_trips fetch it again\.",
    ):
        clean_trips(pq.ParquetFile(tmp_path / "month.parquet"), GREEN, JANUARY)


def test_trips_between_two_zones_only_cannot_be_learnt_from(tmp_path: Path) -> None:
    pairs = group_by_zone_pair(clean_trips(month_file(tmp_path, [600] * 10), GREEN, JANUARY).trips)
    with pytest.raises(UnusableTripsError, match="between the same two zones"):
        fit_model(pairs, fit_vectorizer(pairs))


def test_no_memory_is_not_taken_for_damaged_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise pa.ArrowMemoryError("malloc of size 8 failed")

    monkeypatch.setattr(cleaning, "decoded_batches", full)
    with pytest.raises(MemoryError):
        clean_trips(month_file(tmp_path, [600, 660]), GREEN, JANUARY)
