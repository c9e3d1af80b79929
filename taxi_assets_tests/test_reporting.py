"""Pictures and the page over all months."""

import html
import json
import os
import re
import signal
import struct
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import dagster as dg
import mlflow
import numpy as np
import pandas as pd
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from taxi_assets.durations.boosted_month import BoostedValidation
from taxi_assets.durations.profiles import LENGTHS, Profile, distances
from taxi_assets.durations.scoring import Validation
from taxi_assets.reporting import charts, report
from taxi_assets.reporting.charts import (
    BOOSTED_PICTURES,
    COVERAGE,
    PICTURES,
    backtest_charts,
    boosted_charts,
    durations_chart,
    model_charts,
)
from taxi_assets.reporting.gallery import Gallery, inline
from taxi_assets.reporting.painter import Painter
from taxi_assets.reporting.report import write_report
from taxi_assets.reporting.stored_months import stored_months
from taxi_assets.reporting.zone_names import ZoneNames
from taxi_assets.settings import Settings
from taxi_assets.storage.files import Storage
from taxi_assets.storage.stored_months import note_profile
from taxi_assets.tlc.fleets import FLEETS
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.source import FileSource, SyntheticSource
from taxi_assets_tests.conftest import (
    REAL_FILES,
    changed,
    latest_record,
    picture_of,
    tracked_runs,
)

GREEN, JANUARY = FLEETS["green"], Month(2023, 1)
LOOKUP = (
    '"LocationID","Borough","Zone","service_zone"\n'
    '132,"Queens","JFK Airport","Airports"\n230,"Manhattan","Times Sq/Theatre District","Yellow"\n'
)


def assert_png(picture: bytes) -> None:
    """A picture of a size that people can read and a database can keep."""
    assert picture.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", picture[16:24])
    assert width >= 500
    assert height >= 300
    assert len(picture) < 100_000


@pytest.fixture
def zones(tmp_path: Path) -> ZoneNames:
    (tmp_path / "source").mkdir()
    (tmp_path / "source/taxi_zone_lookup.csv").write_text(LOOKUP)
    return ZoneNames(FileSource(str(tmp_path / "source")), Storage(str(tmp_path / "data")))


@pytest.mark.parametrize("pairs", [0, 1, 30], ids=["no busy pair", "one", "more than are listed"])
def test_pictures_are_drawn_of_any_number_of_pairs(zones: ZoneNames, pairs: int) -> None:
    random = np.random.default_rng(1)
    places = [str(number) for number in range(1, max(pairs, 1) + 1)]
    trips = pd.DataFrame(
        {
            "PULocationID": pd.Categorical(np.repeat(places, 40 if pairs else 3)),
            "DOLocationID": pd.Categorical(np.repeat(places, 40 if pairs else 3)),
        }
    )
    trips["duration"] = random.uniform(1, 60, len(trips))
    summed = trips.groupby(["PULocationID", "DOLocationID"], observed=True)["duration"]
    by_pair = summed.agg(trips="size", duration_sum="sum").reset_index()
    by_pair["duration_sum_of_squares"] = by_pair["duration_sum"] ** 2
    validation = Validation(by_pair, np.full(len(by_pair), 20.0), trips, np.full(len(trips), 20.0))
    drawn = dict(model_charts(validation, zones.zones, "green 2023-01"))
    assert list(drawn) == list(PICTURES[1:])
    hours = np.arange(len(trips)).astype(np.uint8) % 168
    boosted = BoostedValidation(
        trips["duration"].to_numpy(), validation.trip_predictions, hours, 13
    )
    drawn |= dict(boosted_charts(boosted, "green 2023-01"))
    assert list(drawn)[-2:] == list(BOOSTED_PICTURES)
    fifths = [0.8, 0.81, 0.79, 0.8, None]
    models = {
        "mean": {"rmse": 12.0, "interval_coverage_by_fifth": None},
        "boosted": {"rmse": 5.0, "interval_coverage_by_fifth": fifths},
    }
    drawn |= dict(backtest_charts(models, "green 2023-01"))
    assert list(drawn)[-1] == COVERAGE
    for picture in (
        *(draw() for draw in drawn.values()),
        durations_chart(np.arange(92), "green 2023-01"),
    ):
        assert_png(picture)


