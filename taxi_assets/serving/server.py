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

KEPT = 75
"""Seconds that an idle connection is kept: longer than proxies do, so that none is cut off."""

CONNECTIONS = 500
"""Connections at a time; further ones are told to come again."""

PATIENCE = 5
"""Seconds that connections have to end when the server is stopped."""


class UnusablePortError(MonthError):
    """The address that the server should listen at is taken, or not this machine's."""


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
