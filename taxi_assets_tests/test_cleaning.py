"""Which trips of a month file are kept, and which files no model can be made of."""

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from taxi_assets.durations import cleaning
from taxi_assets.durations.cleaning import CleanedTrips, UnusableTripsError, clean_trips
from taxi_assets.durations.regression import fit_model, fit_vectorizer
from taxi_assets.durations.sums import group_by_zone_pair
from taxi_assets.tlc.fleets import FLEETS
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.parquet import open_parquet
from taxi_assets.tlc.raw_summary import summarize
from taxi_assets.tlc.synthetic import write_month

GREEN, MARCH = FLEETS["green"], Month(2023, 3)
PICKUP, DROPOFF = GREEN.pickup_time, GREEN.dropoff_time
TRIPS = 30
MINUTES = [float(minute) for minute in range(1, TRIPS + 1)]
ZONES = [132 + number % 7 for number in range(TRIPS)]
START = pd.Timestamp("2023-03-04 12:00")


def times(minutes: list[float], start: pd.Timestamp = START) -> pa.Array:
    return pa.array(start + pd.to_timedelta(minutes, "min"), pa.timestamp("us"))


def after(seconds: list[float | None]) -> pa.Array:
    """Times to the nanosecond."""
    shown = START + pd.to_timedelta(pd.Series(seconds, dtype=float), "s")
    return pa.array(shown.astype("datetime64[ns]"), from_pandas=True)


def clean(
    folder: Path, options: Mapping[str, object] | None = None, **columns: pa.Array
) -> CleanedTrips:
    """Clean thirty trips of 1 to 30 minutes, or the first of them, with some columns replaced.

    Columns that are given come first in the file, in their order; ``pickup`` and ``dropoff`` are
    the times.
    """
    columns = {{"pickup": PICKUP, "dropoff": DROPOFF}.get(n, n): c for n, c in columns.items()}
    rows = min(map(len, columns.values()), default=TRIPS)
    usual = {
        PICKUP: times([0.0] * TRIPS),
        DROPOFF: times(MINUTES),
        "PULocationID": pa.array(ZONES, pa.int64()),
        "DOLocationID": pa.array(ZONES[::-1], pa.int64()),
    }
    table = columns | {name: usual[name][:rows] for name in usual.keys() - columns.keys()}
    pq.write_table(pa.table(table), folder / "month.parquet", **(options or {}))
    return clean_trips(open_parquet(folder / "month.parquet"), GREEN, MARCH)


@pytest.mark.parametrize(
    ("seconds", "kept"),
    [
        pytest.param(59, False, id="a second under a minute"),
        pytest.param(60, True, id="a minute sharp"),
        pytest.param(3600, True, id="an hour sharp"),
        pytest.param(3600 + 1e-9, False, id="a nanosecond over an hour"),
        pytest.param(0, False, id="no time at all"),
        pytest.param(-600, False, id="dropped off before picked up"),
        pytest.param(None, False, id="no drop-off time"),
    ],
)
def test_durations_from_1_to_60_minutes_are_kept(
    tmp_path: Path, seconds: float | None, kept: bool
) -> None:
    cleaned = clean(tmp_path, dropoff=after([600, 660, seconds]))
    assert cleaned.trips["duration"].tolist() == [10, 11, *([seconds / 60] if kept else [])]
    assert cleaned.loaded == 3
    assert cleaned.share_kept == (2 + kept) / 3


def test_durations_are_counted_by_minute_whether_kept_or_not(tmp_path: Path) -> None:
    """An hour sharp, which is kept, is counted with the minute before it."""
    seconds = [-1, 0, 59, 60, 3599, 3600, 3601, 5399, 5400, 99_999, None]
    counts = clean(tmp_path, dropoff=after(seconds)).durations
    by_minute = {up_to: trips for up_to, trips in enumerate(counts) if trips}
    assert by_minute == {0: 1, 1: 2, 2: 1, 60: 2, 61: 1, 90: 1, 91: 2}
    assert len(counts) == 92


