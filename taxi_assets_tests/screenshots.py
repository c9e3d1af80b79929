"""The screenshots of the documents: ``make screenshots``.

They show a whole real month of green taxis where TLC's files lie beside the project, else a
synthetic one. Nothing in them is touched up.
"""

import io

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from taxi_assets_tests.conftest import REAL_FILES
from taxi_assets_tests.services import (
    PROGRAMS,
    PROJECT,
    Services,
    answers,
    free_port,
    services,
)
from taxi_assets_tests.test_browser import (
    CHROMIUM_OPTIONS,
    MOMENT,
    Site,
    find_chromium,
    make_source,
    start_pages,
)

MONTHS = ("2023-01-01", "2023-02-01")
"""The first is shown; the second judges its models, so that each asset has something to show."""


def main() -> None:
    """Make the months, and take the screenshots."""
    with services() as running, sync_playwright() as browsers:
        real = REAL_FILES.exists()
        source = REAL_FILES if real else make_source(running.folder / "source")
        dagster, mlflow = start_pages(running, source)
        make_months(running)
        browser = browsers.chromium.launch(executable_path=find_chromium(), args=CHROMIUM_OPTIONS)
        page = browser.new_page(viewport={"width": 1500, "height": 1000})
        page.set_default_timeout(MOMENT)
        take(Site(dagster, mlflow, page))
        take_map(running, page)
        browser.close()
    print("docs/: screenshots of", "a real month" if real else "a synthetic month")


def make_months(running: Services) -> None:
    """Have all assets made, as the README says."""
    running.run(
        PROGRAMS / "dagster", "asset", "materialize", "-m", "taxi_assets.definitions",
        "--select", "group:green", "--partition-range", "...".join(MONTHS),
    )  # fmt: skip


def take(site: Site) -> None:
    """Look at a month's metrics, and at its MLflow run."""
    page = site.page
    site.open_month("metrics", MONTHS[0][:7])
    page.wait_for_timeout(1_000)
    keep(page, "month")

    run = page.get_by_role("link", name=f"{site.mlflow}/#/experiments").get_attribute("href")
    page.goto(str(run))
    page.get_by_text("baseline_rmse").first.wait_for(timeout=MOMENT)
    close = page.get_by_role("button", name="Close").first
    if close.is_visible():
        close.click()
    page.wait_for_timeout(1_000)
    keep(page, "mlflow")


def take_map(running: Services, page: Page) -> None:
    """Ask how long a trip takes."""
    port = free_port()
    running.start(
        "serve", PROGRAMS / "taxi-assets", "serve", "--fleet", "green", "--port", port,
        ready=lambda: answers(f"http://localhost:{port}/health"),
    )  # fmt: skip
    page.set_viewport_size({"width": 1280, "height": 900})
    page.goto(f"http://localhost:{port}/?from=132&to=230&at=Fri%2017:00")
    page.wait_for_timeout(2_000)
    keep(page, "serve")


def keep(page: Page, name: str) -> None:
    """Keep what the tab shows, in 256 colours, which take a third of the bytes."""
    shown = Image.open(io.BytesIO(page.screenshot()))
    shown.quantize(256).save(PROJECT / "docs" / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
