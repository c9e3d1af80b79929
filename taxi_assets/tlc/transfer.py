"""One file over HTTP, whatever the server or the network does on the way.

urllib3's ``Retry`` is the budget of further tries, with its back-off, for all of a transfer: for
refused connections and busy servers, where urllib3 draws on it by itself, and for answers that
break off, which are resumed here where they ended.
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING, BinaryIO, Self, cast

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError, MaxRetryError, ProtocolError, ResponseError
from urllib3.util import Retry

if TYPE_CHECKING:
    from types import TracebackType

    from urllib3 import BaseHTTPResponse
    from urllib3.connectionpool import ConnectionPool

TIMEOUT, SHORT_TIMEOUT = (10, 20), (2, 4)
"""Seconds to wait for a connection, and for the next bytes of an answer; and for who is in a
hurry."""

RETRIES = 4
"""Further tries in a row that bring nothing."""

BACKOFF = 0.5
"""Seconds; the waits between tries are 0, 2, 4 and 8 times as long."""

LONGEST_WAIT = 60
"""Seconds. A server that asks with ``Retry-After`` for a longer wait is not asked again."""

WORTHWHILE = 0.05
"""Share of the file that a try must bring for the tries after it to be counted anew."""

PATIENCE, SLOWEST = 60, 1024
"""An answer that brings fewer bytes a second, after so many seconds, counts as broken off."""

LARGEST_FILE = 4 << 30
"""Bytes; the largest of TLC's months are below 300 MB."""

SIZE = re.compile(r"\d{1,18}", re.ASCII)

CHUNK = 1 << 20
PROGRESS = 16 << 20
"""Bytes between two lines of progress."""

ABSENT = (HTTPStatus.NOT_FOUND, HTTPStatus.GONE)
BUSY = (
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)


class Patience(Retry):
    """Further tries, unless the server asks for a longer wait than anyone would sit through."""

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: "BaseHTTPResponse | None" = None,
        error: Exception | None = None,
        _pool: "ConnectionPool | None" = None,
        _stacktrace: "TracebackType | None" = None,
    ) -> Self:
        """Use up a try."""
        if response is not None and (self.get_retry_after(response) or 0) > LONGEST_WAIT:
            too_long = ResponseError(f"asks to wait {response.headers['Retry-After']}")
            raise MaxRetryError(cast("ConnectionPool", _pool), url, too_long)
        return super().increment(method, url, response, error, _pool, _stacktrace)

    def parse_retry_after(self, retry_after: str) -> float:
        """Seconds to wait; none where the header is nonsense."""
        try:
            return super().parse_retry_after(retry_after)
        except (HTTPError, ValueError, OverflowError):
            return 0


def patience(retries: int = RETRIES) -> Retry:
    """A full budget of further tries."""
    return Patience(
        retries, backoff_factor=BACKOFF, status_forcelist=BUSY, raise_on_status=False, redirect=None
    )


class BadStatusError(Exception):
    """The server answers, but neither with the file nor with a part of it."""

    def __init__(self, answer: requests.Response) -> None:
        super().__init__(f"HTTP {answer.status_code} {answer.reason}")
        self.status = answer.status_code
        self.retry_after = answer.headers.get("Retry-After")


class EndlessFileError(Exception):
    """The server sends more than any month has."""


