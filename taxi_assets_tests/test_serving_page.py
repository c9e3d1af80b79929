"""The page that answers, as a person uses it in Chromium: by map, keys, phone, in the dark."""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from taxi_assets.durations.inference import split_up
from taxi_assets.serving.app import build_app
from taxi_assets_tests.inference_site import Champions, HandModel, Site, served, version
from taxi_assets_tests.test_browser import CHROMIUM_OPTIONS, SCREENSHOTS, find_chromium

pytestmark = pytest.mark.browser

MOMENT = 15_000
PHONE = {"width": 390, "height": 844}
FRIDAY = "2023-04-07T17:00"
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

expect.set_options(timeout=MOMENT)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=find_chromium(), args=CHROMIUM_OPTIONS)
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


def asked(page: Page, site: Site) -> Page:
    """The page with its answer for JFK to Times Square, as a link leads to it."""
    page.goto(f"{site.url}/?from=132&to=230&at={FRIDAY}")
    expect(page.locator("#minutes")).to_have_text("37 minutes")
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
    page.get_by_label("Day and hour, in New York").fill(FRIDAY)
    end.focus()
    keys.press("Enter")
    answer = page.get_by_role("region", name="The answer")
    expect(answer.locator("p")).to_have_text(
        [
            "37 minutes",
            "Eight trips of ten take 24 to 60 minutes.",
            "JFK Airport to Times Sq/Theatre District, Fri 17:00.",
            "By version 1: boosted, trained to 2023-01.",
        ]
    )
    expect(answer).to_have_attribute("aria-live", "polite")
    expect(end).to_have_value("Times Sq/Theatre District")
    expect(page).to_have_url(f"{site.url}/?from=132&to=230&at=2023-04-07T17%3A00")


def test_places_are_found_while_they_are_typed(page: Page, site: Site) -> None:
    page.goto(site.url)
    start = page.get_by_label("From", exact=True)
    for typed, first in (
        ("LGA", "LaGuardia Airport LGA, Queens, 138"),
        ("times square", "Times Sq/Theatre District Manhattan, 230"),
        ("wall str", "Financial District North Wall Street, Manhattan, 87"),
        ("brooklyn bri", "TriBeCa/Civic Center Brooklyn Bridge, Manhattan, 231"),
        ("Stadium yank", "West Concourse Yankee Stadium, Bronx, 247"),
        ("grand centrel", "Midtown East Grand Central Terminal, Manhattan, 162"),
        ("57", "Corona Queens, 57"),
    ):
        start.fill(typed)
        expect(page.get_by_role("option").first).to_have_text(first)
    start.fill("xyzzy")
    expect(page.get_by_role("option")).to_have_count(0)


class CityModel(HandModel):
    """Minutes are a fifth of the number of the zone to, a tenth at all hours."""

    def answer(self, cells: Any, known: Any) -> Any:
        self.rows.append(len(cells))
        pickup, dropoff, _ = split_up(cells)
        minutes = dropoff / np.where(known, 5, 10)
        return np.array([minutes, minutes - pickup / 10, minutes + dropoff / 10 + 0.05])


def zone(page: Page, number: int) -> Locator:
    return page.locator(f"path[data-zone='{number}']")


def fill(of: Locator) -> str:
    return str(of.evaluate("element => getComputedStyle(element).fill"))


def test_the_map_shows_minutes_from_a_click_and_another_click_asks_for_the_trip(
    page: Page, site: Site, champions: Champions
) -> None:
    model = CityModel()
    champions.watch.serving = version(1, model)
    page.goto(site.url)
    zone(page, 132).click()
    expect(page.get_by_label("From", exact=True)).to_have_value("JFK Airport")
    expect(page).to_have_url(f"{site.url}/?from=132&at=now")
    legend = page.get_by_label("Minutes by colour").get_by_role("listitem")
    bounds = [0, 10, 15, 20, 25, 30, 35, 40, 60]
    texts = [f"{low}\u2013{high}" for low, high in pairwise(bounds)]
    spread = "eight trips of ten spread over more than 30 minutes"
    expect(legend).to_have_text([f"{texts[0]} minutes", *texts[1:], spread])
    for number, at in ((49, 0), (50, 1), (74, 1), (75, 2), (100, 3), (148, 4), (199, 6), (263, 7)):
        expect(zone(page, number)).to_have_class(f"zone c{at}")
        assert fill(zone(page, number)) == fill(legend.nth(at).locator("rect"))
    assert len({fill(each.locator("rect")) for each in legend.all()[:8]}) == 8
    # From JFK a zone's interval is 13.25 minutes and a tenth of its number: 168 is the first.
    wide = page.locator("#wide .wide")
    expect(wide).to_have_count(263 - 167)
    shapes = [each.get_attribute("d") for each in wide.all()]
    assert zone(page, 168).get_attribute("d") in shapes
    assert zone(page, 167).get_attribute("d") not in shapes
    assert model.rows == [265]

    zone(page, 247).click()
    expect(page.locator("#minutes")).to_have_text("49 minutes")
    expect(page.locator("#interval")).to_have_text("Eight trips of ten take 36 to 74 minutes.")
    expect(page.locator("#trip")).to_have_text(
        re.compile(r"JFK Airport to West Concourse, now, [A-Z][a-z]{2} [0-9]{2}:00\.")
    )
    expect(page.locator("#pointed")).to_have_text("West Concourse, Bronx: 49 minutes, 36 to 74.")
    expect(page.locator("#marks text")).to_have_text(["A", "B"])
    plot(page, "map")

    page.get_by_role("button", name="Swap From and To").click()
    expect(page.locator("#minutes")).to_have_text("26 minutes")
    expect(page).to_have_url(f"{site.url}/?from=247&to=132&at=now")
    page.get_by_label("Any time").check()
    expect(page.locator("#minutes")).to_have_text("13 minutes")
    trip = "West Concourse to JFK Airport, trips at all hours."
    expect(page.locator("#trip")).to_have_text(trip)
    expect(page.locator("circle")).to_have_count(0)
    expect(zone(page, 200)).to_have_class("zone c3")
    expect(page).to_have_url(f"{site.url}/?from=247&to=132")

    page.get_by_role("button", name="the start").click()
    zone(page, 75).click()
    expect(page).to_have_url(f"{site.url}/?from=75&to=132")


