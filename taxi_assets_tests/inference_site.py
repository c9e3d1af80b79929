"""Answers without MLflow: models whose answers can be worked out by hand, and a server for them."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
from fastapi import FastAPI

from taxi_assets.durations.inference import split_up
from taxi_assets.durations.promotion import Version
from taxi_assets.serving.app import LOCAL_HOSTS, build_app
from taxi_assets.serving.server import listen, server_of
from taxi_assets.serving.watch import Watch
from taxi_assets.tlc.months import Month
from taxi_assets.tracking.champions import Serving

if TYPE_CHECKING:
    from taxi_assets.tracking.served_model import TripDuration


class HandModel:
    """Minutes are 20, an hour's number more on working days; less a zone's tenth to, and more."""

    def __init__(self, more: float = 0, asked: Callable[[], None] = lambda: None) -> None:
        self.more = more
        self.asked = asked
        self.rows: list[int] = []

    def answer_cells(self, cells: Any) -> Any:
        self.rows.append(len(cells))
        self.asked()
        pickup, dropoff, band = split_up(cells)
        minutes = self.more + 20.0 + np.where(band < 24, band, 0)
        return np.array([minutes, minutes - pickup / 10, minutes + dropoff / 10])

    def answer(self, cells: Any, known: Any) -> Any:
        return np.where(known, self.answer_cells(cells), np.array([[self.more + 5.0], [4], [6]]))


def version(number: int, model: object, family: str = "boosted") -> Serving:
    made = Version(number, Month(2023, number), family, f"run{number}", created=1000.0)
    return Serving(made, cast("TripDuration", model))


class Champions:
    """Who is champion, as MLflow would say; may be set to another, or to an error."""

    def __init__(self, first: Serving) -> None:
        self.now: Serving | Exception = first
        self.reports: list[str] = []
        self.time = 5000.0
        self.watch = Watch(self.load, self.reports.append, lambda: self.time)

    def load(self) -> Serving:
        if isinstance(self.now, Exception):
            raise self.now
        return self.now

    def app(self) -> FastAPI:
        return build_app(self.watch, "green", (*LOCAL_HOSTS, "testserver"))


class Site(NamedTuple):
    port: int
    url: str


@contextmanager
def served(app: FastAPI) -> Iterator[Site]:
    """The application on a port of its own, for a block."""
    listening = listen("127.0.0.1", 0)
    server = server_of(app)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    port = listening.getsockname()[1]
    try:
        yield Site(port, f"http://127.0.0.1:{port}")
    finally:
        server.should_exit = True
        thread.join()
        listening.close()
