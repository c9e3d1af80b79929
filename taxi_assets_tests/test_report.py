"""The page over all months: what it shows is what is stored, and nothing on it is empty."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from click.testing import Result
from fsspec.implementations.memory import MemoryFileSystem

from taxi_assets.durations.drift import LENGTHS
from taxi_assets.reports.plot_files import inline
from taxi_assets.reports.plots import backtest_plots
from taxi_assets.reports.report import write_report
from taxi_assets.settings import Settings
from taxi_assets.storage.files import Storage
from taxi_assets.storage.stored_months import note_profile
from taxi_assets.tlc.fleets import FLEETS
from taxi_assets.tlc.months import Month
from taxi_assets_tests.conftest import plot_of, read_json, taxi_assets, write_json

GREEN = FLEETS["green"]
SCRIPT = "<script>alert(1)</script>"
SERVES = {"version": 4, "family": "boosted", "month": "2023-01"}
JANUARY = {
    "metrics": {"records_loaded": 1100, "records_cleaned": 1000, "intercept": 21.1,
                "baseline_rmse": 11.1, "rmse": 8.1},
}  # fmt: skip
MARCH = {
    "metrics": {"records_loaded": 3300, "records_cleaned": 3000, "intercept": 23.3,
                "baseline_rmse": 13.3, "rmse": 8.3},
    "boosted_metrics": {"rmse": 5.3, "mae": 99, "records_loaded": 99},
    "backtest": {
        "models": {
            "linear": {"rmse": 8.4, "mae": 7.4, "interval_coverage": 0.84, "mlflow_run_id": "a1",
                       "interval_coverage_by_bin": [0.61, 0.62, 0.63, 0.64, None],
                       "segments": {"night": {"rmse": 9.4}, "thin_pairs": {"rmse": 9.5}}},
            "lookup": {"rmse": 6.5, "mae": 4.5, "interval_coverage": None,
                       "interval_coverage_by_bin": None, "segments": {"night": {"rmse": 7.5}}},
            "boosted": {"rmse": 5.6, "mae": 3.6, "within_5_minutes": 0.76, "mlflow_run_id": "b2",
                        "interval_coverage": 0.86,
                        "interval_coverage_by_bin": [0.71, 0.72, 0.73, 0.74, 0.75],
                        "segments": {"night": {"rmse": 6.6}}},
        },
        "failed_checks": ["plausible_trip_count", "readable_values"],
    },
    "champion": {"champion": SERVES, "before": None, "decision": "the first champion"},
}  # fmt: skip
APRIL = {"champion": {"champion": SERVES, "before": SERVES, "decision": "kept"}}


class Page:
    """The report as people see it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tree = ElementTree.fromstring(text.removeprefix("<!doctype html>"))
        self.sections = {part[0].text: part for part in self.tree.iterfind(".//section/section")}

    def table(self, heading: str) -> list[str]:
        """The rows of a section's table, with their headings first."""
        return [" | ".join(map(text_of, row)) for row in self.sections[heading].iter("tr")]

    def points(self, heading: str) -> dict[str, tuple[float, float]]:
        """What each point of a section's plots says, with where it is."""
        circles = [circle for circle in self.sections[heading].iter("circle") if len(circle)]
        return {of[0].text: (float(of.get("cx")), float(of.get("cy"))) for of in circles}


def text_of(element: ElementTree.Element) -> str:
    return "".join(element.itertext()).strip()


def store(folder: Path, months: Mapping[str, Mapping[str, Any]], fleet: str = "green") -> None:
    for month, assets in months.items():
        for asset, stored in assets.items():
            path = folder / "data" / fleet / asset / f"{month}.json"
            write_json(path, {} if isinstance(stored, str) else stored)
            if isinstance(stored, str):
                path.write_text(stored)


