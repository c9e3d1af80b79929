"""The champion's answers over HTTP: one trip, many, refusals, and how one champion follows another.

Browsers are another file.
"""

import json
import re
import shutil
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import requests
import uvicorn
from click.testing import CliRunner
from fastapi.testclient import TestClient
from httpx import Response

from taxi_assets.cli import main
from taxi_assets.durations import boosted as trees
from taxi_assets.durations.boosted_month import fit_boosted_month, servable_boosted
from taxi_assets.durations.cleaning import clean_trips
from taxi_assets.durations.predictions import MINUTES
from taxi_assets.durations.sums import group_by_hourly_pair
from taxi_assets.durations.window import training_window
from taxi_assets.errors import MonthError
from taxi_assets.serving import server, validation
from taxi_assets.serving.app import LOCAL_HOSTS, LONGEST_LIST, build_app
from taxi_assets.tlc.fleets import FLEETS
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.parquet import open_parquet
from taxi_assets.tlc.synthetic import write_month
from taxi_assets.tracking.champions import load_serving
from taxi_assets.tracking.packaging import write_model
from taxi_assets.tracking.registry import registered_name
from taxi_assets.tracking.served_model import TripDuration
from taxi_assets.tracking.server import TrackingServer, UnreachableTrackingError
from taxi_assets_tests.inference_site import Champions, HandModel, Site, served, version

pytestmark = pytest.mark.filterwarnings("ignore:.*An input example was not provided")

FRIDAY = "2023-04-07T17:00"
MARCH = Month(2023, 3)


