"""Trips and assets on an object store: whole or not there, and a sentence where it fails."""

import hashlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import fsspec
import pytest

from taxi_assets.definitions import build_definitions
from taxi_assets.settings import Settings
from taxi_assets.storage.files import Storage
from taxi_assets.storage.origins import announce_origin, stored_origin
from taxi_assets.tlc.fetch import Origin
from taxi_assets_tests import services as team
from taxi_assets_tests.conftest import changed, latest_record, step_failures

pytestmark = [pytest.mark.cluster, pytest.mark.linear]


Materialize = Callable[..., dg.ExecuteInProcessResult]


@pytest.fixture(scope="module")
def store() -> Iterator[Any]:
    """An empty object store, and the variables that lead to it."""
    with team.services() as running, pytest.MonkeyPatch.context() as patch:
        team.start_object_store(running)
        for name, value in running.environment.items():
            patch.setenv(name, value)
        yield fsspec.filesystem("s3", use_listings_cache=False)


@pytest.fixture
def remote(settings: Settings, store: Any, source_folder: Path, request: Any) -> Settings:
    """Settings of which both source and storage are on the store, in a place of the test's own."""
    place = f"trips/{request.node.name}"
    for path in source_folder.glob("green_*"):
        store.put_file(str(path), f"{place}/source/{path.name}")
    return changed(settings, trip_source=f"s3://{place}/source", storage=f"s3://{place}/stored")


def digest_of_local(file: Any, _name: str) -> Any:
    assert isinstance(file, io.BufferedReader), "downloaded to be hashed"
    return hashlib.sha256(file.read())


def test_a_span_is_made_from_and_to_the_store(
    materialize: Materialize,
    settings: Settings,
    remote: Settings,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same metrics as on local disk, and nothing downloaded to see whether it is unchanged."""

    def february(settings: Settings) -> dict[str, Any]:
        return build_definitions(settings).load_asset_value(
            ["green", "metrics"], partition_key="2023-02-01", instance=instance
        )

    assert materialize("2023-01:2023-02").success
    local = february(settings)
    monkeypatch.setattr(hashlib, "file_digest", digest_of_local)
    assert materialize("2023-01:2023-02", settings=remote).success
    record = latest_record(instance, "metrics", "2023-02").metadata
    assert record["path"].value.endswith("/stored/green/metrics/2023-02.json")
    assert february(remote) == local
    assert record["rmse"].value == round(local["rmse"], 3)

    fetched = latest_record(instance, "raw_trips", "2023-01").metadata["sha256"].value
    assert materialize("2023-01", "raw_trips", settings=remote).success
    assert latest_record(instance, "raw_trips", "2023-01").metadata["sha256"].value == fetched


def test_a_month_that_the_source_does_not_have_is_a_sentence(
    materialize: Materialize, remote: Settings
) -> None:
    (message,) = step_failures(materialize("2019-07", "raw_trips", settings=remote))
    assert "green_tripdata_2019-07.parquet does not exist. Choose a month that" in message


def test_a_write_that_is_given_up_leaves_the_old_object(store: Any, remote: Settings) -> None:
    storage, path = Storage(remote.storage), "green/metrics/2023-01.json"
    with storage.replacing(path) as temporary:
        temporary.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), storage.replacing(path) as temporary:
        temporary.write_bytes(b"half of the n")
        raise ZeroDivisionError
    with storage.open(path) as file:
        assert file.read() == b"old"
    assert storage.names("green/metrics") == ["2023-01.json"]


def test_the_origin_is_that_of_the_object_which_is_there(
    remote: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, path = Storage(remote.storage), "green/raw_trips/2023-01.parquet"
    origins = {
        content: Origin("here", content, 1, 3, digest)
        for content, digest in (
            ("old", "a5" + "0" * 62),
            ("new", "11507a0e2f5e69d5dfa40a62a1bd7b6ee57e6bcd85c67c9b8431b36fff21c437"),
        )
    }
    announce_origin(storage, path, origins["old"])
    announce_origin(storage, path, origins["new"])
    assert stored_origin(storage, path) is None
    with storage.replacing(path) as temporary:
        temporary.write_bytes(b"new")
    assert stored_origin(storage, path) == origins["new"]
    monkeypatch.setattr(hashlib, "file_digest", digest_of_local)
    assert stored_origin(storage, path) == origins["new"], "the store still has that version"
    monkeypatch.undo()
    with storage.replacing(path) as temporary:
        temporary.write_bytes(b"bad")
    assert stored_origin(storage, path) is None


@pytest.mark.parametrize(
    ("storage", "reason"),
    [
        pytest.param("s3://nowhere/stored", "Nothing can be stored", id="no such bucket"),
        pytest.param("s3://trips", "cannot be reached", id="nobody answers"),
    ],
)
def test_a_store_that_does_not_take_it_is_a_sentence(
    materialize: Materialize,
    remote: Settings,
    monkeypatch: pytest.MonkeyPatch,
    storage: str,
    reason: str,
) -> None:
    if reason == "cannot be reached":
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{team.free_port()}")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        fsspec.filesystem("s3").clear_instance_cache()
    away = changed(remote, storage=storage, synthetic_trips=1000)
    (message,) = step_failures(materialize("2023-01", "raw_trips", settings=away))
    assert f"{storage.removeprefix('s3://')}/green/raw_trips/" in message
    assert reason in message
    assert "TAXI_STORAGE" in message
    fsspec.filesystem("s3").clear_instance_cache()


def test_a_missing_object_is_missing_and_not_broken(remote: Settings) -> None:
    storage = Storage(remote.storage)
    assert not storage.exists("green/model/2023-01.skops")
    with pytest.raises(FileNotFoundError):
        storage.open("green/model/2023-01.skops")
    assert storage.names("green/model") == []
