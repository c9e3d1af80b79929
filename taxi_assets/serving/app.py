"""The addresses: one trip, many, a week of them, the zones, how things are, and two pages."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from fastapi import FastAPI
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from taxi_assets.durations.promotion import Version
from taxi_assets.reporting.zone_names import Zones
from taxi_assets.serving import shapes
from taxi_assets.serving.answering import Answering, Minutes, Watch
from taxi_assets.serving.asking import read_list, read_question, show_hour
from taxi_assets.serving.pages import page
from taxi_assets.serving.questions import Places, QuestionError
from taxi_assets.tlc.zones import LAST_ZONE
from taxi_assets.tracking.asked import RefusedError, read_cells

CHUNK = 100
"""Questions of a list that are answered before others get their turn: 25 ms without times."""

HOURS = [show_hour(hour) for hour in range(168)]

REFUSED: dict[int | str, dict[str, Any]] = {
    400: {"model": shapes.Refusal, "description": "It cannot be meant"}
}


def build_app(watch: Watch, fleet: str, zones: Zones) -> FastAPI:
    """The application.

    Requests are read and answered on the event loop's one thread, and FastAPI validates nothing:
    it would refuse in words of its own, and take longer than the model. It describes the
    addresses.

    Args:
        watch: has the version that answers; its looking begins and ends with the application.
        fleet: whose trips they are.
        zones: TLC's names, as far as they are known.
    """
    places = Places({number: zone.name for number, zone in zones.items()})
    known_zones = [
        {"id": zone, "name": places.name(zone), "borough": zones.borough(str(zone))}
        for zone in range(1, LAST_ZONE + 1)
    ]

    @asynccontextmanager
    async def looking(_: FastAPI) -> AsyncIterator[None]:
        with watch.looking():
            yield

    # FastAPI's own /docs load their script and style from a CDN, and stay white without it.
    app = FastAPI(
        title=f"Durations of {fleet} taxi trips",
        version="1",
        docs_url=None,
        redoc_url=None,
        lifespan=looking,
    )

    def place(zone: int) -> dict[str, Any]:
        return {"id": zone, "name": places.name(zone)}

    @app.get("/duration", responses={200: {"model": shapes.Answer}, **REFUSED},
             openapi_extra={"parameters": [*shapes.PAIR, shapes.TIME]})  # fmt: skip
    async def duration(request: Request) -> Response:
        """How long a trip between two zones takes."""
        asked = read_question(request.query_params, places)
        answering = watch.answering
        return respond(
            {
                "from": place(asked.pickup),
                "to": place(asked.dropoff),
                "at": None if asked.hour is None else HOURS[asked.hour],
                **answering.one(*asked)._asdict(),
                "model": describe(answering.version),
            }
        )

    @app.post("/durations", responses={200: {"model": list[shapes.Minutes]}, **REFUSED},
              openapi_extra={"requestBody": shapes.QUESTIONS})  # fmt: skip
    async def durations(request: Request) -> Response:
        """How long many trips take, in order, all by one version, which a header names."""
        asked = await read_list(request)
        answering = watch.answering
        answers = [] if asked == [] else await answer_in_turns(answering, asked)
        version = str(answering.version.number)
        return respond([one._asdict() for one in answers], headers={"Model-Version": version})

    @app.get("/week", responses={200: {"model": shapes.Week}, **REFUSED},
             openapi_extra={"parameters": shapes.PAIR})  # fmt: skip
    async def week(request: Request) -> Response:
        """How long a trip takes by the 168 hours of the week, from Monday midnight on."""
        asked = read_question(request.query_params, places, timed=False)
        answering = watch.answering
        columns = answering.week(asked.pickup, asked.dropoff).tolist()
        return respond(
            {
                "from": place(asked.pickup),
                "to": place(asked.dropoff),
                "hours": HOURS,
                **dict(zip(Minutes._fields, columns, strict=True)),
                "model": describe(answering.version),
            }
        )

    @app.get("/zones", responses={200: {"model": list[shapes.ZoneWithBorough]}})
    async def all_zones() -> Response:
        """TLC's taxi zones, and their names as far as they are known here."""
        return respond(known_zones)

    @app.get("/health", responses={200: {"model": shapes.Health}})
    async def health() -> Response:
        """Which version answers, how old it is, and when it was last seen who is champion."""
        now, version = watch.clock(), watch.answering.version
        return respond(
            {
                "status": "ok" if watch.problem is None else "stale",
                "fleet": fleet,
                "model": describe(version),
                "age_seconds": round(now - version.created, 1),
                "serving_since": show_time(watch.since),
                "looked_at": show_time(watch.looked_at),
                "seconds_since_look": round(now - watch.looked_at, 1),
                "problem": watch.problem,
            }
        )

    # What is asked most goes past FastAPI, which only describes it: half of an answer's time.
    app.router.routes.insert(0, Route("/duration", duration, include_in_schema=False))
    for address, name in {"/": "page.html", "/docs": "docs.html"}.items():
        app.add_route(address, page(name), include_in_schema=False)
    app.add_exception_handler(QuestionError, refuse)
    app.add_exception_handler(RefusedError, refuse)
    app.add_exception_handler(ClientDisconnect, refuse)
    return app


async def answer_in_turns(answering: Answering, asked: Any) -> list[Minutes]:
    """The answers for a list of questions, a few at a time.

    Raises:
        RefusedError: a value cannot be meant; the message names its row and column.
    """
    cells, known = read_cells(asked)
    answers: list[Minutes] = []
    for first in range(0, len(cells), CHUNK):
        chosen = slice(first, first + CHUNK)
        answers += answering.many(cells[chosen], known[chosen])
        await asyncio.sleep(0)
    return answers


async def refuse(_: Request, error: Exception) -> Response:
    """What to say of a request that cannot be meant; nobody hears it who has hung up."""
    return respond({"detail": str(error)}, status=400)


def respond(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Anything as JSON, in ASCII: what was asked may have characters that no encoding takes."""
    return Response(json.dumps(content), status, headers, "application/json")


def describe(version: Version) -> dict[str, Any]:
    """A version as answers name it."""
    return {"version": version.number, "month": str(version.month), "family": version.family}


def show_time(seconds: float) -> str:
    """Seconds since 1970 as ISO has them, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
