"""The addresses: one trip, a list of trips, a week, a map, the zones, the health, and two pages."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import fastapi_offline
from fastapi import Body, FastAPI, Query, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.routing import APIRoute
from fastapi.staticfiles import StaticFiles
from pydantic import FailFast
from starlette.middleware.trustedhost import TrustedHostMiddleware

from taxi_assets.durations.predictions import MINUTES
from taxi_assets.serving.inference import predict_trips, predict_week
from taxi_assets.serving.pages import map_page, page
from taxi_assets.serving.parsing import show_hour
from taxi_assets.serving.schemas import (
    Answer,
    Health,
    Map,
    Minutes,
    Model,
    PairQuery,
    Place,
    StartQuery,
    Trip,
    TripQuery,
    Week,
)
from taxi_assets.serving.validation import JSON_TYPE, SENDING, StrictRoute, refuse
from taxi_assets.serving.watch import Watch
from taxi_assets.tlc.zones import ZONES

LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")

LARGEST_BODY = 2 << 20
"""Bytes of a list of trips."""

LONGEST_LIST = 10_000

LIST_REFUSALS: dict[int | str, dict[str, Any]] = {
    408: {"description": f"The list did not arrive within {SENDING} seconds"},
    413: {"description": f"The list has more than {LARGEST_BODY:,} bytes"},
    415: {"description": f"The Content-Type is not {JSON_TYPE}"},
    503: {"description": "Other lists are being answered: try again in a second"},
}

HOURS: Mapping[int | None, str] = {hour: show_hour(hour) for hour in range(168)}
STATIC = "/static"


def build_app(watch: Watch, fleet: str, hosts: Sequence[str] = LOCAL_HOSTS) -> FastAPI:
    """The application.

    Args:
        watch: has the version that answers; it looks for another while the application runs.
        fleet: whose trips they are.
        hosts: names that requests may be addressed to.
    """

    @asynccontextmanager
    async def looking(_: FastAPI) -> AsyncIterator[None]:
        with watch.looking():
            yield

    app = FastAPI(
        title=f"Durations of {fleet} taxi trips",
        version="1",
        docs_url=None,
        redoc_url=None,
        lifespan=looking,
        max_body_size=LARGEST_BODY,
    )
    app.router.route_class = StrictRoute
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*hosts], www_redirect=False)
    app.add_exception_handler(RequestValidationError, refuse)

    @app.get("/duration")
    async def duration(trip: Annotated[TripQuery, Query()]) -> Answer:
        """How long a trip between two zones takes."""
        serving = watch.serving
        minutes = predict_trips(serving, [trip.pickup], [trip.dropoff], [trip.hour])
        return Answer(
            pickup=Place.of(trip.pickup),
            dropoff=Place.of(trip.dropoff),
            at=HOURS.get(trip.hour),
            model=Model.of(fleet, serving.version),
            **_named(minutes[:, 0].tolist()),
        )

    @app.post("/durations", responses=LIST_REFUSALS)
    def durations(
        trips: Annotated[list[Trip], FailFast(), Body(max_length=LONGEST_LIST)], response: Response
    ) -> list[Minutes]:
        """How long trips take, in order. Headers name the fleet, the version and its month."""
        serving = watch.serving
        response.headers["Model-Fleet"] = fleet
        response.headers["Model-Version"] = str(serving.version.number)
        response.headers["Model-Month"] = str(serving.version.month)
        minutes = predict_trips(
            serving,
            [trip.pickup for trip in trips],
            [trip.dropoff for trip in trips],
            [trip.hour for trip in trips],
        )
        return [Minutes(**_named(of_trip)) for of_trip in minutes.T.tolist()]

    @app.get("/week")
    async def week(pair: Annotated[PairQuery, Query()]) -> Week:
        """How long a trip takes by the 168 hours of the week, from Monday midnight on."""
        serving = watch.serving
        return Week(
            pickup=Place.of(pair.pickup),
            dropoff=Place.of(pair.dropoff),
            hours=list(HOURS.values()),
            model=Model.of(fleet, serving.version),
            **_named(predict_week(serving, pair.pickup, pair.dropoff).tolist()),
        )

    @app.get("/map")
    async def durations_to_all(start: Annotated[StartQuery, Query()]) -> Map:
        """How long trips from one zone take to all zones."""
        serving, zones = watch.serving, list(ZONES)
        starts, hours = [start.pickup] * len(zones), [start.hour] * len(zones)
        return Map(
            pickup=Place.of(start.pickup),
            at=HOURS.get(start.hour),
            zones=zones,
            model=Model.of(fleet, serving.version),
            **_named(predict_trips(serving, starts, zones, hours).tolist()),
        )

    places = [Place.of(zone) for zone in ZONES]

    @app.get("/zones")
    async def zones() -> list[Place]:
        """TLC's taxi zones."""
        return places

    @app.get("/health")
    async def health() -> Health:
        """Which version answers, how old it is, and when the registry was last read."""
        now, version = watch.clock(), watch.serving.version
        return Health(
            status="ok" if watch.problem is None else "stale",
            fleet=fleet,
            model=Model.of(fleet, version),
            age_seconds=round(now - version.created, 1),
            serving_since=_show_time(watch.since),
            looked_at=_show_time(watch.looked_at),
            seconds_since_look=round(now - watch.looked_at, 1),
            problem=watch.problem,
        )

    documents = get_swagger_ui_html(
        openapi_url="openapi.json",
        title=app.title,
        swagger_js_url=f".{STATIC}/swagger-ui-bundle.js",
        swagger_css_url=f".{STATIC}/swagger-ui.css",
        swagger_favicon_url=f".{STATIC}/favicon.png",
    )
    app.add_route("/", page(map_page(fleet)), include_in_schema=False)
    app.add_route("/docs", page(bytes(documents.body).decode()), include_in_schema=False)
    static = Path(fastapi_offline.__file__).parent / "static"
    app.mount(STATIC, StaticFiles(directory=static))
    app.openapi()  # Before HEAD is added, which is the same for every GET.
    for route in app.routes:
        if isinstance(route, APIRoute) and route.methods == {"GET"}:
            route.methods.add("HEAD")
    return app


def _named(values: Sequence[Any]) -> dict[str, Any]:
    """Minutes, lower and upper bounds by their names in answers."""
    return dict(zip(MINUTES, values, strict=True))


def _show_time(seconds: float) -> str:
    """Seconds since 1970 as ISO has them, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
