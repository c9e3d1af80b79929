"""Values, whatever type a file has them in: what is read, and what counts as missing."""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from taxi_assets.durations.cleaning import clean_trips
from taxi_assets.tlc.coercion import Coerced, read_times, read_zone_ids
from taxi_assets.tlc.fleets import FLEETS
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.parquet import open_parquet
from taxi_assets.tlc.synthetic import write_month
from taxi_assets_tests.conftest import REAL_FILES
from taxi_assets_tests.reference import row_level

GREEN, MARCH = FLEETS["green"], Month(2023, 3)


@pytest.mark.parametrize(
    "column",
    [
        *(pa.array([132, 4, None], kind) for kind in (pa.int16(), pa.uint64(), pa.uint8())),
        pa.array(np.array([132, 4, np.nan], np.float16)),
        pa.array([132.0, 4.0, float("nan")], pa.float32()),
        *(
            pa.array([Decimal(132), Decimal("4.00"), None], kind)
            for kind in (pa.decimal32(9, 2), pa.decimal128(20, 2), pa.decimal256(60, 2))
        ),
        *(
            pa.array(["132", "4", None], kind)
            for kind in (pa.string(), pa.large_string(), pa.string_view(), pa.binary())
        ),
        pa.array([b"132", b"4  ", b"nan"], pa.binary(3)),
        pa.array([b"132", b"4", None], pa.binary_view()),
        pa.array([" 132 ", "4.0", ""]),
        pa.array(["132.", "+4.000", "NaN"]),
        pa.array(["0132", "4", "<NA>"]),
        pa.array(["132", "4", None]).dictionary_encode(),
        pa.array([132.0, 4.0, None]).dictionary_encode(),
        pa.DictionaryArray.from_arrays([0, 1, None], pa.array(["132", "4"], pa.string_view())),
        pa.array([132, 4, None]).dictionary_encode().dictionary_encode(),
    ],
    ids=lambda column: str(column.type)[:40],
)
def test_a_zone_id_is_a_whole_number_in_any_type(column: pa.Array) -> None:
    coerced = read_zone_ids(column)
    assert coerced.values.to_pylist() == [132, 4, None]
    assert coerced.values.type == pa.int64()
    assert (coerced.unreadable, coerced.example) == (0, None)


@pytest.mark.parametrize(
    ("bad", "shown"),
    [
        pytest.param("0x84", "'0x84'", id="a cast to int64 reads 132"),
        pytest.param("1e2", "'1e2'", id="a cast to float reads 100"),
        pytest.param("132.5", "'132.5'", id="a fraction as text"),
        pytest.param("JFK", "'JFK'", id="a name"),
        pytest.param("1 32", "'1 32'", id="a blank inside"),
        pytest.param("١٣٢", "'١٣٢'", id="digits of another script"),
        pytest.param("9" * 19, f"'{'9' * 19}'", id="too long for int64"),
        pytest.param("0", "'0'", id="no zone"),
        pytest.param("-1", "'-1'", id="fewer than none"),
        pytest.param("x" * 38, f"'{'x' * 38}'", id="as long a text as is shown"),
        pytest.param("x" * 39, "'" + "x" * 39 + "…", id="a long text"),
        pytest.param("-", "'-'", id="a sign alone"),
        pytest.param(132.5, "132.5", id="a fraction"),
        pytest.param(float("inf"), "inf", id="infinity"),
        pytest.param(1e300, "1e+300", id="a float beyond int64"),
        pytest.param(Decimal("132.50"), "132.50", id="a decimal fraction"),
        pytest.param(b"\xff\xfe", "'��'", id="bytes that are not UTF-8"),
    ],
)
def test_what_is_no_whole_number_is_missing_and_the_others_are_read(
    bad: object, shown: str
) -> None:
    """One bad value fails a whole cast."""
    others = {str: "132", bytes: b"132", float: 132.0, Decimal: Decimal("132.00")}[type(bad)]
    coerced = read_zone_ids(pa.array([others, bad, None, bad, others]))
    assert coerced.values.to_pylist() == [132, None, None, None, 132]
    assert (coerced.unreadable, coerced.example) == (2, shown)