def test_the_hour_is_that_of_the_week_at_the_pick_up(tmp_path: Path) -> None:
    """The week begins with Monday midnight, and ends with Sunday's 167th hour."""
    pickups = pd.DatetimeIndex(["2023-03-06 00:59:59", "2023-03-07 01:00", "2023-03-12 23:59:59"])
    dropoffs = pickups + pd.Timedelta(minutes=9)
    cleaned = clean(tmp_path, pickup=pa.array(pickups), dropoff=pa.array(dropoffs))
    assert cleaned.trips["pickup_hour"].tolist() == [0, 25, 167]


@pytest.mark.parametrize(("fleet", "column"), [("green", "trip_distance"), ("fhvhv", "trip_miles")])
def test_miles_come_from_the_fleets_column(tmp_path: Path, fleet: str, column: str) -> None:
    """Meters that were not set say 0 or thousands, which is no distance."""
    path = tmp_path / "month.parquet"
    write_month(path, FLEETS[fleet], MARCH, trips=100)
    trips = pd.read_parquet(path)
    trips[column] = [0.0, 0.01, 100.0, 100.01, None] * 20
    trips[FLEETS[fleet].dropoff_time] = trips[FLEETS[fleet].pickup_time] + pd.Timedelta("5min")
    trips.to_parquet(path)
    miles = clean_trips(pq.ParquetFile(path), FLEETS[fleet], MARCH).trips["trip_distance"]
    nothing = float("nan")
    expected = np.tile(np.float32([nothing, 0.01, 100, nothing, nothing]), 20)
    np.testing.assert_array_equal(miles, expected)


@pytest.mark.parametrize(
    ("codec", "rows"), [("zstd", 1), ("snappy", 7), ("gzip", 1000), ("none", 7)]
)
def test_compression_and_row_groups_make_no_difference(
    tmp_path: Path, codec: str, rows: int
) -> None:
    trips = clean(tmp_path, options={"compression": codec, "row_group_size": rows}).trips
    assert trips["duration"].tolist() == MINUTES


def test_a_date_that_is_too_far_is_a_missing_time(tmp_path: Path) -> None:
    """Not the month's end: the others are read."""
    far = times([0.0] * TRIPS).cast(pa.int64()).to_pylist()
    far[3] = -(1 << 62)
    pickups, dropoffs = pa.array(far).cast(pa.timestamp("us")), times(MINUTES)
    cleaned = clean(tmp_path, pickup=pickups, dropoff=dropoffs.cast(pa.timestamp("ns")))
    assert cleaned.null_times == 1
    assert cleaned.unreadable.counts[PICKUP] == 1
    assert cleaned.trips["duration"].tolist() == [*MINUTES[:3], *MINUTES[4:]]


AUTUMN = pd.Timestamp("2023-11-05 00:40")  # The clock goes from 2:00 back to 1:00.


def test_a_real_zone_keeps_durations_true_when_the_clock_is_changed(tmp_path: Path) -> None:
    """These begin at 1:40 by the summer's clock and end from 1:11 on by the winter's."""
    summer = pd.DatetimeIndex([AUTUMN]).tz_localize("America/New_York")
    starts = (summer + pd.Timedelta(hours=1)).repeat(TRIPS)
    ends = starts + pd.to_timedelta([30 + minute for minute in MINUTES], "min")
    assert (starts[0].hour, ends[0].hour, ends[0].minute) == (1, 1, 11)
    zoned = (pa.array(of, pa.timestamp("us", "America/New_York")) for of in (starts, ends))
    text = (pa.array([time.isoformat() for time in of]) for of in (starts, ends))
    for pickups, dropoffs in (zoned, text):
        trips = clean(tmp_path, pickup=pickups, dropoff=dropoffs).trips
        assert trips["duration"].tolist() == [30 + minute for minute in MINUTES]


def test_without_a_zone_the_clock_is_taken_at_its_word(tmp_path: Path) -> None:
    """A trip from 0:40 over the change that took 65 minutes shows five."""
    for kind in (pa.timestamp("us"), pa.timestamp("us", "UTC")):
        pickups, dropoffs = times([0.0] * TRIPS, AUTUMN), times(MINUTES, AUTUMN)
        trips = clean(tmp_path, pickup=pickups.cast(kind), dropoff=dropoffs.cast(kind)).trips
        assert trips["duration"].tolist() == MINUTES


