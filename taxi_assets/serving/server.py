"""The server of the champion's answers: where it listens, and its limits."""

import gc
import socket
from collections.abc import Sequence
from contextlib import suppress

import uvicorn
from fastapi import FastAPI

from taxi_assets.errors import MonthError
from taxi_assets.serving.app import LOCAL_HOSTS, build_app
from taxi_assets.serving.watch import Watch
from taxi_assets.tracking.champions import Champions
from taxi_assets.tracking.server import TrackingServer

KEPT = 75
"""Seconds that an idle connection is kept: longer than proxies do, so that none is cut off."""

CONNECTIONS = 500
"""Connections at a time; further ones are told to come again."""

PATIENCE = 5
"""Seconds that connections have to end when the server is stopped."""


class UnusablePortError(MonthError):
    """The address that the server should listen at is taken, or not this machine's."""


class UnclearFleetError(MonthError):
    """Nobody has said whose trips are to be served, and not exactly one fleet has a champion."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 is any that is free.

    Raises:
        UnusablePortError: there is none to be had there.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise UnusablePortError(
            f"Nothing can listen at {host}, port {port} ({why}). Choose another port: make serve "
            "SERVE_PORT=8081, or taxi-assets serve --port 8081."
        ) from None


def fleet_to_serve(tracking: TrackingServer, fleets: Sequence[str]) -> str:
    """The fleet that has a champion.

    Raises:
        UnclearFleetError: none has one, or several have.
    """
    serving = [name for name in fleets if Champions(tracking, name).standing().champion is not None]
    if not serving:
        raise UnclearFleetError(
            f"None of the fleets has a champion: {', '.join(fleets)}. Make two months that follow "
            "each other, with all assets of a fleet, as make demo does; or name a fleet and a "
            "version: taxi-assets serve --fleet FLEET --model VERSION."
        )
    if len(serving) > 1:
        raise UnclearFleetError(
            f"Several fleets have a champion: {', '.join(serving)}. Choose one: make serve "
            f"FLEET={serving[0]}, or taxi-assets serve --fleet {serving[0]}."
        )
    return serving[0]


def server_of(app: FastAPI) -> uvicorn.Server:
    """The server of the application, with its limits."""
    config = uvicorn.Config(
        app,
        http="h11",
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