def test_the_map_is_used_with_the_keyboard_alone(page: Page, site: Site) -> None:
    page.goto(site.url)
    page.get_by_role("button", name="Manhattan", exact=True).focus()
    page.keyboard.press("Tab")
    expect(zone(page, 161)).to_be_focused()
    for key, number, name in (
        ("ArrowLeft", 230, "Times Sq/Theatre District, Manhattan"),
        ("ArrowRight", 161, "Midtown Center, Manhattan"),
        ("ArrowUp", 163, "Midtown North, Manhattan"),
        ("ArrowDown", 161, "Midtown Center, Manhattan"),
    ):
        page.keyboard.press(key)
        expect(zone(page, number)).to_be_focused()
        expect(page.locator("#pointed")).to_have_text(f"{name}.")
    page.keyboard.press("Enter")
    expect(page.get_by_label("From", exact=True)).to_have_value("Midtown Center")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Space")
    expect(page.locator("#trip")).to_have_text(re.compile("^Midtown Center to Times Sq/Theatre "))
    expect(zone(page, 230)).to_be_focused()


def test_the_page_says_whose_trips_it_knows(browser: Browser, champions: Champions) -> None:
    page = browser.new_page()
    for fleet, text in (
        ("green", "Green taxis, trained to 2023-01."),
        (
            "synthetic",
            "Synthetic taxis, trained to 2023-01. Invented trips: nobody has driven them.",
        ),
    ):
        with served(build_app(champions.watch, fleet)) as site:
            page.goto(site.url)
            expect(page.locator("#fleet")).to_have_text(text)
            page.get_by_role("button", name="LaGuardia to Wall Street").click()
            expect(page).to_have_url(f"{site.url}/?from=138&to=87&at=now")
            expect(page.locator("#fleet")).to_have_text(text)
    page.close()


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
    assert words[:7] == ["minutes", "0", "15", "30", "45", "60", "75"]
    assert words[7:] == [
        word for day in DAYS for word in ("12", day)
    ] + ["hour"]  # fmt: skip
    dot = plot.locator("circle")
    friday = points[4 * 24 + 17]
    assert float(dot.get_attribute("cx")) == pytest.approx(friday[0], abs=0.1)
    assert float(dot.get_attribute("cy")) == pytest.approx(friday[1], abs=0.1)

    plot.focus()
    for key, message in (
        ("ArrowRight", "Fri 18:00: 38 minutes, 25 to 61."),
        ("PageDown", "Thu 18:00: 38 minutes, 25 to 61."),
        ("Home", "Mon 00:00: 20 minutes, 7 to 43."),
        ("ArrowLeft", "Mon 00:00: 20 minutes, 7 to 43."),
        ("End", "Sun 23:00: 20 minutes, 7 to 43."),
    ):
        page.keyboard.press(key)
        expect(plot).to_have_attribute("aria-valuetext", message)
        expect(page.locator("#hour")).to_have_text(message)
    box = plot.bounding_box()
    page.mouse.move(box["x"] + points[10][0], box["y"] + 50)
    expect(page.locator("#hour")).to_have_text("Mon 10:00: 30 minutes, 17 to 53.")


def test_what_cannot_be_meant_is_said_in_place_of_an_answer(page: Page, site: Site) -> None:
    asked(page, site)
    start = page.get_by_label("From", exact=True)
    for text, message in (
        (
            "JKF Airprt",
            "from: No zone has this name. Similar are JFK Airport (132), Newark Airport (1), "
            "LaGuardia Airport (138).",
        ),
        ("266", "from: TLC numbers its zones from 1 to 265."),
    ):
        start.fill(text)
        start.press("Enter")
        expect(page.get_by_role("alert")).to_have_text(message)
        expect(page.locator("#answered")).to_be_hidden()
        expect(page.get_by_role("slider")).to_be_hidden()
    start.fill("jfk")
    page.get_by_role("button", name="How long?").click()
    expect(page.locator("#minutes")).to_have_text("37 minutes")
    expect(page.get_by_role("alert")).to_have_text("")


def test_a_phone_shows_all_of_it_without_scrolling_sideways(page: Page, site: Site) -> None:
    page.set_viewport_size(PHONE)
    asked(page, site)
    plot(page, "answer_on_a_phone")
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    for part in page.locator("input, button, #plot, #map, #minutes").all():
        box = part.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= PHONE["width"]
    for control in page.locator("input:not([type=radio]), button").all():
        assert control.bounding_box()["height"] >= 44
    page.get_by_label("To", exact=True).fill("airport")
    page.get_by_role("option", name="LaGuardia Airport").click()
    expect(page.locator("#interval")).to_have_text("Eight trips of ten take 24 to 51 minutes.")


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
    button = [luminance(page, what, "#go") for what in ("color", "backgroundColor")]
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