def report_of(
    folder: Path,
    months: Mapping[str, Mapping[str, Any]],
    pages: str = "http://localhost:5000/",
    fleet: str = "green",
) -> Page:
    store(folder, months, fleet)
    path = folder / "report.html"
    count, _ = write_report(Storage(str(folder / "data")), [FLEETS[fleet]], path, pages)
    assert count == len(months)
    return Page(path.read_text())


@pytest.fixture
def page(tmp_path: Path) -> Page:
    for number in (3, 4):
        # All in the last zone, hour and minute, then all in the first: as far apart as can be.
        way = 1 if number == 3 else -1
        profile = {name: ([0] * (length - 1) + [5])[::way] for name, length in LENGTHS.items()}
        note_profile(Storage(str(tmp_path / "data")), GREEN, Month(2023, number), profile)
    return report_of(tmp_path, {"2023-01": JANUARY, "2023-03": MARCH, "2023-04": APRIL})


def test_tables_show_what_is_stored_under_its_name_the_newest_month_first(page: Page) -> None:
    assert page.table("RMSE by month") == [
        "month | always the mean | earlier linear | earlier lookup | earlier boosted"
        " | own linear | own boosted",
        "2023-03 | 13.300 | 8.400 | 6.500 | 5.600 | 8.300 | 5.300",
        "2023-01 | 11.100 |  |  |  | 8.100 | ",
    ]
    assert page.table("Intervals and accuracy") == [
        "month | MAE | within 5 minutes | coverage",
        "2023-03 | 3.600 | 76.0% | 86.0%",
    ]
    assert page.table("Kinds of trips in 2023-03") == [
        "RMSE (minutes) | earlier linear | earlier lookup | earlier boosted",
        "night | 9.400 | 7.500 | 6.600",
        "thin pairs | 9.500 |  | ",
    ]
    assert page.table("Trips") == [
        "month | trips | kept | intercept | drift | failed checks",
        "2023-04 |  |  |  | 1.000 | ",
        "2023-03 | 3,300 | 3,000 | 23.30 |  | plausible_trip_count, readable_values",
        "2023-01 | 1,100 | 1,000 | 21.10 |  | ",
    ]
    assert page.table("Who serves") == [
        "month | champion | decision",
        "2023-04 | version 4, boosted 2023-01 | kept",
        "2023-03 | version 4, boosted 2023-01 | the first champion",
    ]
    assert "3 months, 2023-01 to 2023-04, 4,400 trips." in page.text


def test_cells_lead_to_mlflow_and_a_new_champion_is_bold(page: Page) -> None:
    links = {text_of(link): link.get("href") for link in page.tree.iter("a")}
    version = "http://localhost:5000/#/models/nyc-taxi-trip-duration-green/versions/4"
    assert links["version 4, boosted 2023-01"] == version
    assert links["8.400"] == "http://localhost:5000/#/runs/a1"
    assert links["5.600"] == "http://localhost:5000/#/runs/b2"
    rows = page.sections["Who serves"].iter("tr")
    assert [text_of(row[0]) for row in rows if row.find(".//b") is not None] == ["2023-03"]


def test_the_newest_metrics_are_in_large_print(page: Page) -> None:
    assert [tuple(map(text_of, metric)) for metric in page.tree.find(".//dl")] == [
        ("minutes: RMSE of the earlier boosted model on all trips", "5.600"),
        ("of the trips lie within its intervals", "86.0%"),
        ("minutes: RMSE of the month's own boosted model", "5.300"),
        ("minutes: RMSE of the month's own linear model", "8.300"),
    ]


