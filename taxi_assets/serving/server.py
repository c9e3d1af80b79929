"""The server of the champion's answers: where it listens, its limits, and how long it waits."""

import asyncio
import gc
import socket
from collections.abc import Sequence
from contextlib import suppress

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from taxi_assets.errors import MonthError
from taxi_assets.serving.app import LOCAL_HOSTS, build_app
from taxi_assets.serving.watch import Watch
from taxi_assets.tracking.champions import Champions
from taxi_assets.tracking.server import TrackingServer

KEPT = 75
"""Seconds that an idle connection is kept: longer than proxies do, so that none is cut off."""

DEADLINE = 20
"""Seconds from a connection, or from the first byte of a request, to the end of the answer."""

CONNECTIONS = 500
"""Connections at a time; further ones are told to come again."""

PATIENCE = 5
"""Seconds that connections have to end when the server is stopped."""


class PunctualProtocol(H11Protocol):
    """uvicorn's protocol with a deadline for whoever sends, waits or reads too slowly."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin with a connection."""
        super().connection_made(transport)
        self._start_timer()

    def data_received(self, data: bytes) -> None:
        """Take bytes; the first of a request start its time."""
        if self._timer is None:
            self._start_timer()
        super().data_received(data)

    def on_response_complete(self) -> None:
        """End with an answer, and begin with what has been sent behind its request."""
        self._stop_timer()
        if self.conn.trailing_data[0]:
            self._start_timer()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """End with a connection."""
        self._stop_timer()
        super().connection_lost(exc)

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(DEADLINE, self.transport.abort)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 is any that is free.

    Raises:
        MonthError: the address is taken, or not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise MonthError(
            f"Nothing can listen at {host}, port {port} ({why}). Choose another port: make serve "
            "SERVE_PORT=8081, or taxi-assets serve --port 8081."
        ) from None


def fleet_to_serve(tracking: TrackingServer, fleets: Sequence[str]) -> str:
    """The fleet that has a champion.

    Raises:
        MonthError: none has one, or several have.
    """
    serving = [name for name in fleets if Champions(tracking, name).standing().champion is not None]
    if not serving:
        raise MonthError(
            f"None of the fleets has a champion: {', '.join(fleets)}. Make two months that follow "
            "each other, with all assets of a fleet, as make demo does; or name a fleet and a "
            "version: taxi-assets serve --fleet FLEET --model VERSION."
        )
    if len(serving) > 1:
        raise MonthError(
            f"Several fleets have a champion: {', '.join(serving)}. Choose one: make serve "
            f"FLEET={serving[0]}, or taxi-assets serve --fleet {serving[0]}."
        )
    return serving[0]


def server_of(app: FastAPI) -> uvicorn.Server:
    """The server of the application, with its limits."""
    config = uvicorn.Config(
        app,
        http=PunctualProtocol,
        ws="none",
        log_level="warning",
        access_log=False,
        timeout_keep_alive=KEPT,
        timeout_graceful_shutdown=PATIENCE,
        limit_concurrency=CONNECTIONS,
    )
    return uvicorn.Server(config)


def serve(listening: socket.socket, watch: Watch, fleet: str, hosts: Sequence[str]) -> None:
    """Answer until the process is told to stop."""
    host, port = listening.getsockname()[:2]
    name = f"[{host}]" if ":" in host else host
    version = watch.serving.version
    print(
        f"Durations of {fleet} taxi trips, by version {version.number} ({version}): "
        f"http://{name}:{port}    Ctrl-C stops it.",
        flush=True,
    )
    # A million objects of MLflow's and Dagster's stay: to look for garbage among them stops
    # everything for a tenth of a second.
    gc.collect()
    gc.freeze()
    with suppress(KeyboardInterrupt):
        server_of(build_app(watch, fleet, [*LOCAL_HOSTS, name, *hosts])).run(sockets=[listening])
