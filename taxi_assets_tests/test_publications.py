"""Months that arrive by themselves: what is asked, what is run, and how often."""

import itertools
import os
import shutil
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import pytest
from dagster._core.events import AssetObservationData

from taxi_assets import automation, publications
from taxi_assets.automation import FILE
from taxi_assets.definitions import build_definitions
from taxi_assets.errors import UnreachableStorageError
from taxi_assets.publications import ALL_AFTER, LONGEST_SILENCE, LONGEST_WAIT, Publications
from taxi_assets.settings import Settings
from taxi_assets.storage.files import Storage
from taxi_assets.storage.origins import note_trained
from taxi_assets.tlc.fetch import Origin
from taxi_assets.tlc.fleets import FLEETS, Fleet
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.source import (
    BusySourceError,
    FileSource,
    RefusedSourceError,
    SourceError,
    TripSource,
    UnreachableSourceError,
)
from taxi_assets_tests.conftest import changed

GREEN = FLEETS["green"]
MONTHS = [Month(2023, number) for number in (1, 2, 3, 4)]
JANUARY, FEBRUARY, MARCH, APRIL = MONTHS
NOW = 1.7e9


@dataclass
class Site(TripSource):
    """A source whose months have versions, and which notes who asks."""

    versions: dict[Month, str]
    fault: SourceError | None = None
    asked: list[Month] = field(default_factory=list)

    def location(self, fleet: Fleet, month: Month) -> str:
        return f"site/{fleet.file_name(month)}"

    def version(self, fleet: Fleet, month: Month, *, patient: bool = True) -> str:
        assert not patient
        self.asked.append(month)
        if self.fault:
            raise self.fault
        if month not in self.versions:
            raise RefusedSourceError("is not there (HTTP 403)")
        return self.versions[month]

    def size(self, fleet: Fleet, month: Month) -> int | None:
        raise NotImplementedError

    def fetch(self, fleet: Fleet, month: Month, path: Path, report: object) -> str:
        raise NotImplementedError

    def fetch_lookup(self, path: Path) -> None:
        raise NotImplementedError


def look(
    known: Publications,
    site: Site,
    now: float,
    trained: dict[Month, str] | None = None,
    again: list[Month] | None = None,
) -> list[Month]:
    """A look so many seconds after ``NOW``; what is known is text in between, like a cursor."""
    site.asked.clear()
    copy = Publications.of(known.source, known.to_text())
    assert copy == known

    def wanted(month: Month, version: str) -> bool:
        return (trained or {}).get(month) != version

    found = copy.look(site, GREEN, MONTHS, wanted, NOW + now, again or [], list(trained or {}))
    known.__dict__.update(copy.__dict__)
    return [month for month, _ in found]


def test_what_is_published_and_not_trained_is_wanted() -> None:
    known, site = Publications(), Site({JANUARY: "1", FEBRUARY: "1"})
    assert look(known, site, 0, {JANUARY: "1"}) == [FEBRUARY]
    assert known.newest == "2023-02"


def test_what_is_published_anew_is_wanted_within_a_day() -> None:
    known, site = Publications(), Site({JANUARY: "1", FEBRUARY: "1"})
    trained = {JANUARY: "1", FEBRUARY: "1"}
    assert look(known, site, 0, trained) == []
    site.versions[JANUARY] = "2"
    assert look(known, site, ALL_AFTER, trained) == [JANUARY]


def test_a_new_month_is_asked_about_less_and_less_often() -> None:
    known, site = Publications(), Site(dict.fromkeys(MONTHS[:3], "1"))
    asked = []
    for minute in range(60 * 48):
        look(known, site, 60.0 * minute, dict.fromkeys(MONTHS[:3], "1"))
        if APRIL in site.asked:
            asked.append(minute)
        assert JANUARY not in site.asked or minute % (60 * 24) < LONGEST_WAIT / 60
    gaps = [later - sooner for sooner, later in itertools.pairwise(asked)]
    assert gaps[:5] == [1, 2, 4, 8, 16]
    assert gaps[-1] == LONGEST_WAIT / 60
    assert len(asked) < 20


def test_the_six_months_after_the_newest_may_come() -> None:
    known, site = Publications(), Site({JANUARY: "1"})
    months = [Month(2023, number) for number in range(1, 13)]
    for now in (NOW, NOW + 60):
        site.asked.clear()
        known.look(site, GREEN, months, lambda *_: False, now, [], [])
    assert sorted(site.asked) == months[1:7]