@pytest.fixture(scope="module")
def arrays(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A boosted model of few trees and an invented month."""
    path = Path(tmp_path_factory.mktemp("month")) / "month.parquet"
    write_month(path, FLEETS["green"], MARCH, 5_000)
    trips = clean_trips(open_parquet(path), FLEETS["green"], MARCH).trips
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trees, "MEAN_ROUNDS", 5)
        patch.setattr(trees, "VARIANCE_ROUNDS", 3)
        window = training_window(MARCH, [(MARCH, group_by_hourly_pair(trips))])
        return servable_boosted(fit_boosted_month(window, lambda: trips))


@pytest.fixture(scope="module")
def model(arrays: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> TripDuration:
    options = write_model(tmp_path_factory.mktemp("model"), arrays)
    model = TripDuration()
    model.load_context(
        SimpleNamespace(artifacts=options["artifacts"], model_config=options["model_config"])
    )
    return model


@pytest.fixture
def champions() -> Champions:
    return Champions(version(1, HandModel()))


@pytest.fixture
def client(champions: Champions) -> Iterator[TestClient]:
    with TestClient(champions.app()) as client:
        yield client


JFK = {"id": 132, "name": "JFK Airport", "borough": "Queens"}
FIRST = {"fleet": "green", "version": 1, "month": "2023-01", "family": "boosted"}
JSON = {"content-type": "application/json"}
HEAD = b"POST /durations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


def post(client: TestClient, trips: Any) -> Response:
    return client.post("/durations", content=json.dumps(trips), headers=JSON)


def problems(response: Response) -> list[tuple[Any, str]]:
    """What a refusal names, and what it says of it."""
    assert response.status_code == 422
    assert response.content.isascii()
    detail = response.json()["detail"]
    assert all(set(problem) == {"type", "loc", "msg"} for problem in detail)
    return [(problem["loc"][-1], problem["msg"]) for problem in detail]


@pytest.mark.parametrize(
    ("query", "at", "minutes"),
    [
        ("from=132&to=230&at=2023-04-07T17:00", "Fri 17:00", (37.0, 23.8, 60.0)),
        ("from=JFK Airport&to=times sq&at=Fri 17:00", "Fri 17:00", (37.0, 23.8, 60.0)),
        ("from=jfk&to= 230 &at=2023-04-07 17:59:59", "Fri 17:00", (37.0, 23.8, 60.0)),
        ("from=0132&to=230&at=friday 17", "Fri 17:00", (37.0, 23.8, 60.0)),
        ("from=132&to=230&at=Sun 17:00", "Sun 17:00", (20.0, 20 - 13.2, 43.0)),
        ("from=132&to=230", None, (5.0, 4.0, 6.0)),
        ("from=132&to=230&at=", None, (5.0, 4.0, 6.0)),
    ],
)
def test_a_trip_is_asked_for_by_numbers_or_names_and_a_time_or_none(
    client: TestClient, query: str, at: str | None, minutes: tuple[float, ...]
) -> None:
    response = client.get(f"/duration?{query}")
    assert response.status_code == 200
    assert response.json() == {
        "from": JFK,
        "to": {"id": 230, "name": "Times Sq/Theatre District", "borough": "Manhattan"},
        "at": at,
        "model": FIRST,
        **dict(zip(MINUTES, minutes, strict=True)),
    }


def test_a_list_is_answered_in_order_by_either_kind_of_names(client: TestClient) -> None:
    response = post(
        client,
        [
            {"from": 132, "to": 230, "at": "Fri 17:00"},
            {"PULocationID": 132.0, "DOLocationID": "230", "pickup_datetime": ""},
            {"from": "10", "DOLocationID": 20, "pickup_datetime": "2023-04-08 17:00:00"},
            {"from": "jfk", "to": "times sq", "at": None},
        ],
    )
    named = [response.headers[f"model-{name}"] for name in ("fleet", "version", "month")]
    assert named == ["green", "1", "2023-01"]
    assert response.json() == [
        {"minutes": 37.0, "minutes_p10": 23.8, "minutes_p90": 60.0},
        {"minutes": 5.0, "minutes_p10": 4.0, "minutes_p90": 6.0},
        {"minutes": 20.0, "minutes_p10": 19.0, "minutes_p90": 22.0},
        {"minutes": 5.0, "minutes_p10": 4.0, "minutes_p90": 6.0},
    ]
    assert post(client, []).json() == []


def test_a_week_has_an_answer_for_each_hour(client: TestClient) -> None:
    week = client.get("/week", params={"from": "jfk", "to": 230}).json()
    columns = ("hours", "minutes", "minutes_p10", "minutes_p90")
    assert {len(week[name]) for name in columns} == {168}
    assert week["hours"][:2] + week["hours"][-1:] == ["Mon 00:00", "Mon 01:00", "Sun 23:00"]
    assert week["minutes"] == [20.0 + hour for hour in range(24)] * 5 + [20.0] * 48
    friday = week["hours"].index("Fri 17:00")
    assert (week["minutes_p10"][friday], week["minutes_p90"][friday]) == (23.8, 60.0)
    assert (week["from"]["id"], week["to"]["id"], week["model"]["version"]) == (132, 230, 1)


def test_a_map_has_an_answer_for_each_zone_by_one_call_of_the_model(champions: Champions) -> None:
    model = HandModel()
    champions.watch.serving = version(1, model)
    client = TestClient(champions.app())
    city = client.get("/map", params={"from": "jfk", "at": "Fri 17:00"}).json()
    assert model.rows == [265]
    assert city == {
        "from": JFK,
        "at": "Fri 17:00",
        "zones": list(range(1, 266)),
        "minutes": [37.0] * 265,
        "minutes_p10": [37 - 13.2] * 265,
        "minutes_p90": [37 + zone / 10 for zone in range(1, 266)],
        "model": FIRST,
    }
    city = client.get("/map?from=230").json()
    assert (city["at"], city["from"]["id"], {*city["minutes"]}) == (None, 230, {5.0})
    assert problems(client.get("/map?from=266&to=1&at=noon")) == [
        ("from", NUMBERS),
        ("at", TIME),
        ("to", UNKNOWN),
    ]


def test_zones_have_their_names(client: TestClient) -> None:
    zones = client.get("/zones").json()
    assert [zone["id"] for zone in zones] == list(range(1, 266))
    assert zones[131] == JFK


@pytest.mark.parametrize(
    "address",
    [
        "/",
        "/docs",
        "/health",
        "/zones",
        "/duration?from=1&to=2",
        "/week?from=1&to=2",
        "/map?from=1",
    ],
)
def test_head_gives_the_headers_of_get(client: TestClient, address: str) -> None:
    head, get = client.head(address), client.get(address)
    assert head.status_code == 200
    assert head.headers["content-type"] == get.headers["content-type"]


def test_answers_are_the_models_own(model: TripDuration) -> None:
    """The service reads zones and times itself, the model reads the columns of a table."""
    client = TestClient(Champions(version(1, model)).app())
    choice = np.random.default_rng(1)
    trips = pd.DataFrame(
        choice.integers(1, 266, (168, 2)), columns=["PULocationID", "DOLocationID"]
    )
    hours = pd.date_range("2023-04-03", periods=168, freq="h").strftime("%Y-%m-%dT%H:%M")
    trips["pickup_datetime"] = hours.where(np.arange(168) % 4 > 0, "")
    expected = model.predict(None, trips)
    assert post(client, trips.to_dict("records")).json() == expected.to_dict("records")
    week = client.get("/week?from=132&to=230").json()
    by_hour = model.predict(None, pd.DataFrame({"PULocationID": 132, "DOLocationID": 230,
                                                "pickup_datetime": hours}))  # fmt: skip
    assert {name: week[name] for name in by_hour} == by_hour.to_dict("list")


TIME = "A time is on New York's clock, without an offset, such as Fri 17:00 or 2023-04-07T17:00."
NUMBERS = "TLC numbers its zones from 1 to 265."
ZONE = "A zone is a number from 1 to 265, or a name"
UNKNOWN = "Extra inputs are not permitted"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {"from": "Field required", "to": "Field required"}),
        ("from=132&from=1&to=1", {"from": "The parameter is repeated"}),
        ("from=132&to=1&at=Fri 17:00&at=", {"at": "The parameter is repeated"}),
        ("from=132&to=1&lpep_pickup_datetime=x", {"lpep_pickup_datetime": UNKNOWN}),
        ("PULocationID=132&to=1", {"from": "Field required", "PULocationID": UNKNOWN}),
        ("from=266&to=0", {"from": NUMBERS, "to": NUMBERS}),
        ("from=Narnia&to=xyzzy", {"from": "No zone has this name. Similar are", "to": "No zone"}),
        ("from=1&to=airport", {"to": "Several zones have this in their names: Newark Airport (1)"}),
        ("from=1&to=JKF Airprt", {"to": "No zone has this name. Similar are JFK Airport (132)"}),
        ("from=%ff%00&to=1", {"from": "No zone has this name."}),
        ("from=132&to=&at=noon", {"to": ZONE, "at": TIME}),
        ("from=1&to=1&at=2023-04-07T17:00-04:00", {"at": TIME}),
        (f"from=1&to=1&{'x' * 5000}=1", {"x" * 40: UNKNOWN}),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(
    client: TestClient, query: str, expected: dict[str, str]
) -> None:
    refused = problems(client.get(f"/duration?{query}"))
    assert [name for name, _ in refused] == list(expected)
    assert all(message.startswith(expected[name]) for name, message in refused)


@pytest.mark.parametrize(
    ("trip", "expected"),
    [
        ({"from": 132.5}, {"from": ZONE, "to": "Field required"}),
        ({"from": True, "to": None}, {"from": ZONE, "to": ZONE}),
        ({"from": {}, "to": [132]}, {"from": ZONE, "to": ZONE}),
        ({"from": 2**70, "to": 10**4000}, {"from": NUMBERS, "to": NUMBERS}),
        ({"from": "\ud800", "to": 1}, {"from": "No zone has this name."}),
        ({"from": "x" * 100_000, "to": 1, "at": 17}, {"from": "No zone has this", "at": TIME}),
        ({"from": 1, "to": 1, "PULocationID": 2}, {"PULocationID": UNKNOWN}),
        ("132", {1: "Input should be a valid dictionary"}),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_trip_of_a_list_is_refused_by_its_place_and_name(
    client: TestClient, trip: Any, expected: dict[Any, str]
) -> None:
    response = post(client, [{"from": 1, "to": 2}, trip])
    refused = problems(response)
    assert [name for name, _ in refused] == list(expected)
    assert all(message.startswith(expected[name]) for name, message in refused)
    assert {problem["loc"][1] for problem in response.json()["detail"]} == {1}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "Field required"),
        (b'[{"from": 13', "JSON decode error: Expecting"),
        (b"\xff\xfe\xff", "JSON decode error: 'utf-"),
        (b"[" * 100_000, "JSON decode error: "),
        (b"9" * 5_000, "JSON decode error: "),
        (b'[{"from": NaN, "to": 1}]', ZONE),
        (b'[{"from": 1, "from": 2, "to": 1}]', "JSON decode error: a field is repeated"),
        (b"[{}" + b",{}" * LONGEST_LIST + b"]", "Field required"),
        (b'{"PULocationID": [1], "DOLocationID": [1]}', "Input should be a valid list"),
    ],
    ids=["nothing", "cut off", "no text", "deep", "long", "NaN", "twice", "many", "no list"],
)
def test_what_is_no_list_of_trips_is_refused(
    client: TestClient, content: bytes, expected: str
) -> None:
    ((_, message), *_) = problems(client.post("/durations", content=content, headers=JSON))
    assert message.startswith(expected)


def test_a_list_has_at_most_ten_thousand_trips_and_two_megabytes(client: TestClient) -> None:
    trips = [{"from": 1, "to": 2}] * (LONGEST_LIST + 1)
    assert len(post(client, trips[1:]).json()) == LONGEST_LIST
    ((_, message),) = problems(post(client, trips))
    assert message.startswith("List should have at most 10000 items")
    large = client.post("/durations", content=b" " * ((2 << 20) + 1), headers=JSON)
    assert large.status_code == 413


def test_a_body_is_taken_as_json_only_if_it_says_so(client: TestClient) -> None:
    """A page of another site can send forms and text, but no such header."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        headers = {"content-type": kind} if kind else {}
        response = client.post("/durations", content=b'[{"from": 1, "to": 2}]', headers=headers)
        assert response.status_code == 415
        assert response.json() == {"detail": "The Content-Type must be application/json."}


@pytest.mark.parametrize("address", ["/health", "/zones", "/week", "/durations"])
def test_no_address_takes_a_parameter_that_it_does_not_know(
    client: TestClient, address: str
) -> None:
    ask = partial(client.post, headers=JSON) if address == "/durations" else client.get
    assert ("x", UNKNOWN) in problems(ask(address, params={"x": 1}))


def test_a_refusal_tells_ten_problems_at_most(client: TestClient) -> None:
    assert len(problems(client.get("/duration?" + "&".join(f"x{at}=1" for at in range(30))))) == 10


def connected(site: Site) -> socket.socket:
    return socket.create_connection(("127.0.0.1", site.port), timeout=20)


def test_further_lists_are_told_to_come_again_before_they_are_read(champions: Champions) -> None:
    begun, go_on = threading.Semaphore(0), threading.Event()

    def wait() -> None:
        begun.release()
        assert go_on.wait(20)

    with served(champions.app()) as site, ThreadPoolExecutor() as pool:
        champions.watch.serving = version(1, HandModel(asked=wait))
        url = f"{site.url}/durations"
        trips = [{"from": 132, "to": 230, "at": "Fri 17:00"}]
        first = [pool.submit(requests.post, url, json=trips, timeout=20) for _ in range(2)]
        assert all(begun.acquire(timeout=20) for _ in first)
        with connected(site) as unsent:
            unsent.sendall(HEAD + b"Content-Length: 999\r\n\r\n")
            answer = unsent.recv(1000).decode()
        assert answer.startswith("HTTP/1.1 503 ")
        assert "retry-after: 1" in answer
        assert requests.get(f"{site.url}/health", timeout=20).status_code == 200
        go_on.set()
        assert [sent.result().json()[0]["minutes"] for sent in first] == [37.0, 37.0]
        assert requests.post(url, json=trips, timeout=20).status_code == 200


def test_who_is_slow_or_silent_is_cut_off(
    champions: Champions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "DEADLINE", 0.2)
    begun = HEAD + b"Content-Length: 999\r\n\r\n["
    whole = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with served(champions.app()) as site:
        for sent in (b"", b"GET /hea", begun, whole + begun):
            with connected(site) as connection:
                connection.sendall(sent)
                with suppress(ConnectionResetError):
                    answer = b"".join(iter(lambda: connection.recv(1000), b""))
                    assert answer.startswith(b"HTTP/1.1 200" if whole in sent else b"")
                    assert answer.count(b"HTTP/1.1") == (whole in sent)
        with requests.Session() as kept:
            for _ in range(3):
                assert kept.get(f"{site.url}/health", timeout=20).status_code == 200


def test_endless_headers_are_cut_off(champions: Champions) -> None:
    with (
        served(champions.app()) as site,
        connected(site) as connection,
        pytest.raises((ConnectionResetError, BrokenPipeError)),
    ):
        connection.sendall(b"GET /health HTTP/1.1\r\n")
        for _ in range(200):
            connection.sendall(b"X: " + b"x" * 50_000 + b"\r\n")


def test_a_body_that_does_not_come_is_not_waited_for(
    champions: Champions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others' lists would wait, too."""
    monkeypatch.setattr(validation, "SENDING", 0.1)
    with served(champions.app()) as site, connected(site) as connection:
        connection.sendall(HEAD + b"Content-Length: 999\r\n\r\n[")
        assert connection.recv(1000).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost:8080", 200), ("[::1]:8080", 200), ("taxi.example", 200), ("evil.example", 400)],
)
def test_only_known_hosts_are_answered(champions: Champions, host: str, status: int) -> None:
    app = build_app(champions.watch, "green", [*LOCAL_HOSTS, "taxi.example"])
    client = TestClient(app, base_url=f"http://{host}")
    assert client.get("/health").status_code == status


def test_health_says_version_and_age_and_since_when_nobody_could_look(
    champions: Champions, client: TestClient
) -> None:
    healthy = {
        "status": "ok",
        "fleet": "green",
        "model": FIRST,
        "age_seconds": 4000.0,
        "serving_since": "1970-01-01T01:23:20+00:00",
        "looked_at": "1970-01-01T01:23:20+00:00",
        "seconds_since_look": 0.0,
        "problem": None,
    }
    assert client.get("/health").json() == healthy

    champions.now = UnreachableTrackingError("MLflow at http://models fails (away).")
    for champions.time in (5030.0, 5060.0):
        champions.watch.look()
    assert client.get("/health").json() == healthy | {
        "status": "stale",
        "age_seconds": 4060.0,
        "seconds_since_look": 60.0,
        "problem": "MLflow at http://models fails (away).",
    }
    assert client.get("/duration?from=132&to=230").json()["minutes"] == 5.0
    champions.now = ZeroDivisionError("a mistake")
    champions.watch.look()
    assert client.get("/health").json()["problem"] == "ZeroDivisionError: a mistake"

    champions.now, champions.time = version(2, HandModel(more=1)), 5090.0
    champions.watch.look()
    assert client.get("/health").json() == healthy | {
        "model": FIRST | {"version": 2, "month": "2023-02"},
        "age_seconds": 4090.0,
        "serving_since": "1970-01-01T01:24:50+00:00",
        "looked_at": "1970-01-01T01:24:50+00:00",
    }
    assert client.get("/duration?from=132&to=230").json()["minutes"] == 6.0
    assert champions.reports == [
        "Version 1 goes on: MLflow at http://models fails (away).",
        "The champion can be seen again.",
        "Version 2 (boosted 2023-02) answers now.",
    ]


def test_the_champion_is_looked_at_again_and_again_while_the_server_runs(
    champions: Champions,
) -> None:
    looks = threading.Semaphore(0)
    load = champions.load
    champions.watch._load = lambda: (looks.release(), load())[1]
    with champions.watch.looking(every=0.001):
        assert all(looks.acquire(timeout=10) for _ in range(3))
    for thread in threading.enumerate():
        if thread.name == "watch":
            thread.join(timeout=10)
            assert not thread.is_alive()


def test_a_list_that_has_begun_is_answered_by_the_version_it_began_with(
    champions: Champions,
) -> None:
    champions.now = version(2, HandModel(more=2, asked=champions.watch.look))
    champions.watch.look()
    client = TestClient(champions.app())
    champions.now = version(3, HandModel(more=3))
    trips = [{"from": 132, "to": 230, "at": FRIDAY}] * 3
    response = post(client, trips)
    assert champions.watch.serving.version.number == 3
    assert response.headers["model-version"] == "2"
    assert [one["minutes"] for one in response.json()] == [39.0] * 3
    assert post(client, trips[:1]).json()[0]["minutes"] == 40.0


def test_openapi_describes_every_address(client: TestClient) -> None:
    described = client.get("/openapi.json").json()
    assert described["info"]["title"] == "Durations of green taxi trips"
    responses = {
        f"{method} {path}": sorted(operation["responses"])
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    }
    assert responses == {
        "get /duration": ["200", "422"],
        "post /durations": ["200", "408", "413", "415", "422", "503"],
        "get /week": ["200", "422"],
        "get /map": ["200", "422"],
        "get /zones": ["200"],
        "get /health": ["200"],
    }
    parameters = described["paths"]["/duration"]["get"]["parameters"]
    required = {one["name"]: one["required"] for one in parameters}
    assert required == {"from": True, "to": True, "at": False}
    assert "the pair's trips at all hours" in parameters[2]["description"]


@pytest.mark.parametrize("address", ["/", "/docs"])
def test_pages_load_nothing_from_anywhere_else(client: TestClient, address: str) -> None:
    response = client.get(address)
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    policy = response.headers["content-security-policy"].split("; ")
    for script in re.findall('(?:src|href)="([^"]+)"', response.text):
        assert script.startswith(("data:", "docs", "health", "./static/"))
        if script.startswith("./static/"):
            assert client.get(script[1:]).status_code == 200
    assert {"default-src 'none'", "connect-src 'self'"} <= {*policy}
    assert len(response.content) < 150_000
    assert not [rule for rule in policy if "http" in rule or "unsafe" in rule or "*" in rule]
    assert set(re.findall(r"https?://[\w./]*", response.text)) <= {"http://www.w3.org/2000/svg"}


@pytest.fixture
def registered(
    mlflow_database: Path, arrays: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> mlflow.MlflowClient:
    """An MLflow database with two versions of the green model, of which the first serves."""
    (tmp_path / "files").mkdir()
    mlflow.pyfunc.save_model(tmp_path / "model", **write_model(tmp_path / "files", arrays))
    uri = f"sqlite:///{shutil.copy(mlflow_database, tmp_path)}"
    client = mlflow.MlflowClient(uri)
    name = registered_name("green")
    client.create_registered_model(name)
    for month in ("2023-01", "2023-02"):
        tags = {"month": month, "family": "boosted"}
        client.create_model_version(name, str(tmp_path / "model"), tags=tags)
    client.set_registered_model_alias(name, "champion", "1")
    variables = {
        "TAXI_FLEET": "green",
        "TAXI_STORAGE": str(tmp_path / "data"),
        "TAXI_TRIP_SOURCE": str(tmp_path),
        "MLFLOW_TRACKING_URI": uri,
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    }
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    return client


def test_the_command_serves_whom_mlflow_calls_champion(
    registered: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch, model: TripDuration
) -> None:
    trip = {"PULocationID": 132, "DOLocationID": 230, "pickup_datetime": FRIDAY}
    expected = model.predict(None, [trip])["minutes"][0]

    def run(self: uvicorn.Server, sockets: list[Any]) -> None:
        assert (len(sockets), self.config.access_log, self.config.workers) == (1, False, 1)
        client = TestClient(self.config.app, base_url="http://localhost")
        answer = client.get(f"/duration?from=132&to=230&at={FRIDAY}").json()
        assert (answer["minutes"], answer["model"]["version"]) == (expected, 1)

    monkeypatch.setattr(uvicorn.Server, "run", run)
    done = CliRunner().invoke(main, ["serve", "--port", "0"], catch_exceptions=False)
    assert re.search(
        r"Durations of green taxi trips, by version 1 \(boosted 2023-01\): "
        r"http://127\.0\.0\.1:[0-9]+    Ctrl-C stops it\.",
        done.output,
    )


def test_whoever_moves_mlflows_alias_decides_who_serves(
    registered: mlflow.MlflowClient,
) -> None:
    tracking = TrackingServer(registered.tracking_uri)
    champions = Champions(load_serving(tracking, "green"))
    champions.watch._load = lambda: load_serving(tracking, "green")
    before = champions.watch.serving
    champions.watch.look()
    assert champions.watch.serving is before
    registered.set_registered_model_alias(registered_name("green"), "champion", "2")
    champions.watch.look()
    assert str(champions.watch.serving.version) == "boosted 2023-02"
    registered.delete_model_version(registered_name("green"), "2")
    champions.watch.look()
    assert champions.watch.serving.version.number == 2
    assert str(champions.watch.problem).startswith(
        "No model of green taxis serves. Make two months"
    )


def refused(*arguments: str) -> str:
    """What the command says that does not begin to serve."""
    done = CliRunner().invoke(main, ["serve", *arguments])
    assert (done.exit_code, done.stdout) in ((1, ""), (2, ""))
    return done.stderr.removeprefix("Error: ").strip()


def test_without_a_champion_the_command_ends_with_a_sentence(
    registered: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert refused("--port", "0", "--fleet", "yellow") == (
        "No model of yellow taxis serves. Make two months that follow each other, with all assets "
        "of yellow; or choose a version for good: taxi-assets champion --fleet yellow --set "
        "VERSION; or for this time: --model VERSION."
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    message = refused("--port", "0")
    assert message.startswith("MLflow at http://127.0.0.1:9 fails (")
    assert "secret" not in message


def test_without_a_fleet_the_one_that_has_a_champion_is_served(
    registered: mlflow.MlflowClient,
) -> None:
    tracking = TrackingServer(registered.tracking_uri)
    fleets = ["yellow", "green", "synthetic"]
    assert server.fleet_to_serve(tracking, fleets) == "green"
    with pytest.raises(MonthError, match=r"None of the fleets has a champion: yellow, synthetic\."):
        server.fleet_to_serve(tracking, ["yellow", "synthetic"])
    source = registered.get_model_version(registered_name("green"), "1").source
    registered.create_registered_model(registered_name("synthetic"))
    registered.create_model_version(registered_name("synthetic"), source)
    assert server.fleet_to_serve(tracking, fleets) == "green"
    registered.set_registered_model_alias(registered_name("synthetic"), "champion", "1")
    several = (
        r"Several fleets have a champion: green, synthetic\. Choose one: make serve FLEET=green, or"
    )
    with pytest.raises(MonthError, match=several):
        server.fleet_to_serve(tracking, fleets)


def test_an_address_that_cannot_be_listened_at_ends_the_command_with_a_sentence() -> None:
    with server.listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        assert re.fullmatch(
            rf"Nothing can listen at 127.0.0.1, port {port} \(Address already in use.*\). Choose "
            "another port: make serve SERVE_PORT=8081, or taxi-assets serve --port 8081.",
            refused("--port", str(port)),
        )
    for host, number in (("192.0.2.1", 0), ("127.0.0.1", 70_000)):
        with pytest.raises(MonthError, match=f"Nothing can listen at {host}, port"):
            server.listen(host, number)
