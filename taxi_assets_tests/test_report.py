"""The page over all months: what it shows is what is stored, and nothing on it is empty."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result
from fsspec.implementations.memory import MemoryFileSystem

from taxi_assets.durations.profiles import LENGTHS, Profile
from taxi_assets.reporting.report import report, write_report
from taxi_assets.settings import Settings
from taxi_assets.storage.files import Storage
from taxi_assets.storage.stored_months import note_profile
from taxi_assets.tlc.fleets import FLEETS
from taxi_assets.tlc.months import Month

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
                       "interval_coverage_by_fifth": [0.61, 0.62, 0.63, 0.64, None],
                       "segments": {"night": {"rmse": 9.4}, "thin_pairs": {"rmse": 9.5}}},
            "lookup": {"rmse": 6.5, "mae": 4.5, "interval_coverage": None,
                       "interval_coverage_by_fifth": None, "segments": {"night": {"rmse": 7.5}}},
            "boosted": {"rmse": 5.6, "mae": 3.6, "within_5_minutes": 0.76, "mlflow_run_id": "b2",
                        "interval_coverage": 0.86,
                        "interval_coverage_by_fifth": [0.71, 0.72, 0.73, 0.74, 0.75],
                        "segments": {"night": {"rmse": 6.6}}},
        },
        "failed_checks": ["plausible_trip_count", "readable_values"],
    },
    "champion": {"champion": SERVES, "before": None, "decision": "the first champion"},
}  # fmt: skip
APRIL = {"champion": {"champion": SERVES, "before": SERVES, "decision": "kept"}}


class Page:
    """The report as people see it."""

    def __init__(self, folder: Path, pages: str | None = None, fleet: str = "green") -> None:
        path = folder / "report.html"
        self.months, self.problems = write_report(
            Storage(str(folder / "data")), [FLEETS[fleet]], path, pages
        )
        self.text = path.read_text()
        self.tree = ElementTree.fromstring(self.text.removeprefix("<!doctype html>"))
        self.sections = {
            "".join(section.find("h3").itertext()): section
            for section in self.tree.iterfind(".//section/section")
        }

    def table(self, heading: str) -> dict[str, dict[str, str]]:
        """The cells of a section's table by row and column."""
        (table,) = self.sections[heading].iter("table")
        rows = [["".join(cell.itertext()) for cell in row] for row in table.iter("tr")]
        return {row[0]: dict(zip(rows[0][1:], row[1:], strict=True)) for row in rows[1:]}

    def points(self, heading: str) -> list[dict[str, tuple[float, float]]]:
        """What each point of a section's charts says, with where it is."""
        return [
            {point[0].text: (float(point.get("cx")), float(point.get("cy")))
             for point in figure.iter("circle") if len(point)}
            for figure in self.sections[heading].iter("figure")
        ]  # fmt: skip


def store(folder: Path, months: Mapping[str, Mapping[str, Any]], fleet: str = "green") -> Path:
    for month, assets in months.items():
        for asset, stored in assets.items():
            path = folder / "data" / fleet / asset / f"{month}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(stored if isinstance(stored, str) else json.dumps(stored))
    return folder


@pytest.fixture
def page(tmp_path: Path) -> Page:
    for number, trips in ((3, 5), (4, 5)):
        profile = Profile(*([0] * (length - 1) + [trips] for length in LENGTHS.values()))
        note_profile(Storage(str(tmp_path / "data")), GREEN, Month(2023, number), profile)
    months = {"2023-01": JANUARY, "2023-03": MARCH, "2023-04": APRIL}
    return Page(store(tmp_path, months), "http://localhost:5000/")


