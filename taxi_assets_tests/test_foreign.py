"""What people put where a month file should be, and what they are told."""

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from taxi_assets.durations.columns import UnusableTripsError, check_names
from taxi_assets.errors import mask
from taxi_assets.tlc.fetch import fetch_month
from taxi_assets.tlc.fleets import FLEETS
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.schema import month_schema
from taxi_assets.tlc.source import FileSource, SourceError
from taxi_assets.tlc.synthetic import write_month

GREEN, YELLOW, MARCH = FLEETS["green"], FLEETS["yellow"], Month(2023, 3)
CSV = b"VendorID,lpep_pickup_datetime,lpep_dropoff_datetime,PULocationID\n2,2023-03-01 00:10:00,,\n"
NO_SUCH_KEY = b"""<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message>
<Key>trip-data/x.parquet</Key><RequestId>TX0</RequestId></Error>"""
LFS = b"""version https://git-lfs.github.com/spec/v1
oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393
size 12345
"""


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = Path(tmp_path_factory.mktemp("month")) / "month.parquet"
    write_month(path, GREEN, MARCH, trips=300)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty. Run the month again; if it stays so, check TAXI_TRIP_SOURCE."),
        (b"x", "is text of 1 bytes, and no month file: 'x'. Check TAXI_TRIP_SOURCE."),
        (b"\0", "is not a Parquet file, but 1 bytes of something unknown. Check TAXI_TRIP_SOURCE."),
        (
            b"The month of March will be published in May, as always.",
            "is text of 55 bytes, and no month file: 'The month of March will be published in May, "
            "as always.'. Check TAXI_TRIP_SOURCE.",
        ),
        (
            NO_SUCH_KEY,
            "is an object store's page of error: NoSuchKey, 'The specified key does not exist.'. "
            "Perhaps the month is not published there, or not for everybody.",
        ),
        (
            NO_SUCH_KEY.replace(b"NoSuchKey", b"SlowDown"),
            "is an object store's page of error: SlowDown, 'The specified key does not exist.'. "
            "Try again later.",
        ),
        (
            b"<!DOCTYPE html><html><head><title>Sign in  to\nGitHub</title></head></html>",
            "is a web page that says 'Sign in to GitHub', not a file. Find the address of the file "
            "itself: a page that shows a file, or asks for a password, has another.",
        ),
        (
            LFS,
            "is a pointer of Git LFS, not the file that it points to. In its repository, "
            "`git lfs pull` fetches that.",
        ),
        (
            b"/annex/objects/SHA256E-s12--4d7a.parquet\n",
            "is a pointer of git-annex, not the file. In its repository, `git annex get` it.",
        ),
        (
            gzip.compress(b"PAR1 and so on", mtime=0),
            "is compressed by gzip. Decompress it: the month file is inside.",
        ),
        (
            gzip.compress(CSV * 500, mtime=0),
            "is CSV, compressed by gzip. taxi-assets convert FILE FOLDER makes month files of it.",
        ),
        (
            gzip.compress(b"\0", mtime=0),
            "is compressed by gzip, and no month file. Look at what is inside.",
        ),
        (b"\x1f\x8b", "is compressed by gzip, and no month file. Look at what is inside."),
        (
            b"\x1f\x8bdamaged after two bytes",
            "is compressed by gzip, and no month file. Look at what is inside.",
        ),
        (CSV, "is CSV. taxi-assets convert FILE FOLDER makes month files of it."),
        (b"PK\3\4\0\0", "is a ZIP archive. Extract the month file from it."),
        (
            b'{"error": "rate limit"}',
            """is JSON, and no month file: '{"error": "rate limit"}'. Check TAXI_TRIP_SOURCE.""",
        ),
        (
            b"PAR1" + bytes(1000),
            "is not a complete Parquet file: it begins like one, and its 1,004 bytes end without a "
            "footer that can be read. Run the month again; if it stays so, check TAXI_TRIP_SOURCE.",
        ),
        (b"PARE" + bytes(100) + b"PARE", "is encrypted Parquet. Decrypt it first."),
    ],
    ids=lambda value: repr(value)[:30] if isinstance(value, bytes) else "",
)
def test_a_file_that_is_no_parquet_is_named_whole_and_not_left(
    tmp_path: Path, content: bytes, words: str
) -> None:
    published = tmp_path / GREEN.file_name(MARCH)
    published.write_bytes(content)
    path = tmp_path / "fetched"
    source = FileSource(str(tmp_path))
    with pytest.raises(SourceError) as refused:
        fetch_month(source, GREEN, MARCH, path, lambda _: None)
    assert str(refused.value) == f"{published} {words}"
    assert mask(str(refused.value)) == str(refused.value)
    assert not path.exists()


