"""Month files as TLC has written them over the years, and files that no model can be made of."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from taxi_assets.durations.cleaning import CleanedTrips, UnusableTripsError, clean_trips
from taxi_assets.tlc.fleets import FLEETS
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.parquet import open_parquet
from taxi_assets.tlc.raw_summary import summarize

GREEN, MARCH = FLEETS["green"], Month(2023, 3)
PICKUP, DROPOFF = GREEN.pickup_time, GREEN.dropoff_time
TRIPS = 30
MINUTES = [float(minute) for minute in range(1, TRIPS + 1)]
ZONES = [132 + number % 7 for number in range(TRIPS)]
START = pd.Timestamp("2023-03-04 12:00")

Clean = Callable[..., CleanedTrips]


def times(minutes: list[float], start: pd.Timestamp = START) -> pa.Array:
    return pa.array(start + pd.to_timedelta(minutes, "min"), pa.timestamp("us"))


@pytest.fixture
def clean(tmp_path: Path) -> Clean:
    """Clean a month of thirty trips of 1 to 30 minutes, with some columns replaced."""

    def clean(
        *, write: dict[str, object] | None = None, order: tuple[str, ...] = (), **columns: object
    ) -> CleanedTrips:
        table = {
            PICKUP: times([0.0] * TRIPS),
            DROPOFF: times(MINUTES),
            "PULocationID": pa.array(ZONES, pa.int64()),
            "DOLocationID": pa.array(ZONES[::-1], pa.int64()),
        } | columns
        names = [*order, *(name for name in table if name not in order)]
        arrays = {name: table[name] for name in names if table[name] is not None}
        pq.write_table(pa.table(arrays), tmp_path / "month.parquet", **(write or {}))
        return clean_trips(open_parquet(tmp_path / "month.parquet"), GREEN, MARCH)

    return clean


def test_a_fraction_of_a_second_counts_in_any_unit(clean: Clean) -> None:
    """A nanosecond over an hour is over the limit."""
    late = times(MINUTES).cast(pa.timestamp("ns")).to_pylist()
    late[0] = START + pd.Timedelta(hours=1, nanoseconds=1)
    cleaned = clean(**{DROPOFF: pa.array(late, pa.timestamp("ns"))})
    assert cleaned.trips["duration"].tolist() == MINUTES[1:]


@pytest.mark.parametrize(
    ("codec", "rows"), [("zstd", 1), ("snappy", 7), ("gzip", 1000), ("none", 7)]
)
def test_compression_and_row_groups_make_no_difference(clean: Clean, codec: str, rows: int) -> None:
    trips = clean(write={"compression": codec, "row_group_size": rows}).trips
    assert trips["duration"].tolist() == MINUTES


def test_a_date_that_is_too_far_is_a_missing_time(clean: Clean) -> None:
    """Not the month's end: the others are read."""
    far = times([0.0] * TRIPS).cast(pa.int64()).to_pylist()
    far[3] = -(1 << 62)
    nanoseconds = times(MINUTES).cast(pa.timestamp("ns"))
    cleaned = clean(**{PICKUP: pa.array(far).cast(pa.timestamp("us")), DROPOFF: nanoseconds})
    assert cleaned.null_times == 1
    assert cleaned.unreadable.counts[PICKUP] == 1
    assert cleaned.trips["duration"].tolist() == [*MINUTES[:3], *MINUTES[4:]]


AUTUMN = pd.Timestamp("2023-11-05 00:40")  # The clock goes from 2:00 back to 1:00.


def test_a_real_zone_keeps_durations_true_when_the_clock_is_changed(clean: Clean) -> None:
    """These begin at 1:40 by the summer's clock and end from 1:11 on by the winter's."""
    summer = pd.DatetimeIndex([AUTUMN]).tz_localize("America/New_York")
    starts = (summer + pd.Timedelta(hours=1)).repeat(TRIPS)
    ends = starts + pd.to_timedelta([30 + minute for minute in MINUTES], "min")
    assert (starts[0].hour, ends[0].hour, ends[0].minute) == (1, 1, 11)
    kind = pa.timestamp("us", "America/New_York")
    cleaned = clean(**{PICKUP: pa.array(starts, kind), DROPOFF: pa.array(ends, kind)})
    assert cleaned.trips["duration"].tolist() == [30 + minute for minute in MINUTES]
    offsets = {PICKUP: starts, DROPOFF: ends}
    text = {name: pa.array([time.isoformat() for time in times]) for name, times in offsets.items()}
    assert clean(**text).trips["duration"].tolist() == [30 + minute for minute in MINUTES]


def test_without_a_zone_the_clock_is_taken_at_its_word(clean: Clean) -> None:
    """A trip from 0:40 over the change that took 65 minutes shows five."""
    shown = [AUTUMN + pd.Timedelta(minutes=minute) for minute in MINUTES]
    microseconds = pa.timestamp("us")
    for kind in (microseconds, pa.timestamp("us", "UTC")):
        cleaned = clean(
            **{
                PICKUP: pa.array([AUTUMN] * TRIPS, microseconds).cast(kind),
                DROPOFF: pa.array(shown, microseconds).cast(kind),
            }
        )
        assert cleaned.trips["duration"].tolist() == MINUTES


def test_other_columns_and_their_order_make_no_difference(clean: Clean) -> None:
    """Neither the types that only TLC knows a reason for, nor needed columns in another order."""
    columns = {
        "store_and_fwd_flag": pa.array(["N"] * TRIPS, pa.large_string()),
        "DOLocationID": pa.array(ZONES[::-1], pa.int32()),
        "ehail_fee": pa.nulls(TRIPS),
        DROPOFF: times(MINUTES),
        PICKUP: times([0.0] * TRIPS),
    }
    trips = clean(order=tuple(columns), **columns).trips
    assert trips["duration"].tolist() == MINUTES
    assert trips["DOLocationID"].tolist() == [str(zone) for zone in ZONES[::-1]]