@pytest.mark.parametrize("read", [read_zone_ids, read_times])
def test_text_without_a_value_is_missing_and_not_unreadable(
    read: Callable[[pa.Array], Coerced],
) -> None:
    coerced = read(pa.array([None, None], pa.string()))
    assert coerced.values.to_pylist() == [None, None]
    assert (coerced.unreadable, coerced.example) == (0, None)


@pytest.mark.parametrize(
    "column",
    [
        *(pa.array([True]), pa.array([[132]]), pa.array([datetime(2023, 3, 4)])),
        *(pa.array([{"a": 1}]), pa.RunEndEncodedArray.from_arrays([1], pa.array([132]))),
    ],
    ids=lambda column: str(column.type),
)
def test_types_without_numbers_have_no_zone_ids(column: pa.Array) -> None:
    coerced = read_zone_ids(column)
    assert coerced.values.to_pylist() == [None]
    assert coerced.unreadable == 1


NOON = datetime(2023, 3, 4, 12)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "2023-03-04 12:00:00",
            "2023-03-04T12:00:00",
            "2023-03-04 12:00",
            " 2023-03-04 12:00:00 ",
            "2023-03-04 12:00:00-05",
        ),
        *("2023-03-04 12:00:00.000", "2023-03-04 12:00:00.000000", "2023-03-04 12:00:00.000000999"),
        *("2023-03-04 12:00:00+00:00", "2023-03-04 12:00:00.0+0000"),
        *("2023-03-04T12:00:00-05:00", "2023-03-04 12:00:00.0-0500"),
    ],
)
def test_iso_text_says_what_new_yorks_clock_showed(text: str) -> None:
    texts = pa.array([text, None, "NaT"])
    for column in (
        *(texts.cast(kind) for kind in (pa.string(), pa.string_view(), pa.binary())),
        texts.dictionary_encode(),
    ):
        coerced = read_times(column)
        assert coerced.values.to_pylist() == [NOON, None, None]
        assert (coerced.unreadable, coerced.example) == (0, None)


def test_fractions_of_a_second_are_read_to_the_microsecond() -> None:
    times = ["2023-03-04 12:00:00.5", "2023-03-04 12:00:00.123456789", "2023-03-04 12:00:00.25Z"]
    microseconds = [value.microsecond for value in read_times(pa.array(times)).values.to_pylist()]
    assert microseconds == [500_000, 123_456, 250_000]


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param("2023-02-30 12:00:00", id="strptime makes 2 March of it"),
        pytest.param("2023-03-04", id="a cast makes midnight of it"),
        pytest.param("2023-03-04 12", id="an hour"),
        pytest.param("2023-03-04 24:00:00", id="an hour too many"),
        pytest.param("2023-03-04 12:60:00", id="a minute too many"),
        pytest.param("2023-03-04 12:00:60", id="a second too many"),
        pytest.param("2023-13-01 12:00:00", id="a month too many"),
        pytest.param("2023-03-04 12:00:00-07:00", id="an offset that New York never has"),
        pytest.param("2023-03-04 12:00:00-04:00", id="summer's offset in winter"),
        pytest.param("2023-07-04 12:00:00-05:00", id="winter's offset in summer"),
        pytest.param("2023-03-04 12:00:00 CET", id="a zone's name"),
        pytest.param("03/04/2023 12:00", id="a date that could be two"),
        pytest.param("1677931200", id="seconds since 1970"),
        pytest.param("noon", id="a word"),
        pytest.param(b"\xff" * 19, id="bytes that are not UTF-8"),
    ],
)
def test_what_is_no_time_is_missing_and_the_others_are_read(bad: str | bytes) -> None:
    good = "2023-03-04 12:00:00"
    coerced = read_times(pa.array([good, bad, None, good, bad], pa.binary()))
    assert coerced.values.to_pylist() == [NOON, None, None, NOON, None]
    shown = bad if isinstance(bad, str) else bad.decode(errors="replace")
    assert (coerced.unreadable, coerced.example) == (2, repr(shown))


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_a_zone_of_utc_is_a_label_and_new_yorks_is_read_off(unit: str) -> None:
    moment = pa.array([pd.Timestamp(NOON)], pa.timestamp(unit))
    shown = {"UTC": 12, "Etc/UTC": 12, "+00:00": 12, "America/New_York": 7, "-05:00": 7, "EST": 7}
    for zone, hour in shown.items():
        coerced = read_times(moment.cast(pa.timestamp(unit, zone)))
        assert coerced.values.cast(pa.timestamp("us")).to_pylist() == [NOON.replace(hour=hour)]
        assert (coerced.instants is None) == (hour == NOON.hour)
    for zone in ("America/Chicago", "-04:00", "Europe/London"):
        assert read_times(moment.cast(pa.timestamp(unit, zone))).unreadable == 1