@dataclass(frozen=True)
class Stamp:
    """What tells one version of a file from another, as far as the server says it.

    Attributes:
        etag: the server's ``ETag``.
        changed: its ``Last-Modified``.
        size: of the whole file in bytes.
    """

    etag: str | None
    changed: str | None
    size: int | None

    @classmethod
    def of(cls, answer: requests.Response) -> Self:
        """The stamp of the file that an answer brings, or a part of which it brings."""
        headers = answer.headers
        size = headers.get("Content-Length")
        if answer.status_code == HTTPStatus.PARTIAL_CONTENT:
            size = headers.get("Content-Range", "").rpartition("/")[2]
        known = size is not None and SIZE.fullmatch(size) and "Content-Encoding" not in headers
        return cls(
            headers.get("ETag"), headers.get("Last-Modified"), int(size or 0) if known else None
        )

    def __str__(self) -> str:
        changed = self.etag or self.changed
        return f"{changed}, {self.size} bytes" if changed else ""

    @property
    def condition(self) -> str | None:
        """What to ask for with ``If-Range``; a weak ETag is not allowed there."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.changed


class Transfer:
    """Brings one file from a server into an open local file."""

    def __init__(self, url: str, file: BinaryIO, report: Callable[[str], None]) -> None:
        self._url = url
        self._file = file
        self._report = report
        self._stamp = Stamp(None, None, None)
        self._furthest = 0
        self._next_report = PROGRESS

    def run(self) -> Stamp:
        """Bring the file, in as many tries as it is worth.

        Raises:
            BadStatusError: the server has no such file, or does not give it.
            EndlessFileError: it does not stop giving.
            requests.RequestException: the server cannot be reached.
            urllib3.exceptions.HTTPError: its answers break off.
        """
        tries = patience()
        with requests.Session() as session:
            while True:
                try:
                    with self._ask(session, tries) as answer:
                        tries = answer.raw.retries or tries
                        self._begin(answer)
                        self._receive(answer)
                        if self._file.tell() < (self._stamp.size or 0):
                            raise ProtocolError("the answer was a part of what was asked for")
                        return self._stamp
                except HTTPError as error:
                    if self._was_worthwhile():
                        tries = patience()
                    tries = tries.increment("GET", self._url, error=error)
                    self._report(
                        f"the answer broke off at {self._file.tell():,} bytes, trying again"
                    )
                    tries.sleep()

    def _ask(self, session: requests.Session, tries: Retry) -> requests.Response:
        headers = {}
        # Without a stamp nobody knows whether the rest belongs to the same file: from the start.
        if self._file.tell() and str(self._stamp):
            headers["Range"] = f"bytes={self._file.tell()}-"
            if self._stamp.condition:
                headers["If-Range"] = self._stamp.condition
        return get(session, "GET", self._url, tries, headers)

    def _was_worthwhile(self) -> bool:
        """Whether the file is now clearly longer than it has ever been."""
        gained = self._file.tell() - self._furthest
        self._furthest += max(gained, 0)
        return gained >= (WORTHWHILE * self._stamp.size if self._stamp.size else CHUNK)

    def _begin(self, answer: requests.Response) -> None:
        """Make ready for the answer's body: the rest of the file, or all of it."""
        position = self._file.tell()
        stamp = Stamp.of(answer)
        rest = answer.headers.get("Content-Range", "").startswith(f"bytes {position}-")
        if answer.status_code == HTTPStatus.PARTIAL_CONTENT and rest and stamp == self._stamp:
            return
        self._file.seek(0)
        self._file.truncate()
        if answer.status_code != HTTPStatus.OK:
            # Another part than the one asked for, a part of a newer file, or nothing.
            self._stamp = Stamp(None, None, None)
            raise ProtocolError(f"HTTP {answer.status_code} for the rest of the file")
        self._stamp = stamp
        if (stamp.size or 0) > LARGEST_FILE:
            raise EndlessFileError(f"it announces {stamp.size:,} bytes")
        size = f"{stamp.size / 1e6:,.1f} MB" if stamp.size else "unknown size"
        self._report(f"downloading, {size}")

    def _receive(self, answer: requests.Response) -> None:
        for chunk in _chunks(answer):
            self._file.write(chunk)
            written = self._file.tell()
            if written > LARGEST_FILE:
                raise EndlessFileError(f"it has more than {LARGEST_FILE:,} bytes")
            if written >= self._next_report:
                self._report(f"downloaded {written / 1e6:,.1f} MB")
                self._next_report = written + PROGRESS


def ask_stamp(url: str, *, patient: bool = True) -> Stamp:
    """The stamp of a file, without the file; asked once and briefly for who is not patient.

    Raises:
        BadStatusError: the server has no such file, or does not give it.
        requests.RequestException: the server cannot be reached.
    """
    with requests.Session() as session:
        for method in ("HEAD", "GET"):
            try:
                tries = patience(RETRIES if patient else 0)
                with get(session, method, url, tries, patient=patient) as answer:
                    return Stamp.of(answer)
            except BadStatusError as error:
                # Some servers do not know HEAD, or sign URLs for GET alone, and say so variously.
                if method == "GET" or error.status in ABSENT or error.status in BUSY:
                    raise
    raise AssertionError


def get(
    session: requests.Session,
    method: str,
    url: str,
    tries: Retry,
    headers: Mapping[str, str] = MappingProxyType({}),
    *,
    patient: bool = True,
) -> requests.Response:
    """A server's answer, its body still to be read."""
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=tries))
    # Compressed, a part could not be resumed, and would have another size and ETag.
    headers = {"Accept-Encoding": "identity", **headers}
    try:
        answer = session.request(
            method,
            url,
            headers=headers,
            stream=True,
            timeout=TIMEOUT if patient else SHORT_TIMEOUT,
            allow_redirects=True,
        )
    except requests.RequestException:
        raise
    except OSError as error:
        # Such as a file of certificates that does not exist.
        raise requests.ConnectionError(str(error)) from None
    satisfied = (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT)
    past_the_end = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
    if answer.status_code not in (*satisfied, past_the_end):
        answer.close()
        raise BadStatusError(answer)
    return answer


def _chunks(answer: requests.Response) -> Iterator[bytes]:
    """The body as it comes in, so that a trickle is noticed."""
    begun, received = time.monotonic(), 0
    while chunk := answer.raw.read1(CHUNK, decode_content=True):
        yield chunk
        received += len(chunk)
        seconds = time.monotonic() - begun
        if seconds > PATIENCE:
            if received < SLOWEST * seconds:
                raise ProtocolError(f"{received} bytes in {seconds:.0f} seconds")
            begun, received = time.monotonic(), 0