def test_points_say_their_value_and_lie_at_it(tmp_path: Path) -> None:
    february = {"metrics": {"rmse": 7.2, "baseline_rmse": 12.2}}
    page = report_of(tmp_path, {"2023-01": JANUARY, "2023-02": february, "2023-04": MARCH})
    points = page.points("RMSE by month")
    assert [says.removesuffix(" minutes") for says in points] == [
        "always the mean, 2023-01: 11.100", "always the mean, 2023-02: 12.200",
        "always the mean, 2023-04: 13.300", "earlier linear, 2023-04: 8.400",
        "earlier lookup, 2023-04: 6.500", "earlier boosted, 2023-04: 5.600",
        "own linear, 2023-01: 8.100", "own linear, 2023-02: 7.200",
        "own linear, 2023-04: 8.300", "own boosted, 2023-04: 5.300",
    ]  # fmt: skip
    across = {"2023-01": 98, "2023-02": 198, "2023-04": 398}
    for says, place in points.items():
        month, value = re.search(r"(\S+): (\S+)", says).groups()
        # From 0 at the bottom to 15.
        assert place == (across[month], pytest.approx(212 - 200 * float(value) / 15, abs=0.06))
    path = page.sections["RMSE by month"].find(".//g[@class='own-linear']/path").get("d")
    assert re.sub("[^ML]", "", path) == "MLM", "no line over the month that is not stored"
    assert list(page.points("Intervals and accuracy")) == [
        "earlier linear, 2023-04: 84.0%",
        "earlier boosted, 2023-04: 86.0%",
        *(f"earlier linear, {quantile_bin}: 6{quantile_bin}.0%" for quantile_bin in range(1, 5)),
        *(f"earlier boosted, {quantile_bin}: 7{quantile_bin}.0%" for quantile_bin in range(1, 6)),
    ]


def test_each_line_has_a_colour_of_its_own_by_day_and_by_night(page: Page) -> None:
    style = page.tree.find(".//style").text
    lines = {group.get("class") for group in page.tree.iter("g")}
    names = [re.search(rf"\.{line} {{ --colour: var\((--\w+)\)", style)[1] for line in lines]
    light, dark = (dict(re.findall(r"(--\w+): (#\w+)", part)) for part in style.split("@media")[:2])
    for scheme in (light, light | dark):
        assert len({scheme[name] for name in names}) == len(lines) == 6


@pytest.mark.parametrize(
    ("stored", "headings"),
    [
        (JANUARY, ["RMSE by month", "Trips"]),
        ({"boosted_metrics": {"rmse": 5.3}}, ["RMSE by month"]),
        (APRIL, ["Who serves"]),
        ({"backtest": {"models": {}}}, []),
    ],
)
def test_what_would_be_empty_is_not_there(
    stored: Mapping[str, Any], headings: list[str], tmp_path: Path
) -> None:
    page = report_of(tmp_path, {"2023-01": stored})
    assert list(page.sections) == headings
    assert [link.get("href") for link in page.tree.iterfind(".//nav/a")] == ["#green"]
    assert page.tree.find(".//section").get("id") == "green"
    for table in page.tree.iter("table"):
        columns = zip(*(list(row) for row in table.iter("tr")), strict=True)
        assert all(any(text_of(cell) for cell in column[1:]) for column in columns)
    legend = [text_of(entry) for entry in page.tree.iterfind(".//figure//li")]
    assert legend == [group.get("class").replace("-", " ") for group in page.tree.iter("g")]
    assert "1 month, 2023-01" in page.text