def test_a_truncated_month_is_not_complete(tmp_path: Path, month: bytes) -> None:
    (tmp_path / GREEN.file_name(MARCH)).write_bytes(month[:-100])
    source = FileSource(str(tmp_path))
    with pytest.raises(SourceError, match=f"its {len(month) - 100:,} bytes end without a footer"):
        fetch_month(source, GREEN, MARCH, tmp_path / "fetched", lambda _: None)


COORDINATES = ["pickup_longitude", "pickup_latitude", "dropoff_longitude", "dropoff_latitude"]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        pytest.param(
            ["vendor_name", "Trip_Pickup_DateTime", "Trip_Dropoff_DateTime", "Start_Lon"],
            "It has coordinates in place of zone ids, as TLC's files of 2009. Green months with "
            "zones start in 2014-01.",
            id="TLC's 2009",
        ),
        pytest.param(
            ["vendor_id", "pickup_datetime", "dropoff_datetime", *COORDINATES],
            "It has coordinates in place of zone ids, as TLC's files of 2010 to 2016, as first "
            "published. Green months with zones start in 2014-01.",
            id="TLC's 2010",
        ),
        pytest.param(
            ["id", "vendor_id", "pickup_datetime", *COORDINATES, "trip_duration"],
            "These are Kaggle's columns: coordinates in place of zones, and trips of all months "
            "mixed. Take TLC's own file of the month.",
            id="Kaggle",
        ),
        pytest.param(
            month_schema(YELLOW, MARCH).names,
            "It is a file of yellow taxis, not of green ones.",
            id="yellow",
        ),
        pytest.param(
            [YELLOW.pickup_time, YELLOW.dropoff_time],
            "It is a file of yellow taxis, not of green ones.",
            id="yellow's times alone",
        ),
        pytest.param(
            ["hvfhs_license_num", "dispatching_base_num", "PULocationID", "DOLocationID"],
            "It is a file of Uber's and Lyft's (fhvhv_tripdata), not of green taxis.",
            id="Uber",
        ),
        pytest.param(
            ["dispatching_base_num", "pickup_datetime", "PUlocationID", "DOlocationID"],
            "It is a file of other hired cars' (fhv_tripdata), not of green taxis.",
            id="hired cars",
        ),
        pytest.param(
            ["lpep_pickup_datetime", "Lpep_dropoff_datetime", "pu_location_id", "DOLocationID "],
            "It spells them otherwise. Rename: 'Lpep_dropoff_datetime' is to be "
            "lpep_dropoff_datetime, 'pu_location_id' is to be PULocationID, 'DOLocationID ' is to "
            "be DOLocationID.",
            id="other capitals",
        ),
        pytest.param(
            [*GREEN.needed_columns, "PULocationID"],
            "It has two columns named PULocationID. Leave one.",
            id="a column twice",
        ),
        pytest.param(["a"], "What it has is 'a'.", id="one other column"),
        pytest.param(
            list("abcdef"), "What it has is 'a', 'b', 'c', 'd' and 2 more.", id="none of them"
        ),
        pytest.param([], "It has no columns at all.", id="no columns"),
    ],
)
def test_columns_say_what_a_file_is(names: list[str], words: str) -> None:
    with pytest.raises(UnusableTripsError) as refused:
        check_names(names, GREEN)
    message = str(refused.value)
    missing = [name for name in GREEN.needed_columns if names.count(name) != 1]
    assert message == f"The file has no column {' or '.join(missing)}. {words}"
    assert mask(message) == message


def test_a_yellow_file_without_zones_is_not_called_green_or_complete(tmp_path: Path) -> None:
    names = [name for name in month_schema(YELLOW, MARCH).names if name != "DOLocationID"]
    table = pa.table({name: [1] for name in names})
    pq.write_table(table, tmp_path / "month.parquet")
    with pytest.raises(UnusableTripsError, match=r"no column DOLocationID\. What it has is 'Vend"):
        check_names(pq.read_schema(tmp_path / "month.parquet").names, YELLOW)