def text_of(column: pa.Array, form: str = "{}") -> pa.Array:
    return pa.array([None if value is None else form.format(value) for value in column.to_pylist()])


TIMES, ZONES = GREEN.needed_columns[:2], GREEN.needed_columns[2:]
WAYS: dict[str, tuple[list[str], Callable[[pa.Array], pa.Array]]] = {
    "two units": (TIMES[1:], lambda times: times.cast(pa.timestamp("ns"))),
    "Spark's UTC": (TIMES, lambda times: times.cast(pa.timestamp("us", "UTC"))),
    "a real zone": (
        TIMES,
        lambda times: pa.array(
            pd.DatetimeIndex(times.to_pandas()).tz_localize("America/New_York", nonexistent="NaT")
        ),
    ),
    "times as text by pandas": (TIMES, text_of),
    "times with a T and Z": (TIMES, lambda times: text_of(times, "{:%Y-%m-%dT%H:%M:%SZ}")),
    "one bad time": (
        TIMES,
        lambda times: pa.concat_arrays([text_of(times)[:-1], pa.array(["noon"])]),
    ),
    "one null, the offset here and there": (
        TIMES,
        lambda times: pa.array(
            [
                f"{t}{'-05:00' * (n % 2 and t.day < 12)}"
                for n, t in enumerate(times.to_pylist()[:-1])
            ]
            + [None]
        ),
    ),
    "zones as floats": (ZONES, lambda zones: zones.cast(pa.float64())),
    "zones as text by pandas": (ZONES, lambda zones: text_of(zones.cast(pa.float64()))),
    "zones in a dictionary": (ZONES, lambda zones: text_of(zones).dictionary_encode()),
}


@pytest.mark.parametrize(("names", "write"), WAYS.values(), ids=list(WAYS))
def test_a_month_written_in_another_way_is_the_same_month(
    tmp_path: Path, names: list[str], write: Callable[[pa.Array], pa.Array]
) -> None:
    write_month(tmp_path / "month.parquet", GREEN, MARCH, trips=2_000)
    month = pq.read_table(tmp_path / "month.parquet", columns=GREEN.needed_columns)
    kept = row_level(month.to_pandas()).trips
    columns = dict(zip(month.column_names, month.combine_chunks().columns, strict=True))
    columns |= {name: write(columns[name].combine_chunks()) for name in names}
    pq.write_table(pa.table(columns), tmp_path / "month.parquet")
    cleaned = clean_trips(open_parquet(tmp_path / "month.parquet"), GREEN, MARCH)
    # What cannot be written so, or is no time, is the last trip's.
    if cleaned.null_times:
        kept = kept.drop(index=len(month) - 1, errors="ignore")
    assert cleaned.null_times <= 1
    for name in ("PULocationID", "DOLocationID", "duration"):
        assert cleaned.trips[name].tolist() == kept[name].tolist()


@pytest.mark.real_files
@pytest.mark.parametrize(
    ("file", "loaded", "kept"),
    [
        ("text_times/green_tripdata_2020-05.parquet", 5_000, 4_733),
        ("text_zones/green_tripdata_2021-01.parquet", 5_000, 5_000),
    ],
)
def test_real_files_of_text_are_read(file: str, loaded: int, kept: int) -> None:
    path = REAL_FILES / "odd" / file
    cleaned = clean_trips(open_parquet(path), GREEN, Month.parse(path.stem[-7:]))
    frame = pd.read_parquet(path)
    times = (pd.to_datetime(frame[f"lpep_{end}_datetime"]) for end in ("dropoff", "pickup"))
    minutes = next(times).sub(next(times)).dt.total_seconds() / 60
    zoned = frame[["PULocationID", "DOLocationID"]].notna().all(axis=1)
    assert (cleaned.loaded, len(cleaned.trips)) == (loaded, kept)
    assert cleaned.trips["duration"].tolist() == minutes[zoned & minutes.between(1, 60)].tolist()
    assert cleaned.unreadable.counts.total() == 0
