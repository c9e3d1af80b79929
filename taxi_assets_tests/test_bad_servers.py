"""A download from a server or over a network that misbehaves: whole, or refused in a sentence."""

import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import requests

from taxi_assets.errors import ServiceError
from taxi_assets.tlc import transfer
from taxi_assets.tlc.download import HttpSource
from taxi_assets.tlc.fetch import fetch_month
from taxi_assets.tlc.fleets import FLEETS
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.source import (
    BusySourceError,
    RefusedSourceError,
    SourceError,
    UnreachableSourceError,
)
from taxi_assets_tests.bad_server import Handler, file, serving, status

GREEN, JANUARY = FLEETS["green"], Month(2023, 1)
TRIES = transfer.RETRIES + 1


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "BACKOFF", 0)
    monkeypatch.setattr(transfer, "TIMEOUT", (0.5, 0.5))


@pytest.fixture(scope="module")
def month(source_folder: Path) -> bytes:
    return (source_folder / GREEN.file_name(JANUARY)).read_bytes()


@pytest.fixture(scope="module")
def other_month(source_folder: Path) -> bytes:
    return (source_folder / GREEN.file_name(Month(2023, 2))).read_bytes()


@pytest.fixture(scope="module")
def altered(month: bytes) -> bytes:
    """The month with another byte among its trips: a Parquet file of the same length."""
    return month[:1000] + bytes([month[1000] ^ 1]) + month[1001:]


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that are waited between tries, which pass at once."""
    waited: list[float] = []
    monkeypatch.setattr(transfer, "BACKOFF", 0.5)
    monkeypatch.setattr(time, "sleep", waited.append)
    return waited


@pytest.fixture
def fetch(tmp_path: Path) -> Callable[[str], bytes]:
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


Fetch = Callable[[str], bytes]


def test_a_cut_connection_is_resumed_where_it_was_cut(fetch: Fetch, month: bytes) -> None:
    with serving(file(month, cut_after=50_000), file(month)) as server:
        assert fetch(server.url) == month
        assert server.asked == [None, "bytes=50000-"]


def test_a_server_that_cuts_every_answer_still_gives_the_file(fetch: Fetch, month: bytes) -> None:
    """As long as each try brings a fair part of it: more tries than without progress."""
    part = len(month) // 12
    with serving(file(month, cut_after=part)) as server:
        assert fetch(server.url) == month
        assert len(server.asked) == 13 > TRIES


def test_a_stall_is_resumed(fetch: Fetch, month: bytes) -> None:
    with serving(file(month, stall_after=70_000), file(month)) as server:
        assert fetch(server.url) == month
        assert server.asked == [None, "bytes=70000-"]


def test_a_trickle_counts_as_a_stall(
    fetch: Fetch, month: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "PATIENCE", 0.1)
    with (
        serving(file(month, trickle=True)) as server,
        pytest.raises(BusySourceError, match="cannot be downloaded whole: the connection was cut"),
    ):
        fetch(server.url)


def test_where_the_server_knows_no_ranges_the_download_starts_anew(
    fetch: Fetch, month: bytes
) -> None:
    with serving(file(month, cut_after=50_000, ranges=False), file(month, ranges=False)) as server:
        assert fetch(server.url) == month
        assert server.asked == [None, "bytes=50000-"]


def test_where_nothing_tells_whether_it_is_the_same_file_the_download_starts_anew(
    fetch: Fetch, month: bytes, altered: bytes
) -> None:
    """Which the second file is not, though it is as long."""
    with serving(file(month, cut_after=50_000, etag=None), file(altered, etag=None)) as server:
        assert fetch(server.url) == altered
        assert server.asked == [None, None]


EARLIER, LATER = "Mon, 06 Mar 2023 12:00:00 GMT", "Tue, 07 Mar 2023 12:00:00 GMT"


@pytest.mark.parametrize("heeds_if_range", [True, False])
@pytest.mark.parametrize("same_length", [True, False])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param({}, {"etag": '"two"'}, id="by its ETag"),
        pytest.param(
            {"etag": None, "changed": EARLIER}, {"etag": None, "changed": LATER}, id="by its time"
        ),
        pytest.param({"etag": 'W/"one"'}, {"etag": 'W/"two"'}, id="by a weak ETag"),
        pytest.param({"changed": EARLIER}, {"changed": LATER}, id="by its time under one ETag"),
    ],
)
def test_a_file_that_changes_between_two_ranges_is_fetched_anew(
    fetch: Fetch,
    month: bytes,
    other_month: bytes,
    altered: bytes,
    heeds_if_range: bool,
    same_length: bool,
    before: dict[str, str],
    after: dict[str, str],
) -> None:
    """Whether the server notices, or only what it says of the rest tells."""
    new = altered if same_length else other_month
    changed = file(new, **after)  # type: ignore[arg-type]

    def careless(request: Handler) -> None:
        del request.headers["If-Range"]
        changed(request)

    old = file(month, cut_after=50_000, **before)  # type: ignore[arg-type]
    with serving(old, changed if heeds_if_range else careless, changed) as server:
        assert fetch(server.url) == new


@pytest.mark.parametrize(
    ("stamp", "condition"),
    [
        ({"etag": '"one"', "changed": EARLIER}, '"one"'),
        ({"etag": 'W/"one"', "changed": EARLIER}, EARLIER),
        ({"etag": 'W/"one"'}, None),
        ({"etag": None, "changed": EARLIER}, EARLIER),
    ],
)
def test_the_rest_is_asked_for_on_the_condition_that_the_file_is_the_same(
    fetch: Fetch, month: bytes, stamp: dict[str, str | None], condition: str | None
) -> None:
    """By a strong ETag or the time: a weak ETag may not stand in If-Range (RFC 9110, 13.1.5)."""
    steps = file(month, cut_after=50_000, **stamp), file(month, **stamp)  # type: ignore[arg-type]
    with serving(*steps) as server:
        assert fetch(server.url) == month
        assert server.conditions == [None, condition]
        assert server.asked == [None, "bytes=50000-"]


def test_a_content_length_that_is_too_long_is_given_up(fetch: Fetch, month: bytes) -> None:
    """Each answer brings all there is, so that more tries would bring no more."""
    steps = file(month, announced=len(month) + 1000)
    with serving(steps) as server:
        with pytest.raises(SourceError, match="cannot be downloaded whole: the connection was cut"):
            fetch(server.url)
        assert len(server.asked) <= 2 * TRIES


def test_a_content_length_that_is_too_short_gives_no_parquet_file(
    fetch: Fetch, month: bytes
) -> None:
    with (
        serving(file(month, announced=len(month) - 1000)) as server,
        pytest.raises(SourceError, match="not a complete Parquet file"),
    ):
        fetch(server.url)


def test_a_page_in_the_place_of_the_file_is_shown(fetch: Fetch) -> None:
    page = file(b"<html><h1>Please log in</h1></html>", content_type="text/html")
    with serving(page) as server:
        with pytest.raises(SourceError, match="is a web page that says 'Please log in'"):
            fetch(server.url)
        assert len(server.asked) == 1


def test_a_file_that_is_truncated_at_the_server_is_refused(fetch: Fetch, month: bytes) -> None:
    with (
        serving(file(month[:-1000])) as server,
        pytest.raises(SourceError, match="not a complete Parquet file"),
    ):
        fetch(server.url)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (403, r"refused \(HTTP 403 Forbidden\).*not published yet.*asks for too much at once"),
        (404, r"is not there \(HTTP 404 Not Found\).*TAXI_TRIP_SOURCE"),
        (410, r"is not there \(HTTP 410 Gone\)"),
        (401, r"needs a login \(HTTP 401 Unauthorized\)"),
        (418, r"cannot be had \(HTTP 418"),
    ],
)
def test_permanent_refusals_are_taken_at_once(fetch: Fetch, code: int, message: str) -> None:
    """They will not pass, but for a refusal that may also mean "too often"."""
    with serving(status(code)) as server:
        with pytest.raises(SourceError, match=message) as refused:
            fetch(server.url)
        assert type(refused.value) is (RefusedSourceError if code == 403 else SourceError)
        assert len(server.asked) == 1


@pytest.mark.parametrize("code", [501, 505, 520])
def test_other_faults_of_a_server_may_pass_too(fetch: Fetch, code: int) -> None:
    with serving(status(code)) as server:
        with pytest.raises(BusySourceError, match="the server has a fault"):
            fetch(server.url)
        assert len(server.asked) == 1


def test_a_busy_server_is_asked_again(fetch: Fetch, month: bytes) -> None:
    with serving(status(503), status(429, Retry_After="0"), status(500), file(month)) as server:
        assert fetch(server.url) == month


@pytest.mark.parametrize(
    ("code", "message"),
    [(429, "too many"), *((code, "the server has a fault") for code in (500, 502, 503, 504))],
)
def test_a_server_that_stays_busy_is_given_up(
    fetch: Fetch, waits: list[float], code: int, message: str
) -> None:
    """After four more tries, each of which is waited for twice as long as the one before."""
    with serving(status(code)) as server:
        with pytest.raises(BusySourceError, match=message):
            fetch(server.url)
        assert len(server.asked) == 5
    assert waits == [1, 2, 4]


def test_answers_that_break_off_are_waited_for_likewise(
    fetch: Fetch, month: bytes, waits: list[float]
) -> None:
    with serving(file(month, cut_after=10)) as server:
        with pytest.raises(SourceError, match="cannot be downloaded whole"):
            fetch(server.url)
        assert len(server.asked) == 5
    assert waits == [1, 2, 4]


@pytest.mark.parametrize(
    ("part", "enough"), [pytest.param(0.051, True), pytest.param(0.049, False)]
)
def test_a_try_that_brings_a_twentieth_of_the_file_is_worth_another(
    fetch: Fetch, month: bytes, part: float, enough: bool
) -> None:
    with serving(file(month, cut_after=round(part * len(month)))) as server:
        if enough:
            assert fetch(server.url) == month
        else:
            with pytest.raises(SourceError, match="cannot be downloaded whole"):
                fetch(server.url)
            assert len(server.asked) == 5


def test_a_server_that_says_how_long_to_wait_is_heeded(
    fetch: Fetch, month: bytes, waits: list[float]
) -> None:
    with serving(status(429, Retry_After="60"), file(month)) as server:
        assert fetch(server.url) == month
    assert waits == [60]


@pytest.mark.parametrize("wait", ["61", "3600"])
def test_a_server_that_asks_for_more_than_a_minute_is_not_asked_again(
    fetch: Fetch, wait: str
) -> None:
    with serving(status(429, Retry_After=wait)) as server:
        with pytest.raises(SourceError, match=f"It asks to wait: {wait}"):
            fetch(server.url)
        assert len(server.asked) == 1


def test_tries_of_all_kinds_share_one_budget(fetch: Fetch, month: bytes) -> None:
    """A storm of faults is not multiplied: cuts and refusals count together."""
    steps = [file(month, cut_after=10), status(503)] * 10
    with serving(*steps) as server:
        with pytest.raises(SourceError):
            fetch(server.url)
        assert len(server.asked) == TRIES


def test_redirects_are_followed(fetch: Fetch, month: bytes) -> None:
    with (
        serving(file(month)) as target,
        serving(status(302, Location=f"{target.url}/else")) as server,
    ):
        assert fetch(server.url) == month


def test_redirects_in_circles_are_noticed(fetch: Fetch) -> None:
    with (
        serving(status(302, Location="/trip-data/again")) as server,
        pytest.raises(SourceError, match="redirects in circles"),
    ):
        fetch(server.url)


def test_where_nobody_listens_no_further_month_is_tried(fetch: Fetch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    with pytest.raises(ServiceError, match="the server refuses the connection"):
        fetch(url)


def test_a_name_that_is_not_found_is_said(fetch: Fetch) -> None:
    with pytest.raises(ServiceError, match="the server's name cannot be found"):
        fetch("http://no-such-name.invalid")


def test_a_server_that_never_answers_is_given_up(fetch: Fetch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ServiceError, match="the server stopped sending"):
            fetch(url)


def test_who_is_in_a_hurry_waits_a_short_time_and_a_download_longer(
    fetch: Fetch, month: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits, request = [], requests.Session.request

    def note(*of: object, timeout: object, **more: object) -> requests.Response:
        waits.append(timeout)
        return request(*of, timeout=timeout, **more)

    monkeypatch.setattr(requests.Session, "request", note)
    with serving(file(month)) as server:
        HttpSource(server.url).version(GREEN, JANUARY, patient=False)
        assert set(waits) == {(2, 4)}
        waits.clear()
        fetch(server.url)
    assert set(waits) == {transfer.TIMEOUT}


@pytest.mark.parametrize("code", [429, 500, 503])
def test_who_is_in_a_hurry_asks_a_busy_server_once(month: bytes, code: int) -> None:
    with serving(file(month)) as server:
        server.head = code
        with pytest.raises(BusySourceError, match=f"HTTP {code}"):
            HttpSource(server.url).version(GREEN, JANUARY, patient=False)
        assert (server.heads, server.asked) == (1, [])


def test_who_is_in_a_hurry_asks_a_silent_server_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "SHORT_TIMEOUT", (0.1, 0.1))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        source = HttpSource(f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(UnreachableSourceError, match="the server stopped sending"):
            source.version(GREEN, JANUARY, patient=False)
        silent.setblocking(False)
        silent.accept()[0].close()
        with pytest.raises(BlockingIOError):
            silent.accept()


def test_a_part_that_is_shorter_than_asked_for_is_followed_by_the_next(
    fetch: Fetch, month: bytes
) -> None:
    """Servers may answer a range with less than all of it."""
    with serving(file(month, cut_after=50_000), file(month, part=40_000), file(month)) as server:
        assert fetch(server.url) == month
        assert server.asked == [None, "bytes=50000-", "bytes=90000-"]


@pytest.mark.parametrize(
    ("size", "message"),
    [
        pytest.param(None, "it has more than 100,000 bytes", id="of no stated size"),
        pytest.param("100001", "it announces 100,001 bytes", id="of a size that nobody wants"),
    ],
)
def test_a_server_that_does_not_stop_is_stopped(
    fetch: Fetch, month: bytes, monkeypatch: pytest.MonkeyPatch, size: str | None, message: str
) -> None:
    def answer(request: Handler) -> None:
        request.send_response(200)
        if size is not None:
            request.send_header("Content-Length", size)
        request.end_headers()
        with suppress(ConnectionError):
            while size is None:
                request.wfile.write(month)

    monkeypatch.setattr(transfer, "LARGEST_FILE", 100_000)
    with serving(answer) as server:
        with pytest.raises(SourceError, match=f"is refused: {message}"):
            fetch(server.url)
        assert len(server.asked) == 1


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(status(302, Location="http://[bad"), id="redirected to no address"),
        pytest.param(status(429, Retry_After="9" * 5000), id="to wait for ever"),
        pytest.param(status(429, Retry_After="Fri, 31 Dec 99999 23:59:59 GMT"), id="no date"),
    ],
)
def test_headers_without_sense_are_refused_in_a_sentence(
    fetch: Fetch, answer: Callable[[Handler], None]
) -> None:
    with serving(answer) as server, pytest.raises(SourceError):
        fetch(server.url)


def test_a_server_that_refuses_head_is_asked_with_get(month: bytes) -> None:
    with serving(file(month)) as server:
        server.head = 403
        assert HttpSource(server.url).version(GREEN, JANUARY) == f'"one", {len(month)} bytes'


def test_versions_are_asked_without_the_file(month: bytes) -> None:
    """With HEAD, and with GET where a server does not know HEAD, as this one."""
    with serving(file(month)) as server:
        source = HttpSource(server.url)
        assert source.version(GREEN, JANUARY) == f'"one", {len(month)} bytes'


SECRETS = "http://me:pa55word@{place}/trip-data?signature=s1gnature&expires=2"


def test_passwords_and_tokens_go_to_the_server_and_nowhere_else(
    tmp_path: Path, month: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    paths = []

    def remember(request: object) -> None:
        paths.append((request.path, request.headers["Authorization"]))  # type: ignore[attr-defined]
        (file(month) if len(paths) > 1 else status(503))(request)  # type: ignore[arg-type]

    with serving(remember) as server:
        source = HttpSource(SECRETS.format(place=server.url.split("/")[2]))
        fetched = fetch_month(source, GREEN, JANUARY, tmp_path / "file", lambda _: None)
    credentials = requests.auth._basic_auth_str("me", "pa55word")
    file_path = f"/trip-data/{GREEN.file_name(JANUARY)}?signature=s1gnature&expires=2"
    assert paths == [(file_path, credentials)] * 2
    with pytest.raises(SourceError) as refused:
        fetch_month(source, GREEN, JANUARY, tmp_path / "other", lambda _: None)
    shown = f"{fetched.origin} {source} {refused.value} {caplog.text}"
    for secret in ("pa55word", "s1gnature"):
        assert secret not in shown
    assert "***@127.0.0.1" in fetched.origin.location