def test_zones_have_the_names_of_the_lookup_file(zones: ZoneNames, tmp_path: Path) -> None:
    assert (zones.zones.name("132"), zones.zones.borough("132")) == ("JFK Airport", "Queens")
    assert (zones.zones.name("7"), zones.zones.borough("7")) == ("zone 7", "unknown borough")
    (tmp_path / "source/taxi_zone_lookup.csv").unlink()
    again = ZoneNames(SyntheticSource(1), Storage(str(tmp_path / "data")))
    assert again.zones.name("132") == "JFK Airport", "kept in the storage"


def test_rows_of_the_lookup_file_that_name_nothing_are_passed_over(tmp_path: Path) -> None:
    rows = "LocationID,Borough,Zone\n132,Queens,JFK Airport\n266\nN/A,Unknown,NV\n7,Queens,\n"
    (tmp_path / "taxi_zone_lookup.csv").write_text(rows)
    zones = ZoneNames(FileSource(str(tmp_path)), Storage(str(tmp_path / "data"))).zones
    assert dict(zones) == {"132": ("Queens", "JFK Airport")}


@pytest.mark.parametrize(
    ("lookup", "why"),
    [
        (None, None),
        ("", "the lookup file has no zones"),
        ("<html>", "the lookup file has no zones"),
        ("LocationID\n1\n", "'Borough'"),
        ("\x00" * 5_000_000, "it has more than 1 MB"),
        (LOOKUP + "7,Queens,Astoria\n" * 70_000, "it has more than 1 MB"),
    ],
)
def test_without_names_zones_are_numbers(
    tmp_path: Path, lookup: str | None, why: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that is another says so; that there is none is usual."""
    (tmp_path / "source").mkdir()
    if lookup is not None:
        (tmp_path / "source/taxi_zone_lookup.csv").write_text(lookup)
    storage = Storage(str(tmp_path / "data"))
    assert ZoneNames(FileSource(str(tmp_path / "source")), storage).zones.name("132") == "zone 132"
    assert not storage.exists("tlc/taxi_zone_lookup.csv")
    sentence = f"taxi_zone_lookup.csv is not TLC's table of zones ({why}). Zones are shown by their"
    assert [message.startswith(sentence) for message in caplog.messages] == [True] * bool(why)


@pytest.mark.real_files
def test_tlcs_lookup_file_names_all_zones(tmp_path: Path) -> None:
    names = ZoneNames(FileSource(str(REAL_FILES)), Storage(str(tmp_path)))
    assert len(names.zones) == 265
    assert names.zones["132"] == ("Queens", "JFK Airport")


@pytest.mark.after_three_months
def test_a_month_shows_its_pictures_in_dagster_and_in_mlflow(
    instance: dg.DagsterInstance, settings: Settings
) -> None:
    for month in ("2023-01", "2023-02", "2023-03"):
        stored = Gallery(Storage(settings.storage), GREEN, Month.parse(month)).all()
        coverage = [] if month == "2023-01" else [COVERAGE]
        assert list(stored) == [*PICTURES, *BOOSTED_PICTURES, *coverage]
        assert set(stored.values()) == {picture_of(f"green {month}")}
        for asset, names in (
            ("cleaned_trips", PICTURES[:1]),
            ("metrics", PICTURES[1:]),
            ("boosted_metrics", BOOSTED_PICTURES),
            ("backtest", coverage),
        ):
            metadata = latest_record(instance, asset, month).metadata
            for name in names:
                picture = inline(picture_of(f"green {month}"))
                assert metadata[name].md_str == f"![{name}]({picture})"
    client = mlflow.MlflowClient(settings.tracking_uri)
    for family, names in (("linear", PICTURES), ("boosted", BOOSTED_PICTURES)):
        for run in tracked_runs(settings, family):
            artifacts = client.list_artifacts(run.info.run_id, "pictures")
            assert {artifact.path for artifact in artifacts} == {
                f"pictures/{name}.png" for name in names
            }
            path = Path(client.download_artifacts(run.info.run_id, f"pictures/{names[0]}.png"))
            assert path.read_bytes() == picture_of(f"green {run.data.params['month']}")


@pytest.mark.after_three_months
def test_the_report_has_every_month_and_needs_nothing_else(
    settings: Settings, tmp_path: Path
) -> None:
    data = Path(settings.storage) / "green"
    (data / "metrics/2023-03.json").write_text("damaged")
    (data / "metrics/notes.json").write_text("{}")
    assert write_report(Storage(settings.storage), [GREEN], tmp_path / "report.html") == 2
    page = (tmp_path / "report.html").read_text()
    for month in ("2023-01", "2023-02"):
        figures = json.loads((data / f"metrics/{month}.json").read_text())
        row = re.findall(rf"<tr><td>{month}</td>.*</tr>", page)[0]
        assert f"<td>{figures['records_loaded']:,}</td>" in row
        assert f"<td>{figures['rmse']:.3f}</td>" in row
    models = json.loads((data / "backtest/2023-02.json").read_text())["models"]
    for name in ("linear", "boosted"):
        assert f"<td>{models[name]['rmse']:.3f}</td>" in page
    assert f"<td>{models['boosted']['within_5_minutes']:.1%}</td>" in page
    pictures = re.findall('data:image/png;base64,[^"]*', page)
    shown = [inline(picture_of("green 2023-02"))] * len((*PICTURES, *BOOSTED_PICTURES, COVERAGE))
    assert pictures[1:] == shown
    assert re.findall(r'(?:src|href)="(?!data:)', page) == []
    assert "Pictures of 2023-02" in page
    assert "<p>2 months, 2023-01 to 2023-02, 12,000 trips.</p>" in page


@pytest.mark.after_three_months
def test_the_report_shows_who_serves_and_why_and_leads_to_mlflow(
    settings: Settings, tmp_path: Path
) -> None:
    data, page = Path(settings.storage) / "green", tmp_path / "report.html"
    write_report(Storage(settings.storage), [GREEN], page, "http://localhost:5000/")
    rows = page.read_text().split("<h2>Who serves</h2>")
    for name in ("2023-02", "2023-03"):
        said = json.loads((data / f"champion/{name}.json").read_text())
        version, decision = said["champion"]["version"], html.escape(said["decision"])
        link = f"http://localhost:5000/#/models/nyc-taxi-trip-duration-green/versions/{version}"
        text = f"version {version}, boosted {said['champion']['month']}"
        assert f'<td><a href="{link}">{text}</a></td><td>{decision}</td>' in rows[1]
    assert '<tr class="changed"><td>2023-02</td>' in rows[1]
    assert "<td></td><td>no champion: no earlier model has been scored</td>" in rows[1]
    run = json.loads((data / "backtest/2023-03.json").read_text())["models"]["linear"]
    link = f"http://localhost:5000/#/runs/{run['mlflow_run_id']}"
    assert f'<td><a href="{link}">{run["rmse"]:.3f}</a></td>' in rows[0]
    one, other = (
        Profile.from_json(json.loads((data / f"cleaned_trips/{name}.profile.json").read_text()))
        for name in ("2023-02", "2023-03")
    )
    assert f"<td>{max(distances(one, other).values()):.3f}</td>" in rows[0]


@pytest.mark.after_three_months
def test_the_reports_links_have_no_password(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TAXI_FLEET", "green")
    monkeypatch.setenv("TAXI_STORAGE", settings.storage)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:hidden@mlflow.example/?token=hidden")
    monkeypatch.setattr("sys.argv", ["report", "--output", str(tmp_path / "report.html")])
    report.main()
    page = (tmp_path / "report.html").read_text()
    assert 'href="https://mlflow.example/#/' in page
    assert "hidden" not in page


@pytest.mark.parametrize(
    ("storage", "output", "said"),
    [
        ("memory://away", "report.html", "away/yellow.* cannot be reached .*Check TAXI_STORAGE"),
        ("data", "nowhere/report.html", "report.html cannot be written: No such file or directory"),
    ],
)
def test_a_report_that_cannot_be_made_says_why(
    storage: str,
    output: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError("away")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TAXI_STORAGE", storage)
    monkeypatch.setattr(MemoryFileSystem, "ls", refuse)
    monkeypatch.setattr("sys.argv", ["report", "--output", str(tmp_path / output)])
    with pytest.raises(SystemExit) as ended:
        report.main()
    assert ended.value.code == 1
    assert re.search(said, capsys.readouterr().err)


def test_drift_is_told_from_the_month_before_and_from_no_other(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    for number in (1, 2, 4):
        month = Month(2023, number)
        with storage.replacing(f"green/metrics/{month}.json") as temporary:
            temporary.write_text('{"rmse": 5.0}')
        profile = Profile(*([0] * (length - 1) + [number] for length in LENGTHS.values()))
        note_profile(storage, GREEN, month, profile)
    drifts = {str(stored.month): stored.drift for stored in stored_months(storage, GREEN)}
    assert drifts == {
        "2023-01": {},
        "2023-02": pytest.approx(dict.fromkeys(LENGTHS, 0.0), abs=1e-7),
        "2023-04": {},
    }


def test_invented_trips_are_called_so(settings: Settings, tmp_path: Path) -> None:
    for fleet in ("green", "synthetic"):
        metrics = Path(settings.storage) / fleet / "metrics"
        metrics.mkdir(parents=True)
        (metrics / "2023-01.json").write_text('{"rmse": 5.0}')
    for fleet, said in (("green", 0), ("synthetic", 1)):
        write_report(Storage(settings.storage), [FLEETS[fleet]], tmp_path / "report.html")
        page = (tmp_path / "report.html").read_text()
        assert page.count("These trips are synthetic") == said
        assert "<p>1 month, 2023-01, 0 trips.</p>" in page


def test_a_report_of_nothing_says_so(settings: Settings, tmp_path: Path) -> None:
    nothing = changed(settings, storage=str(tmp_path / "empty"))
    assert write_report(Storage(nothing.storage), [GREEN], tmp_path / "report.html") == 0
    assert "No month is stored yet." in (tmp_path / "report.html").read_text()


def test_what_is_stored_cannot_put_code_into_the_report(settings: Settings, tmp_path: Path) -> None:
    metrics = Path(settings.storage) / "green/metrics"
    metrics.mkdir(parents=True)
    (metrics / "2023-01.json").write_text('{"rmse": "<script>alert(1)</script>"}')
    for asset, stored in {
        "backtest": {"models": {"boosted": {"mae": 7.0}}, "failed_checks": ["<script>"]},
        "champion": {"decision": "<script>", "champion": {"version": "<script>"}},
    }.items():
        (metrics.parent / asset).mkdir()
        (metrics.parent / asset / "2023-01.json").write_text(json.dumps(stored))
    write_report(Storage(settings.storage), [GREEN], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "<script>" not in page
    assert "<td>7.000</td>" in page


@pytest.fixture
def painter() -> Iterator[Painter]:
    painting = Painter()
    yield painting
    painting.close()


def where() -> bytes:
    return str(os.getpid()).encode()


def test_pictures_are_drawn_by_another_process(painter: Painter) -> None:
    """Also when nobody takes some that were asked for."""
    painter.draw([("nobody's", partial(bytes, b"January"))])
    drawn = painter.draw([("durations", partial(bytes, b"February")), ("where", where)])
    assert drawn()["durations"] == b"February"
    assert drawn()["where"] != where()
    assert_png(painter.draw(charts.cleaning_charts(np.arange(92), "x"))()["durations"])


def test_a_fault_in_drawing_is_the_runs_fault(painter: Painter) -> None:
    with pytest.raises(ZeroDivisionError):
        painter.draw([("bad", partial(divmod, 1, 0))])()
    assert painter.draw([("next", partial(bytes, b"good"))])() == {"next": b"good"}


def test_a_drawing_that_cannot_be_sent_is_drawn_by_the_run_and_no_other_is_touched(
    painter: Painter,
) -> None:
    drawn = painter.draw(
        [("unsent", lambda: b"first"), ("where", where), ("last", partial(bytes, b"last"))]
    )()
    assert (drawn["unsent"], drawn["last"]) == (b"first", b"last")
    assert drawn["where"] != where()


def die_unless(process: int) -> bytes:
    if os.getpid() != process:
        os.kill(os.getpid(), signal.SIGKILL)
    return where()


def test_a_run_whose_painter_dies_draws_for_itself(painter: Painter) -> None:
    drawn = painter.draw([("last", partial(die_unless, os.getpid()))])
    assert drawn() == {"last": where()}
    assert painter.draw([("next", where)])() == {"next": where()}


def test_where_no_process_can_be_started_the_run_draws_for_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr("multiprocessing.util.spawnv_passfds", refuse)
    painter = Painter()
    assert painter.draw([("one", where)])() == {"one": where()}
    painter.close()
