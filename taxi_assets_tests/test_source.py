"""Fetching a month: from a folder, from a web server, from nowhere."""

import errno
import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from taxi_assets.errors import OutageError, StorageError
from taxi_assets.tlc import http, parquet
from taxi_assets.tlc.fetch import FetchedMonth, Origin, TripSources, fetch_month
from taxi_assets.tlc.fleets import FLEETS, Fleet
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.source import FileSource, SourceError, file_version
from taxi_assets_tests.bad_server import file, serving

GREEN = FLEETS["green"]
JANUARY = Month(2023, 1)


Fetch = Callable[..., FetchedMonth]


@pytest.fixture
def fetch(tmp_path: Path) -> Fetch:
    """Fetch a month; where that fails, no file is left."""
    path = tmp_path / "fetched"

    def fetch(location: object, month: Month = JANUARY) -> FetchedMonth:
        source = TripSources(str(location), synthetic_trips=1_000).of(GREEN)
        try:
            return fetch_month(source, GREEN, month, path, lambda _: None)
        except Exception:
            assert not path.exists()
            raise

    return fetch


def test_folder_and_web_server_give_the_file_byte_for_byte(
    fetch: Fetch, source_folder: Path
) -> None:
    published = (source_folder / "green_tripdata_2023-01.parquet").read_bytes()
    with serving(file(published)) as server:
        for location in (source_folder, server.url, source_folder.as_uri()):
            fetched = fetch(location)
            assert fetched.path.read_bytes() == published
            assert (fetched.origin.trips, fetched.origin.size) == (6_000, len(published))
            fetched.path.unlink()


def test_invented_months_come_from_nowhere_and_others_from_the_source(tmp_path: Path) -> None:
    sources = TripSources(str(tmp_path), synthetic_trips=1_000)
    synthetic = FLEETS["synthetic"]
    fetched = fetch_month(sources.of(synthetic), synthetic, JANUARY, tmp_path / "x", print)
    assert fetched.origin.trips == 1_000
    assert fetched.origin.location == "synthetic (2023-01, 1,000 trips)"
    assert sources.of(GREEN) == FileSource(str(tmp_path))
    assert sources.of(FLEETS["yellow"]).location(FLEETS["yellow"], JANUARY) == (
        f"{tmp_path}/yellow_tripdata_2023-01.parquet"
    )


def test_a_file_that_claims_too_much_is_refused(
    fetch: Fetch, source_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "MAX_TRIPS", 5_999)
    refused = r"2023-01.parquet is refused: it claims 6,000 rows, more than 5,999. Run the month"
    with pytest.raises(SourceError, match=refused):
        fetch(source_folder)


@dataclass(frozen=True)
class Remembering(FileSource):
    """A folder whose files have the versions that the test gives."""

    now: str = ""

    def version(self, fleet: Fleet, month: Month) -> str:
        return self.now


@pytest.mark.parametrize(
    ("stored", "now", "fetched"),
    [
        pytest.param({}, "v1", False, id="the same"),
        pytest.param({}, "v2", True, id="another version"),
        pytest.param({"location": "s3://elsewhere/x"}, "v1", True, id="another source"),
        pytest.param({"version": ""}, "", True, id="a source that says nothing"),
    ],
)
def test_only_the_same_version_at_the_same_source_is_not_fetched_again(
    source_folder: Path, tmp_path: Path, stored: dict[str, str], now: str, fetched: bool
) -> None:
    source = Remembering(str(source_folder), now)
    origin = Origin(source.location(GREEN, JANUARY), "v1", 6_000, 7, "of the stored file")
    origin = replace(origin, **stored)
    lines: list[str] = []
    found = fetch_month(source, GREEN, JANUARY, tmp_path / "x", lines.append, origin)
    if fetched:
        published = (source_folder / GREEN.file_name(JANUARY)).read_bytes()
        assert found.path is not None
        assert found.path.read_bytes() == published
        assert found.origin.sha256 == hashlib.sha256(published).hexdigest()
    else:
        assert found == FetchedMonth(origin, None)
        assert lines == ["unchanged at the source, not fetched again"]


def test_a_month_that_the_source_does_not_have_is_a_sentence(
    fetch: Fetch, source_folder: Path
) -> None:
    with pytest.raises(SourceError, match=r"2019-07\.parquet does not exist"):
        fetch(source_folder, Month(2019, 7))