def test_other_columns_and_their_order_make_no_difference(tmp_path: Path) -> None:
    """Neither the types that only TLC knows a reason for, nor needed columns in another order."""
    columns = {
        "store_and_fwd_flag": pa.array(["N"] * TRIPS, pa.large_string()),
        "DOLocationID": pa.array(ZONES[::-1], pa.int32()),
        "ehail_fee": pa.nulls(TRIPS),
        "dropoff": times(MINUTES),
        "pickup": times([0.0] * TRIPS),
    }
    trips = clean(tmp_path, **columns).trips
    assert trips["duration"].tolist() == MINUTES
    assert trips["DOLocationID"].tolist() == [str(zone) for zone in ZONES[::-1]]


def test_trips_without_a_zone_or_a_time_are_counted_and_left_out(tmp_path: Path) -> None:
    zones: list[float | None] = [float(zone) for zone in ZONES]
    zones[0], zones[1] = None, float("nan")
    dropoffs = times(MINUTES).to_pylist()
    dropoffs[2] = None
    cleaned = clean(tmp_path, PULocationID=pa.array(zones), dropoff=pa.array(dropoffs))
    assert (cleaned.null_zones, cleaned.null_times) == (2, 1)
    assert cleaned.trips["duration"].tolist() == MINUTES[3:]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        pytest.param(
            {"pickup": times(MINUTES).cast(pa.int64())},
            f"None of the 30 values in column {PICKUP} can be read. The first is 1677931260000000, "
            "of type int64. Understood are timestamps, or text",
            id="times as numbers",
        ),
        pytest.param(
            {"pickup": pa.array(["01/02/2023 0:30"] * TRIPS)},
            "The first is '01/02/2023 0:30', of type string. .* could mean two days",
            id="times as Excel writes them",
        ),
        pytest.param(
            {"pickup": times(MINUTES).cast(pa.timestamp("us", "Europe/Berlin"))},
            r"The first is 2023-03-04 13:01:00\+01:00, of type timestamp\[us, tz=Europe/Berlin\]",
            id="times on Berlin's clock",
        ),
        pytest.param(
            {"pickup": times(MINUTES).cast(pa.timestamp("us", "Mars/Phobos"))},
            r"The first is unprintable, of type timestamp\[us, tz=Mars/Phobos\]",
            id="times on nobody's clock",
        ),
        pytest.param(
            {"PULocationID": pa.array(["JFK"] * TRIPS)},
            "values in column PULocationID can be read. The first is 'JFK', of type string. "
            "Understood are whole numbers such as 132, as numbers or as text. A zone's name is",
            id="zones as names",
        ),
        pytest.param(
            {"DOLocationID": pa.nulls(TRIPS)},
            "0 of its 30 trips .* 30 have no zone in PULocationID or DOLocationID",
            id="a column of the null type",
        ),
        pytest.param(
            {
                "dropoff": times([0.5] * (TRIPS - 1) + [2.0]),
                "PULocationID": pa.array([None] * 3 + ZONES[3:]),
            },
            "1 of its 30 trips have both zones and last between 1 and 60 minutes: too few .* "
            f"3 have no zone in PULocationID or DOLocationID, 0 no time in {PICKUP} or {DROPOFF}",
            id="one trip of a minute",
        ),
        pytest.param(
            {
                "pickup": pa.array([-(1 << 62)] * TRIPS, pa.timestamp("us")),
                "dropoff": times(MINUTES).cast(pa.timestamp("ns")),
            },
            f"None of the 30 values in column {PICKUP} can be read. The first is unprintable",
            id="dates before the Big Bang",
        ),
    ],
)
def test_unusable_columns_are_named(
    tmp_path: Path, columns: dict[str, object], message: str
) -> None:
    with pytest.raises(UnusableTripsError, match=message):
        clean(tmp_path, **columns)


def test_two_columns_of_one_name_are_none(tmp_path: Path) -> None:
    names = [*GREEN.needed_columns, "PULocationID"]
    zones = pa.array(ZONES, pa.int64())
    columns = [times([0.0] * TRIPS), times(MINUTES), zones, zones, zones]
    pq.write_table(pa.Table.from_arrays(columns, names=names), tmp_path / "month.parquet")
    opened = open_parquet(tmp_path / "month.parquet")
    assert summarize(opened, GREEN, MARCH).missing == ("PULocationID",)
    with pytest.raises(UnusableTripsError, match=r"no column PULocationID\. It has two columns"):
        clean_trips(opened, GREEN, MARCH)