def test_after_something_new_the_next_question_comes_soon() -> None:
    known, site = Publications(), Site({MARCH: "1"})
    for minute in range(600):
        look(known, site, 60.0 * minute, {MARCH: "1"})
    assert known.wait > 3600
    site.versions[APRIL] = "1"
    assert look(known, site, known.due - NOW, {MARCH: "1"}) == [APRIL]
    begun = known.due
    look(known, site, begun - NOW, {MARCH: "1", APRIL: "1"})
    assert known.due == begun + publications.FIRST_WAIT


def test_months_whose_run_failed_are_part_of_every_round() -> None:
    known, site = Publications(), Site(dict.fromkeys(MONTHS, "1"))
    trained = dict.fromkeys(MONTHS, "1")
    look(known, site, 0, trained)
    assert look(known, site, known.due - NOW, {**trained, JANUARY: "0"}) == []
    assert look(known, site, known.due - NOW, {**trained, JANUARY: "0"}, [JANUARY]) == [JANUARY]
    assert site.asked == [JANUARY]


@pytest.mark.parametrize(
    "fault", [BusySourceError("HTTP 429"), UnreachableSourceError("refuses the connection")]
)
def test_a_source_that_is_busy_or_away_is_left_alone(fault: SourceError) -> None:
    known, site = Publications(), Site({JANUARY: "1"}, fault)
    look(known, site, 0)
    assert len(site.asked) == 1, "one question is enough to learn it"
    look(known, site, 59)
    assert site.asked == []
    for _ in range(20):
        look(known, site, known.silent_until - NOW)
    assert known.silence == LONGEST_SILENCE
    site.fault = None
    assert look(known, site, known.silent_until - NOW) == [JANUARY]
    assert known.silence == 0


def test_what_was_learnt_before_a_fault_is_kept() -> None:
    known, site = Publications(), Site(dict.fromkeys(MONTHS, "1"))

    def version(fleet: Fleet, month: Month, *, patient: bool = True) -> str:
        if month == FEBRUARY and not site.asked[:1] == ["back"]:
            raise BusySourceError("HTTP 503")
        return "1"

    site.version = version  # type: ignore[method-assign]
    found = known.look(site, GREEN, MONTHS, lambda *_: True, NOW)
    assert [month for month, _ in found] == [MARCH, APRIL]
    site.asked = ["back"]  # type: ignore[list-item]
    found = known.look(site, GREEN, MONTHS, lambda *_: True, known.silent_until)
    assert [month for month, _ in found] == [JANUARY, FEBRUARY]


def test_a_source_that_refuses_what_it_had_has_had_enough() -> None:
    """TLC's server answers 403 to who asks for too much, as for months that are not there."""
    known, site = Publications(), Site(dict.fromkeys(MONTHS, "1"))
    trained = dict.fromkeys(MONTHS, "1")
    look(known, site, 0, trained)
    site.versions.clear()
    look(known, site, 1e6, trained)
    assert len(site.asked) == 1
    assert known.silent_until > NOW + 1e6
    look(known, site, known.silent_until - NOW, trained)
    assert site.asked == [MARCH], "not the same month for ever"


def test_a_source_that_never_answers_takes_no_longer_than_a_tick_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(publications, "LONGEST_ANSWER", 0.05)
    known, site, never = Publications(), Site({}), threading.Event()
    monkeypatch.setattr(site, "version", lambda *_, **__: never.wait())
    assert known.look(site, GREEN, MONTHS, lambda *_: True, NOW) == []
    assert known.silent_until == NOW + publications.FIRST_WAIT
    never.set()


def test_a_round_that_takes_too_long_goes_on_the_next_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known, site = Publications(), Site(dict.fromkeys(MONTHS, "1"))
    ticks = itertools.count(step=6)
    monkeypatch.setattr(publications.time, "monotonic", lambda: next(ticks))
    assert look(known, site, 0) == [APRIL]
    assert look(known, site, 30) == [MARCH]
    assert look(known, site, 60) == [FEBRUARY]


@pytest.mark.parametrize("text", [None, "", "nonsense", "[]", '{"x": 1}', '{"newest": "x"}'])
def test_a_cursor_that_cannot_be_read_is_a_fresh_start(text: str | None) -> None:
    assert Publications.of("here", text) == Publications("here")


