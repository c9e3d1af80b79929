"""Answers for people: zones and times in their words, and one trip."""

from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from functools import partial
from pathlib import Path

import pytest
from click.testing import Result

from taxi_assets.serving import parsing
from taxi_assets.serving.inference import describe_trip, find_trip
from taxi_assets.serving.parsing import InvalidRequestError, find_zone, hour_at
from taxi_assets.settings import Settings
from taxi_assets_tests.conftest import taxi_assets
from taxi_assets_tests.inference_site import HandModel, version


@pytest.mark.parametrize(
    ("text", "zone"),
    [
        ("132", 132),
        (" 265 ", 265),
        ("JFK Airport", 132),
        ("jfk airport", 132),
        ("jfk", 132),
        ("Times Sq", 230),
        ("theatre", 230),
        ("Central Harlem", 41),
        ("corona (57)", 57),
        ("00132", 132),
        ("132.0", 132),
        ("JFK Airport (132)", 132),
        ("LGA", 138),
        ("Kennedy", 132),
        ("Times Square", 230),
        ("Wall St", 87),
        ("empire state", 164),
        ("Penn Station", 186),
        ("Grand Central", 162),
        ("Brooklyn Bridge", 231),
        ("stadium, Yankee", 247),
        ("governor's island (103)", 103),
    ],
)
def test_zones_are_found_by_number_name_or_part(text: str, zone: int) -> None:
    assert find_zone(text) == zone


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0", "TLC numbers its zones from 1 to 265."),
        ("266", "TLC numbers its zones from 1 to 265."),
        ("00000013299", "TLC numbers its zones from 1 to 265."),
        ("132.5", "TLC numbers its zones from 1 to 265."),
        ("Corona", "Several zones have this in their names: Corona (56), Corona (57)."),
        ("JKF airport", "No zone has this name. Similar are JFK Airport (132)"),
        ("timez sq", "No zone has this name. Similar are Times Sq/Theatre District (230)."),
        (
            "harlm",
            "No zone has this name. Similar are Central Harlem (41), Central Harlem North (42), "
            "East Harlem North (74), East Harlem South (75), Midtown Center (161) and 3 more.",
        ),
        (
            "upper east",
            "Several zones have this in their names: Upper East Side North (236), Upper East Side "
            "South (237).",
        ),
        (
            "east",
            "Several zones have this in their names: Bensonhurst East (21), Clinton East (48), "
            "Crotona Park East (60), East Chelsea (68), East Concourse/Concourse Village (69) and "
            "20 more.",
        ),
        (
            "hills",
            "Several zones have this in their names: Briarwood/Jamaica Hills (28), Cypress Hills "
            "(63), Forest Hills (95), Kew Gardens Hills (135), South Beach/Dongan Hills (214).",
        ),
        ("xyzzy", "No zone has this name."),
        ("", "A zone is a number from 1 to 265, or a name of TLC's."),
        (True, "A zone is a number from 1 to 265, or a name of TLC's."),
    ],
)
def test_what_is_no_zone_gets_the_nearest_names(text: object, message: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        find_zone(text)
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "hour"),
    [
        ("Mon 0:00", 0),
        ("Fri 17:00", 113),
        ("friday 17", 113),
        ("Sunday 23:59", 167),
        ("2023-04-07T17:30", 113),
        ("2023-04-09 23:00:00", 167),
        (None, None),
        ("", None),
        ("  ", None),
    ],
)
def test_times_are_hours_of_the_week(text: str | None, hour: int | None) -> None:
    assert hour_at(text) == hour