@pytest.mark.parametrize(
    ("asset", "stored", "reason"),
    [
        ("metrics", "{", "Expecting property name"),
        ("backtest", '{"trips": 5}', "it has no checksum, as an earlier version wrote it"),
        ("cleaned_trips", None, "'pickup_hours'"),
    ],
)
def test_what_cannot_be_read_is_named_and_left_out(
    asset: str, stored: str | None, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = {asset: stored} if stored else {}
    store(tmp_path, {"2023-01": JANUARY, "2023-03": MARCH | broken})
    if stored is None:
        write_json(tmp_path / f"data/green/{asset}/2023-03.profile.json", {"hours": []})
    done = run(tmp_path, monkeypatch)
    assert (done.exit_code, done.stdout) == (0, "report.html: 2 months\n")
    assert re.match(rf".*data/green/{asset}/2023-03\S*\.json cannot be read: ", done.stderr)
    assert done.stderr.endswith(f"--select 'green/{asset}' --partition 2023-03-01\n")
    page = Page((tmp_path / "report.html").read_text())
    assert text_of(page.tree.find(".//p[@class='notice']")) == done.stderr.strip()
    assert "5.300" in page.table("RMSE by month")[1]


def store_map(folder: Path, month: str, plot: bytes) -> Path:
    path = folder / f"data/green/plots/{month}/zone_errors.png"
    path.parent.mkdir(parents=True)
    path.write_bytes(plot)
    return path


def test_the_newest_map_of_errors_is_a_part_of_the_page(tmp_path: Path) -> None:
    for month in ("2023-01", "2023-03"):
        store_map(tmp_path, month, plot_of(month))
    page = report_of(tmp_path, {"2023-01": JANUARY, "2023-03": MARCH, "2023-04": APRIL})
    (picture,) = page.sections["Errors by pick-up zone in 2023-03"].iter("img")
    assert picture.get("src") == inline(plot_of("2023-03"))
    assert picture.get("alt") == (
        "Map of New York's taxi zones, green taxis, 2023-03: the RMSE in minutes of an earlier "
        "model on the trips from each zone, by the colour of a dot. Zones with more trips have "
        "larger dots."
    )
    assert [each.get("src")[:5] for each in page.tree.iter() if each.get("src")] == ["data:"]


@pytest.mark.parametrize(
    "damage",
    [lambda plot: b"<svg/>", lambda plot: plot[:-20], lambda plot: plot.replace(b"2023", b"2024")],
    ids=["something else", "cut off", "changed"],
)
def test_a_map_that_cannot_be_read_is_named_and_left_out(
    damage: Callable[[bytes], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(tmp_path, {"2023-01": JANUARY, "2023-03": MARCH})
    store_map(tmp_path, "2023-01", plot_of("2023-01"))
    path = store_map(tmp_path, "2023-03", damage(plot_of("2023-03")))
    done = run(tmp_path, monkeypatch)
    assert (done.exit_code, done.stdout) == (0, "report.html: 2 months\n")
    assert done.stderr == (
        f"{path} cannot be read: it is not a PNG, or it is damaged. The report leaves it out. Make "
        "it again: dagster asset materialize -m taxi_assets.definitions --select 'green/backtest' "
        "--partition 2023-03-01\n"
    )
    page = Page((tmp_path / "report.html").read_text())
    assert text_of(page.tree.find(".//p[@class='notice']")) == done.stderr.strip()
    assert list(page.tree.iter("img")) == []


@pytest.mark.parametrize("rmse", ["none", [8.1], SCRIPT], ids=str)
def test_what_is_no_number_is_no_metric(rmse: object, tmp_path: Path) -> None:
    stored = {"metrics": {"rmse": rmse, "baseline_rmse": 13.3}}
    page = report_of(tmp_path, {"2023-01": stored})
    assert page.table("RMSE by month")[1:] == ["2023-01 | 13.300"]


def test_what_is_stored_cannot_put_code_into_the_report(tmp_path: Path) -> None:
    models = {"boosted": {"rmse": 5.6, "mlflow_run_id": SCRIPT, "segments": {SCRIPT: {"rmse": 7}}}}
    champion = {"version": 4, "family": SCRIPT, "month": SCRIPT}
    stored = {
        "backtest": {"models": models, "failed_checks": [SCRIPT]},
        "champion": {"champion": champion, "decision": SCRIPT},
    }
    page = report_of(tmp_path, {"2023-01": stored}, f"http://{SCRIPT}")
    assert "<script" not in page.text
    assert page.table("Trips")[1] == f"2023-01 | {SCRIPT}"
    serves = f"2023-01 | version 4, {SCRIPT} {SCRIPT} | {SCRIPT}"
    assert page.table("Who serves")[1] == serves


@pytest.mark.parametrize(("fleet", "notices"), [("green", 0), ("synthetic", 1)])
def test_invented_trips_are_called_so(fleet: str, notices: int, tmp_path: Path) -> None:
    page = report_of(tmp_path, {"2023-01": JANUARY}, fleet=fleet)
    assert page.text.count("These trips are synthetic") == notices


def test_fifteen_years_of_a_fleet_take_less_than_400_kb(tmp_path: Path) -> None:
    months = {f"{year}-{month:02}": MARCH for year in range(2011, 2026) for month in range(1, 13)}
    by_zone = pd.DataFrame({"trips": range(100, 363), "value": np.arange(263) / 20}, range(1, 264))
    (plot,) = backtest_plots("boosted", by_zone, "green 2025-12").values()
    store_map(tmp_path, "2025-12", plot)
    page = report_of(tmp_path, months)
    assert len(page.text) < 400_000
    assert inline(plot) in page.text


def run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, output: str = "report.html", **variables: str
) -> Result:
    for name, value in {"TAXI_FLEET": "green", "TAXI_STORAGE": "data", **variables}.items():
        monkeypatch.setenv(name, value)
    return taxi_assets("report", "--output", output, folder=folder)


def test_the_command_writes_nothing_but_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(tmp_path, {"2023-01": JANUARY})
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*")}
    done = run(tmp_path, monkeypatch)
    assert (done.exit_code, done.stdout) == (0, "report.html: 1 month\n")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*")} == before
    assert {path.name for path in tmp_path.iterdir()} == {"data", "report.html"}


def test_a_full_disk_leaves_the_page_that_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(path: Path, *_: object, **__: object) -> None:
        path.write_bytes(b"half a page")
        raise OSError(28, "No space left on device")

    (tmp_path / "report.html").write_text("the page before")
    monkeypatch.setattr(Path, "write_text", fill)
    done = run(tmp_path, monkeypatch)
    assert (done.exit_code, done.stderr) == (1, "Error: report.html: No space left on device.\n")
    assert (tmp_path / "report.html").read_text() == "the page before"


def test_a_report_of_nothing_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(tmp_path, monkeypatch).stdout == "report.html: 0 months\n"
    assert "No month is stored yet." in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("storage", "output", "sentence"),
    [
        ("memory://away", "report.html", "away/green.* cannot be reached .*Check TAXI_STORAGE"),
        ("data", "nowhere/report.html", "nowhere/.*: No such file or directory"),
    ],
)
def test_a_report_that_cannot_be_made_says_why(
    storage: str, output: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError("away")

    monkeypatch.setattr(MemoryFileSystem, "ls", refuse)
    done = run(tmp_path, monkeypatch, output, TAXI_STORAGE=storage)
    assert done.exit_code == 1
    assert re.search(sentence, done.stderr)


@pytest.mark.after_three_months
def test_real_months_are_shown_and_links_have_no_password(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = Path(settings.storage) / "green"
    uri = "https://me:hunter2@mlflow.example/?token=hunter2"
    assert run(data.parents[1], monkeypatch, MLFLOW_TRACKING_URI=uri).stderr == ""
    page = Page((data.parents[1] / "report.html").read_text())
    own, boosted, backtest, champion = (
        read_json(data / asset / "2023-03.json")
        for asset in ("metrics", "boosted_metrics", "backtest", "champion")
    )
    earlier = [backtest["models"][name]["rmse"] for name in ("linear", "lookup", "boosted")]
    rmses = [own["baseline_rmse"], *earlier, own["rmse"], boosted["rmse"]]
    cells = [f"{rmse:.3f}" for rmse in rmses]
    assert page.table("RMSE by month")[1] == " | ".join(["2023-03", *cells])
    version = "version {version}, {family} {month}".format(**champion["champion"])
    assert page.table("Who serves")[1] == f"2023-03 | {version} | {champion['decision']}"
    assert len(page.sections) == 6
    assert inline(plot_of("green 2023-03 boosted")) in page.text
    assert 'href="https://mlflow.example/#/' in page.text
    assert "hunter2" not in page.text
