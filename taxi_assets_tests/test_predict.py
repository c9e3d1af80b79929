"""Answers for people: zones and times in their words, and one trip."""

from collections.abc import Callable
from pathlib import Path

import pytest

from taxi_assets import predict
from taxi_assets.serving.questions import Places, QuestionError, hour_at
from taxi_assets.settings import Settings
from taxi_assets.storage.files import Storage

NAMES = {
    "1": "Newark Airport",
    "41": "Central Harlem",
    "42": "Central Harlem North",
    "56": "Corona",
    "57": "Corona",
    "132": "JFK Airport",
    "138": "LaGuardia Airport",
    "230": "Times Sq/Theatre District",
    "236": "Upper East Side North",
    "237": "Upper East Side South",
}
LOOKUP = "LocationID,Borough,Zone\n" + "".join(f"{n},Queens,{name}\n" for n, name in NAMES.items())


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
    ],
)
def test_zones_are_found_by_number_name_or_part(text: str, zone: int) -> None:
    assert Places(NAMES).find(text) == zone


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0", "'0' is no zone: TLC numbers them from 1 to 265."),
        ("266", "'266' is no zone: TLC numbers them from 1 to 265."),
        ("00000013299", "'00000013299' is no zone: TLC numbers them from 1 to 265."),
        ("Corona", "'Corona' may be several zones. Near are Corona (56), Corona (57)."),
        ("JKF airport", "'JKF airport' is no zone. Near are JFK Airport (132)"),
        ("timez sq", "'timez sq' is no zone. Near are Times Sq/Theatre District (230)."),
        ("harlm", "'harlm' is no zone. Near are Central Harlem"),
        (
            "upper east",
            "'upper east' may be several zones. Near are Upper East Side North (236), Upper East "
            "Side South (237).",
        ),
        ("xyzzy", "'xyzzy' is no zone. No zone has a name like it."),
        ("", "'' is no zone."),
    ],
)
def test_what_is_no_zone_gets_the_nearest_names(text: str, said: str) -> None:
    with pytest.raises(QuestionError) as refused:
        Places(NAMES).find(text)
    assert str(refused.value).startswith(said)


def test_without_names_zones_are_asked_for_by_number() -> None:
    assert Places({}).find("132") == 132
    with pytest.raises(QuestionError, match="'JFK' is no number, and TLC's names"):
        Places({}).find("JFK")


@pytest.mark.parametrize(
    ("text", "hour"),
    [
        ("Mon 0:00", 0),
        ("Fri 17:00", 113),
        ("friday 17", 113),
        ("Sunday 23:59", 167),
        ("2023-04-07T17:30", 113),
        ("2023-04-09 23:00:00", 167),
    ],
)
def test_times_are_hours_of_the_week(text: str, hour: int) -> None:
    assert hour_at(text) == hour


@pytest.mark.parametrize(
    "text", ["", "T 5:00", "Fri 24:00", "Fri 5:60", "17:00", "2023-02-30T10:00", "2023-04-07",
             "2023-04-07T17:00Z", "Blursday 5:00"],
)  # fmt: skip
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(QuestionError, match=r"is no time on New York's clock"):
        hour_at(text)


Ask = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ask(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Ask:
    """The command; gives its exit code, what it answers, and what it says beside that."""
    monkeypatch.setattr(predict.Settings, "from_environment", lambda: settings)
    storage = Storage(settings.storage)
    with storage.replacing("tlc/taxi_zone_lookup.csv") as temporary:
        temporary.write_text(LOOKUP)

    def run(*arguments: object) -> tuple[int, str, str]:
        try:
            code = predict.main(["--fleet", "green", *map(str, arguments)])
        except SystemExit as end:
            code = int(str(end.code))
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.mark.after_three_months
def test_one_trip_is_answered_in_words(ask: Ask) -> None:
    code, said, _ = ask("--from", "JFK Airport", "--to", "Times Sq", "--at", "Fri 17:00")
    assert code == 0
    answer, model = said.splitlines()
    assert answer.startswith("From JFK Airport to Times Sq/Theatre District on a Friday at 17:00: ")
    assert "Eight trips of ten take" in answer
    assert model.startswith("(boosted model of green taxis, 2023-0")
    _, average, _ = ask("--from", 132, "--to", 230)
    assert " at an average hour: " in average
    _, linear, _ = ask("--from", 132, "--to", 230, "--model", 1)
    assert "(linear model of green taxis, 2023-01, version 1)" in linear
    assert ask("--from", 132, "--to", "Tims Sq")[0] == 1
    assert ask("--from", 132, "--to", 1, "--model", 99) == (
        1,
        "",
        "nyc-taxi-trip-duration-green has no version 99.\n",
    )


def test_without_a_champion_nobody_answers(ask: Ask) -> None:
    code, said, why = ask("--from", 132, "--to", 1)
    assert (code, said) == (1, "")
    assert why.startswith("No model of green taxis serves. Make two months")


def test_half_a_question_is_refused(ask: Ask, tmp_path: Path) -> None:
    for arguments in (
        [],
        ["--from", "1"],
        ["trips.csv"],
        ["trips.csv", "--from", "1", "--to", "2"],
        ["trips.csv", "--output", "out.csv", "--at", "Fri 17:00"],
        ["--from", "1", "--to", "2", "--output", "out.csv"],
    ):
        assert ask(*arguments)[0] == 2


@pytest.mark.after_three_months
def test_a_file_is_answered_or_refused_in_a_sentence(ask: Ask, tmp_path: Path) -> None:
    path, output = tmp_path / "trips.csv", tmp_path / "out.csv"
    path.write_text("PULocationID,DOLocationID\n132,230\n")
    code, said, _ = ask(path, "--output", output)
    assert code == 0
    assert said.startswith(f"{output}: 1 of 1 trips answered by boosted 2023-0")
    assert ask(tmp_path / "none.csv", "--output", output) == (
        1,
        "",
        f"{tmp_path}/none.csv cannot be read: [Errno 2] No such file or directory: "
        f"'{tmp_path}/none.csv'.\n",
    )
