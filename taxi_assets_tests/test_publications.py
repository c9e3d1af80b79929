"""Months that arrive by themselves: what is asked, what is run, and how often."""

import itertools
from dataclasses import dataclass, field, replace
from pathlib import Path

import dagster as dg
import pytest

from taxi_assets.definitions import build_definitions
from taxi_assets.publications import LONGEST_SILENCE, LONGEST_WAIT, Publications
from taxi_assets.settings import Settings
from taxi_assets.storage.files import Storage
from taxi_assets.storage.origins import announce_origin
from taxi_assets.tlc.fetch import Origin
from taxi_assets.tlc.fleets import FLEETS, Fleet
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.source import (
    BusySourceError,
    FileSource,
    SourceError,
    TripSource,
    UnreachableSourceError,
)

GREEN = FLEETS["green"]
MONTHS = [Month(2023, number) for number in (1, 2, 3, 4)]
JANUARY, FEBRUARY, MARCH, APRIL = MONTHS


@dataclass
class Site(TripSource):
    """A source whose months have versions, and which notes who asks."""

    versions: dict[Month, str]
    fault: SourceError | None = None
    asked: list[Month] = field(default_factory=list)

    def location(self, fleet: Fleet, month: Month) -> str:
        return f"site/{fleet.file_name(month)}"

    def version(self, fleet: Fleet, month: Month) -> str:
        self.asked.append(month)
        if self.fault:
            raise self.fault
        if month not in self.versions:
            raise SourceError("is not there (HTTP 403)")
        return self.versions[month]

    def size(self, fleet: Fleet, month: Month) -> int | None:
        raise NotImplementedError

    def fetch(self, fleet: Fleet, month: Month, path: Path, report: object) -> str:
        raise NotImplementedError

    def fetch_lookup(self, path: Path) -> None:
        raise NotImplementedError


def look(
    known: Publications, site: Site, now: float, trained: dict[Month, str] | None = None
) -> list[Month]:
    """One look, with what is known kept as text in between, as the sensor's cursor."""
    site.asked.clear()
    copy = Publications.from_text(known.to_text())
    stored = trained or {}
    wanted = copy.look(site, GREEN, MONTHS, set(stored), stored.get, now)
    known.__dict__.update(copy.__dict__)
    return [month for month, _ in wanted]


def test_months_that_are_published_and_not_trained_are_wanted_once() -> None:
    known, site = Publications(), Site({JANUARY: "1", FEBRUARY: "1"})
    assert look(known, site, 0) == [JANUARY, FEBRUARY]
    assert look(known, site, 1e6) == []
    site.versions[MARCH] = "1"
    assert look(known, site, 2e6) == [MARCH]
    assert known.newest() == MARCH
    assert look(known, site, 3e6, {JANUARY: "1", FEBRUARY: "1"}) == []


def test_what_is_trained_is_wanted_when_it_is_published_anew() -> None:
    known, site = Publications(), Site({JANUARY: "2", FEBRUARY: "1"})
    trained = {JANUARY: "1", FEBRUARY: "1"}
    assert look(known, site, 0, trained) == [JANUARY]
    assert look(known, site, 1e6, trained) == [], "not again, also if its run has failed"
    site.versions[JANUARY] = "3"
    assert look(known, site, 2e6, trained) == [JANUARY]


def test_a_month_is_asked_about_less_and_less_often() -> None:
    known, site = Publications(), Site({})
    asked = []
    for minute in range(60 * 48):
        look(known, site, 60.0 * minute)
        if APRIL in site.asked:
            asked.append(minute)
    gaps = [later - sooner for sooner, later in itertools.pairwise(asked)]
    assert gaps[:5] == [1, 2, 4, 8, 16]
    assert gaps[-1] == LONGEST_WAIT[False] / 60
    assert len(asked) < 20


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
        look(known, site, known.silent_until)
    assert known.silence == LONGEST_SILENCE
    site.fault = None
    assert look(known, site, known.silent_until) == [JANUARY]
    assert known.silence == 0


def test_a_source_that_denies_what_it_had_has_had_enough() -> None:
    """TLC's server answers 403 to who asks for too much, as for months that are not there."""
    known, site = Publications(), Site(dict.fromkeys(MONTHS, "1"))
    look(known, site, 0)
    site.versions.clear()
    look(known, site, 1e6)
    assert len(site.asked) == 1
    assert known.silent_until > 1e6


@pytest.mark.parametrize("text", [None, "", "nonsense", "[]", '{"months": {"2023-01": {"x": 1}}}'])
def test_a_cursor_that_cannot_be_read_is_a_fresh_start(text: str | None) -> None:
    assert Publications.from_text(text) == Publications()


@pytest.fixture
def sensor_settings(settings: Settings, source_folder: Path) -> Settings:
    return replace(settings, trip_source=str(source_folder))


def requested(settings: Settings, instance: dg.DagsterInstance, cursor: str | None = None):
    definitions = build_definitions(settings)
    (sensor,) = definitions.sensors
    context = dg.build_sensor_context(instance, cursor, definitions=definitions)
    return sensor.evaluate_tick(context)


def test_the_sensor_runs_what_the_folder_has(
    sensor_settings: Settings, instance: dg.DagsterInstance
) -> None:
    published = sorted(path.stem[-7:] for path in Path(sensor_settings.trip_source).glob("green*"))
    tick = requested(sensor_settings, instance)
    assert [request.partition_key[:7] for request in tick.run_requests] == published
    again = requested(sensor_settings, instance, tick.cursor)
    assert again.run_requests == []
    assert f"newest published month that is known is {published[-1]}" in again.skip_message


def test_the_sensor_compares_stored_files_with_the_source(
    sensor_settings: Settings, instance: dg.DagsterInstance
) -> None:
    """Trained from this source, in an older version: run again. From another source: left alone."""
    source = FileSource(sensor_settings.trip_source)
    storage = Storage(sensor_settings.storage)
    months = {
        JANUARY: (source.location(GREEN, JANUARY), "older"),
        FEBRUARY: (source.location(GREEN, FEBRUARY), source.version(GREEN, FEBRUARY)),
        MARCH: ("elsewhere", "older"),
    }
    for month, (location, version) in months.items():
        origin = Origin(location, version, 1, 1, "0")
        announce_origin(storage, f"green/raw_trips/{month}.parquet", origin)
        instance.report_runless_asset_event(
            dg.AssetMaterialization(dg.AssetKey(["green", "model"]), partition=month.partition_key)
        )
    tick = requested(sensor_settings, instance)
    wanted = {request.partition_key[:7] for request in tick.run_requests}
    assert wanted & {str(month) for month in months} == {"2023-01"}


def test_synthetic_months_are_published_by_nobody(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    tick = requested(replace(settings, trip_source="synthetic"), instance)
    assert tick.run_requests == []
    assert "not published by anybody" in tick.skip_message


def test_the_sensor_is_off_until_somebody_turns_it_on(settings: Settings) -> None:
    (sensor,) = build_definitions(settings).sensors
    assert sensor.default_status == dg.DefaultSensorStatus.STOPPED
