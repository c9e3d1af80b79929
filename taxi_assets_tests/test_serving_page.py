"""The page that answers, as a person uses it in Chromium: with keys, on a phone, in the dark."""

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from taxi_assets_tests.inference_site import Champions, HandModel, Site, served, version
from taxi_assets_tests.services import PROJECT

pytestmark = pytest.mark.browser

SCREENSHOTS = PROJECT / "screenshots"
CHROMIUM_OPTIONS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
MOMENT = 15_000
PHONE = {"width": 360, "height": 740}
FRIDAY = "2023-04-07T17:00"

expect.set_options(timeout=MOMENT)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium") or os.environ.get("CHROMIUM")
    if chromium is None:
        pytest.fail("Chromium is not installed: apt-get install chromium, or set CHROMIUM")
    with sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=chromium, args=CHROMIUM_OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def champions() -> Champions:
    return Champions(version(1, HandModel()))


@pytest.fixture
def site(champions: Champions) -> Iterator[Site]:
    with served(champions.app()) as site:
        yield site


@pytest.fixture
def page(browser: Browser, site: Site) -> Iterator[Page]:
    """A tab, in which nothing may fail that a person does not see, and no other host be asked."""
    page = browser.new_page(viewport={"width": 1000, "height": 900}, color_scheme="light")
    page.set_default_timeout(MOMENT)
    asked, complaints = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text))
    yield page
    page.close()
    assert [url for url in asked if not url.startswith((site.url, "data:"))] == []
    assert [text for text in complaints if "status of 422" not in text] == []


def asked(page: Page, site: Site, at: str = FRIDAY) -> Page:
    """The page with its answer for JFK to Times Square, as a link leads to it."""
    page.goto(f"{site.url}/?from=132&to=230&at={at}")
    expect(page.locator("#minutes")).to_have_text("37.0 minutes" if at else "5.0 minutes")
    return page


