"""Month files over HTTP, streamed to disk."""

from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from taxi_assets.tlc.fleets import Fleet
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.source import Report, SourceError, TripSource

if TYPE_CHECKING:
    from collections.abc import Iterator

    import requests

TIMEOUT = (10, 60)
"""Seconds to wait for a connection, and for the next bytes of an answer."""

RETRIES = 4
"""Further tries after a refused connection, a busy server or a server's own fault."""

CHUNK = 1 << 20
PROGRESS = 16 << 20
"""Bytes between two lines of progress."""


@dataclass(frozen=True)
class HttpSource(TripSource):
    """A base URL below which the month files lie under TLC's names."""

    base_url: str

    def location(self, fleet: Fleet, month: Month) -> str:
        """The file's URL."""
        return f"{self.base_url.rstrip('/')}/{fleet.file_name(month)}"

    def version(self, fleet: Fleet, month: Month) -> str:
        """The server's ETag, or size and time of change."""
        with self._open(fleet, month) as answer:
            return _version(answer)

    def fetch(self, fleet: Fleet, month: Month, path: Path, report: Report) -> str:
        """Download the file; nothing is written before the server has said that it has it."""
        with self._open(fleet, month) as answer:
            _save(answer, path, report)
            return _version(answer)

    @contextmanager
    def _open(self, fleet: Fleet, month: Month) -> "Iterator[requests.Response]":
        """The server's answer, checked, its body still to be read."""
        import requests

        url = self.location(fleet, month)
        try:
            with _session() as session, session.get(url, stream=True, timeout=TIMEOUT) as answer:
                _check_status(answer, url)
                yield answer
        except requests.RequestException as error:
            raise SourceError(
                f"{url} cannot be downloaded ({error}). Check the network and TAXI_TRIP_SOURCE, "
                "then run the month again."
            ) from error


def _session() -> "requests.Session":
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry

    again = Retry(
        RETRIES,
        backoff_factor=0.5,
        status_forcelist=[429, 500, 502, 503, 504],
        raise_on_status=False,
    )
    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=again))
    return session


def _check_status(answer: "requests.Response", url: str) -> None:
    if answer.status_code in (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        raise SourceError(
            f"{url} is not there (HTTP {answer.status_code}). TLC publishes a month some two "
            "months after its end: choose an earlier month, or check TAXI_TRIP_SOURCE."
        )
    if answer.status_code != HTTPStatus.OK:
        raise SourceError(
            f"{url} answered HTTP {answer.status_code} {answer.reason}. Run the month again later."
        )


def _version(answer: "requests.Response") -> str:
    headers = answer.headers
    changed = headers.get("ETag") or headers.get("Last-Modified")
    return f"{changed}, {headers.get('Content-Length')} bytes" if changed else ""


def _save(answer: "requests.Response", path: Path, report: Report) -> None:
    size = int(answer.headers.get("Content-Length", 0))
    total = f"{size / 1e6:,.1f} MB" if size else "unknown size"
    report(f"downloading {answer.url}, {total}")
    written, next_report = 0, PROGRESS
    with path.open("xb") as file:
        for chunk in answer.iter_content(CHUNK):
            written += file.write(chunk)
            if written >= next_report:
                report(f"downloaded {written / 1e6:,.1f} MB of {total}")
                next_report += PROGRESS
