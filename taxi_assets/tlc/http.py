"""Month files on a web server, whatever the server or the network does on the way.

One ``Retry`` of urllib3 holds the further tries of a whole download. urllib3 uses them up for
refused connections and busy servers, ``_download`` for answers that break off.
"""

import ipaddress
import logging
import posixpath
import re
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, BinaryIO, Self
from urllib.parse import urlsplit, urlunsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import exceptions
from urllib3.util import Retry

from taxi_assets.errors import mask
from taxi_assets.tlc.fleets import Fleet
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.source import (
    BusySourceError,
    Report,
    SourceError,
    SourceOutageError,
    TripSource,
    UnreachableSourceError,
)

TIMEOUT, SHORT_TIMEOUT = (10, 20), (2, 4)
"""Seconds to wait for a connection, and for the next bytes of an answer; and for who is in a
hurry."""

RETRIES, BACKOFF = 4, 0.5
"""Further tries of a download; the waits between them are 0, 2, 4 and 8 times so many seconds."""

LONGEST_WAIT = 30
"""Seconds that are waited at most where ``Retry-After`` asks for more."""

DEADLINE = 60 * 60
"""Seconds for a whole download; TLC's largest month takes them at 80 KB/s."""

LARGEST_FILE = 4 << 30
"""Bytes; the largest of TLC's months are below 300 MB."""

CHUNK, PROGRESS = 1 << 20, 5
"""Bytes read at once, and seconds between two lines of progress."""

ABSENT, BUSY = {404, 410}, {429, 500, 502, 503, 504}
"""Statuses of a file that is not there, and of a server that may give it in a moment."""

STATUSES = {
    401: "needs a login ({}). Put one that is valid into TAXI_TRIP_SOURCE.",
    403: (
        "is refused ({}). TLC's server says so both of a month that is not published yet, some two "
        "months after its end, and to who asks for too much at once: choose an earlier month, or "
        "wait some minutes and run the month again."
    ),
    404: (
        "is not there ({}). TLC publishes a month some two months after its end: choose an earlier "
        "month, or check TAXI_TRIP_SOURCE."
    ),
    429: "is not given now, after too many requests ({}).{} Run the month again later.",
}
"""What statuses of an answer mean."""

REASONS: Mapping[type[Exception], str] = {
    exceptions.NameResolutionError: "the server's name cannot be found",
    exceptions.NewConnectionError: "the server refuses the connection",
    exceptions.ConnectTimeoutError: "the server does not answer",
    exceptions.ReadTimeoutError: "the server stopped sending",
    exceptions.ProxyError: "the proxy cannot be reached",
    exceptions.SSLError: "its certificate is not trusted",
    exceptions.ProtocolError: "the connection was cut",
    requests.exceptions.InvalidURL: "the address is not one",
    requests.TooManyRedirects: "the server redirects in circles",
}
"""What goes wrong in the network, in words."""


@dataclass(frozen=True)
class HttpSource(TripSource):
    """A base URL below which the month files lie under TLC's names.

    A query, such as a signature that gives access, goes with every file.
    """

    base_url: str = field(repr=False)

    def location(self, fleet: Fleet, month: Month) -> str:
        """The file's URL, secrets masked."""
        return mask(self._url(fleet, month))

    def version(self, fleet: Fleet, month: Month, *, patient: bool = True) -> str:
        """The server's ETag, or time of change, and the size."""
        url, retries = self._url(fleet, month), Retries.of(RETRIES if patient else 0)
        timeout = TIMEOUT if patient else SHORT_TIMEOUT
        with _explained(url):
            with _answer("HEAD", url, retries, timeout, {}) as answer:
                # Some servers do not know HEAD, or sign URLs for GET alone, and say so variously.
                if answer.status_code in {200, *ABSENT, *BUSY}:
                    return str(_stamp(answer, url))
            with _answer("GET", url, retries, timeout, {}) as answer:
                return str(_stamp(answer, url))

    def fetch(self, fleet: Fleet, month: Month, path: Path, report: Report) -> str:
        """Download the file, resumed where the server's answers break off."""
        url = self._url(fleet, month)
        with _explained(url), path.open("xb") as file:
            return _download(url, file, report)

    def _url(self, fleet: Fleet, month: Month) -> str:
        base = urlsplit(self.base_url)
        path = posixpath.normpath(posixpath.join(base.path or "/", fleet.file_name(month)))
        return urlunsplit(base._replace(path=path))


