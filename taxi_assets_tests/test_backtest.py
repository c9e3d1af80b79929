"""Last month's model on this month's trips."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import mlflow
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import mean_absolute_error, root_mean_squared_error

from taxi_assets.durations import regression
from taxi_assets.durations.backtest import compare_models
from taxi_assets.durations.cleaning import clean_trips
from taxi_assets.durations.regression import Predictor, fit_model, fit_vectorizer, predict
from taxi_assets.durations.zone_pairs import group_by_zone_pair
from taxi_assets.errors import UnreachableStorageError
from taxi_assets.settings import Settings
from taxi_assets.storage.io_managers import MonthlyIOManager
from taxi_assets.tlc.fleets import FLEETS
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.parquet import open_parquet
from taxi_assets_tests.conftest import changed, latest_record, step_failures, tracked_runs

Materialize = Callable[..., dg.ExecuteInProcessResult]
GREEN = FLEETS["green"]


def fitted(folder: Path, month: Month) -> tuple[pd.DataFrame, pd.DataFrame, Predictor]:
    trips = clean_trips(open_parquet(folder / GREEN.file_name(month)), GREEN, month).trips
    pairs = group_by_zone_pair(trips)
    vectorizer = fit_vectorizer(pairs)
    return trips, pairs, Predictor(vectorizer, fit_model(pairs, vectorizer))


def test_figures_are_those_of_scoring_every_trip(source_folder: Path) -> None:
    _, _, previous = fitted(source_folder, Month(2023, 1))
    trips, pairs, own = fitted(source_folder, Month(2023, 2))
    figures = compare_models(trips, pairs, own, previous)
    mean = trips.loc[~trips["validates"], "duration"].mean()
    for name, predicted in (
        ("previous", predict(trips, *previous)),
        ("own", predict(trips, *own)),
        ("mean", np.full(len(trips), mean)),
    ):
        errors = predicted - trips["duration"]
        assert figures[f"{name}_rmse"] == pytest.approx(
            root_mean_squared_error(trips["duration"], predicted)
        )
        assert figures[f"{name}_mae"] == pytest.approx(
            mean_absolute_error(trips["duration"], predicted)
        )
        assert figures[f"{name}_bias"] == pytest.approx(errors.mean(), abs=1e-9)
        assert figures[f"{name}_share_within_5_minutes"] == (errors.abs() <= 5).mean()
    held_out = trips[trips["validates"]]
    assert figures["previous_validation_rmse"] == pytest.approx(
        root_mean_squared_error(held_out["duration"], predict(held_out, *previous))
    )
    assert figures["trips"] == len(trips)


def stored(settings: Settings, month: str) -> dict[str, object]:
    return json.loads((Path(settings.storage) / f"green/backtest/{month}.json").read_text())


def test_each_month_of_a_span_scores_the_model_before_it(
    materialize: Materialize, settings: Settings, instance: dg.DagsterInstance
) -> None:
    """And tells the MLflow run of that model."""
    assert materialize("2023-01:2023-03").success
    assert [stored(settings, f"2023-0{m}")["scored_model"] for m in (1, 2, 3)] == [
        None,
        "2023-01",
        "2023-02",
    ]
    logged = {
        run.data.tags["dagster.partition"]: run.data.metrics.get("backtest_rmse")
        for run in tracked_runs(settings)
    }
    assert logged == {
        "2023-01-01": stored(settings, "2023-02")["previous_rmse"],
        "2023-02-01": stored(settings, "2023-03")["previous_rmse"],
        "2023-03-01": None,
    }
    record = latest_record(instance, "backtest", "2023-02")
    assert record.metadata["previous_rmse"].value == logged["2023-01-01"]
    assert {run.info.status for run in tracked_runs(settings)} == {"FINISHED"}


def test_without_a_previous_model_the_figures_are_empty_and_nothing_fails(
    materialize: Materialize, settings: Settings
) -> None:
    assert materialize("2023-02").success
    figures = stored(settings, "2023-02")
    assert figures["previous_rmse"] is None
    assert "vectorizer 2023-01 is needed, and is not stored" in str(figures["why_not_scored"])
    assert figures["own_rmse"] is not None


def test_a_damaged_previous_model_fails_nothing_either(
    materialize: Materialize, settings: Settings
) -> None:
    assert materialize("2023-01").success
    (Path(settings.storage) / "green/model/2023-01.skops").write_bytes(b"damaged")
    assert materialize("2023-02").success
    assert "model 2023-01 is stored, and cannot be read" in str(
        stored(settings, "2023-02")["why_not_scored"]
    )


def test_a_later_run_of_the_backtest_alone_fills_the_gaps(
    materialize: Materialize, settings: Settings
) -> None:
    """Runs of a month each come in any order, so that the model before may not be there yet."""
    one_by_one = changed(settings, months_per_run=1)
    for month in ("2023-02", "2023-01"):
        assert materialize(month, settings=one_by_one).success
    assert stored(settings, "2023-02")["previous_rmse"] is None
    assert materialize("2023-02", "backtest", settings=one_by_one).success
    assert stored(settings, "2023-02")["scored_model"] == "2023-01"


def test_a_deleted_mlflow_run_does_not_keep_its_model_from_being_scored(
    materialize: Materialize, settings: Settings
) -> None:
    assert materialize("2023-01").success
    (run,) = tracked_runs(settings)
    mlflow.MlflowClient(settings.tracking_uri).delete_run(run.info.run_id)
    assert materialize("2023-02").success
    assert stored(settings, "2023-02")["previous_rmse"] is not None


def put_another_vectorizer(settings: Settings, month: str) -> None:
    """One that was fitted on other zones, in the place of a month's own."""
    data = Path(settings.storage) / "green/vectorizer"
    other = next(
        m for m in ("2023-02", "2023-03") if features(settings, m) != features(settings, month)
    )
    shutil.copy(data / f"{other}.skops", data / f"{month}.skops")