@pytest.mark.parametrize(
    ("moment", "hour"), [("2023-07-07T02:30", 3 * 24 + 22), ("2023-01-02T04:30", 6 * 24 + 23)]
)
def test_now_is_the_hour_in_new_york(
    monkeypatch: pytest.MonkeyPatch, moment: str, hour: int
) -> None:
    """In summer four hours behind UTC, in winter five."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return datetime.fromisoformat(f"{moment}+00:00").astimezone(tz or UTC)

    monkeypatch.setattr(parsing, "datetime", Clock)
    assert [hour_at("now"), hour_at(" Now ")] == [hour] * 2


@pytest.mark.parametrize(
    "text", ["T 5:00", "Fri 24:00", "Fri 5:60", "17:00", "2023-02-30T10:00", "2023-04-07",
             "2023-04-07T17:00Z", "Blursday 5:00"],
)  # fmt: skip
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="A time is on New York's clock, without an"):
        hour_at(text)


def test_a_trip_is_answered_by_the_models_own_numbers() -> None:
    serving = version(3, HandModel())
    trip = find_trip("jfk", "times sq", "Fri 17:00")
    assert describe_trip(serving, "green", *trip) == (
        "JFK Airport to Times Sq/Theatre District, Friday 17:00: 37 minutes, eight trips of ten "
        "take 24 to 60\n(boosted model of green taxis, 2023-03, version 3)"
    )
    assert describe_trip(serving, "green", *find_trip("230", "132", None)).startswith(
        "Times Sq/Theatre District to JFK Airport, trips at all hours: 5 minutes, eight trips of "
        "ten take 4 to 6\n"
    )


@pytest.mark.parametrize(
    ("more", "minutes"),
    [
        (0.5, "21 minutes, eight trips of ten take 20 to 21"),
        (1.5, "22 minutes, eight trips of ten take 21 to 22"),
        (1.4, "21 minutes, eight trips of ten take 21 to 22"),
    ],
)
def test_halves_of_minutes_are_rounded_up_as_on_the_page(more: float, minutes: str) -> None:
    """20 minutes, 19.5 to 20.5, and more."""
    assert f": {minutes}\n" in describe_trip(version(3, HandModel(more)), "green", 5, 5, 0)


Ask = Callable[..., Result]


@pytest.fixture
def ask(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """The command, where the settings are."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", settings.tracking_uri)
    monkeypatch.setenv("TAXI_STORAGE", settings.storage)
    return partial(taxi_assets, "predict", "--fleet", "green")


@pytest.mark.after_three_months
def test_the_champion_answers_or_the_version_that_is_named(ask: Ask) -> None:
    done = ask("--from", "JFK", "--to", "Times Sq", "--at", "Fri 17:00")
    answer, model = done.stdout.splitlines()
    assert answer.startswith("JFK Airport to Times Sq/Theatre District, Friday 17:00: ")
    assert model.startswith("(boosted model of green taxis, 2023-0")
    linear = ask("--from", 132, "--to", 230, "--model", 1).output
    assert "(linear model of green taxis, 2023-01, version 1)" in linear
    refused = ask("--from", 132, "--to", 1, "--model", 99)
    assert (refused.exit_code, refused.output) == (
        1, "Error: nyc-taxi-trip-duration-green has no version 99.\n"
    )  # fmt: skip


@pytest.mark.after_three_months
def test_after_the_folder_has_moved_the_advice_to_relocate_comes_first(
    ask: Ask, tmp_path: Path
) -> None:
    (tmp_path / "mlruns").rename(tmp_path / "moved")
    refused = ask("--from", 132, "--to", 230)
    assert refused.exit_code == 1
    advice = ("the folder was moved or removed", "taxi-assets relocate /where/it/was. Make two ")
    assert [refused.stderr.count(part) for part in advice] == [1, 1]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--from", "1"],
        ["trips.csv"],
        ["trips.csv", "--from", "1", "--to", "2"],
        ["trips.csv", "--output", "out.csv", "--at", "Fri 17:00"],
        ["--from", "1", "--to", "2", "--output", "out.csv"],
    ],
)
def test_half_a_question_is_refused(ask: Ask, arguments: list[str]) -> None:
    assert ask(*arguments).exit_code == 2


@pytest.mark.parametrize(
    ("trip", "message"),
    [
        (("xyzzy", 1, "now"), "--from: No zone has this name."),
        ((1, 266, "now"), "--to: TLC numbers its zones from 1 to 265."),
        ((1, 2, "noon"), "--at: A time is on New York's clock, without an offset, such as Fri"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_a_model_is_looked_for(
    ask: Ask, trip: tuple[object, ...], message: str
) -> None:
    """There is none here."""
    start, end, at = trip
    done = ask("--from", start, "--to", end, "--at", at)
    assert (done.exit_code, done.output[: len(message) + 7]) == (1, f"Error: {message}")


@pytest.mark.after_three_months
def test_a_file_is_answered_or_refused_in_a_sentence(ask: Ask, tmp_path: Path) -> None:
    path, output = tmp_path / "trips.csv", tmp_path / "out.csv"
    path.write_text("PULocationID,DOLocationID\n132,230\n")
    done = ask(path, "--output", output)
    assert done.exit_code == 0
    assert done.stdout.startswith(f"{output}: 1 of 1 trips answered by boosted 2023-0")
    refused = ask(tmp_path / "none.csv", "--output", output)
    assert refused.exit_code == 1
    assert f"{tmp_path}/none.csv cannot be read: [Errno 2] No such file" in refused.stderr
