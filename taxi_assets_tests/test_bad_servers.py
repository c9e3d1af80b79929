"""A download from a server or over a network that misbehaves: whole, or refused in a sentence."""

import logging
import socket
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests

from taxi_assets.errors import OutageError, ServiceError
from taxi_assets.tlc import http
from taxi_assets.tlc.fetch import fetch_month
from taxi_assets.tlc.fleets import FLEETS
from taxi_assets.tlc.http import HttpSource, check_redirect
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.source import BusySourceError, SourceError, UnreachableSourceError
from taxi_assets_tests.bad_server import Handler, endless, file, serving, status

GREEN, JANUARY = FLEETS["green"], Month(2023, 1)
Fetch = Callable[[str], bytes]
Step = Callable[[Handler], None]


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that are waited between tries, which pass at once."""
    waited: list[float] = []
    monkeypatch.setattr(http, "TIMEOUT", (0.5, 0.5))
    monkeypatch.setattr(time, "sleep", waited.append)
    return waited


@pytest.fixture(scope="module")
def month(source_folder: Path) -> bytes:
    return (source_folder / GREEN.file_name(JANUARY)).read_bytes()


@pytest.fixture(scope="module")
def altered(month: bytes) -> bytes:
    """The month with another byte among its trips: a Parquet file of the same length."""
    return month[:1000] + bytes([month[1000] ^ 1]) + month[1001:]


@pytest.fixture
def fetch(tmp_path: Path) -> Fetch:
    """Fetch January; whatever happens, no file is left that was not asked for."""
    path = tmp_path / "fetched"

    def fetch(url: str) -> bytes:
        try:
            fetch_month(HttpSource(url), GREEN, JANUARY, path, lambda _: None)
        except SourceError:
            assert not path.exists()
            raise
        return path.read_bytes()

    return fetch


EARLIER, LATER = "Mon, 06 Mar 2023 12:00:00 GMT", "Tue, 07 Mar 2023 12:00:00 GMT"


@pytest.mark.parametrize(
    ("fault", "kind", "condition"),
    [
        pytest.param("cut_after", {}, '"one"', id="the connection ends"),
        pytest.param("stall_after", {}, '"one"', id="nothing more comes"),
        pytest.param("cut_after", {"ranges": False}, '"one"', id="a server without ranges"),
        pytest.param("cut_after", {"changed": EARLIER}, '"one"', id="the ETag tells most"),
        pytest.param("cut_after", {"etag": None, "changed": EARLIER}, EARLIER, id="a time alone"),
        # It may not stand in If-Range (RFC 9110, 13.1.5).
        pytest.param("cut_after", {"etag": 'W/"one"', "changed": EARLIER}, None, id="a weak ETag"),
    ],
)
def test_of_an_answer_that_breaks_off_the_rest_is_asked_for_if_it_is_the_same_file(
    fetch: Fetch, month: bytes, fault: str, kind: dict[str, Any], condition: str | None
) -> None:
    with serving(file(month, **{fault: 50_000}, **kind), file(month, **kind)) as server:
        assert fetch(server.url) == month
        assert server.asked == [None, "bytes=50000-"]
        assert server.conditions == [None, condition]


def test_where_nothing_tells_whether_it_is_the_same_file_the_download_starts_anew(
    fetch: Fetch, month: bytes, altered: bytes
) -> None:
    """Which the second file is not, though it is as long."""
    with serving(file(month, cut_after=50_000, etag=None), file(altered, etag=None)) as server:
        assert fetch(server.url) == altered
        assert server.asked == [None, None]


@pytest.mark.parametrize("heeds_if_range", [True, False])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param({}, {"etag": '"two"'}, id="by its ETag"),
        pytest.param(
            {"etag": None, "changed": EARLIER}, {"etag": None, "changed": LATER}, id="by its time"
        ),
        pytest.param({"etag": 'W/"one"'}, {"etag": 'W/"two"'}, id="by a weak ETag"),
    ],
)
def test_a_file_that_changes_between_two_ranges_is_fetched_anew(
    fetch: Fetch,
    month: bytes,
    altered: bytes,
    heeds_if_range: bool,
    before: dict[str, Any],
    after: dict[str, Any],
) -> None:
    """Whether the server notices, or only what it says of the rest tells; it is as long."""
    changed = file(altered, **after)

    def careless(request: Handler) -> None:
        del request.headers["If-Range"]
        changed(request)

    old = file(month, cut_after=50_000, **before)
    with serving(old, changed if heeds_if_range else careless, changed) as server:
        assert fetch(server.url) == altered


def test_a_part_that_is_shorter_than_asked_for_is_followed_by_the_next(
    fetch: Fetch, month: bytes
) -> None:
    """Servers may answer a range with less than all of it."""
    with serving(file(month, cut_after=50_000), file(month, part=40_000), file(month)) as server:
        assert fetch(server.url) == month
        assert server.asked == [None, "bytes=50000-", "bytes=90000-"]


def test_what_is_no_whole_month_is_refused(fetch: Fetch, month: bytes) -> None:
    for step, message in (
        (file(month, announced=len(month) - 1000), "not a complete Parquet file"),
        (file(month[:-1000]), "not a complete Parquet file"),
        (file(b"<html><h1>Please log in</h1></html>"), "is a web page that says 'Please log in'"),
    ):
        with serving(step) as server:
            with pytest.raises(SourceError, match=message):
                fetch(server.url)
            assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (403, r"not given \(HTTP 403 Forbidden\)\. TLC publishes a month some two months after"),
        (404, r"not given \(HTTP 404 Not Found\).*Choose an earlier month.*TAXI_TRIP_SOURCE"),
        (410, r"not given \(HTTP 410 Gone\).*Choose an earlier month"),
        (401, r"not given \(HTTP 401 Unauthorized\)\. Check TAXI_TRIP_SOURCE"),
        (505, r"not given \(HTTP 505 .*: the server is busy or has a fault"),
    ],
)
def test_what_does_not_pass_in_seconds_is_said_at_once(
    fetch: Fetch, code: int, message: str
) -> None:
    with serving(status(code)) as server:
        with pytest.raises(SourceError, match=message) as refused:
            fetch(server.url)
        assert isinstance(refused.value, BusySourceError) is (code == 505)
        assert len(server.asked) == 1


def test_a_busy_server_is_asked_again(fetch: Fetch, month: bytes) -> None:
    with serving(status(503), status(429, Retry_After="0"), status(500), file(month)) as server:
        assert fetch(server.url) == month


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        *(([status(code)], f"HTTP {code} .*busy") for code in (429, 500, 502, 503, 504)),
        ([file(b"brief", announced=9)], "downloaded whole"),
        ([file(b"brief", announced=9), status(503)], "downloaded whole"),
    ],
)
def test_a_server_that_does_not_mend_is_given_up(
    fetch: Fetch, waits: list[float], steps: list[Step], message: str
) -> None:
    """After four more tries of all kinds, each waited for twice as long as the one before."""
    with serving(*steps * 3) as server:
        with pytest.raises(BusySourceError, match=message):
            fetch(server.url)
        assert len(server.asked) == 5
    assert waits == [1, 2, 4]


@pytest.mark.parametrize(("asked", "waited"), [("20", 20), ("31", 30), ("3600", 30)])
def test_a_server_that_says_how_long_to_wait_is_heeded_within_reason(
    fetch: Fetch, month: bytes, waits: list[float], asked: str, waited: float
) -> None:
    with serving(status(429, Retry_After=asked), file(month)) as server:
        assert fetch(server.url) == month
    assert waits == [waited]


@pytest.mark.parametrize("asked", ["soon", "9" * 5000, "Fri, 31 Dec 99999 23:59:59 GMT"])
def test_a_server_that_asks_for_a_nonsensical_wait_is_given_up(fetch: Fetch, asked: str) -> None:
    with (
        serving(status(429, Retry_After=asked)) as server,
        pytest.raises(SourceError, match="cannot be downloaded"),
    ):
        fetch(server.url)


def test_redirects_are_followed(fetch: Fetch, month: bytes) -> None:
    """Whatever else the answer brings."""
    with (
        serving(file(month)) as target,
        serving(endless(302, Location=f"{target.url}/else")) as server,
    ):
        assert fetch(server.url) == month


@pytest.mark.parametrize(
    ("location", "message"),
    [("/trip-data/again", "Exceeded 30 redirects"), ("http://[bad", "Invalid IPv6 URL")],
)
def test_redirects_that_lead_nowhere_are_given_up(
    fetch: Fetch, location: str, message: str
) -> None:
    with (
        serving(status(302, Location=location)) as server,
        pytest.raises(SourceError, match=message),
    ):
        fetch(server.url)


@pytest.mark.parametrize(
    "place",
    ["127.0.0.1", "localhost", "2130706433", "[::1]", "[::ffff:10.0.0.1]", "169.254.169.254"],
)
def test_a_public_server_cannot_redirect_into_the_private_network(
    fetch: Fetch, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """As its answers would be stored, and shown in messages. A proxy plays the server."""
    with serving(status(302, Location=f"http://{place}/secret")) as server:
        monkeypatch.setenv("http_proxy", server.url.removesuffix("/trip-data"))
        monkeypatch.setenv("no_proxy", "")
        with pytest.raises(SourceError, match="redirects to an address in a private network"):
            fetch("http://8.8.8.8/trip-data")
        assert len(server.asked) == 1


def test_a_redirect_may_lead_to_https_and_not_away_from_it() -> None:
    check_redirect("http://8.8.8.8/x", "https://8.8.8.8/x")
    check_redirect("https://8.8.8.8/x", "https://1.1.1.1/x")
    check_redirect("http://10.0.0.1/x", "http://127.0.0.1/x")
    with pytest.raises(SourceError, match=r"not encrypted, http://8.8.8.8/x\?\*\*\*\. Check"):
        check_redirect("https://8.8.8.8/x", "http://8.8.8.8/x?signature=1")


@pytest.mark.parametrize(
    ("listens", "message"),
    [(False, "the server refuses the connection"), (True, "the server does not answer in time")],
)
def test_where_nobody_answers_no_further_month_is_tried(
    fetch: Fetch, monkeypatch: pytest.MonkeyPatch, listens: bool, message: str
) -> None:
    monkeypatch.setattr(http, "TIMEOUT", (0.1, 0.1))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        if not listens:
            silent.close()
        with pytest.raises(OutageError, match=message):
            fetch(url)


def test_a_name_that_is_not_found_is_said_at_once(fetch: Fetch, waits: list[float]) -> None:
    """Without a network, say: neither this nor Dagster's next attempt would find it."""
    with pytest.raises(ServiceError, match="the server's name cannot be found") as raised:
        fetch("http://no-such-name.invalid")
    assert isinstance(raised.value, UnreachableSourceError)
    assert not isinstance(raised.value, OutageError)
    assert waits == []


