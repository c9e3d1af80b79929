"""The champion's answers over HTTP: one trip, many, refusals, and how one champion follows another.

Browsers are another file.
"""

import http.client
import json
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import uvicorn
from fastapi.testclient import TestClient
from mlflow.exceptions import MlflowException

from taxi_assets.durations import boosted as trees
from taxi_assets.durations.boosted_month import fit_boosted_month, servable_boosted
from taxi_assets.durations.cleaning import clean_trips
from taxi_assets.durations.hourly_pairs import group_by_hourly_pair
from taxi_assets.durations.window import training_window
from taxi_assets.reporting.zone_names import Zones
from taxi_assets.serving import server
from taxi_assets.serving.answering import REMEMBERED, Answering
from taxi_assets.serving.app import CHUNK
from taxi_assets.serving.asking import LARGEST, MOST
from taxi_assets.tlc.fleets import FLEETS
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.parquet import open_parquet
from taxi_assets.tlc.synthetic import write_month
from taxi_assets.tracking.champions import load_serving
from taxi_assets.tracking.packaging import write_model
from taxi_assets.tracking.registry import registered_name
from taxi_assets.tracking.served import TripDuration
from taxi_assets.tracking.servers import TrackingServer, UnreachableTrackingError
from taxi_assets_tests.answering_site import Champions, HandModel, served, version

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
        return servable_boosted(fit_boosted_month(window, trips))


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


def question(pickup: object, dropoff: object = 230, **more: object) -> dict[str, object]:
    return {"PULocationID": pickup, "DOLocationID": dropoff, **more}


def test_a_trip_is_asked_for_by_numbers_or_names_and_a_time(client: TestClient) -> None:
    answer = {
        "from": {"id": 132, "name": "JFK Airport"},
        "to": {"id": 230, "name": "Times Sq/Theatre District"},
        "at": "Fri 17:00",
        "minutes": 37.0,
        "minutes_p10": 23.8,
        "minutes_p90": 60.0,
        "model": {"version": 1, "month": "2023-01", "family": "boosted"},
    }
    for asked in (
        {"from": "132", "to": "230", "at": FRIDAY},
        {"from": "JFK Airport", "to": "times sq", "at": "Fri 17:00"},
        {"from": "jfk", "to": " 230 ", "at": "2023-04-07 17:59:59"},
        {"from": "132.0", "to": "+230", "at": "friday 17"},
    ):
        response = client.get("/duration", params=asked)
        assert (response.status_code, response.json()) == (200, answer)
    sunday = client.get("/duration", params={"from": 132, "to": 230, "at": "Sun 17:00"}).json()
    assert (sunday["at"], sunday["minutes"]) == ("Sun 17:00", 20.0)


def test_without_a_time_the_answer_is_for_the_average_hour(client: TestClient) -> None:
    for address in ("/duration?from=132&to=230", "/duration?from=132&to=230&at="):
        answer = client.get(address).json()
        assert [answer[name] for name in ("at", "minutes", "minutes_p10")] == [None, 5.0, 4.0]


def test_many_are_answered_in_order(client: TestClient) -> None:
    asked = [
        question(132, pickup_datetime=FRIDAY),
        question(132),
        question("10", 20.0, pickup_datetime="2023-04-08 17:00:00", fare="none"),
    ]
    response = client.post("/durations", json=asked)
    assert response.headers["model-version"] == "1"
    assert response.json() == [
        {"minutes": 37.0, "minutes_p10": 23.8, "minutes_p90": 60.0},
        {"minutes": 5.0, "minutes_p10": 4.0, "minutes_p90": 6.0},
        {"minutes": 20.0, "minutes_p10": 19.0, "minutes_p90": 22.0},
    ]
    columns = {name: [one[name] for one in asked] for name in ("PULocationID", "DOLocationID")}
    assert [one["minutes"] for one in client.post("/durations", json=columns).json()] == [5.0] * 3
    assert client.post("/durations", json=[]).json() == []


