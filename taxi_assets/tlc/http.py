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
from urllib.parse import urljoin, urlsplit, urlunsplit

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

TIMEOUT = (10, 20)
"""Seconds to wait for a connection, and for the next bytes of an answer."""

DEADLINE = 60 * 60
"""Seconds for a whole download; TLC's largest month takes them at 80 KB/s."""

LARGEST_FILE = 4 << 30
"""Bytes; the largest of TLC's months are below 300 MB."""

CHUNK, PROGRESS = 1 << 20, 5
"""Bytes read at once, and seconds between two lines of progress."""

ABSENT, BUSY = {403, 404, 410}, {429, 500, 502, 503, 504}
"""Statuses of a file that is not there, and of a server that may give it in a moment."""

REASONS: Mapping[type[Exception], str] = {
    exceptions.NameResolutionError: "the server's name cannot be found",
    exceptions.NewConnectionError: "the server refuses the connection",
    exceptions.TimeoutError: "the server does not answer in time",
    exceptions.SSLError: "its certificate is not trusted",
}
"""Frequent faults of the network, in words."""


@dataclass(frozen=True)
class HttpSource(TripSource):
    """A base URL below which the month files lie under TLC's names.

    A query, such as a signature that gives access, goes with every file.
    """

    base_url: str = field(repr=False)

    def location(self, fleet: Fleet, month: Month) -> str:
        """The file's URL, secrets masked."""
        return mask(self._url(fleet, month))

    def version(self, fleet: Fleet, month: Month) -> str:
        """The server's ETag, or time of change, and the size."""
        url = self._url(fleet, month)
        with _explained(url):
            with _answer("HEAD", url, FURTHER_TRIES) as answer:
                # Some servers do not know HEAD, or sign URLs for GET alone.
                if answer.status_code in {200, 404, *BUSY}:
                    _check_status(answer, url)
                    return _version(answer)
            with _answer("GET", url, FURTHER_TRIES) as answer:
                _check_status(answer, url)
                return _version(answer)

    def fetch(self, fleet: Fleet, month: Month, path: Path, report: Report) -> str:
        """Download the file, resumed where the server's answers break off."""
        url = self._url(fleet, month)
        with _explained(url), path.open("xb") as file:
            return _download(url, file, report)

    def _url(self, fleet: Fleet, month: Month) -> str:
        base = urlsplit(self.base_url)
        path = posixpath.normpath(posixpath.join(base.path or "/", fleet.file_name(month)))
        return urlunsplit(base._replace(path=path))


class _Retries(Retry):
    def increment(self, *args: Any, **options: Any) -> Self:
        """Use up a try; a name that is not found now will not be found in seconds."""
        error = options.get("error")
        if isinstance(error, exceptions.NameResolutionError):
            raise error
        return super().increment(*args, **options)


