"""The model that MLflow serves: what it takes, what it answers, and what it refuses."""

import hashlib
import json
import subprocess
import sys
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from numpy.testing import assert_allclose

from taxi_assets.durations.boosted_month import fit_boosted_month, servable_boosted
from taxi_assets.durations.cleaning import clean_trips
from taxi_assets.durations.inference import (
    BoostedPairs,
    Encoding,
    Interval,
    TreesError,
    answer,
    band_of,
    number,
    part,
)
from taxi_assets.durations.intervals import servable_linear
from taxi_assets.durations.models import read_models
from taxi_assets.durations.regression import fit_model, fit_vectorizer
from taxi_assets.durations.sums import group_by_hourly_pair, group_by_zone_pair
from taxi_assets.durations.window import training_window
from taxi_assets.storage.formats import Arrays
from taxi_assets.tlc.fleets import FLEETS
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.parquet import open_parquet
from taxi_assets.tlc.synthetic import write_month
from taxi_assets.tracking.packaging import ANSWERS, requirements, write_model
from taxi_assets.tracking.served_model import TripDuration

YELLOW, MARCH = FLEETS["yellow"], Month(2023, 3)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    path = Path(tmp_path_factory.mktemp("month")) / "month.parquet"
    write_month(path, YELLOW, MARCH, 10_000)
    trips = clean_trips(open_parquet(path), YELLOW, MARCH).trips
    pairs = group_by_zone_pair(trips)
    vectorizer = fit_vectorizer(pairs)
    return {
        "linear": servable_linear(vectorizer, fit_model(pairs, vectorizer), trips),
        "boosted": fit_boosted_month(
            training_window(MARCH, [(MARCH, group_by_hourly_pair(trips))]), trips
        ),
    }


def opened(folder: Path, arrays: dict[str, Any]) -> TripDuration:
    """The model as MLflow opens it."""
    options = write_model(folder, arrays)
    model = TripDuration()
    context = SimpleNamespace(artifacts=options["artifacts"], model_config=options["model_config"])
    model.load_context(context)
    return model