def test_a_file_that_is_replaced_while_it_is_copied_is_refused(
    fetch: Fetch, source_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By one of the same length: what was copied may be of both."""
    copy = LocalFileSystem.get_file

    def copy_while_it_is_replaced(self: LocalFileSystem, path: str, target: str) -> None:
        copy(self, path, target)
        os.utime(path, (1, 1))

    monkeypatch.setattr(LocalFileSystem, "get_file", copy_while_it_is_replaced)
    name = shutil.copy(source_folder / GREEN.file_name(JANUARY), tmp_path)
    with pytest.raises(SourceError, match=f"{name} changed while it was read. Run the month again"):
        fetch(tmp_path)


def test_a_full_disk_is_no_fault_of_the_source(
    fetch: Fetch, source_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(_: object, __: str, target: str) -> None:
        Path(target).write_bytes(b"PAR1")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(LocalFileSystem, "get_file", fill)
    full = rf"Nothing can be stored in {tmp_path} \(No space left on device\)"
    with pytest.raises(StorageError, match=full):
        fetch(source_folder)


def test_a_folder_is_not_a_file(fetch: Fetch, tmp_path: Path) -> None:
    """As Spark writes it, for instance."""
    (tmp_path / GREEN.file_name(JANUARY)).mkdir()
    with pytest.raises(SourceError, match="is a folder, not a file"):
        fetch(tmp_path)


def test_a_download_tells_how_far_it_is(
    source_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "PROGRESS", 0)
    lines: list[str] = []
    published = (source_folder / GREEN.file_name(JANUARY)).read_bytes()
    with serving(file(published)) as server:
        http.HttpSource(server.url).fetch(GREEN, JANUARY, tmp_path / "x", lines.append)
    size = len(published)
    assert lines[0] == f"downloading, {size / 1e6:,.1f} MB"
    assert lines[-1] == f"downloaded {size / 1e6:,.1f} MB"


@pytest.mark.parametrize(
    ("info", "version"),
    [
        ({"ETag": '"1"', "LastModified": "then", "size": 3}, '"1", 3 bytes'),
        ({"etag": "0x8D", "last_modified": "then", "size": 3}, "0x8D, 3 bytes"),
        ({"last_modified": "then", "size": 3}, "then, 3 bytes"),
        ({"mtime": 12.5, "created": 1.5, "size": 3}, "12.5, 3 bytes"),
        ({"size": 3}, ""),
    ],
    ids=["S3", "Azure", "Azure without an ETag", "a disk", "nothing is said"],
)
def test_each_store_says_in_its_own_way_when_a_file_changed(
    info: dict[str, object], version: str
) -> None:
    assert file_version(info) == version


@pytest.mark.parametrize(
    ("error", "is_outage"),
    [
        (ConnectionRefusedError, True),
        (TimeoutError, True),
        (type("ClientConnectorError", (type("ClientConnectionError", (OSError,), {}),), {}), True),
        (type("ServiceRequestError", (Exception,), {}), True),
        (OSError, False),
    ],
)
def test_a_store_that_does_not_answer_is_an_outage_whatever_its_library_calls_it(
    error: type[Exception], is_outage: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a month that is missing, for which the next would be tried."""

    def info(*_: object, **__: object) -> None:
        raise error("no answer from https://me:pa55word@store")

    monkeypatch.setattr(MemoryFileSystem, "info", info)
    with pytest.raises(SourceError, match=r"cannot be read .*Check TAXI_TRIP_SOURCE") as raised:
        FileSource("memory://months").version(GREEN, JANUARY)
    assert isinstance(raised.value, OutageError) is is_outage
    assert "pa55word" not in str(raised.value)


def test_what_holds_the_sources_address_does_not_show_it() -> None:
    sources = TripSources("s3://key:pa55word@trips", synthetic_trips=1)
    assert "pa55word" not in f"{sources} {sources.of(GREEN)}"


def test_partitions_begin_with_the_first_file_that_has_zones() -> None:
    first = {name: str(fleet.first_month) for name, fleet in FLEETS.items()}
    invented = {name for name, fleet in FLEETS.items() if fleet.invented}
    assert first == {
        "yellow": "2011-01",
        "green": "2014-01",
        "synthetic": "2022-01",
        "fhvhv": "2019-02",
    }
    assert invented == {"synthetic"}
