"""From any bytes to cleaned trips: a valid frame, or an error of ours. Never another, never a hang.

``FUZZ_EXAMPLES=100000 make test`` looks longer than usual.
"""

import io
import os
import random
import re
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from taxi_assets.durations.cleaning import clean_trips
from taxi_assets.errors import MonthError
from taxi_assets.tlc.coercion import is_text, read_times, read_zone_ids
from taxi_assets.tlc.fleets import FLEETS
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.parquet import ParquetError, open_parquet
from taxi_assets.tlc.raw_summary import summarize
from taxi_assets.tlc.synthetic import write_month

GREEN, MARCH = FLEETS["green"], Month(2023, 3)
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "100"))
fuzzed = settings(
    max_examples=EXAMPLES,
    deadline=20_000,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def clean(content: bytes) -> pd.DataFrame | None:
    """Clean a file of these bytes, and look at what comes out; None if it is refused."""
    try:
        summarize(open_parquet(io.BytesIO(content)), GREEN, MARCH)
        cleaned = clean_trips(open_parquet(io.BytesIO(content)), GREEN, MARCH)
    except (ParquetError, MonthError):
        return None
    trips = cleaned.trips
    assert trips["duration"].between(1, 60).all()
    assert trips["duration"].dtype == np.float64
    for zone in ("PULocationID", "DOLocationID"):
        assert isinstance(trips[zone].dtype, pd.CategoricalDtype)
        assert trips[zone].astype(str).str.fullmatch(r"[1-9]\d*").all()
    assert 0 < trips["validates"].sum() < len(trips) <= cleaned.loaded
    return trips


TYPES = st.sampled_from(
    [
        *(pa.int8(), pa.uint8(), pa.int32(), pa.int64(), pa.uint64()),
        *(pa.float32(), pa.float64(), pa.decimal128(20, 2), pa.bool_(), pa.null()),
        *(pa.decimal256(60, 3), pa.float16(), pa.date32(), pa.time64("us")),
        *(pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.binary_view()),
        *(pa.timestamp(unit) for unit in ("s", "ms", "us", "ns")),
        *(
            pa.timestamp("us", zone)
            for zone in ("UTC", "America/New_York", "-05:00", "Mars/Phobos")
        ),
        *(pa.list_(pa.int64()), pa.struct([("a", pa.int64())]), pa.duration("us")),
        pa.dictionary(pa.int32(), pa.int64()),
        pa.dictionary(pa.int8(), pa.string()),
    ]
)


DIGITS = st.text("0123456789", min_size=1, max_size=3)
ZONES = st.one_of(
    *[st.integers(1, 265).map(str)] * 3,
    st.builds(
        "{}{}{}{}".format,
        st.sampled_from(["", " ", "+", "-"]),
        DIGITS,
        st.sampled_from(["", ".", ".0", ".00", ".5", "e2", " ", "\n"]),
        st.sampled_from(["", "", " ", "x"]),
    ),
    st.sampled_from(["", "nan", "None", "0x84", "JFK", "inf", "\x00", "1_000", "٣"]),
)
TIMES = st.one_of(
    *[st.integers(1_677_931_200, 1_677_938_400).map(lambda s: str(pd.Timestamp(s, unit="s")))] * 3,
    st.builds(
        "{:04d}-{:02d}-{:02d}{}{:02d}:{:02d}:{:02d}{}{}".format,
        st.integers(1, 9999), st.integers(0, 13), st.integers(0, 32), st.sampled_from(" T_"),
        st.integers(0, 24), st.integers(0, 60), st.integers(0, 60),
        st.sampled_from(["", ".5", ".123456", ".123456789", "."]),
        st.sampled_from(["", "Z", " UTC", "+00:00", "-05:00", "-0400", "+99:99", "-05", "x"]),
    ),
    st.sampled_from(["", "NaT", "2023-03-04", "03/04/2023 12:00", "1677931200", "noon"]),
)  # fmt: skip


@st.composite
def columns(draw: st.DrawFn, rows: int, name: str) -> pa.Array:
    """A column of the type that it should have more often than not, with values of all kinds."""
    timed = name.endswith("datetime")
    kind = draw(st.one_of(st.just(pa.timestamp("us") if timed else pa.int64()), TYPES))
    near = st.integers(1_677_931_200_000_000, 1_677_938_400_000_000)
    odd = st.one_of(st.sampled_from([0, -1, 2**31, 2**63 - 1, -(2**63)]), st.floats())
    if is_text(kind):
        usual, odd = TIMES if timed else ZONES, st.text(max_size=30)
    else:
        usual = near if pa.types.is_timestamp(kind) else st.integers(1, 265)
    if "binary" in str(kind):
        usual, odd = usual.map(str.encode), st.binary(max_size=30)
    value = st.one_of(*[usual] * 4, st.none(), odd)
    values = draw(st.lists(value, min_size=rows, max_size=rows))
    try:
        return pa.array(values, pa.int64() if pa.types.is_timestamp(kind) else kind).cast(kind)
    except (pa.ArrowException, TypeError, OverflowError, ValueError):
        return pa.nulls(rows, kind)


@st.composite
def files(draw: st.DrawFn) -> bytes:
    rows = draw(st.integers(0, 30))
    names = draw(st.permutations(GREEN.needed_columns))
    names = names[: draw(st.sampled_from([4, 4, 4, 4, 3, 0]))]
    table = pa.table(
        {name: draw(columns(rows, name)) for name in [*names, "fare_amount"]},
        metadata=draw(st.sampled_from([None, {b"pandas": b"{}"}, {b"pandas": b"nonsense"}])),
    )
    file = io.BytesIO()
    options = {
        "row_group_size": draw(st.integers(1, 40)),
        "compression": draw(st.sampled_from(["none", "snappy", "zstd", "gzip"])),
        "use_dictionary": draw(st.booleans()),
        "version": draw(st.sampled_from(["1.0", "2.6"])),
        "data_page_version": draw(st.sampled_from(["1.0", "2.0"])),
    }
    try:
        pq.write_table(table, file, **options)
    except pa.ArrowException:
        reject()  # Parquet has no way to hold these values.
    return file.getvalue()


@fuzzed
@given(files())
def test_any_schema_and_any_values_are_cleaned_or_refused(content: bytes) -> None:
    clean(content)


@fuzzed
@given(st.lists(st.one_of(ZONES, st.text(max_size=8)), max_size=20))
def test_zone_ids_are_read_as_python_reads_them(written: list[str]) -> None:
    for text, read in zip(
        written, read_zone_ids(pa.array(written, pa.string())).values, strict=True
    ):
        if read.is_valid:
            assert int(float(text)) == read.as_py()
        else:
            assert not re.fullmatch(r"\+?0*[1-9][0-9]{0,11}(\.0+)?", text)


@fuzzed
@given(st.lists(st.one_of(TIMES, st.text(max_size=30)), max_size=20))
def test_times_are_read_as_python_reads_them(written: list[str]) -> None:
    times = read_times(pa.array(written, pa.string())).values.cast(pa.timestamp("us"))
    for text, read in zip(written, times, strict=True):
        try:
            moment = datetime.fromisoformat(
                re.sub(r"(\.\d{6})\d+|\.(?!\d)| UTC$", r"\1", text.strip())
            )
        except ValueError:
            assert not read.is_valid
            continue
        if read.is_valid:
            assert moment.replace(tzinfo=None) == read.as_py()


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = Path(tmp_path_factory.mktemp("month")) / "month.parquet"
    write_month(path, GREEN, MARCH, trips=300)
    return path.read_bytes()


@fuzzed
@given(seed=st.integers(0, 2**32))
def test_any_damaged_bytes_are_cleaned_or_refused(month: bytes, seed: int) -> None:
    """Bytes replaced, removed, doubled or zeroed, most often in the footer, which says the most."""
    choice = random.Random(seed)
    damaged = bytearray(month)
    footer = len(month) - int.from_bytes(month[-8:-4], "little") - 8
    for _ in range(choice.choice([1, 1, 2, 5, 20])):
        start = choice.randrange(*choice.choice([(0, footer), (footer, len(month)), (4, 400)]))
        length = choice.choice([1, 1, 1, 4, 64])
        new = choice.choice(
            [
                bytes(choice.randrange(256) for _ in range(length)),
                bytes(length),
                b"\xff" * length,
                b"",
                bytes(damaged[start : start + length]) * 2,
            ]
        )
        damaged[start : start + length] = new
    clean(bytes(damaged))


def test_the_undamaged_month_is_cleaned(month: bytes) -> None:
    """Else nothing above would be cleaned, ever."""
    trips = clean(month)
    assert trips is not None
    assert len(trips) > 250