@dataclass(frozen=True)
class Stamp:
    """What tells one version of a file from another, as far as the server says it.

    Attributes:
        etag: the server's ``ETag``.
        changed: its ``Last-Modified``.
        size: of the whole file in bytes.
    """

    etag: str | None = None
    changed: str | None = None
    size: int | None = None

    @classmethod
    def of(cls, answer: requests.Response) -> Self:
        """The stamp of the file that an answer brings, or a part of which it brings."""
        headers = answer.headers
        size = headers.get("Content-Length", "")
        if answer.status_code == HTTPStatus.PARTIAL_CONTENT:
            size = headers.get("Content-Range", "").rpartition("/")[2]
        known = re.fullmatch("[0-9]{1,18}", size) and "Content-Encoding" not in headers
        return cls(headers.get("ETag"), headers.get("Last-Modified"), int(size) if known else None)

    def __str__(self) -> str:
        changed = self.etag or self.changed
        return f"{changed}, {self.size} bytes" if changed else ""

    def range_from(self, position: int) -> dict[str, str]:
        """The headers that ask for the rest of the same file; none where nothing tells it."""
        if not position or not self.size or not str(self):
            return {}
        # A weak ETag is not allowed in If-Range (RFC 9110, 13.1.5).
        strong = self.etag if self.etag and not self.etag.startswith("W/") else self.changed
        return {"Range": f"bytes={position}-"} | ({"If-Range": strong} if strong else {})


class Retries(Retry):
    """Further tries, with urllib3's waits between them."""

    @classmethod
    def of(cls, number: int) -> Self:
        """So many further tries."""
        return cls(
            number, status_forcelist=BUSY, raise_on_status=False,
            backoff_factor=BACKOFF, retry_after_max=LONGEST_WAIT,
        )  # fmt: skip

    def increment(self, *args: Any, **options: Any) -> Self:
        """Use up a try; a name that is not found now will not be found in seconds."""
        error = options.get("error")
        if isinstance(error, exceptions.NameResolutionError):
            raise error
        return super().increment(*args, **options)

    def parse_retry_after(self, retry_after: str) -> float:
        """Seconds to wait; none where the header is nonsense."""
        try:
            return super().parse_retry_after(retry_after)
        except (exceptions.HTTPError, ValueError, OverflowError):
            return 0


class _Session(requests.Session):
    def rebuild_auth(
        self, prepared_request: requests.PreparedRequest, response: requests.Response
    ) -> None:
        """Look at a redirect before it is followed, where requests looks whom to send logins."""
        check_redirect(response.url, str(prepared_request.url))
        super().rebuild_auth(prepared_request, response)  # type: ignore[no-untyped-call]


def check_redirect(start: str, target: str) -> None:
    """Refuse a redirect from https to http, or from a public address to a private one.

    Raises:
        SourceError: the redirect is refused.
    """
    before, after = urlsplit(start), urlsplit(target)
    if before.scheme == "https" != after.scheme:
        danger = "that is not encrypted"
    elif not _is_public(after.hostname) and _is_public(before.hostname):
        danger = "in a private network"
    else:
        return
    raise SourceError(
        f"{mask(start)} is refused: it redirects to an address {danger}, {mask(target)}. Check "
        "TAXI_TRIP_SOURCE."
    )


def _is_public(host: str | None) -> bool:
    """Whether a host is in the internet; one whose name is not known here counts as such."""
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(host, None)}
    except OSError:
        return True
    addresses = [ipaddress.ip_address(address) for address in found]
    return all((getattr(a, "ipv4_mapped", None) or a).is_global for a in addresses)


@contextmanager
def _answer(
    method: str,
    url: str,
    retries: Retry,
    timeout: tuple[float, float],
    headers: Mapping[str, str],
) -> Iterator[requests.Response]:
    """A server's answer, whatever its status, its body still to be read."""
    # Compressed, a part could not be resumed, and would have another size and ETag.
    headers = {"Accept-Encoding": "identity", **headers}
    with _Session() as session:
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=retries))
        try:
            answer = session.request(method, url, headers=headers, stream=True, timeout=timeout)
        except requests.RequestException:
            raise
        except OSError as error:
            # Such as a file of certificates that does not exist.
            raise requests.ConnectionError(str(error)) from None
        with answer:
            yield answer