@pytest.mark.parametrize("code", [404, 429, 503])
def test_what_head_says_of_a_missing_file_or_a_busy_server_is_enough(
    month: bytes, code: int
) -> None:
    with serving(file(month)) as server:
        server.head = code
        with pytest.raises(SourceError, match=f"HTTP {code}"):
            HttpSource(server.url).version(GREEN, JANUARY)
        assert (server.heads, server.asked) == (1 if code == 404 else 5, [])


@pytest.mark.parametrize("head", [501, 403])
def test_a_server_that_refuses_head_is_asked_with_get(month: bytes, head: int) -> None:
    with serving(file(month)) as server:
        server.head = head
        assert HttpSource(server.url).version(GREEN, JANUARY) == f'"one", {len(month)} bytes'


def test_a_server_that_does_not_stop_is_stopped(
    fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "LARGEST_FILE", 100_000)
    with serving(endless(200)) as server:
        with pytest.raises(SourceError, match="is refused: it has more than 100,000 bytes"):
            fetch(server.url)
        assert len(server.asked) == 1


def test_a_download_has_a_deadline(
    fetch: Fetch, month: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However slow it is: the next chunk comes always just in time."""
    monkeypatch.setattr(http, "DEADLINE", 0)
    with (
        serving(file(month)) as server,
        pytest.raises(BusySourceError, match="cannot be downloaded whole in 0 minutes: there are"),
    ):
        fetch(server.url)


def test_passwords_and_tokens_go_to_the_server_and_nowhere_else(
    tmp_path: Path,
    month: bytes,
    caplog: pytest.LogCaptureFixture,
    request: pytest.FixtureRequest,
) -> None:
    """Nor into what urllib3 logs of connections that break, also where no run is made."""
    request.addfinalizer(partial(logging.setLogRecordFactory, logging.getLogRecordFactory()))
    logging.setLogRecordFactory(logging.LogRecord)
    asked = []

    def noting(step: Step) -> Step:
        def answer(request: Handler) -> None:
            asked.append((request.path, request.headers["Authorization"]))
            step(request)

        return answer

    steps = lambda _: None, file(month), status(404)  # The first cuts the connection.
    with serving(*map(noting, steps)) as server:
        place = server.url.removeprefix("http://")
        source = HttpSource(f"http://me:pa55word@{place}?ticket=s1gnature&expires=2")
        fetched = fetch_month(source, GREEN, JANUARY, tmp_path / "file", lambda _: None)
        with pytest.raises(SourceError) as refused:
            fetch_month(source, GREEN, JANUARY, tmp_path / "other", lambda _: None)
    credentials = requests.auth._basic_auth_str("me", "pa55word")
    file_path = f"/trip-data/{GREEN.file_name(JANUARY)}?ticket=s1gnature&expires=2"
    assert asked == [(file_path, credentials)] * 3
    assert "Retrying" in caplog.text
    shown = f"{fetched.origin} {source} {refused.value} {caplog.text}"
    for secret in ("pa55word", "s1gnature"):
        assert secret not in shown
    assert "***@127.0.0.1" in fetched.origin.location