def test_a_cursor_is_short_and_of_one_source() -> None:
    known, site = Publications("here"), Site(dict.fromkeys(MONTHS, "1"))
    look(known, site, 0)
    assert len(known.to_text()) < 250
    assert Publications.of("there", known.to_text()) == Publications("there")


def requested(
    settings: Settings, instance: dg.DagsterInstance, cursor: str | None = None
) -> dg.SensorResult:
    definitions = build_definitions(settings)
    (sensor,) = definitions.sensors
    context = dg.build_sensor_context(
        instance,
        cursor,
        resources={key: definitions.resources[key] for key in ("trip_source", "storage")},
        definitions=definitions,
        sensor_name=sensor.name,
    )
    return sensor.evaluate_tick(context)


def launched(
    instance: dg.DagsterInstance, request: dg.RunRequest, status: dg.DagsterRunStatus, ended: float
) -> str:
    """Put a run into the history, as the daemon launches what a sensor requests."""
    run = instance.create_run_for_job(
        dg.job(name="any")(lambda: None),
        tags={
            **request.tags,
            "dagster/partition": request.partition_key,
            "dagster/sensor_name": "new_green_months",
        },
        status=dg.DagsterRunStatus.STARTED,
    )
    if status != dg.DagsterRunStatus.STARTED:
        event = dg.DagsterEvent(
            {
                dg.DagsterRunStatus.FAILURE: dg.DagsterEventType.RUN_FAILURE,
                dg.DagsterRunStatus.SUCCESS: dg.DagsterEventType.RUN_SUCCESS,
                dg.DagsterRunStatus.CANCELED: dg.DagsterEventType.RUN_CANCELED,
            }[status].value,
            "any",
        )
        instance.report_dagster_event(event, run.run_id, timestamp=ended)
    return run.run_id