FURTHER_TRIES: Retry = _Retries(
    4, backoff_factor=0.5, retry_after_max=30, status_forcelist=BUSY, raise_on_status=False
)
"""Of a download: after 0, 2, 4 and 8 half seconds, or after ``Retry-After``, at most 30 seconds."""


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Where a redirect leads, if it may; its body, which may be endless, is not read."""
        target = super().get_redirect_target(resp)
        if target is not None:
            resp.close()
            # As requests writes the address: others may see another host in it.
            followed = requests.Request("GET", urljoin(resp.url, target)).prepare()
            check_redirect(resp.url, str(followed.url))
        return target


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
        infos = socket.getaddrinfo(host, None)
    except OSError:
        return True
    addresses = [ipaddress.ip_address(str(info[4][0])) for info in infos]
    return all((getattr(a, "ipv4_mapped", None) or a).is_global for a in addresses)


@contextmanager
def _answer(
    method: str, url: str, retries: Retry, headers: Mapping[str, str] | None = None
) -> Iterator[requests.Response]:
    """A server's answer, whatever its status, its body still to be read."""
    # Compressed, a part could not be resumed, and would have another size and ETag.
    headers = {"Accept-Encoding": "identity", **(headers or {})}
    with _Session() as session:
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=retries))
        with session.request(method, url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
            yield answer


def _check_status(answer: requests.Response, url: str) -> None:
    """Make sure that an answer brings the file.

    Raises:
        SourceError: it brings something else.
    """
    code = answer.status_code
    if code == HTTPStatus.OK:
        return
    status = f"{mask(url)} is not given (HTTP {code} {mask(str(answer.reason))})"
    if code in BUSY or code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise BusySourceError(f"{status}: the server is busy or has a fault. Run the month later.")
    if code in ABSENT:
        raise SourceError(
            f"{status}. TLC publishes a month some two months after its end, and refuses whoever "
            "asks for too much at once. Choose an earlier month, try again in some minutes, or "
            "check TAXI_TRIP_SOURCE."
        )
    raise SourceError(f"{status}. Check TAXI_TRIP_SOURCE.")


def _size(answer: requests.Response) -> int | None:
    """Bytes of the file that an answer brings, or brings a part of; None if it does not say."""
    size = answer.headers.get("Content-Length", "")
    if answer.status_code == HTTPStatus.PARTIAL_CONTENT:
        size = answer.headers.get("Content-Range", "").rpartition("/")[2]
    known = re.fullmatch("[0-9]{1,18}", size) and "Content-Encoding" not in answer.headers
    return int(size) if known else None


def _version(answer: requests.Response) -> str:
    """What tells one version of the file from another; empty if the server does not say."""
    changed = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
    return f"{changed}, {_size(answer)} bytes" if changed else ""


def _download(url: str, file: BinaryIO, report: Report) -> str:
    """Bring a file, in several answers if need be; return its version."""
    end = time.monotonic() + DEADLINE
    retries, version, size = FURTHER_TRIES, "", None
    while True:
        position = file.tell()
        headers = {}
        if version and 0 < position < (size or 0):
            headers["Range"] = f"bytes={position}-"
            # A weak ETag is not allowed in If-Range (RFC 9110, 13.1.5).
            if not version.startswith("W/"):
                headers["If-Range"] = version.rpartition(", ")[0]
        try:
            with _answer("GET", url, retries, headers) as answer:
                retries = answer.raw.retries or retries
                goes_on = answer.headers.get("Content-Range", "").startswith(f"bytes {position}-")
                if not (headers and goes_on and _version(answer) == version):
                    file.seek(0)
                    file.truncate()
                    version = ""
                    if headers and answer.status_code in (206, 416):
                        raise exceptions.ProtocolError("the file changed, or its rest is not given")
                    _check_status(answer, url)
                    version, size = _version(answer), _size(answer)
                    report(f"downloading, {size / 1e6:,.1f} MB" if size else "downloading")
                _receive(answer, url, file, end, report)
            if size not in (None, file.tell()):
                raise exceptions.ProtocolError("the answer was a part of what was asked for")
            return version
        except exceptions.HTTPError as error:
            retries = retries.increment("GET", url, error=error)
            report(f"the answer broke off at {file.tell():,} bytes, trying again")
            retries.sleep()


def _receive(
    answer: requests.Response, url: str, file: BinaryIO, end: float, report: Report
) -> None:
    """Write an answer's body, as it comes in, up to the limits of size and time."""
    reported = time.monotonic()
    while chunk := answer.raw.read1(CHUNK, decode_content=True):
        file.write(chunk)
        now = time.monotonic()
        if file.tell() > LARGEST_FILE:
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
    except (exceptions.HTTPError, ValueError, OverflowError) as error:
        # A redirect to no address is a ValueError, a wait until the year 99999 overflows.
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


def _without_secrets(record: logging.LogRecord) -> bool:
    """Mask what urllib3 logs of a connection that breaks: the path, with its query."""
    record.msg, record.args = mask(record.getMessage()), ()
    return True


logging.getLogger("urllib3.connectionpool").addFilter(_without_secrets)