def test_tables_show_what_is_stored_under_its_name_the_newest_month_first(page: Page) -> None:
    assert page.table("RMSE by month") == {
        "2023-03": {
            "always the mean": "13.300", "own linear": "8.300", "own boosted": "5.300",
            "earlier linear": "8.400", "earlier lookup": "6.500", "earlier boosted": "5.600",
        },
        "2023-01": {
            "always the mean": "11.100", "own linear": "8.100", "own boosted": "",
            "earlier linear": "", "earlier lookup": "", "earlier boosted": "",
        },
    }  # fmt: skip
    assert list(page.table("RMSE by month")) == ["2023-03", "2023-01"]
    assert page.table("Intervals and accuracy") == {
        "2023-03": {"MAE": "3.600", "within 5 minutes": "76.0%", "coverage": "86.0%"}
    }
    checks = "plausible_trip_count, readable_values"
    assert page.table("Trips") == {
        "2023-04": dict.fromkeys(("trips", "kept", "intercept", "failed checks"), "")
        | {"drift": "0.000"},
        "2023-03": {"trips": "3,300", "kept": "3,000", "intercept": "23.30", "drift": "",
                    "failed checks": checks},
        "2023-01": {"trips": "1,100", "kept": "1,000", "intercept": "21.10", "drift": "",
                    "failed checks": ""},
    }  # fmt: skip
    name = "version 4, boosted 2023-01"
    assert page.table("Who serves") == {
        "2023-04": {"champion": name, "decision": "kept"},
        "2023-03": {"champion": name, "decision": "the first champion"},
    }
    assert "3 months, 2023-01 to 2023-04, 4,400 trips." in page.text


def test_cells_lead_to_mlflow_and_a_new_champion_is_bold(page: Page) -> None:
    links = {link.text or link[0].text: link.get("href") for link in page.tree.iter("a")}
    version = "http://localhost:5000/#/models/nyc-taxi-trip-duration-green/versions/4"
    assert links["version 4, boosted 2023-01"] == version
    assert links["8.400"] == "http://localhost:5000/#/runs/a1"
    assert links["5.600"] == "http://localhost:5000/#/runs/b2"
    bold = [
        row[0].text
        for row in page.sections["Who serves"].iter("tr")
        if row.find(".//b") is not None
    ]
    assert bold == ["2023-03"]


def test_the_newest_figures_are_in_large_print(tmp_path: Path) -> None:
    """And the parts of the newest month, where earlier models err."""
    page = Page(store(tmp_path, {"2023-01": JANUARY, "2023-03": MARCH}))
    assert [
        tuple("".join(part.itertext()) for part in figure) for figure in page.tree.find(".//dl")
    ] == [
        ("minutes: RMSE of the earlier boosted model on all trips", "5.600"),
        ("of the trips lie within its intervals", "86.0%"),
        ("minutes: RMSE of the month's own boosted model", "5.300"),
        ("minutes: RMSE of the month's own linear model", "8.300"),
    ]
    assert page.table("Parts of 2023-03") == {
        "night": {"earlier linear": "9.400", "earlier lookup": "7.500", "earlier boosted": "6.600"},
        "thin pairs": {"earlier linear": "9.500", "earlier lookup": "", "earlier boosted": ""},
    }


def test_points_say_their_value_and_lie_at_it(tmp_path: Path) -> None:
    february = {"metrics": {"rmse": 7.2, "baseline_rmse": 12.2}}
    page = Page(store(tmp_path, {"2023-01": JANUARY, "2023-02": february, "2023-04": MARCH}))
    (points,) = page.points("RMSE by month")
    values = {
        tuple(says.removesuffix(" minutes").split(": ")): y for says, (_, y) in points.items()
    }
    assert set(values) == {
        ("always the mean, 2023-01", "11.100"), ("always the mean, 2023-02", "12.200"),
        ("always the mean, 2023-04", "13.300"), ("own linear, 2023-01", "8.100"),
        ("own linear, 2023-02", "7.200"), ("own linear, 2023-04", "8.300"),
        ("own boosted, 2023-04", "5.300"), ("earlier linear, 2023-04", "8.400"),
        ("earlier lookup, 2023-04", "6.500"), ("earlier boosted, 2023-04", "5.600"),
    }  # fmt: skip
    # From 0 at the bottom to 15.
    for (_, value), y in values.items():
        assert y == pytest.approx(212 - 200 * float(value) / 15, abs=0.06)
    places = {says.split(", ")[1][:7]: x for says, (x, _) in points.items()}
    assert places == {"2023-01": 98, "2023-02": 198, "2023-04": 398}, "a gap for 2023-03"
    (path,) = page.sections["RMSE by month"].iterfind(".//g[@class='own-linear']/path")
    assert re.sub("[^ML]", "", path.get("d")) == "MLM", "no line across the gap"
    coverage, fifths = page.points("Intervals and accuracy")
    assert list(coverage) == ["earlier linear, 2023-04: 84.0%", "earlier boosted, 2023-04: 86.0%"]
    assert list(fifths) == [
        *(f"earlier linear, {fifth}: 6{fifth}.0%" for fifth in range(1, 5)),
        *(f"earlier boosted, {fifth}: 7{fifth}.0%" for fifth in range(1, 6)),
    ]


