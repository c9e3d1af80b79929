"""Month files on a web server."""

import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from taxi_assets.errors import mask
from taxi_assets.tlc.fleets import Fleet
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.source import (
    BusySourceError,
    RefusedSourceError,
    Report,
    SourceError,
    TripSource,
    UnreachableSourceError,
)

if TYPE_CHECKING:
    from taxi_assets.tlc.transfer import BadStatusError


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
        from taxi_assets.tlc.transfer import ask_stamp

        with _explained(self._url(fleet, month)):
            return str(ask_stamp(self._url(fleet, month), patient=patient))

    def fetch(self, fleet: Fleet, month: Month, path: Path, report: Report) -> str:
        """Download the file, resumed where the server's answers break off."""
        from taxi_assets.tlc.transfer import Transfer

        url = self._url(fleet, month)
        with _explained(url), path.open("xb") as file:
            return str(Transfer(url, file, report).run())

    def _url(self, fleet: Fleet, month: Month) -> str:
        base = urlsplit(self.base_url)
        path = posixpath.normpath(posixpath.join(base.path or "/", fleet.file_name(month)))
        return urlunsplit(base._replace(path=path))


@contextmanager
def _explained(url: str) -> Iterator[None]:
    """Turn what goes wrong on the network into a sentence. What caused it may show secrets."""
    from requests import RequestException
    from urllib3.exceptions import HTTPError

    from taxi_assets.tlc.transfer import BadStatusError, EndlessFileError

    try:
        yield
    except BadStatusError as error:
        kind = _kind(error.status)
        raise kind(f"{mask(url)} {_status_explained(error)}") from None
    except EndlessFileError as error:
        raise SourceError(f"{mask(url)} is refused: {error}. Check TAXI_TRIP_SOURCE.") from None
    except RequestException as error:
        raise UnreachableSourceError(
            f"{mask(url)} cannot be downloaded: {_reason(error)}. Check the network and "
            "TAXI_TRIP_SOURCE, then run the month again."
        ) from None
    except HTTPError as error:
        raise BusySourceError(
            f"{mask(url)} cannot be downloaded whole: {_reason(error)}. The server gave less than "
            "it announced, several times; run the month again later."
        ) from None
    except ValueError as error:
        # Of a redirect, for instance, to something that is no address.
        raise SourceError(
            f"{mask(url)} cannot be downloaded: the server's answer makes no sense "
            f"({mask(str(error))}). Check TAXI_TRIP_SOURCE."
        ) from None


def _kind(status: int) -> type[SourceError]:
    """What a server's answer means: whether it may be another in a while."""
    from taxi_assets.tlc.transfer import BUSY

    if status in BUSY or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return BusySourceError
    return RefusedSourceError if status == HTTPStatus.FORBIDDEN else SourceError


def _status_explained(error: "BadStatusError") -> str:
    match error.status:
        case HTTPStatus.FORBIDDEN:
            return (
                f"is refused ({error}). TLC's server says so both of a month that is not published "
                "yet, some two months after its end, and to who asks for too much at once: choose "
                "an earlier month, or wait some minutes and run the month again."
            )
        case HTTPStatus.NOT_FOUND | HTTPStatus.GONE:
            return (
                f"is not there ({error}). TLC publishes a month some two months after its end: "
                "choose an earlier month, or check TAXI_TRIP_SOURCE."
            )
        case HTTPStatus.TOO_MANY_REQUESTS:
            wait = f" It asks to wait: {error.retry_after}." if error.retry_after else ""
            return f"is not given now, after too many requests ({error}).{wait} Run it again later."
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
            return f"needs a login ({error}). Put one that is valid into TAXI_TRIP_SOURCE."
        case status if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return f"cannot be had: the server has a fault ({error}). Run the month again later."
    return f"cannot be had ({error}). Check TAXI_TRIP_SOURCE."


def _reason(error: Exception) -> str:
    """What went wrong in the network, in words."""
    import requests
    from urllib3 import exceptions

    causes = list(_causes(error))
    for kinds, words in (
        (exceptions.NameResolutionError, "the server's name cannot be found"),
        (exceptions.NewConnectionError, "the server refuses the connection"),
        (exceptions.ConnectTimeoutError, "the server does not answer"),
        (exceptions.ReadTimeoutError, "the server stopped sending"),
        (exceptions.ProxyError, "the proxy cannot be reached"),
        (exceptions.SSLError, "its certificate is not trusted"),
        (exceptions.ProtocolError, "the connection was cut"),
        (requests.exceptions.InvalidURL, "the address is not one"),
        (requests.TooManyRedirects, "the server redirects in circles"),
    ):
        if any(isinstance(cause, kinds) for cause in causes):
            return words
    return mask(str(error))


def _causes(error: object) -> Iterator[Exception]:
    """An error and those within: requests wraps what urllib3 raises, and that what ended it."""
    while isinstance(error, Exception):
        yield error
        within = (part for part in error.args if isinstance(part, Exception))
        error = getattr(error, "reason", None) or next(within, None)
