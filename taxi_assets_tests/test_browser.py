"""Dagster's pages and MLflow's, as a person sees and clicks them, in Chromium."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Error as BrowserError
from playwright.sync_api import Page, expect, sync_playwright

from taxi_assets.tlc.fleets import FLEETS
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.synthetic import write_month
from taxi_assets_tests.services import PROGRAMS, PROJECT, Services, answers, free_port, services
from taxi_assets_tests.webserver import ASSETS, has_assets

pytestmark = pytest.mark.browser

GREEN = FLEETS["green"]
GOOD, BAD = ("2023-01", "2023-02", "2023-03"), "2023-04"
TRIPS = 20_000
SCREENSHOTS = PROJECT / "screenshots"
CHROMIUM_OPTIONS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
LOCATION = "/locations/__repository__@taxi_assets.definitions"
MOMENT, MINUTES = 30_000, 180_000
"""Milliseconds that a page may take, and a run with the daemon's waiting."""

expect.set_options(timeout=MOMENT)


@dataclass(frozen=True)
class Site:
    """Where the pages are, and a tab to look at them."""

    dagster: str
    mlflow: str
    page: Page

    def screenshot(self, name: str) -> None:
        """Keep what the tab shows."""
        SCREENSHOTS.mkdir(exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png")

    def open_graph(self) -> None:
        """The graph of a fleet, which is a group."""
        self.page.goto(f"{self.dagster}{LOCATION}/asset-groups/green")
        self.page.get_by_text("raw_trips", exact=True).first.wait_for(timeout=MOMENT)

    def launch(self, partitions: str, button: str) -> None:
        """Materialize all assets of the partitions that are typed into the dialog, and follow."""
        page = self.page
        self.open_graph()
        page.get_by_role("button", name="Materialize all").first.click()
        page.get_by_role("button", name="Show all partitions").click()
        choice = page.get_by_placeholder(re.compile("^ex: "))
        choice.fill(partitions)
        choice.press("Enter")
        page.get_by_role("button", name=button).click()
        # The notice glides about, and does not always notice a click.
        while "/runs/" not in page.url:
            page.get_by_text("View", exact=True).click()
            with suppress(BrowserError):
                page.wait_for_url(re.compile("/runs/"), timeout=5_000)

    def open_month(self, asset: str, month: str) -> None:
        """A month of an asset, with its metadata."""
        key = Month.parse(month).partition_key
        self.page.goto(f"{self.dagster}/assets/green/{asset}?view=partitions&partition={key}")
        self.page.get_by_text("Metadata", exact=True).wait_for(timeout=MOMENT)


def make_source(folder: Path) -> Path:
    """Good months, and one whose file was cut off half-way."""
    folder.mkdir()
    for month in (*GOOD, BAD):
        path = folder / GREEN.file_name(Month.parse(month))
        write_month(path, GREEN, Month.parse(month), TRIPS)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return folder


def start_pages(running: Services, source: Path) -> tuple[str, str]:
    """What `make dev` starts, in a folder and with a history of their own."""
    dagster_port, mlflow_port = free_port(), free_port()
    dagster, mlflow = (f"http://127.0.0.1:{port}" for port in (dagster_port, mlflow_port))
    home = running.folder / "home"
    home.mkdir()
    shutil.copy(PROJECT / ".dagster_home/dagster.yaml", home)
    running.environment |= {
        "DAGSTER_HOME": str(home),
        "DAGSTER_UI_URL": dagster,
        "MLFLOW_UI_URL": mlflow,
        "TAXI_TRIP_SOURCE": str(source),
    }
    running.start(
        "mlflow", PROGRAMS / "mlflow", "server", "--port", mlflow_port, "--workers", 1,
        "--backend-store-uri", "sqlite:///mlflow.db", "--default-artifact-root", "./mlruns",
        ready=lambda: answers(f"{mlflow}/health"),
    )  # fmt: skip
    running.start(
        "dagster", PROGRAMS / "dagster", "dev", "-m", "taxi_assets.definitions",
        "--port", dagster_port, ready=lambda: has_assets(dagster),
    )  # fmt: skip
    return dagster, mlflow


def find_chromium() -> str:
    chromium = shutil.which("chromium") or os.environ.get("CHROMIUM")
    if chromium is None:
        raise FileNotFoundError(
            "Chromium is not installed: apt-get install chromium, or set CHROMIUM"
        )
    return chromium


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    chromium = find_chromium()
    with services() as running, sync_playwright() as browsers:
        dagster, mlflow = start_pages(running, make_source(running.folder / "source"))
        browser = browsers.chromium.launch(executable_path=chromium, args=CHROMIUM_OPTIONS)
        page = browser.new_page(viewport={"width": 1500, "height": 1000})
        page.set_default_timeout(MOMENT)
        yield Site(dagster, mlflow, page)
        browser.close()


def test_every_fleet_is_a_group_with_a_sensor(site: Site) -> None:
    page = site.page
    page.goto(f"{site.dagster}/asset-groups/")
    for fleet in FLEETS:
        expect(page.get_by_text(fleet, exact=True).first).to_be_visible()
    site.screenshot("fleets")
    page.goto(f"{site.dagster}/automation")
    for fleet in FLEETS:
        expect(page.get_by_text(f"new_{fleet}_months").first).to_be_visible()
    site.screenshot("sensors")


def test_resources_show_how_they_are_configured(site: Site) -> None:
    page = site.page
    page.goto(f"{site.dagster}{LOCATION}/resources/trip_source")
    expect(page.get_by_text("TAXI_TRIP_SOURCE").first).to_be_visible()
    expect(page.get_by_text("200000").first).to_be_visible()
    site.screenshot("resource")
    page.goto(f"{site.dagster}{LOCATION}/resources")
    for key in ("storage", "trip_source", "mlflow"):
        expect(page.get_by_text(key, exact=True).first).to_be_visible()
    site.screenshot("resources")


def test_the_graph_shows_its_assets_with_descriptions(site: Site) -> None:
    page = site.page
    site.open_graph()
    for name in ("cleaned_trips", "zone_pairs", "vectorizer", "model",
                 "metrics", "hourly_pairs", "boosted_model", "backtest"):  # fmt: skip
        expect(page.get_by_text(name, exact=True).first).to_be_visible()
    page.wait_for_timeout(1_000)  # The graph glides into its place.
    site.screenshot("graph")
    page.get_by_text("zone_pairs", exact=True).first.click()
    expect(page.get_by_text("which are all that the fit needs").first).to_be_visible()
    site.screenshot("description")


def test_a_month_materialized_by_hand_shows_metrics_plots_and_its_mlflow_run(site: Site) -> None:
    page = site.page
    site.launch("2023-01-01", "Launch 1 run")
    expect(page.get_by_text("Success", exact=True).first).to_be_visible(timeout=MINUTES)
    site.screenshot("run")

    site.open_month("metrics", "2023-01")
    expect(page.get_by_text("baseline_rmse", exact=True)).to_be_visible()
    expect(
        page.get_by_text(re.compile(r"RMSE \d+\.\d{3} minutes, intercept \d+\.\d\d"))
    ).to_be_visible()
    site.screenshot("month")
    page.get_by_text("[Show Markdown]").first.click()
    drawn = page.get_by_role("img", name="predictions")
    expect(drawn).to_be_visible()
    assert drawn.evaluate("plot => plot.naturalWidth") == 576
    site.screenshot("predictions")
    page.get_by_role("button", name="Close").click()

    page.goto(page.get_by_role("link", name=f"{site.mlflow}/#/experiments").get_attribute("href"))
    expect(page.get_by_text("green 2023-01").first).to_be_visible()
    expect(page.get_by_text("baseline_rmse").first).to_be_visible()
    expect(page.get_by_role("link", name="Dagster run")).to_have_attribute(
        "href", re.compile(f"^{site.dagster}/runs/")
    )
    site.screenshot("mlflow")


def test_a_backfill_of_a_span_ends_with_every_month_green(site: Site) -> None:
    page = site.page
    site.launch("[2023-01-01...2023-03-01]", "Launch backfill")
    expect(page.get_by_text("100% completed")).to_have_count(len(ASSETS), timeout=MINUTES)
    site.screenshot("backfill")
    page.goto(f"{site.dagster}/assets/green/backtest?view=partitions")
    expect(page.get_by_text("Materialized (3)")).to_be_visible()
    expect(page.get_by_text("Failed (0)")).to_be_visible()
    site.screenshot("months")


def test_a_bad_month_says_what_a_person_needs(site: Site) -> None:
    page = site.page
    site.launch(Month.parse(BAD).partition_key, "Launch 1 run")
    expect(page.get_by_text("Failure", exact=True).first).to_be_visible(timeout=MINUTES)
    reason = page.get_by_text(re.compile(f"raw_trips {BAD}: .* is not a complete Parquet file"))
    expect(reason.first).to_be_visible()
    expect(page.get_by_text(re.compile("check TAXI_TRIP_SOURCE")).first).to_be_visible()
    site.screenshot("bad_month")