def test_the_sensor_runs_what_the_folder_has(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    published = sorted(path.stem[-7:] for path in Path(settings.trip_source).glob("green*"))
    tick = requested(settings, instance)
    assert [request.partition_key[:7] for request in tick.run_requests] == published
    for request in tick.run_requests:
        launched(instance, request, dg.DagsterRunStatus.STARTED, 0)
    again = requested(settings, instance)
    assert again.run_requests == [], "they are under way, whatever the cursor says"
    assert f"newest published month that is known is {published[-1]}" in again.skip_message


@pytest.mark.parametrize(
    ("status", "ago", "bad", "asked"),
    [
        pytest.param("FAILURE", 59, None, False, id="too soon"),
        pytest.param("FAILURE", 61, None, True, id="something was away"),
        pytest.param("FAILURE", 61, False, False, id="bad in itself"),
        pytest.param("FAILURE", 61, True, True, id="may pass"),
        pytest.param("CANCELED", 1e6, None, False, id="stopped by somebody"),
        pytest.param("SUCCESS", 61, None, True, id="made, and its files deleted"),
    ],
)
def test_a_month_is_asked_for_again_if_that_helps(
    settings: Settings,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    status: str,
    ago: float,
    bad: bool | None,
    asked: bool,
) -> None:
    now = stop_the_clock(monkeypatch)
    for request in requested(settings, instance).run_requests:
        ended = now - ago
        run_id = launched(instance, request, dg.DagsterRunStatus(status), ended)
        if bad is not None:
            observed = dg.AssetObservation(
                ["green", "model"], partition=request.partition_key, metadata={"may_pass": bad}
            )
            event = dg.DagsterEvent(
                dg.DagsterEventType.ASSET_OBSERVATION.value,
                "any",
                event_specific_data=AssetObservationData(observed),
            )
            instance.report_dagster_event(event, run_id)
    again = requested(settings, instance).run_requests
    assert bool(again) == asked


def test_every_round_is_also_about_months_whose_last_run_has_failed(
    instance: dg.DagsterInstance,
) -> None:
    failure, success = dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS
    for month, statuses in (
        (JANUARY, (failure, success)),
        (FEBRUARY, (success, failure)),
        (MARCH, (failure, dg.DagsterRunStatus.STARTED)),
    ):
        for status in statuses:
            launched(instance, dg.RunRequest(partition_key=month.partition_key), status, 1.0)
    context = dg.build_sensor_context(instance, sensor_name="new_green_months")
    assert automation.Requested(context, [], now=2.0).failed() == [FEBRUARY]


def test_a_month_that_is_published_anew_does_not_wait_for_the_old_ones_run(
    settings: Settings, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    """Its run was of another version of the file: neither bad nor under way counts for this one."""
    shutil.copytree(settings.trip_source, tmp_path / "source")
    settings = changed(settings, trip_source=str(tmp_path / "source"))
    first, *others = requested(settings, instance).run_requests
    for request in (first, *others):
        launched(instance, request, dg.DagsterRunStatus.STARTED, 0)
    assert requested(settings, instance).run_requests == []
    month = Month.parse(first.partition_key)
    path = tmp_path / "source" / GREEN.file_name(month)
    os.utime(path, (1, 1))
    (again,) = requested(settings, instance).run_requests
    assert again.partition_key == first.partition_key
    assert again.tags[FILE] != first.tags[FILE]
    assert again.run_key is None, "of a key that it has seen Dagster drops the run"


def stop_the_clock(monkeypatch: pytest.MonkeyPatch) -> float:
    """Have the sensor find the same time whenever it looks; return it."""
    now = time.time()
    monkeypatch.setattr(automation, "time", SimpleNamespace(time=lambda: now))
    return now


@pytest.mark.parametrize(
    ("failures", "pause"), [(1, 60), (2, 120), (3, 240), (9, 15_360), (10, 21_600), (11, 21_600)]
)
def test_each_failure_in_a_row_is_waited_for_twice_as_long_up_to_six_hours(
    settings: Settings,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    failures: int,
    pause: int,
) -> None:
    now = stop_the_clock(monkeypatch)
    request, *_ = requested(settings, instance).run_requests
    for before in range(failures - 1, -1, -1):
        ended = now - pause + 1 - before * 100_000
        launched(instance, request, dg.DagsterRunStatus.FAILURE, ended)
    month = request.partition_key

    def asked() -> bool:
        return month in [r.partition_key for r in requested(settings, instance).run_requests]

    assert not asked()
    monkeypatch.setattr(automation, "time", SimpleNamespace(time=lambda: now + 2))
    assert asked()


def test_the_sensor_looks_at_what_is_stored(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    """A model of this very file: left alone. Of an older one, another's, deleted, or none: made."""
    source = FileSource(settings.trip_source)
    storage = Storage(settings.storage)
    current = source.version(GREEN, JANUARY)
    months = {
        JANUARY: (source.location(GREEN, JANUARY), current),
        FEBRUARY: (source.location(GREEN, FEBRUARY), "older"),
        MARCH: ("elsewhere", source.version(GREEN, MARCH)),
        APRIL: (source.location(GREEN, APRIL), source.version(GREEN, APRIL)),
    }
    for month, (location, version) in months.items():
        note_trained(storage, GREEN, month, Origin(location, version, 1, 1, "0"))
        with storage.replacing(f"green/model/{month}.skops") as temporary:
            temporary.write_bytes(b"a model")
    (Path(settings.storage) / f"green/model/{APRIL}.skops").unlink()
    tick = requested(settings, instance)
    assert [request.partition_key[:7] for request in tick.run_requests] == [
        str(month) for month in (FEBRUARY, MARCH, APRIL, APRIL + 1, APRIL + 2)
    ]
    assert len({request.tags[FILE] for request in tick.run_requests}) == 5


def test_a_storage_that_is_away_is_a_sentence(
    settings: Settings, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise UnreachableStorageError("The storage cannot be reached.")

    monkeypatch.setattr(Storage, "names", away)
    tick = requested(settings, instance)
    assert (tick.run_requests, tick.skip_message) == ([], "The storage cannot be reached.")


def test_synthetic_months_are_published_by_nobody(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    tick = requested(changed(settings, fleets=(FLEETS["synthetic"],)), instance)
    assert tick.run_requests == []
    assert "not published by anybody" in tick.skip_message


def test_each_fleet_has_a_sensor_that_is_off_until_somebody_turns_it_on(settings: Settings) -> None:
    everything = changed(settings, fleets=tuple(FLEETS.values()))
    sensors = {sensor.name: sensor for sensor in build_definitions(everything).sensors}
    assert set(sensors) == {"new_yellow_months", "new_green_months", "new_synthetic_months"}
    for sensor in sensors.values():
        assert sensor.default_status == dg.DefaultSensorStatus.STOPPED