def test_a_week_has_an_answer_for_each_hour(client: TestClient) -> None:
    week = client.get("/week", params={"from": "jfk", "to": 230}).json()
    columns = ("hours", "minutes", "minutes_p10", "minutes_p90")
    assert {len(week[name]) for name in columns} == {168}
    assert week["hours"][:2] + week["hours"][-1:] == ["Mon 00:00", "Mon 01:00", "Sun 23:00"]
    assert week["minutes"] == [20.0 + hour for hour in range(24)] * 5 + [20.0] * 48
    friday = week["hours"].index("Fri 17:00")
    assert (week["minutes_p10"][friday], week["minutes_p90"][friday]) == (23.8, 60.0)
    refused = client.get("/week", params={"from": 1, "to": 2, "at": "Fri 17:00"})
    assert refused.json() == {"detail": "'at' is no parameter here: there are from, to."}


def test_zones_have_names_as_far_as_they_are_known(champions: Champions) -> None:
    zones = TestClient(champions.app()).get("/zones").json()
    assert [zone["id"] for zone in zones] == list(range(1, 266))
    assert zones[131] == {"id": 132, "name": "JFK Airport", "borough": "Queens"}
    assert zones[1] == {"id": 2, "name": "zone 2", "borough": "unknown borough"}
    nameless = TestClient(champions.app(Zones()))
    assert nameless.get("/duration?from=132&to=2").json()["from"]["name"] == "zone 132"
    (refused,) = nameless.get("/duration?from=jfk&to=2").json().values()
    assert refused.startswith("from: 'jfk' is no number, and TLC's names of the zones are not here")


def test_answers_are_the_models_own(model: TripDuration) -> None:
    client = TestClient(Champions(version(1, model)).app())
    choice = np.random.default_rng(1)
    hours = pd.date_range("2023-04-03", periods=168, freq="h").strftime("%Y-%m-%dT%H:%M")
    asked = [
        question(int(pickup), int(dropoff), pickup_datetime=None if at % 4 == 0 else hours[at])
        for pickup, dropoff, at in zip(
            *choice.integers(1, 266, (2, 150)), choice.permutation(168)[:150], strict=True
        )
    ]
    expected = model.predict(None, pd.DataFrame(asked)).to_dict("records")
    assert client.post("/durations", json=asked).json() == expected
    for one, answer in zip(asked, expected, strict=True):
        address = f"/duration?from={one['PULocationID']}&to={one['DOLocationID']}"
        given = client.get(f"{address}&at={one['pickup_datetime'] or ''}").json()
        assert {name: given[name] for name in answer} == answer
    week = client.get("/week?from=132&to=230").json()
    of_pair = [question(132, pickup_datetime=hour) for hour in hours]
    by_hour = model.predict(None, pd.DataFrame(of_pair))
    assert {name: week[name] for name in by_hour} == by_hour.to_dict("list")


@pytest.mark.parametrize(
    "asked",
    [
        [question(132), question(132.5)],
        [question("JFK Airport")],
        [question(0)],
        [question(2**70)],
        [question(True)],
        [question(None)],
        [question({})],
        [question([132, 4])],
        [question("\ud800")],
        [question(1, 266)],
        [{"PULocationID": 132}],
        [question(1), {"DOLocationID": 1}],
        [question(1, pickup_datetime="noon")],
        [question(1, pickup_datetime=17)],
        [question(1, pickup_datetime="2023-02-30 08:00:00")],
        [question(1, pickup_datetime="2023-04-07T17:00Z")],
        {},
        {"PULocationID": [1, 2], "DOLocationID": [1]},
        {"dataframe_records": [question(1)]},
        [[132, 230]],
        "132",
        132,
        None,
    ],
    ids=repr,
)
def test_a_list_is_refused_as_the_model_refuses_it(
    client: TestClient, model: TripDuration, asked: Any
) -> None:
    with pytest.raises(MlflowException) as refused:
        model.predict(None, asked)
    response = client.post("/durations", content=json.dumps(asked))
    assert response.status_code == 400
    assert response.json() == {"detail": refused.value.message}