@pytest.mark.parametrize(
    ("month", "asset", "model", "mending"),
    [
        ("2023-01", "metrics", "", "green/vectorizer,green/model,green/metrics"),
        ("2023-01", "backtest", "", "green/vectorizer,green/model,green/backtest"),
        ("2023-02", "backtest", "The model of 2023-01: ", "green/vectorizer,green/model"),
    ],
    ids=["metrics", "backtest of the month's own", "backtest of last month's"],
)
def test_vectorizer_and_model_of_two_trainings_are_not_mixed(
    materialize: Materialize, settings: Settings, month: str, asset: str, model: str, mending: str
) -> None:
    """A sentence with the command that mends it; the figures that are stored stay."""
    assert materialize("2023-01:2023-03").success
    file = Path(settings.storage) / f"green/{asset}/{month}.json"
    before = file.read_bytes()
    put_another_vectorizer(settings, "2023-01")
    (message,) = step_failures(materialize(month, asset))
    assert f"{asset} {month}: {model}The model was fitted on other features" in message
    assert f"--select '{mending}' --partition 2023-01-01" in message
    assert file.read_bytes() == before
    assert materialize("2023-01", "vectorizer", "model").success
    assert materialize(month, asset).success


def test_a_model_of_other_features_is_not_scored_without_them(
    materialize: Materialize, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert materialize("2023-01:2023-02").success
    before = stored(settings, "2023-02")
    monkeypatch.setattr(regression, "FEATURES", ["PULocationID"])
    (message,) = step_failures(materialize("2023-02", "backtest"))
    assert "The vectorizer was fitted on DOLocationID, PULocationID; the features are" in message
    assert stored(settings, "2023-02") == before


def test_an_outage_does_not_count_as_a_missing_model(
    materialize: Materialize, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The figures of the backtest stay, and the run fails as for any outage."""
    assert materialize("2023-01:2023-02").success
    before = stored(settings, "2023-02")
    load = MonthlyIOManager.load

    def fail(manager: MonthlyIOManager, key: dg.AssetKey, month: Month) -> object:
        if month == Month(2023, 1):
            raise UnreachableStorageError("s3://bucket cannot be reached.")
        return load(manager, key, month)

    monkeypatch.setattr(MonthlyIOManager, "load", fail)
    result = materialize("2023-02", "backtest")
    (message,) = step_failures(result)
    assert message == "backtest 2023-02: s3://bucket cannot be reached."
    assert len(result.filter_events(lambda event: event.is_step_up_for_retry)) == 2
    assert stored(settings, "2023-02") == before


def features(settings: Settings, month: str) -> int:
    path = Path(settings.storage) / f"green/metrics/{month}.json"
    return int(json.loads(path.read_text())["feature_count"])
