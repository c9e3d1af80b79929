"""What people put where a month file should be, and what they are told."""

from pathlib import Path

import pytest

from taxi_assets.errors import mask
from taxi_assets.tlc.fetch import fetch_month
from taxi_assets.tlc.fleets import FLEETS
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.schema import month_schema
from taxi_assets.tlc.sniffing import describe_columns
from taxi_assets.tlc.source import FileSource, SourceError
from taxi_assets.tlc.synthetic import write_month

GREEN, YELLOW, MARCH = FLEETS["green"], FLEETS["yellow"], Month(2023, 3)
PAGE = (
    "is a web page that says {}, not a file. Find the address of the file itself: a page "
    "that shows a file, or asks for a password, has another."
)
OTHER = "is not a Parquet file. Its {} bytes begin with {}. Check TAXI_TRIP_SOURCE."


def refusal(folder: Path, content: bytes) -> str:
    """What is said of a content of March's file, after its name."""
    published = folder / GREEN.file_name(MARCH)
    published.write_bytes(content)
    with pytest.raises(SourceError) as refused:
        fetch_month(FileSource(str(folder)), GREEN, MARCH, folder / "fetched", lambda _: None)
    assert not (folder / "fetched").exists()
    assert mask(str(refused.value)) == str(refused.value)
    return str(refused.value).removeprefix(f"{published} ")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            b"\n<!DOCTYPE html><html><head><title>Sign in  to\nGitHub</title></head></html>",
            PAGE.format("'Sign in to GitHub'"),
        ),
        (
            b'<?xml version="1.0"?>\n<Error><Code>NoSuchKey</Code><Message>Not there.</Message>',
            PAGE.format("'NoSuchKey Not there.'"),
        ),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
            "is a pointer of Git LFS, not the file that it points to. In its repository, "
            "`git lfs pull` fetches that.",
        ),
        (
            b"VendorID,lpep_pickup_datetime,lpep_dropoff_datetime,PULocationID\n2,,,\n",
            "is CSV. `taxi-assets convert FILE FOLDER` makes month files of it.",
        ),
        (b"", OTHER.format(0, "''")),
        (b'{"error": "rate limit"}', OTHER.format(23, """'{"error": "rate limit"}'""")),
        (b"PK\3\4\0\x1b[31m\xff\x80a.parquet", OTHER.format(21, "'PK[31ma.parquet'")),
        (b"a" * 5000, OTHER.format("5,000", f"'{'a' * 80}…'")),
    ],
    ids=["web page", "an object store's error", "LFS", "CSV", "empty", "JSON", "bytes", "long"],
)
def test_a_file_that_is_no_parquet_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    assert refusal(tmp_path, content) == words


def test_a_truncated_month_is_not_complete(tmp_path: Path) -> None:
    write_month(tmp_path / "month.parquet", GREEN, MARCH, trips=300)
    content = (tmp_path / "month.parquet").read_bytes()[:-100]
    assert f"its {len(content):,} bytes end without a footer" in refusal(tmp_path, content)


START = "Green months with zones start in 2014-01."


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (
            ["vendor_name", "Start_Lon"],
            f"It is a file of 2009, with coordinates in place of zone ids. {START}",
        ),
        (
            ["vendor_id", "pickup_longitude"],
            f"It is a file of 2010 to 2016, with coordinates in place of zone ids. {START}",
        ),
        (month_schema(YELLOW, MARCH).names, f"It is a file of yellow taxis. {START}"),
        (
            ["hvfhs_license_num", "dispatching_base_num", "PULocationID"],
            f"It is a file of Uber's and Lyft's trips (fhvhv_tripdata). {START}",
        ),
        (
            ["dispatching_base_num", "PUlocationID"],
            f"It is a file of other hired cars' trips (fhv_tripdata). {START}",
        ),
        (
            ["lpep_pickup_datetime", "Lpep_dropoff_datetime", "pu_location_id", "DOLocationID "],
            "It spells them otherwise. Rename: 'Lpep_dropoff_datetime' is to be "
            "lpep_dropoff_datetime, 'pu_location_id' is to be PULocationID, 'DOLocationID ' is to "
            "be DOLocationID.",
        ),
        (
            [*GREEN.needed_columns, "PULocationID"],
            "It has two columns named PULocationID. Leave one.",
        ),
        (
            GREEN.needed_columns[1:],
            "Its columns are 'lpep_dropoff_datetime, PULocationID, DOLocationID'.",
        ),
        (list("ab" * 30), f"Its columns are '{'a, b, ' * 13}a,…'."),
        ([], "Its columns are ''."),
    ],
    ids=["2009", "2010", "yellow", "Uber", "hired", "capitals", "twice", "less", "none", "empty"],
)
def test_columns_say_what_a_file_is(names: list[str], words: str) -> None:
    missing = [name for name in GREEN.needed_columns if names.count(name) != 1]
    assert describe_columns(names, GREEN) == f"has no column {' or '.join(missing)}. {words}"


def test_a_fleets_columns_are_not_taken_for_anothers() -> None:
    """Files of Uber and Lyft have a column that those of other hired cars have."""
    fleet = FLEETS["fhvhv"]
    names = [name for name in month_schema(fleet, MARCH).names if name != "DOLocationID"]
    assert describe_columns(names, fleet).startswith(
        "has no column DOLocationID. Its columns are 'hvfhs_license_num, dispatching_base_num,"
    )


def test_a_file_with_all_columns_lacks_none() -> None:
    assert describe_columns(["note", *GREEN.needed_columns[::-1]], GREEN) == ""