def _download(url: str, file: BinaryIO, report: Report) -> str:
    """Bring a file, in several answers if need be; return its version."""
    end = time.monotonic() + DEADLINE
    retries: Retry = Retries.of(RETRIES)
    whole = Stamp()
    while True:
        position = file.tell()
        headers = whole.range_from(position)
        try:
            with _answer("GET", url, retries, TIMEOUT, headers) as answer:
                retries = answer.raw.retries or retries
                goes_on = answer.headers.get("Content-Range", "").startswith(f"bytes {position}-")
                if not (headers and goes_on and Stamp.of(answer) == whole):
                    file.seek(0)
                    file.truncate()
                    whole = Stamp()
                    if headers and answer.status_code in (206, 416):
                        raise exceptions.ProtocolError("the file changed, or its rest is not given")
                    whole = _stamp(answer, url)
                    size = f"{whole.size / 1e6:,.1f} MB" if whole.size else "unknown size"
                    report(f"downloading, {size}")
                _receive(answer, url, file, whole.size or 0, end, report)
            if whole.size not in (None, file.tell()):
                raise exceptions.ProtocolError("the answer was a part of what was asked for")
            return str(whole)
        except exceptions.HTTPError as error:
            retries = retries.increment("GET", url, error=error)
            report(f"the answer broke off at {file.tell():,} bytes, trying again")
            retries.sleep()


def _receive(
    answer: requests.Response, url: str, file: BinaryIO, size: int, end: float, report: Report
) -> None:
    """Write an answer's body, as it comes in, up to the limits of size and time."""
    reported = time.monotonic()
    while chunk := answer.raw.read1(CHUNK, decode_content=True):
        file.write(chunk)
        now = time.monotonic()
        if max(size, file.tell()) > LARGEST_FILE:
            raise SourceError(
                f"{mask(url)} is refused: it has more than {LARGEST_FILE:,} bytes. Check "
                "TAXI_TRIP_SOURCE."
            )
        if now > end:
            raise BusySourceError(
                f"{mask(url)} cannot be downloaded whole in {DEADLINE / 60:g} minutes: there are "
                f"{file.tell():,} bytes of it. Run the month again later."
            )
        if now - reported >= PROGRESS:
            report(f"downloaded {file.tell() / 1e6:,.1f} MB")
            reported = now


@contextmanager
def _explained(url: str) -> Iterator[None]:
    """Turn what goes wrong on the network into a sentence. What caused it may show secrets."""
    try:
        yield
    except (requests.RequestException, exceptions.NameResolutionError) as error:
        passes = isinstance(error, requests.RequestException)
        raise (SourceOutageError if passes else UnreachableSourceError)(
            f"{mask(url)} cannot be downloaded: {_reason(error)}. Check the network and "
            "TAXI_TRIP_SOURCE, then run the month again."
        ) from None
    except (exceptions.HTTPError, ValueError) as error:
        # A ValueError is of a redirect to something that is no address, for instance.
        raise BusySourceError(
            f"{mask(url)} cannot be downloaded whole: {_reason(error)}. The server's answers do "
            "not bring the file that they announce; run the month again later."
        ) from None


def _reason(error: BaseException) -> str:
    """What went wrong in the network: the first of an error and its causes that has words."""
    cause: BaseException | None = error
    while cause is not None:
        for kind, words in REASONS.items():
            if isinstance(cause, kind):
                return words
        cause = cause.__cause__ or cause.__context__
    return mask(str(error))


def _stamp(answer: requests.Response, url: str) -> Stamp:
    """The stamp of a file.

    Raises:
        SourceError: the answer is something else than the file.
    """
    code, status = answer.status_code, f"HTTP {answer.status_code} {answer.reason}"
    if code == HTTPStatus.OK:
        return Stamp.of(answer)
    wait = answer.headers.get("Retry-After", "")
    asks = f" It asks to wait: {wait[:40]}." if wait else ""
    busy = code in BUSY or code >= HTTPStatus.INTERNAL_SERVER_ERROR
    fault = "cannot be had: the server has a fault ({}).{} Run the month again later."
    default = fault if busy else "cannot be had ({}). Check TAXI_TRIP_SOURCE."
    meaning = STATUSES.get(404 if code in ABSENT else code, default)
    raise (BusySourceError if busy else SourceError)(mask(f"{url} {meaning.format(status, asks)}"))


def _without_secrets(record: logging.LogRecord) -> bool:
    """Mask what urllib3 logs of a connection that breaks: the path, with its query."""
    record.msg, record.args = mask(record.getMessage()), ()
    return True


logging.getLogger("urllib3.connectionpool").addFilter(_without_secrets)