@pytest.fixture(scope="module")
def boosted(
    fitted: dict[str, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> TripDuration:
    return opened(tmp_path_factory.mktemp("boosted"), servable_boosted(fitted["boosted"]))


def ask(model: TripDuration, *values: object, time: object = None) -> pd.DataFrame:
    """Ask for trips from the zones given to zone 4."""
    questions = {"PULocationID": list(values), "DOLocationID": [4] * len(values)}
    times = {} if time is None else {"pickup_datetime": [time] * len(values)}
    return model.predict(None, pd.DataFrame(questions | times))


def test_a_time_on_the_clock_gives_the_answer_of_its_band(
    boosted: TripDuration, fitted: dict[str, dict[str, Any]]
) -> None:
    arrays = fitted["boosted"]
    cell = number(np.array([132]), np.array([4]), band_of(np.array([2 * 24 + 8])))
    model, interval = read_models(arrays)["boosted"], Interval(part(arrays, "interval"))
    expected = np.ravel(answer(model, interval, cell))
    for time in (
        "2023-03-01 08:15:00",
        "2023-03-01T08:15",
        " 2023-03-01 08:15:00.123456 ",
        datetime(2023, 3, 1, 8, 15),
        pd.Timestamp("2023-03-01 08:59:59"),
    ):
        answers = ask(boosted, 132, time=time)
        assert list(answers.columns) == list(ANSWERS)
        assert_allclose(answers.to_numpy()[0], expected, rtol=1e-12)
    low, minutes, high = expected[[1, 0, 2]]
    assert 1 <= low < minutes < high <= 60


def test_without_a_time_the_answer_is_for_the_pairs_trips_at_all_hours(
    boosted: TripDuration, fitted: dict[str, dict[str, Any]]
) -> None:
    arrays = fitted["boosted"]
    encoding, trees = Encoding(part(arrays, "encoding")), part(arrays, "boosted")
    model, interval = BoostedPairs(encoding, trees), Interval(part(arrays, "pair_interval"))
    cell = number(np.array([132]), np.array([4]), np.array([30]))
    expected = np.ravel(answer(model, interval, cell))
    assert_allclose(ask(boosted, 132).to_numpy()[0], expected, rtol=1e-12)
    assert_allclose(np.ravel(boosted.answer(cell, np.array([False]))), expected, rtol=1e-12)
    hours = pd.date_range("2023-03-06", periods=168, freq="h")
    by_hour = pd.concat([ask(boosted, 132, time=hour) for hour in hours])
    average = ask(boosted, 132)
    assert by_hour["minutes"].min() < average["minutes"][0] < by_hour["minutes"].max()
    mixed = pd.DataFrame(
        {
            "PULocationID": [132, 132],
            "DOLocationID": [4, 4],
            "pickup_datetime": [None, "2023-03-06 00:00:00"],
        }
    )
    answers = boosted.predict(None, mixed)
    assert_allclose(answers.to_numpy()[0], average.to_numpy()[0], rtol=1e-12)
    assert_allclose(answers.to_numpy()[1], by_hour.to_numpy()[0], rtol=1e-12)


def test_a_zone_is_a_whole_number_however_it_is_written(boosted: TripDuration) -> None:
    expected = ask(boosted, 132).to_numpy()[0]
    ways: list[object] = [
        132,
        132.0,
        "132",
        "132.0",
        " 132 ",
        np.int32(132),
        np.float32(132),
        b"132",
    ]
    for way in ways:
        assert_allclose(ask(boosted, way).to_numpy()[0], expected, rtol=1e-12)
    assert_allclose(ask(boosted, *ways).to_numpy(), np.tile(expected, (len(ways), 1)), rtol=1e-12)


@pytest.mark.parametrize(
    "asked",
    [
        {"PULocationID": [132], "DOLocationID": [4]},
        {"PULocationID": 132, "DOLocationID": 4},
        {"PULocationID": np.array([[132]]), "DOLocationID": np.array(["4"])},
        [{"PULocationID": 132, "DOLocationID": 4}],
        np.array([{"PULocationID": np.array(132), "DOLocationID": np.array(4)}]),
        pd.DataFrame({"fare": ["free"], "DOLocationID": [4], "PULocationID": [132]}, index=[7]),
    ],
    ids=["columns", "values", "arrays", "records", "records of arrays", "other columns and order"],
)
def test_questions_come_in_many_shapes(boosted: TripDuration, asked: object) -> None:
    answers = boosted.predict(None, asked)
    assert_allclose(answers.to_numpy(), ask(boosted, 132).to_numpy(), rtol=1e-12)
    assert answers.index.tolist() == [0]


def test_no_question_has_no_answer(boosted: TripDuration) -> None:
    assert ask(boosted).to_numpy().tolist() == []


@pytest.mark.parametrize(
    "bad",
    [132.5, "132.5", "JFK", "1e2", "", True, None, float("nan"), float("inf"), 0, 266, -1, 2**70,
     [132], {}],
    ids=repr,
)  # fmt: skip
def test_what_is_no_zone_is_refused_by_row_and_column(boosted: TripDuration, bad: object) -> None:
    for values in ([132, bad], ["132", bad]):
        with pytest.raises(MlflowException, match="Row 1, column PULocationID: ") as refused:
            ask(boosted, *values)
        assert refused.value.get_http_status_code() == 400


@pytest.mark.parametrize(
    "bad",
    [5, 1.5, True, "noon", "2023-03-01", "08:15", "2023-02-30 08:00:00", "03/01/2023 08:15",
     "2023-03-01T08:15:00Z", "2023-03-01 08:15:00-05:00", datetime(2023, 3, 1, tzinfo=UTC)],
    ids=repr,
)  # fmt: skip
def test_what_is_no_time_is_refused_by_row_and_column(boosted: TripDuration, bad: object) -> None:
    with pytest.raises(
        MlflowException, match=r"Row 0, column pickup_datetime: .* New York's clock"
    ):
        ask(boosted, 132, time=bad)


def test_blank_text_is_no_time(boosted: TripDuration) -> None:
    for blank in ("", "  "):
        pd.testing.assert_frame_equal(ask(boosted, 132, time=blank), ask(boosted, 132))


@pytest.mark.parametrize("name", ["at", "tpep_pickup_datetime", "lpep_dropoff_datetime"])
def test_a_time_under_another_name_is_refused(boosted: TripDuration, name: str) -> None:
    record = {"PULocationID": 132, "DOLocationID": 4, name: "2023-03-01 08:15:00"}
    for asked in (
        [record],
        {key: [value] for key, value in record.items()},
        pd.DataFrame([record]),
    ):
        with pytest.raises(MlflowException, match=f"Column {name} is a time under another name"):
            boosted.predict(None, asked)


def test_other_columns_are_not_looked_at(boosted: TripDuration) -> None:
    """A table of all keys of these records would have 25 million cells."""
    asked = [{"PULocationID": 132, "DOLocationID": 4, f"key {at}": at} for at in range(5_000)]
    tracemalloc.start()
    answers = boosted.predict(None, asked)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(answers) == 5_000
    assert peak < 20e6


@pytest.mark.parametrize("bad", [[[132, 4]], "132", 5, pd.DataFrame({"PULocationID": [132]})])
def test_what_is_no_table_of_questions_is_refused(boosted: TripDuration, bad: object) -> None:
    with pytest.raises(MlflowException, match="A question has PULocationID and DOLocationID"):
        boosted.predict(None, bad)


def test_the_linear_model_answers_the_same_at_any_time(
    tmp_path: Path, fitted: dict[str, dict[str, Any]]
) -> None:
    model = opened(tmp_path, fitted["linear"])
    at_eight = ask(model, 132, 206, time="2023-03-01 08:00:00")
    pd.testing.assert_frame_equal(ask(model, 132, 206), at_eight)
    arrays = part(fitted["linear"], "linear")
    raw = arrays["intercept"] + arrays["pickup"][[132, 206]] + arrays["dropoff"][4]
    assert_allclose(at_eight["minutes"], np.round(np.clip(raw, 1, 60), 1))


ALONE = """
import sys, warnings
warnings.simplefilter("ignore")
sys.modules["taxi_assets"] = None
import mlflow, pandas as pd
model = mlflow.pyfunc.load_model(sys.argv[1])
questions = pd.DataFrame({"PULocationID": [132, "4.0"], "DOLocationID": [4, 132]})
print(model.predict(questions).to_json(orient="values", double_precision=15))
"""


@pytest.mark.parametrize("family", ["linear", "boosted"])
def test_a_logged_model_answers_where_the_project_is_not(
    tmp_path: Path, fitted: dict[str, dict[str, Any]], family: str
) -> None:
    """And where MLflow is told to read no pickle."""
    arrays = fitted[family] if family == "linear" else servable_boosted(fitted[family])
    (tmp_path / "files").mkdir()
    options = write_model(tmp_path / "files", arrays)
    mlflow.pyfunc.save_model(tmp_path / "model", **options)
    output = subprocess.run(
        [sys.executable, "-c", ALONE, tmp_path / "model"],
        env={"PATH": "", "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    (tmp_path / "again").mkdir()
    model = opened(tmp_path / "again", arrays)
    questions = pd.DataFrame({"PULocationID": [132, 4], "DOLocationID": [4, 132]})
    expected = model.predict(None, questions).to_numpy()
    assert_allclose(np.array(json.loads(output.stdout)), expected, rtol=1e-9)
    needed = {line.partition("==")[0] for line in requirements(arrays)}
    assert ("lightgbm" in needed) == (family == "boosted")


def test_a_model_whose_file_is_another_is_not_opened(
    tmp_path: Path, fitted: dict[str, dict[str, Any]]
) -> None:
    options = write_model(tmp_path, servable_boosted(fitted["boosted"]))
    path = Path(options["artifacts"]["model"])
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    context = SimpleNamespace(artifacts=options["artifacts"], model_config=options["model_config"])
    with pytest.raises(ValueError, match="not the file that was logged: it is damaged"):
        TripDuration().load_context(context)


def test_trees_with_another_text_are_not_parsed(fitted: dict[str, dict[str, Any]]) -> None:
    arrays = dict(fitted["boosted"])
    text = arrays["boosted.mean_trees"].copy()
    text[1000] ^= 1
    arrays["boosted.mean_trees"] = text
    with pytest.raises(TreesError, match="the text of its trees is damaged"):
        read_models(arrays)
    del arrays["encoding.centres"]
    with pytest.raises(TreesError, match=r"an earlier version .* materialize boosted_model again"):
        read_models(arrays)


DAMAGE = """
import random, sys
from pathlib import Path
from taxi_assets.durations.inference import TreesError
from taxi_assets.durations.models import read_models
from taxi_assets.storage.formats import Arrays
path = Path(sys.argv[1])
whole = path.read_bytes()
choice = random.Random(1)
refused = 0
for attempt in range(60):
    content = bytearray(whole)
    at = choice.randrange(len(content))
    if attempt % 3 == 0:
        del content[at:]
    elif attempt % 3 == 1:
        content[at] ^= 1 << choice.randrange(8)
    else:
        content[at : at + 40] = b"0" * 40
    path.write_bytes(content)
    try:
        read_models(Arrays().load(path.open("rb")))
    except Exception as error:
        refused += 1
print("refused", refused)
"""


def test_a_damaged_stored_model_never_ends_the_process(
    tmp_path: Path, fitted: dict[str, dict[str, Any]]
) -> None:
    path = tmp_path / "model.npz"
    Arrays().dump(fitted["boosted"], path)
    assert read_models(Arrays().load(path.open("rb"))).keys() == {"mean", "lookup", "boosted"}
    ran = subprocess.run(
        [sys.executable, "-c", DAMAGE, path], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout.split()[1]) > 50


def test_digests_of_logged_models_are_of_their_files(
    tmp_path: Path, fitted: dict[str, dict[str, Any]]
) -> None:
    options = write_model(tmp_path, fitted["linear"])
    content = Path(options["artifacts"]["model"]).read_bytes()
    assert options["model_config"] == {"model_sha256": hashlib.sha256(content).hexdigest()}