def test_each_line_has_a_colour_of_its_own_by_day_and_by_night(page: Page) -> None:
    style = page.tree.find(".//style").text
    lines = {group.get("class") for group in page.tree.iter("g")}
    assert len(lines) == 6
    colours = {
        name: re.search(rf"\.{name} {{ --colour: var\((--\w+)\)", style)[1] for name in lines
    }
    for scheme in (style, style[style.index("dark)") :]):
        values = [
            re.search(rf"{colour}: (#\w+)", scheme)[1] if f"{colour}:" in scheme else colour
            for colour in colours.values()
        ]
        assert len(set(values)) == 6


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
    page = Page(store(tmp_path, {"2023-01": stored}))
    assert list(page.sections) == headings
    contents = [link.get("href").removeprefix("#") for link in page.tree.iterfind(".//nav//a")]
    assert contents == [section.get("id") for section in page.tree.iter("section")]
    for table in page.tree.iter("table"):
        columns = zip(*(list(row) for row in table.iter("tr")), strict=True)
        assert all(any(cell.text for cell in column[1:]) for column in columns)
    legend = ["".join(entry.itertext()).strip() for entry in page.tree.iterfind(".//figure//li")]
    assert legend == (
        list(page.table("RMSE by month")["2023-01"]) if "RMSE by month" in headings else []
    )
    assert "1 month, 2023-01" in page.text


@pytest.mark.parametrize(
    ("asset", "stored", "reason"),
    [
        ("metrics", "{", "Expecting property name"),
        ("metrics", "[1]", "it has no figures by name"),
        ("metrics", '{"rmse": "8.1"}', "metrics.rmse is not a number"),
        ("metrics", f'{{"rmse": 1{"0" * 400}}}', "metrics.rmse is not a number"),
        (
            "backtest",
            '{"models": {"boosted": {"rmse": [1]}}}',
            "backtest.models.boosted.rmse.1 is not a number",
        ),
        ("champion", "[" * 100_000, "maximum recursion depth"),
        (
            "champion",
            json.dumps({"champion": {"version": SCRIPT}}),
            "champion.champion.version is not a number",
        ),
    ],
)
def test_what_cannot_be_read_is_named_and_left_out(
    asset: str, stored: str, reason: str, tmp_path: Path
) -> None:
    page = Page(store(tmp_path, {"2023-01": JANUARY, "2023-03": MARCH | {asset: stored}}))
    (problem,) = page.problems
    assert f"/green/{asset}/2023-03.json cannot be read: {reason}" in problem
    assert problem.endswith(f"--select 'green/{asset}' --partition 2023-03-01")
    assert "".join(page.tree.find(".//p[@class='notice']").itertext()) == problem
    assert page.table("RMSE by month")["2023-03"]["own boosted"] == "5.300"


