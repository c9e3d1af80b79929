"""Months that arrive by themselves: what is asked, what is requested, and how often."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from types import SimpleNamespace

import dagster as dg
import pytest

from taxi_assets.assets.graph import GRAPH
from taxi_assets.definitions import build_definitions
from taxi_assets.errors import UnreachableStorageError
from taxi_assets.runs import sensor
from taxi_assets.runs.sensor import FILE, HOUR, WEEK
from taxi_assets.settings import Settings
from taxi_assets.storage.files import Storage
from taxi_assets.storage.origins import announce_origin
from taxi_assets.tlc.fetch import Origin
from taxi_assets.tlc.fleets import FLEETS
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.source import BusySourceError, FileSource, SourceError
from taxi_assets_tests.conftest import changed

GREEN = FLEETS["green"]
PUBLISHED = [f"2023-0{number}" for number in range(1, 7)]
FAILURE, STARTED, CANCELED = (
    dg.DagsterRunStatus[name] for name in ("FAILURE", "STARTED", "CANCELED")
)


class Sensor:
    """The green sensor, a clock, and a source that notes what it is asked."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance) -> None:
        self.definitions = build_definitions(settings)
        self.settings, self.instance = settings, instance
        self.source, self.storage = FileSource(settings.trip_source), Storage(settings.storage)
        self.cursor: str | None = None
        self.now = 1.8e9
        self.asked: list[str] = []
        self.faults: dict[str, Exception] = {}
        self.skipped = ""

    def version(self, _fleet: object, month: Month, **_: object) -> str:
        self.asked.append(str(month))
        if str(month) in self.faults:
            raise self.faults[str(month)]
        return VERSION(self.source, GREEN, month)

    def tick(self, after: float = HOUR) -> list[str]:
        """The months that a tick requests, some seconds after the one before."""
        self.now += after
        self.asked = []
        (definition,) = self.definitions.sensors
        resources = self.definitions.resources or {}
        context = dg.build_sensor_context(
            self.instance,
            self.cursor,
            resources={key: resources[key] for key in ("trip_source", "storage")},
            definitions=self.definitions,
            sensor_name=definition.name,
        )
        data = definition.evaluate_tick(context)
        self.cursor, self.skipped = data.cursor or self.cursor, data.skip_message or ""
        self.requests = data.run_requests
        return [request.partition_key[:7] for request in data.run_requests]

    def launch(self, status: dg.DagsterRunStatus) -> None:
        """Put runs into the history, as the daemon launches what was requested."""
        for request in self.requests:
            job = dg.job(name="any")(lambda: None)
            self.instance.create_run_for_job(job, tags=request.tags, status=status)

    def make(self, *months: str, without: str = "", sha256: str = "") -> None:
        """Record months of all assets but one, made from what the source has."""
        for month in map(Month.parse, months):
            digest = sha256 or f"{month}".replace("-", "") * 10
            origin = Origin(self.source.location(GREEN, month),
                            VERSION(self.source, GREEN, month), 1, 1, digest)  # fmt: skip
            announce_origin(self.storage, f"green/raw_trips/{month}.parquet", origin)
            for asset in GRAPH:
                if asset.name != without:
                    self.instance.report_runless_asset_event(
                        dg.AssetMaterialization(
                            asset.key(GREEN),
                            partition=month.partition_key,
                            tags={"taxi_assets/source": digest[:63]},
                        )
                    )


VERSION = FileSource.version


@pytest.fixture
def green(
    own_source: Settings, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Sensor]:
    green = Sensor(own_source, instance)
    monkeypatch.setattr(FileSource, "version", green.version)
    clock = SimpleNamespace(time=lambda: green.now, monotonic=lambda: green.now)
    monkeypatch.setattr(sensor, "time", clock)
    return green


def test_all_published_months_are_requested_in_calendar_order_and_once(green: Sensor) -> None:
    assert green.tick() == PUBLISHED
    assert green.asked == sorted(green.asked)
    assert (green.asked[0], len(set(green.asked))) == ("2014-01", len(green.asked))
    green.launch(STARTED)
    assert green.tick() == []


def test_a_look_is_an_hour_after_the_last_and_other_ticks_ask_nothing(green: Sensor) -> None:
    green.tick()
    assert (green.tick(HOUR - 1), green.asked) == ([], [])
    assert green.skipped == "The next look is in 0 minutes."
    green.tick(1)
    assert green.asked


def test_once_an_hour_incomplete_months_are_asked_about_and_once_a_week_all(green: Sensor) -> None:
    green.make("2023-02", "2023-03")
    green.make("2023-04", without="metrics")
    assert green.tick() == ["2023-04", "2023-05", "2023-06"]
    assert green.asked[:3] == ["2023-02", "2023-03", "2023-04"]
    green.launch(STARTED)
    green.tick()
    assert green.asked[:2] == ["2023-04", "2023-05"]
    green.tick(WEEK - HOUR - 1)
    assert green.asked[0] == "2023-04"
    green.tick(HOUR)
    assert green.asked[0] == "2023-02"


def test_a_month_is_due_if_any_asset_was_made_from_another_file(green: Sensor) -> None:
    green.make(*PUBLISHED)
    assert green.tick() == []
    green.make("2023-03", without="predictions", sha256="another" * 9)
    assert green.tick() == ["2023-03"]
    green.launch(STARTED)
    path = Path(green.settings.trip_source) / "green_tripdata_2023-05.parquet"
    os.utime(path, (1, 1))
    assert green.tick(WEEK) == ["2023-05"]