def test_too_many_zones_are_not_tlcs(tmp_path: Path) -> None:
    """One-hot columns of forty thousand zones would take the memory, and the afternoon."""

    def cleaned(zones: int) -> CleanedTrips:
        start, end = times([0.0] * zones), times([5.0] * zones)
        ids = {"PULocationID": pa.array(range(1, zones + 1)), "DOLocationID": pa.array([1] * zones)}
        return clean(tmp_path, pickup=start, dropoff=end, **ids)

    assert len(cleaned(zones=1_000).trips) == 1_000
    with pytest.raises(UnusableTripsError, match="Column PULocationID has 1,001 different values"):
        cleaned(zones=1_001)


def test_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnusableTripsError, match=r"0 of its 0 trips .*: too few to train"):
        clean(tmp_path, pickup=times([]))


def test_one_trip_of_the_month_is_enough(tmp_path: Path) -> None:
    """TLC's months have some trips of 2008, which the exercise keeps."""
    starts = pa.concat_arrays([times([0.0] * 29, pd.Timestamp("2008-12-31 23:00")), times([0.0])])
    ends = pc.add(starts, pc.subtract(times(MINUTES), times([0.0] * TRIPS)))
    assert clean(tmp_path, pickup=starts, dropoff=ends).trips["duration"].tolist() == MINUTES


@pytest.mark.parametrize(
    ("start", "near"),
    [
        ("2022-03-01 00:00", True),
        ("2024-03-31 23:59", True),
        ("2022-02-28 23:59", False),
        ("2024-04-01 00:00", False),
        ("2203-03-04 00:00", False),
    ],
)
def test_a_month_has_trips_of_within_a_year(tmp_path: Path, start: str, near: bool) -> None:
    """Of March 2023."""
    far = pytest.raises(UnusableTripsError, match="None of its 30 trips was picked up within")
    with nullcontext() if near else far:
        pickups = times([0.0] * TRIPS, pd.Timestamp(start))
        clean(tmp_path, pickup=pickups, dropoff=times(MINUTES, pd.Timestamp(start)))


def test_data_that_was_damaged_after_it_was_fetched_is_named(tmp_path: Path) -> None:
    """The footer is whole, so that the file opens."""
    clean(tmp_path)
    content = bytearray((tmp_path / "month.parquet").read_bytes())
    content[4:200] = b"\xff" * 196
    (tmp_path / "month.parquet").write_bytes(content)
    with pytest.raises(
        UnusableTripsError,
        match=r"The file's data cannot be read \(.+\)\. Have raw_trips fetch it again\.",
    ):
        clean_trips(pq.ParquetFile(tmp_path / "month.parquet"), GREEN, MARCH)


def test_a_file_with_other_trips_than_its_footer_announces_is_refused(tmp_path: Path) -> None:
    clean(tmp_path)
    opened = open_parquet(tmp_path / "month.parquet")
    for announced in (29, 31):
        lying = SimpleNamespace(
            schema_arrow=opened.schema_arrow,
            metadata=SimpleNamespace(num_rows=announced),
            iter_batches=opened.iter_batches,
        )
        with pytest.raises(UnusableTripsError, match=f"announces {announced} trips; it has others"):
            clean_trips(lying, GREEN, MARCH)  # type: ignore[arg-type]


def test_trips_between_two_zones_only_cannot_be_learnt_from(tmp_path: Path) -> None:
    zones = dict.fromkeys(("PULocationID", "DOLocationID"), pa.array([132] * TRIPS))
    pairs = group_by_zone_pair(clean(tmp_path, **zones).trips)
    with pytest.raises(UnusableTripsError, match="between the same two zones"):
        fit_model(pairs, fit_vectorizer(pairs))


def test_no_memory_is_not_taken_for_damaged_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise pa.ArrowMemoryError("malloc of size 8 failed")

    monkeypatch.setattr(cleaning, "decoded_batches", full)
    with pytest.raises(MemoryError):
        clean(tmp_path)
