"""The command that serves the champion's answers, and a page to ask on.

::

    python -m taxi_assets.serving.server --fleet green

Ctrl-C stops it.
"""

import argparse
import errno
import gc
import os
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

import uvicorn

from taxi_assets.errors import MonthError
from taxi_assets.reporting.zone_names import ZoneNames
from taxi_assets.serving.answering import Watch
from taxi_assets.serving.app import build_app
from taxi_assets.settings import Settings, SettingsError
from taxi_assets.storage.files import Storage
from taxi_assets.tlc.fleets import FLEETS
from taxi_assets.tlc.sources import trip_sources
from taxi_assets.tracking.champions import load_serving
from taxi_assets.tracking.servers import TrackingServer, try_mlflow_briefly

KEPT = 75
"""Seconds that an idle connection is kept: longer than proxies do, so that none is cut off."""

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
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise UnusablePortError(
                f"Port {port} is taken, answers need another: make serve SERVE_PORT={port + 1}, "
                f"or --port {port + 1}."
            ) from None
        why = getattr(error, "strerror", None) or error
        raise UnusablePortError(f"Nothing can listen at {host}, port {port} ({why}).") from None


def serve(listening: socket.socket, watch: Watch, settings: Settings, fleet: str) -> None:
    """Answer until the process is told to stop."""
    source = trip_sources(settings.trip_source, settings.synthetic_trips).of(FLEETS[fleet])
    app = build_app(watch, fleet, ZoneNames(source, Storage(settings.storage)).zones)
    host, port = listening.getsockname()[:2]
    version = watch.answering.version
    print(
        f"Durations of {fleet} taxi trips, by version {version.number} ({version}): "
        f"http://{f'[{host}]' if ':' in host else host}:{port}    Ctrl-C stops it.",
        flush=True,
    )
    # A million objects of MLflow's and Dagster's stay: to look for garbage among them stops
    # everything for a tenth of a second.
    gc.collect()
    gc.freeze()
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        timeout_keep_alive=KEPT,
        timeout_graceful_shutdown=PATIENCE,
    )
    with suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listening])


def main(arguments: Sequence[str] | None = None) -> None:
    """Load the champion and serve it."""
    parser = argparse.ArgumentParser(
        prog="python -m taxi_assets.serving.server",
        description="Serve the champion's answers, and a page to ask on.",
    )
    parser.add_argument("--fleet", choices=FLEETS, help="the first of TAXI_FLEET, if not given")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen at")
    parser.add_argument("--port", type=int, default=8080, help="0 is any that is free")
    parser.add_argument("--model", type=int, metavar="VERSION", help="instead of the champion")
    chosen = parser.parse_args(arguments)
    try:
        settings = Settings.from_environment()
    except SettingsError as error:
        parser.error(error.message)
    fleet = chosen.fleet or settings.fleets[0].name
    try_mlflow_briefly()
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    try:
        with listen(chosen.host, chosen.port) as listening:
            server = TrackingServer(settings.tracking_uri)
            watch = Watch(
                partial(load_serving, server, fleet, chosen.model), partial(print, flush=True)
            )
            serve(listening, watch, settings, fleet)
    except MonthError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