def test_what_is_stored_cannot_put_code_into_the_report(tmp_path: Path) -> None:
    models = {"boosted": {"rmse": 5.6, "mlflow_run_id": SCRIPT, "segments": {SCRIPT: {"rmse": 7}}}}
    champion = {"version": 4, "family": SCRIPT, "month": SCRIPT}
    stored = {
        "backtest": {"models": models, "failed_checks": [SCRIPT]},
        "champion": {"champion": champion, "decision": SCRIPT},
    }
    page = Page(store(tmp_path, {"2023-01": stored}), f"http://{SCRIPT}")
    assert "<script" not in page.text
    assert page.table("Trips")["2023-01"]["failed checks"] == SCRIPT
    assert page.table("Who serves")["2023-01"]["decision"] == SCRIPT


@pytest.mark.parametrize(("fleet", "notices"), [("green", 0), ("synthetic", 1)])
def test_invented_trips_are_called_so(fleet: str, notices: int, tmp_path: Path) -> None:
    page = Page(store(tmp_path, {"2023-01": JANUARY}, fleet), fleet=fleet)
    assert page.text.count("These trips are synthetic") == notices


def test_fifteen_years_of_a_fleet_take_less_than_400_kb(tmp_path: Path) -> None:
    months = {f"{year}-{month:02}": MARCH for year in range(2011, 2026) for month in range(1, 13)}
    page = Page(store(tmp_path, months), "http://localhost:5000")
    assert page.months == 180
    assert len(page.text) < 400_000


def run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, output: str = "report.html", **variables: str
) -> Result:
    monkeypatch.chdir(folder)
    for name, value in {"TAXI_FLEET": "green", "TAXI_STORAGE": "data", **variables}.items():
        monkeypatch.setenv(name, value)
    return CliRunner().invoke(report, ["--output", output])


def test_the_command_writes_nothing_but_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(tmp_path, {"2023-01": JANUARY, "2023-03": {"metrics": "{"}})
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*")}
    done = run(tmp_path, monkeypatch)
    assert (done.exit_code, done.stdout) == (0, "report.html: 1 month\n")
    assert "data/green/metrics/2023-03.json cannot be read" in done.stderr
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*")} == before
    assert {path.name for path in tmp_path.iterdir()} == {"data", "report.html"}


@pytest.mark.after_three_months
def test_the_reports_links_have_no_password(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(settings.storage).parent
    uri = "https://me:hunter2@mlflow.example/?token=hunter2"
    assert run(folder, monkeypatch, MLFLOW_TRACKING_URI=uri).exit_code == 0
    page = (folder / "report.html").read_text()
    assert 'href="https://mlflow.example/#/' in page
    assert "hunter2" not in page


def test_a_report_of_nothing_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(tmp_path, monkeypatch).stdout == "report.html: 0 months\n"
    assert "No month is stored yet." in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("storage", "output", "sentence"),
    [
        ("memory://away", "report.html", "away/green.* cannot be reached .*Check TAXI_STORAGE"),
        ("data", "nowhere/report.html", "report.html cannot be written: No such file or directory"),
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
def test_the_report_shows_what_months_have_stored(settings: Settings) -> None:
    data = Path(settings.storage) / "green"
    page = Page(data.parents[1])
    stored = {
        asset: json.loads((data / asset / "2023-03.json").read_text())
        for asset in ("metrics", "boosted_metrics", "backtest", "champion")
    }
    models = stored["backtest"]["models"]
    assert page.table("RMSE by month")["2023-03"] == {
        "always the mean": f"{stored['metrics']['baseline_rmse']:.3f}",
        "earlier linear": f"{models['linear']['rmse']:.3f}",
        "earlier lookup": f"{models['lookup']['rmse']:.3f}",
        "earlier boosted": f"{models['boosted']['rmse']:.3f}",
        "own linear": f"{stored['metrics']['rmse']:.3f}",
        "own boosted": f"{stored['boosted_metrics']['rmse']:.3f}",
    }
    version = "version {version}, {family} {month}".format(**stored["champion"]["champion"])
    decision = stored["champion"]["decision"]
    assert page.table("Who serves")["2023-03"] == {"champion": version, "decision": decision}
    assert list(page.sections) == [
        "RMSE by month",
        "Intervals and accuracy",
        "Parts of 2023-03",
        "Trips",
        "Who serves",
    ]
    assert page.problems == []
