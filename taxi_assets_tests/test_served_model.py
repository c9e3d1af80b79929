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
from taxi_assets.tlc.fleets import FLEETS
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.parquet import open_parquet
from taxi_assets.tlc.synthetic import write_month
from taxi_assets.tracking.packaging import ANSWERS, write_model
from taxi_assets.tracking.served_model import TripDuration

YELLOW, MARCH = FLEETS["yellow"], Month(2023, 3)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What is stored of a boosted model, and by family what is logged."""
    path = Path(tmp_path_factory.mktemp("month")) / "month.parquet"
    write_month(path, YELLOW, MARCH, 10_000)
    trips = clean_trips(open_parquet(path), YELLOW, MARCH).trips
    pairs = group_by_zone_pair(trips)
    vectorizer = fit_vectorizer(pairs)
    window = training_window(MARCH, [(MARCH, group_by_hourly_pair(trips))])
    stored = fit_boosted_month(window, lambda: trips)
    return {
        "stored": stored,
        "linear": servable_linear(vectorizer, fit_model(pairs, vectorizer), trips),
        "boosted": servable_boosted(stored),
    }


def opened(options: dict[str, Any]) -> TripDuration:
    """The model as MLflow opens it."""
    model = TripDuration()
    context = SimpleNamespace(artifacts=options["artifacts"], model_config=options["model_config"])
    model.load_context(context)
    return model


@pytest.fixture(scope="module")
def boosted(
    fitted: dict[str, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> TripDuration:
    return opened(write_model(tmp_path_factory.mktemp("boosted"), fitted["boosted"]))


def ask(model: TripDuration, *values: object, time: object = None) -> pd.DataFrame:
    """Ask for trips from the zones given to zone 4."""
    questions = {"PULocationID": list(values), "DOLocationID": [4] * len(values)}
    times = {} if time is None else {"pickup_datetime": [time] * len(values)}
    return model.predict(None, pd.DataFrame(questions | times))


def test_a_time_on_the_clock_gives_the_answer_of_its_band(
    boosted: TripDuration, fitted: dict[str, dict[str, Any]]
) -> None:
    arrays = fitted["stored"]
    cell = number(np.array([132]), np.array([4]), band_of(np.array([2 * 24 + 8])))
    model, interval = read_models(arrays)["boosted"], Interval(part(arrays, "interval"))
    expected = np.ravel(answer(model, interval, cell))
    texts = "2023-03-01 08:15:00", "2023-03-01T08:15", " 2023-03-01 08:15:00.123456 "
    for time in (*texts, datetime(2023, 3, 1, 8, 15), pd.Timestamp("2023-03-01 08:59:59")):
        answers = ask(boosted, 132, time=time)
        assert list(answers.columns) == list(ANSWERS)
        assert_allclose(answers.to_numpy()[0], expected, rtol=1e-12)
    low, minutes, high = expected[[1, 0, 2]]
    assert 1 <= low < minutes < high <= 60


def test_without_a_time_the_answer_is_for_the_pairs_trips_at_all_hours(
    boosted: TripDuration, fitted: dict[str, dict[str, Any]]
) -> None:
    arrays = fitted["stored"]
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
    times = {"pickup_datetime": [None, "2023-03-06 00:00:00"]}
    mixed = pd.DataFrame({"PULocationID": [132, 132], "DOLocationID": [4, 4]} | times)
    answers = boosted.predict(None, mixed)
    assert_allclose(answers.to_numpy()[0], average.to_numpy()[0], rtol=1e-12)
    assert_allclose(answers.to_numpy()[1], by_hour.to_numpy()[0], rtol=1e-12)


def test_a_zone_is_a_whole_number_however_it_is_written(boosted: TripDuration) -> None:
    expected = ask(boosted, 132).to_numpy()[0]
    numbers = [132, 132.0, np.int32(132), np.float32(132)]
    ways: list[object] = [*numbers, "132", "132.0", " 132 ", b"132"]
    for way in ways:
        assert_allclose(ask(boosted, way).to_numpy()[0], expected, rtol=1e-12)
    assert_allclose(ask(boosted, *ways).to_numpy(), np.tile(expected, (len(ways), 1)), rtol=1e-12)


@pytest.mark.parametrize(
    "questions",
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
def test_questions_come_in_many_shapes(boosted: TripDuration, questions: object) -> None:
    answers = boosted.predict(None, questions)
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
    columns = {key: [value] for key, value in record.items()}
    for questions in ([record], columns, pd.DataFrame([record])):
        with pytest.raises(MlflowException, match=f"Column {name} is a time under another name"):
            boosted.predict(None, questions)


def test_other_columns_are_not_looked_at(boosted: TripDuration) -> None:
    """A table of all keys of these records would have 25 million cells."""
    questions = [{"PULocationID": 132, "DOLocationID": 4, f"key {at}": at} for at in range(5_000)]
    tracemalloc.start()
    answers = boosted.predict(None, questions)
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
    model = opened(write_model(tmp_path, fitted["linear"]))
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
    options = write_model(tmp_path, fitted[family])
    mlflow.pyfunc.save_model(tmp_path / "model", **options)
    output = subprocess.run(
        [sys.executable, "-c", ALONE, tmp_path / "model"],
        env={"PATH": "", "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    questions = pd.DataFrame({"PULocationID": [132, 4], "DOLocationID": [4, 132]})
    expected = opened(options).predict(None, questions).to_numpy()
    assert_allclose(np.array(json.loads(output.stdout)), expected, rtol=1e-9)
    needed = {line.partition("==")[0] for line in options["pip_requirements"]}
    assert ("lightgbm" in needed) == (family == "boosted")


def test_a_model_whose_file_is_another_is_not_opened(
    tmp_path: Path, fitted: dict[str, dict[str, Any]]
) -> None:
    options = write_model(tmp_path, fitted["boosted"])
    path = Path(options["artifacts"]["model"])
    content = bytearray(path.read_bytes())
    assert options["model_config"] == {"model_sha256": hashlib.sha256(content).hexdigest()}
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not the file that was logged: it is damaged"):
        opened(options)


def test_trees_with_another_text_are_not_parsed(fitted: dict[str, dict[str, Any]]) -> None:
    """LightGBM would end the process. Files that are damaged are a matter of their format."""
    arrays = dict(fitted["stored"])
    assert read_models(arrays).keys() == {"mean", "lookup", "boosted"}
    text = arrays["boosted.mean_trees"].copy()
    text[1000] ^= 1
    arrays["boosted.mean_trees"] = text
    with pytest.raises(TreesError, match="the text of its trees is damaged"):
        read_models(arrays)
    del arrays["encoding.centres"]
    with pytest.raises(TreesError, match=r"an earlier version .* materialize boosted_model again"):
        read_models(arrays)
