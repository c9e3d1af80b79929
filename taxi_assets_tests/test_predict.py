"""Answers for people: zones and times in their words, one trip, and files of their own trips."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from taxi_assets import predict
from taxi_assets.serving import own_trips
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


CSV = """id,PULocationID,DOLocationID,pickup_datetime
1,132,230,2023-03-03 17:00:00
2,132.0,230,
3,x,230,2023-03-03 17:00:00
4,132,266,
5,132,230,2023-02-30 08:00
6,132
7,,230,NA
8,132,230,2023-03-03T17:00
"""


@pytest.mark.after_three_months
@pytest.mark.parametrize("name", ["trips.csv", "trips.csv.gz"])
def test_each_row_of_a_file_is_answered_or_named(
    ask: Ask, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_trips, "BLOCK_ROWS", 3)
    content = CSV.encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    code, said, why = ask(tmp_path / name, "--output", tmp_path / "out.parquet")
    assert code == 0
    assert "3 of 8 trips answered by boosted 2023-0" in said
    for row in (
        "row 3: PULocationID 'x' is no zone from 1 to 265; left empty",
        "row 4: DOLocationID '266' is no zone from 1 to 265; left empty",
        "row 5: pickup_datetime '2023-02-30 08:00' is no time; left empty",
        "row 6: DOLocationID None is no zone from 1 to 265; left empty",
        "row 7: PULocationID '' is no zone from 1 to 265; left empty",
    ):
        assert row in why
    found = pq.read_table(tmp_path / "out.parquet").to_pandas()
    answers = ["minutes", "minutes_p10", "minutes_p90"]
    assert list(found) == ["PULocationID", "DOLocationID", "pickup_datetime", *answers]
    assert found["minutes"].notna().tolist() == [True, True, *[False] * 5, True]
    assert found.loc[0, answers].tolist() == found.loc[7, answers].tolist()
    assert (found.loc[[0, 1], "minutes_p10"] <= found.loc[[0, 1], "minutes"]).all()


@pytest.mark.after_three_months
def test_a_published_month_is_answered_as_its_trips_are(
    ask: Ask, settings: Settings, tmp_path: Path
) -> None:
    """From TLC's own columns, and to the last digit what the model says of the cleaned trips."""
    month = Path(settings.trip_source) / "green_tripdata_2023-03.parquet"
    before = Path(settings.storage) / "green/predictions/2023-03.parquet"
    version = pd.read_parquet(before)["model_version"].iloc[0]
    code, _, _ = ask(month, "--output", tmp_path / "out.parquet", "--model", version)
    assert code == 0
    found = pd.read_parquet(tmp_path / "out.parquet")
    raw = pd.read_parquet(month)
    minutes = (raw["lpep_dropoff_datetime"] - raw["lpep_pickup_datetime"]).dt.total_seconds() / 60
    kept = found[minutes.between(1, 60) & raw["PULocationID"].notna()]
    expected = pd.read_parquet(before)
    np.testing.assert_array_equal(kept["minutes"].to_numpy(), expected["minutes"].to_numpy())


@pytest.mark.after_three_months
def test_answers_can_be_csv(ask: Ask, tmp_path: Path) -> None:
    pd.DataFrame({"pulocationid": [132], "dolocationid": [230]}).to_csv(tmp_path / "t.csv")
    assert ask(tmp_path / "t.csv", "--output", tmp_path / "out.csv")[0] == 0
    found = pd.read_csv(tmp_path / "out.csv")
    assert list(found)[:2] == ["pulocationid", "dolocationid"]
    assert 1 <= found["minutes"].item() <= 60
    # As readable as any other file.
    assert (tmp_path / "out.csv").stat().st_mode == (tmp_path / "t.csv").stat().st_mode
    code, _, why = ask(tmp_path / "t.csv", "--output", tmp_path / "out.csv.gz")
    assert (code, why) == (1, f"{tmp_path}/out.csv.gz is to end in .csv or .parquet.\n")


@pytest.mark.after_three_months
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a,b\n1,2\n", "has no column PULocationID or DOLocationID; it has a, b."),
        (b"", "has no column PULocationID or DOLocationID"),
        (None, "cannot be read: "),
    ],
)
def test_a_file_that_cannot_be_meant_leaves_no_answers(
    ask: Ask, tmp_path: Path, content: bytes | None, said: str
) -> None:
    path = tmp_path / "odd.csv"
    if content is not None:
        path.write_bytes(content)
    code, _, why = ask(path, "--output", tmp_path / "out.parquet")
    assert code == 1
    assert said in why
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.after_three_months
def test_a_damaged_file_leaves_the_older_answers(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor anything half written beside them."""
    monkeypatch.setattr(own_trips, "BLOCK_ROWS", 10)
    path, output = tmp_path / "trips.parquet", tmp_path / "out.parquet"
    rows = pa.table({"PULocationID": list(range(1, 201)), "DOLocationID": list(range(1, 201))})
    pq.write_table(rows, path, row_group_size=50, use_dictionary=False, compression=None)
    content = bytearray(path.read_bytes())
    at = pq.read_metadata(path).row_group(2).column(0).data_page_offset
    content[at : at + 40] = b"\xff" * 40
    path.write_bytes(content)
    output.write_bytes(b"older")
    before = sorted(entry.name for entry in tmp_path.iterdir())
    code, _, why = ask(path, "--output", output)
    assert code == 1
    assert "cannot be read" in why
    assert output.read_bytes() == b"older"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == before
    nowhere = tmp_path / "nowhere" / "out.parquet"
    assert ask(path, "--output", nowhere)[2].startswith(f"Nothing can be written to {nowhere}: No")