def plot(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


def test_a_question_is_asked_with_the_keyboard_alone(page: Page, site: Site) -> None:
    page.goto(site.url)
    keys = page.keyboard
    start, end = page.get_by_label("From", exact=True), page.get_by_label("To", exact=True)
    expect(start).to_be_focused()
    keys.type("airp")
    options = page.get_by_role("option")
    expect(options).to_have_text(
        ["JFK Airport Queens, 132", "LaGuardia Airport Queens, 138", "Newark Airport EWR, 1"]
    )
    expect(start).to_have_attribute("aria-expanded", "true")
    keys.press("ArrowDown")
    expect(options.first).to_have_attribute("aria-selected", "true")
    expect(start).to_have_attribute("aria-activedescendant", "from-zones-0")
    keys.press("Enter")
    expect(start).to_have_value("JFK Airport")
    expect(options).to_have_count(0)
    keys.press("Tab")
    expect(end).to_be_focused()
    keys.type("theat")
    expect(options).to_have_text(["Times Sq/Theatre District Manhattan, 230"])
    keys.press("Escape")
    expect(options).to_have_count(0)
    expect(end).to_have_value("theat")
    page.get_by_label("When, in New York").fill(FRIDAY)
    end.focus()
    keys.press("Enter")
    answer = page.get_by_role("region", name="The answer")
    expect(answer.locator("p")).to_have_text(
        [
            "37.0 minutes",
            "Eight trips of ten take 23.8 to 60.0 minutes.",
            "JFK Airport to Times Sq/Theatre District, Fri 17:00.",
            "By version 1: boosted, trained to 2023-01.",
        ]
    )
    expect(answer).to_have_attribute("aria-live", "polite")
    expect(end).to_have_value("Times Sq/Theatre District")
    expect(page).to_have_url(f"{site.url}/?from=132&to=230&at=2023-04-07T17%3A00")


def test_zones_of_one_name_are_told_apart(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/?from=132&to=230")
    page.get_by_label("From", exact=True).fill("corona")
    page.get_by_text("Corona Queens, 57").click()
    expect(page).to_have_url(f"{site.url}/?from=57&to=230")


def test_the_plot_shows_the_pair_over_the_hours_of_the_week(page: Page, site: Site) -> None:
    asked(page, site)
    plot = page.get_by_role("slider", name="Minutes by the hour of the week")
    line = plot.locator("polyline").get_attribute("points").split()
    points = [tuple(map(float, point.split(","))) for point in line]
    assert len(points) == 168
    assert len(plot.locator("polygon").get_attribute("points").split()) == 2 * 168
    heights = [y for _, y in points]
    # From 20 minutes at midnight to 43 at eleven on each working day; at 20 all weekend.
    assert heights[:24] == sorted(heights[:24], reverse=True)
    assert heights[:24] * 5 == heights[:120]
    assert {*heights[120:]} == {heights[0]}
    words = plot.locator("text").all_text_contents()
    assert words[:6] == ["0", "15", "30", "45", "60", "75"]
    assert words[6:] == ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
    dot = plot.locator("circle")
    friday = points[4 * 24 + 17]
    assert float(dot.get_attribute("cx")) == pytest.approx(friday[0], abs=0.1)
    assert float(dot.get_attribute("cy")) == pytest.approx(friday[1], abs=0.1)

    plot.focus()
    for key, said in (
        ("ArrowRight", "Fri 18:00: 38.0 minutes, 24.8 to 61.0."),
        ("PageDown", "Thu 18:00: 38.0 minutes, 24.8 to 61.0."),
        ("Home", "Mon 00:00: 20.0 minutes, 6.8 to 43.0."),
        ("ArrowLeft", "Mon 00:00: 20.0 minutes, 6.8 to 43.0."),
        ("End", "Sun 23:00: 20.0 minutes, 6.8 to 43.0."),
    ):
        page.keyboard.press(key)
        expect(plot).to_have_attribute("aria-valuetext", said)
        expect(page.locator("#hour")).to_have_text(said)
    box = plot.bounding_box()
    page.mouse.move(box["x"] + points[10][0], box["y"] + 50)
    expect(page.locator("#hour")).to_have_text("Mon 10:00: 30.0 minutes, 16.8 to 53.0.")


def test_without_a_time_the_answer_is_for_the_average_hour(page: Page, site: Site) -> None:
    asked(page, site, at="")
    trip = "JFK Airport to Times Sq/Theatre District, at the average hour."
    expect(page.locator("#trip")).to_have_text(trip)
    expect(page.locator("circle")).to_have_count(0)
    page.get_by_label("When, in New York").fill(FRIDAY)
    expect(page.locator("#minutes")).to_have_text("37.0 minutes")
    expect(page.locator("circle")).to_have_count(1)


def test_what_cannot_be_meant_is_said_in_place_of_an_answer(page: Page, site: Site) -> None:
    asked(page, site)
    start = page.get_by_label("From", exact=True)
    for text, said in (
        (
            "JKF Airprt",
            "from: No zone has this name. Similar are JFK Airport (132), Newark Airport (1), "
            "LaGuardia Airport (138).",
        ),
        ("266", "from: TLC numbers its zones from 1 to 265."),
    ):
        start.fill(text)
        start.press("Enter")
        expect(page.get_by_role("alert")).to_have_text(said)
        expect(page.locator("#answered")).to_be_hidden()
        expect(page.get_by_role("slider")).to_be_hidden()
    start.fill("jfk")
    page.get_by_role("button", name="How long?").click()
    expect(page.locator("#minutes")).to_have_text("37.0 minutes")
    expect(page.get_by_role("alert")).to_have_text("")


def test_the_next_question_is_answered_by_the_next_champion(
    page: Page, site: Site, champions: Champions
) -> None:
    asked(page, site)
    champions.now = version(2, HandModel(more=1.5))
    champions.watch.look()
    page.get_by_role("button", name="How long?").click()
    expect(page.locator("#minutes")).to_have_text("38.5 minutes")
    expect(page.locator("#model")).to_have_text("By version 2: boosted, trained to 2023-02.")


def test_a_phone_shows_all_of_it_without_scrolling_sideways(page: Page, site: Site) -> None:
    page.set_viewport_size(PHONE)
    asked(page, site)
    plot(page, "answer_on_a_phone")
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    for part in page.locator("input, button, #plot, #minutes").all():
        box = part.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= PHONE["width"]
    for control in page.locator("input, button").all():
        assert control.bounding_box()["height"] >= 44
    page.get_by_label("To", exact=True).fill("airport")
    page.get_by_role("option", name="LaGuardia Airport").click()
    expect(page.locator("#interval")).to_have_text("Eight trips of ten take 23.8 to 50.8 minutes.")


def luminance(page: Page, what: str, of: str) -> float:
    """How light a colour is, 0 to 1, as WCAG counts it."""
    colour = page.locator(of).first.evaluate(f"element => getComputedStyle(element).{what}")
    parts = [int(part) / 255 for part in colour.removeprefix("rgb(").rstrip(")").split(", ")]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_in_the_light_and_in_the_dark(page: Page, site: Site, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    asked(page, site)
    plot(page, f"answer_{scheme}")
    paper = luminance(page, "backgroundColor", "body")
    assert (paper < 0.05) == (scheme == "dark")

    def contrast(one: float, other: float) -> float:
        low, high = sorted((one, other))
        return (high + 0.05) / (low + 0.05)

    for what, of in (("color", "#minutes"), ("color", ".soft"), ("fill", "#plot text"),
                     ("color", "a"), ("color", "#problem")):  # fmt: skip
        assert contrast(luminance(page, what, of), paper) >= 4.5
    for what, of in (("stroke", ".minutes"), ("fill", ".asked")):
        assert contrast(luminance(page, what, of), paper) >= 3
    button = [luminance(page, what, "button") for what in ("color", "backgroundColor")]
    assert contrast(*button) >= 4.5


def test_a_server_that_is_gone_is_said(browser: Browser, champions: Champions) -> None:
    page = browser.new_page()
    with served(champions.app()) as site:
        asked(page, site)
    page.get_by_role("button", name="How long?").click()
    expect(page.get_by_role("alert")).to_have_text("The server does not answer.")
    page.close()


def test_the_documents_can_be_tried_without_a_network(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/docs")
    expect(page.locator(".title")).to_contain_text("Durations of green taxi trips")
    operation = page.locator("#operations-default-duration_duration_get")
    operation.get_by_role("button").first.click()
    expect(operation.locator(".responses-table .example").first).to_contain_text('"minutes": 37')
    operation.get_by_role("button", name="Try it out").click()
    for field, text in zip(operation.get_by_role("textbox").all(), ("jfk", "230", ""), strict=True):
        field.fill(text)
    operation.get_by_role("button", name="Execute").click()
    answer = operation.locator(".live-responses-table")
    expect(answer).to_contain_text('"minutes": 5')
    expect(operation.locator(".curl")).to_contain_text(f"{site.url}/duration?from=jfk&to=230")
    plot(page, "documents")