def test_months_of_an_earlier_release_are_not_made_again_for_nothing(green: Sensor) -> None:
    """Their records do not say what they were made from; the stored file does."""
    path = Path(green.settings.storage) / "green/raw_trips/2023-01.parquet"
    path.parent.mkdir(parents=True)
    shutil.copy(Path(green.settings.trip_source) / "green_tripdata_2023-01.parquet", path)
    green.make("2023-01", sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    for asset in GRAPH:
        green.instance.report_runless_asset_event(
            dg.AssetMaterialization(asset.key(GREEN), partition="2023-01-01")
        )
    assert green.tick() == PUBLISHED[1:]


def test_a_failed_month_is_requested_three_times_for_the_same_file_and_then_waits(
    green: Sensor,
) -> None:
    green.make(*PUBLISHED)
    path = Path(green.settings.trip_source) / "green_tripdata_2023-05.parquet"
    os.utime(path, (1, 1))
    for _ in range(3):
        assert green.tick(WEEK) == ["2023-05"]
        green.launch(FAILURE)
    assert green.tick(WEEK) == []
    assert green.skipped.startswith("2023-05 wait for a person: see their last runs.")
    os.utime(path, (2, 2))
    assert green.tick(WEEK) == ["2023-05"]


def test_what_somebody_has_stopped_waits_for_a_person(green: Sensor) -> None:
    green.make(*PUBLISHED[:5])
    assert green.tick() == ["2023-06"]
    green.launch(CANCELED)
    assert green.tick() == []
    assert green.skipped.startswith("2023-06 wait")


def test_a_busy_source_is_left_alone_until_the_next_look_which_goes_on(green: Sensor) -> None:
    green.faults = {"2023-03": BusySourceError("busy")}
    assert (green.tick(), green.asked[-1]) == (["2023-01", "2023-02"], "2023-03")
    green.launch(STARTED)
    assert (green.tick(60), green.asked) == ([], [])
    green.faults = {}
    assert green.tick() == PUBLISHED[2:]
    assert green.asked[0] == "2023-03"


def test_a_source_that_never_answers_ends_the_tick_in_good_time(
    green: Sensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = Event()

    def version(*_: object) -> str:
        over.wait(5)
        over.set()
        return "at last"

    monkeypatch.setattr(FileSource, "version", version)
    monkeypatch.setattr(sensor, "LONGEST_ANSWER", 0.1)
    assert green.tick() == []
    assert green.skipped.endswith(
        "2014-01.parquet gets no answer in 0.1 s. The next look goes on with 2014-01."
    )
    over.set()


def test_a_month_that_the_source_does_not_have_is_passed_over(green: Sensor) -> None:
    green.faults = {"2023-03": SourceError("not there")}
    assert green.tick() == [month for month in PUBLISHED if month != "2023-03"]


def test_a_file_at_which_the_source_always_fails_does_not_keep_others_waiting(
    green: Sensor,
) -> None:
    green.faults = {"2023-03": BusySourceError("busy")}
    assert green.tick() == ["2023-01", "2023-02"]
    assert green.tick() == PUBLISHED[3:]
    assert green.tick() == ["2023-01", "2023-02"]


def test_a_look_that_takes_too_long_goes_on_at_the_next_tick(
    green: Sensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensor, "LONGEST_LOOK", -1)
    assert (green.tick(), green.asked) == ([], [])
    monkeypatch.setattr(sensor, "LONGEST_LOOK", 10)
    assert green.tick(30) == PUBLISHED


@pytest.mark.parametrize("text", [None, "nonsense", '{"source": "of another release"}'])
def test_a_cursor_that_cannot_be_read_is_a_fresh_start(green: Sensor, text: str | None) -> None:
    green.cursor = text
    assert green.tick() == PUBLISHED


def test_a_request_names_its_file_and_has_no_run_key(green: Sensor) -> None:
    """Of a key that it has seen Dagster drops the run."""
    green.tick()
    first, *others = green.requests
    january = Month(2023, 1)
    location, version = green.source.location(GREEN, january), VERSION(green.source, GREEN, january)
    assert (first.partition_key, first.tags[FILE]) == ("2023-01-01", f"{location} {version}")
    assert {request.run_key for request in (first, *others)} == {None}


def test_a_storage_that_is_away_is_a_sentence(
    green: Sensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise UnreachableStorageError("The storage cannot be reached.")

    green.make("2023-01")
    monkeypatch.setattr(Storage, "open", away)
    assert (green.tick(), green.skipped) == ([], "The storage cannot be reached.")


def test_each_fleet_has_a_sensor_that_is_off_and_invented_months_have_nothing_to_notice(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    everything = changed(settings, fleets=tuple(FLEETS.values()))
    sensors = {each.name: each for each in build_definitions(everything).sensors}
    assert set(sensors) == {f"new_{fleet}_months" for fleet in FLEETS}
    for each in sensors.values():
        assert each.default_status == dg.DefaultSensorStatus.STOPPED
    synthetic = Sensor(changed(settings, fleets=(FLEETS["synthetic"],)), instance)
    assert synthetic.tick() == []
    assert "Nobody publishes synthetic months" in synthetic.skipped