def test_trips_without_a_zone_or_a_time_are_counted_and_left_out(clean: Clean) -> None:
    zones: list[float | None] = [float(zone) for zone in ZONES]
    zones[0], zones[1] = None, float("nan")
    dropoffs = times(MINUTES).to_pylist()
    dropoffs[2] = None
    cleaned = clean(PULocationID=pa.array(zones), **{DROPOFF: pa.array(dropoffs)})
    assert (cleaned.null_zones, cleaned.null_times) == (2, 1)
    assert cleaned.trips["duration"].tolist() == MINUTES[3:]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        pytest.param(
            {PICKUP: times(MINUTES).cast(pa.int64())},
            f"None of the 30 values in column {PICKUP} can be read. The first is 1677931260000000, "
            "of type int64. Understood are timestamps, or text",
            id="times as numbers",
        ),
        pytest.param(
            {PICKUP: pa.array(["01/02/2023 0:30"] * TRIPS)},
            "The first is '01/02/2023 0:30', of type string. .* could mean two days",
            id="times as Excel writes them",
        ),
        pytest.param(
            {PICKUP: times(MINUTES).cast(pa.timestamp("us", "Europe/Berlin"))},
            r"The first is 2023-03-04 13:01:00\+01:00, of type timestamp\[us, tz=Europe/Berlin\]",
            id="times on Berlin's clock",
        ),
        pytest.param(
            {PICKUP: times(MINUTES).cast(pa.timestamp("us", "Mars/Phobos"))},
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
                DROPOFF: times([0.5] * (TRIPS - 1) + [2.0]),
                "PULocationID": pa.array([None] * 3 + ZONES[3:]),
            },
            "1 of its 30 trips have both zones and last between 1 and 60 minutes: too few .* "
            f"3 have no zone in PULocationID or DOLocationID, 0 no time in {PICKUP} or {DROPOFF}",
            id="one trip of a minute",
        ),
        pytest.param(
            {
                PICKUP: pa.array([-(1 << 62)] * TRIPS, pa.timestamp("us")),
                DROPOFF: times(MINUTES).cast(pa.timestamp("ns")),
            },
            f"None of the 30 values in column {PICKUP} can be read. The first is unprintable",
            id="dates before the Big Bang",
        ),
    ],
)
def test_unusable_columns_are_named(clean: Clean, columns: dict[str, object], message: str) -> None:
    with pytest.raises(UnusableTripsError, match=message):
        clean(**columns)


def test_two_columns_of_one_name_are_none(tmp_path: Path) -> None:
    names = [*GREEN.needed_columns, "PULocationID"]
    zones = pa.array(ZONES, pa.int64())
    columns = [times([0.0] * TRIPS), times(MINUTES), zones, zones, zones]
    pq.write_table(pa.Table.from_arrays(columns, names=names), tmp_path / "month.parquet")
    opened = open_parquet(tmp_path / "month.parquet")
    assert summarize(opened, GREEN, MARCH).missing == ("PULocationID",)
    with pytest.raises(UnusableTripsError, match=r"no column PULocationID\. It has two columns"):
        clean_trips(opened, GREEN, MARCH)


def test_too_many_zones_are_not_tlcs(clean: Clean) -> None:
    """One-hot columns of forty thousand zones would take the memory, and the afternoon."""

    def month_of(zones: int) -> dict[str, pa.Array]:
        return {
            PICKUP: times([0.0] * zones),
            DROPOFF: times([5.0] * zones),
            "PULocationID": pa.array(range(1, zones + 1)),
            "DOLocationID": pa.array([1] * zones),
        }

    assert len(clean(**month_of(1_000)).trips) == 1_000
    with pytest.raises(UnusableTripsError, match="Column PULocationID has 1,001 different values"):
        clean(**month_of(1_001))


def test_a_file_without_rows_is_refused(clean: Clean) -> None:
    columns = {PICKUP: times([]), DROPOFF: times([])}
    zones = dict.fromkeys(("PULocationID", "DOLocationID"), pa.array([], pa.int64()))
    with pytest.raises(UnusableTripsError, match=r"0 of its 0 trips .*: too few to train"):
        clean(**columns, **zones)


def test_a_month_has_trips_of_within_a_year(clean: Clean) -> None:
    """March 2023. One is enough: TLC's months have some trips of 2008, which the exercise keeps."""
    pickups = [pd.Timestamp("2008-12-31 23:00")] * (TRIPS - 1) + [START]
    dropoffs = [start + pd.Timedelta(minutes=m) for start, m in zip(pickups, MINUTES, strict=True)]
    kind = pa.timestamp("us")
    stray = {PICKUP: pa.array(pickups, kind), DROPOFF: pa.array(dropoffs, kind)}
    assert clean(**stray).trips["duration"].tolist() == MINUTES
    for day in ("2022-03-01 00:00", "2024-03-31 23:59"):
        start = pd.Timestamp(day)
        assert clean(**{PICKUP: times([0.0] * TRIPS, start), DROPOFF: times(MINUTES, start)})
    for day in ("2022-02-28 23:59", "2024-04-01 00:00", "2203-03-04 00:00"):
        start = pd.Timestamp(day)
        with pytest.raises(UnusableTripsError, match="None of its 30 trips was picked up within"):
            clean(**{PICKUP: times([0.0] * TRIPS, start), DROPOFF: times(MINUTES, start)})