def test_a_refusal_names_row_and_column(client: TestClient) -> None:
    refused = client.post("/durations", json=[question(132), question(132, "Narnia")])
    assert refused.json() == {
        "detail": "Row 1, column DOLocationID: 'Narnia' is no zone: a whole number from 1 to 265."
    }


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "This is no JSON (Expecting value: line 1 column 1 (char 0)). Ask with a list"),
        (b'[{"PULocationID": 13', "This is no JSON (Expecting ',' delimiter"),
        (b"\xff\xfe\xff", "This is no JSON ("),
        (b"[" * 100_000, "This is no JSON (too deep)"),
        (b"9" * 5_000, "This is no JSON ("),
        (b"[1" + b",1" * MOST + b"]", "At most 10,000 questions can be asked at once."),
        (
            b'{"PULocationID": [' + b",".join([b"[1" + b",1" * 999 + b"]"] * 11) + b"]}",
            "At most 10,000 questions can be asked at once.",
        ),
        (b" " * (LARGEST + 1), "At most 2 MB can be asked at once."),
        (b'[{"PULocationID": NaN, "DOLocationID": 1}]', "Row 0, column PULocationID: nan is no"),
    ],
    ids=["nothing", "cut off", "no text", "deep", "long", "many", "many within", "large", "NaN"],
)
def test_what_is_no_list_is_refused_with_a_sentence(
    client: TestClient, content: bytes, said: str
) -> None:
    response = client.post("/durations", content=content)
    assert response.status_code == 400
    assert response.json()["detail"].startswith(said)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("", "from is missing. Ask as in /duration?from=132&to=230&at=Fri 17:00."),
        ("from=132", "to is missing."),
        ("from=132&to=", "to is missing."),
        ("from=132&from=1&to=1", "from is given twice."),
        ("from=132&to=1&at=Fri 17:00&at=", "at is given twice."),
        ("from=132&to=1&time=noon", "'time' is no parameter here: there are from, to, at."),
        ("from=266&to=1", "Row 0, column PULocationID: '266' is no zone: a whole number from 1"),
        ("from=1&to=132.5", "Row 0, column DOLocationID: '132.5' is no zone: a whole number from"),
        ("from=-1&to=1", "Row 0, column PULocationID: '-1' is no zone"),
        ("from=Narnia&to=1", "from: 'Narnia' is no zone. No zone has a name like it."),
        ("from=1&to=airport", "to: 'airport' may be several zones. Near are Newark Airport (1), "),
        ("from=1&to=JKF Airprt", "to: 'JKF Airprt' is no zone. Near are JFK Airport (132)"),
        ("from=%ff%00&to=1", "from: '\ufffd\\x00' is no zone."),
        ("from=1&to=1&at=noon", "at: 'noon' is no time on New York's clock, such as Fri 17:00"),
        ("from=1&to=1&at=2023-02-30T08:00", "at: '2023-02-30T08:00' is no time"),
        ("from=1&to=1&at=2023-04-07T17:00Z", "at: '2023-04-07T17:00Z' is no time"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_a_sentence(
    client: TestClient, query: str, said: str
) -> None:
    response = client.get(f"/duration?{query}")
    assert response.status_code == 400
    assert response.json()["detail"].startswith(said)


def test_a_question_goes_to_the_model_once_per_version_and_band() -> None:
    first, second = HandModel(), HandModel(more=100)
    champions = Champions(version(1, first))
    client = TestClient(champions.app())
    fridays = [f"/duration?from=132&to=230&at={day} 17:{minute}" for day in ("Mon", "Fri")
               for minute in ("00", "59")]  # fmt: skip
    assert [client.get(address).json()["minutes"] for address in fridays] == [37.0] * 4
    assert first.rows == [1]
    champions.now = version(2, second)
    champions.watch.look()
    assert [client.get(address).json()["minutes"] for address in fridays] == [137.0] * 4
    assert (first.rows, second.rows) == ([1], [1])


def test_what_is_remembered_is_bounded() -> None:
    remembered = Answering(version(1, HandModel()))._remembered
    assert remembered.cache_info().maxsize == REMEMBERED == 100_000


def test_health_says_version_and_age_and_since_when_nobody_could_look(
    champions: Champions, client: TestClient
) -> None:
    healthy = {
        "status": "ok",
        "fleet": "green",
        "model": {"version": 1, "month": "2023-01", "family": "boosted"},
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
        "model": {"version": 2, "month": "2023-02", "family": "boosted"},
        "age_seconds": 4090.0,
        "serving_since": "1970-01-01T01:24:50+00:00",
        "looked_at": "1970-01-01T01:24:50+00:00",
    }
    assert client.get("/duration?from=132&to=230").json()["minutes"] == 6.0
    assert champions.said == [
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


def test_another_champion_takes_over_without_a_dropped_request(champions: Champions) -> None:
    """On connections that are kept, which ask on and on while it changes."""
    address = "/duration?from=132&to=230&at=Fri%2017:00"
    stop, answered = threading.Event(), threading.Semaphore(0)
    heard: list[list[tuple[int, int, float]]] = [[] for _ in range(4)]

    def ask(port: int, mine: list[tuple[int, int, float]]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.connect()
        socket = connection.sock
        while not stop.is_set():
            connection.request("GET", address)
            response = connection.getresponse()
            answer = json.loads(response.read())
            mine.append((response.status, answer["model"]["version"], answer["minutes"]))
            assert connection.sock is socket
            answered.release()
        connection.close()

    with served(champions.app()) as site:
        threads = [threading.Thread(target=ask, args=(site.port, mine)) for mine in heard]
        for thread in threads:
            thread.start()
        for number in (1, 2, 3):
            champions.now = version(number, HandModel(more=number))
            champions.watch.look()
            assert all(answered.acquire(timeout=20) for _ in range(100))
        stop.set()
        for thread in threads:
            thread.join()
    for mine in heard:
        assert len(mine) > 20
        assert mine == sorted(mine)
        assert {*mine} <= {(200, 1, 37.0), (200, 2, 39.0), (200, 3, 40.0)}
    assert {number for mine in heard for _, number, _ in mine} == {1, 2, 3}


def test_a_list_that_has_begun_is_answered_by_the_version_it_began_with(
    champions: Champions,
) -> None:
    champions.now = version(2, HandModel(more=2, asked=champions.watch.look))
    champions.watch.look()
    client = TestClient(champions.app())
    champions.now = version(3, HandModel(more=3))
    asked = [question(132, pickup_datetime=FRIDAY)] * (2 * CHUNK + 1)
    response = client.post("/durations", json=asked)
    assert champions.watch.answering.version.number == 3
    assert response.headers["model-version"] == "2"
    assert [one["minutes"] for one in response.json()] == [39.0] * len(asked)
    assert client.post("/durations", json=asked[:1]).json()[0]["minutes"] == 40.0


def test_openapi_describes_every_address(client: TestClient) -> None:
    described = client.get("/openapi.json").json()
    assert described["info"]["title"] == "Durations of green taxi trips"
    responses = {
        f"{method} {path}": [*operation["responses"]]
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    }
    assert responses == {
        "get /duration": ["200", "400"],
        "post /durations": ["200", "400"],
        "get /week": ["200", "400"],
        "get /zones": ["200"],
        "get /health": ["200"],
    }
    parameters = described["paths"]["/duration"]["get"]["parameters"]
    assert [(one["name"], one["required"]) for one in parameters] == [
        ("from", True),
        ("to", True),
        ("at", False),
    ]
    answer = described["components"]["schemas"]["Answer"]["properties"]
    assert {*answer} == {*client.get("/duration?from=1&to=2").json()}
    health = described["components"]["schemas"]["Health"]["properties"]
    assert {*health} == {*client.get("/health").json()}
    week = described["components"]["schemas"]["Week"]["properties"]
    assert {*week} == {*client.get("/week?from=1&to=2").json()}


@pytest.mark.parametrize("address", ["/", "/docs"])
def test_pages_load_nothing_from_anywhere_else(client: TestClient, address: str) -> None:
    response = client.get(address)
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    policy = response.headers["content-security-policy"].split("; ")
    assert {"default-src 'none'", "connect-src 'self'"} <= {*policy}
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
    registered: mlflow.MlflowClient,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    model: TripDuration,
) -> None:
    expected = model.predict(None, [question(132, pickup_datetime=FRIDAY)])["minutes"][0]

    def run(self: uvicorn.Server, sockets: list[Any]) -> None:
        assert (len(sockets), self.config.access_log, self.config.workers) == (1, False, 1)
        client = TestClient(self.config.app)
        answer = client.get(f"/duration?from=132&to=230&at={FRIDAY}").json()
        assert (answer["minutes"], answer["model"]["version"]) == (expected, 1)

    monkeypatch.setattr(uvicorn.Server, "run", run)
    server.main(["--port", "0"])
    assert re.search(
        r"Durations of green taxi trips, by version 1 \(boosted 2023-01\): "
        r"http://127\.0\.0\.1:[0-9]+    Ctrl-C stops it\.",
        capfd.readouterr().out,
    )


def test_whoever_moves_mlflows_alias_decides_who_serves(
    registered: mlflow.MlflowClient,
) -> None:
    tracking = TrackingServer(registered.tracking_uri)
    champions = Champions(load_serving(tracking, "green"))
    champions.watch._load = lambda: load_serving(tracking, "green")
    before = champions.watch.answering
    champions.watch.look()
    assert champions.watch.answering is before
    registered.set_registered_model_alias(registered_name("green"), "champion", "2")
    champions.watch.look()
    assert str(champions.watch.answering.version) == "boosted 2023-02"
    registered.delete_model_version(registered_name("green"), "2")
    champions.watch.look()
    assert champions.watch.answering.version.number == 2
    assert str(champions.watch.problem).startswith(
        "No model of green taxis serves. Make two months"
    )


def test_without_a_champion_the_command_ends_with_a_sentence(
    registered: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit) as ended:
        server.main(["--port", "0", "--fleet", "yellow"])
    assert str(ended.value.code) == (
        "No model of yellow taxis serves. Make two months that follow each other, with all assets "
        "of yellow; or choose a version for good: python -m taxi_assets.champion --fleet yellow "
        "--set VERSION; or for this time: --model VERSION."
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    with pytest.raises(SystemExit) as ended:
        server.main(["--port", "0"])
    assert str(ended.value.code).startswith("MLflow at http://127.0.0.1:9 fails (")
    assert "secret" not in str(ended.value.code)


def test_an_address_that_cannot_be_listened_at_ends_the_command_with_a_sentence() -> None:
    with server.listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit) as ended:
            server.main(["--port", str(port)])
    assert ended.value.code == (
        f"Port {port} is taken, answers need another: make serve SERVE_PORT={port + 1}, "
        f"or --port {port + 1}."
    )
    for host, port in (("192.0.2.1", 0), ("127.0.0.1", 70_000)):
        with pytest.raises(server.UnusablePortError, match=f"Nothing can listen at {host}, port"):
            server.listen(host, port)


def test_a_setting_that_cannot_be_meant_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TAXI_FLEET", "blue")
    with pytest.raises(SystemExit):
        server.main([])
    assert "TAXI_FLEET is 'blue'; set it to one or more of" in capsys.readouterr().err
