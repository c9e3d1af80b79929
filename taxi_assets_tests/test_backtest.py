"""Models of earlier months on this month's trips."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import mlflow
import numpy as np
import pandas as pd
import pytest
from dagster._core.event_api import PartitionKeyFilter
from sklearn.metrics import mean_absolute_error, root_mean_squared_error

from taxi_assets.durations.backtest import HeldOutTrips
from taxi_assets.durations.cleaning import COLUMNS, clean_trips
from taxi_assets.durations.inference import Interval, answer
from taxi_assets.durations.window import cells_of
from taxi_assets.errors import UnreachableStorageError
from taxi_assets.settings import Settings
from taxi_assets.storage.formats import ParquetFrame
from taxi_assets.storage.io_managers import MonthlyIOManager
from taxi_assets.tlc.fleets import FLEETS
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.parquet import open_parquet
from taxi_assets.tlc.zones import MANHATTAN
from taxi_assets_tests.conftest import (
    changed,
    laptop,
    latest_record,
    read_json,
    step_failures,
    tracked_runs,
)

Materialize = Callable[..., dg.ExecuteInProcessResult]
GREEN = FLEETS["green"]


class Table:
    """A model that answers what a table says of each cell."""

    def __init__(self, minutes: np.ndarray, spread: float = 1.0) -> None:
        self.minutes, self.deviation = minutes, spread

    def predict(self, cells: np.ndarray) -> np.ndarray:
        return self.minutes[cells % len(self.minutes)]

    def predict_with_spread(self, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.predict(cells), np.full(len(cells), self.deviation)


@pytest.fixture(scope="module")
def trips(source_folder: Path) -> pd.DataFrame:
    path = source_folder / GREEN.file_name(Month(2023, 2))
    return clean_trips(open_parquet(path), GREEN, Month(2023, 2)).trips


def scored(trips: pd.DataFrame, model: Table) -> dict[str, Any]:
    held = HeldOutTrips(trips)
    return held.score(model.predict(held.cells))


def test_metrics_are_those_of_scoring_every_trip(trips: pd.DataFrame) -> None:
    model = Table(np.random.default_rng(1).uniform(-5, 70, 997))
    cells = cells_of(trips)
    metrics = scored(trips, model)
    predicted = model.predict(cells)
    errors = predicted - trips["duration"]
    assert metrics["rmse"] == pytest.approx(root_mean_squared_error(trips["duration"], predicted))
    assert metrics["mae"] == pytest.approx(mean_absolute_error(trips["duration"], predicted))
    assert metrics["bias"] == pytest.approx(errors.mean())
    assert metrics["within_5_minutes"] == (errors.abs() <= 5).mean()
    assert metrics["p90_error"] == pytest.approx(errors.abs().quantile(0.9))
    coverage = ("interval_coverage", "interval_width", "interval_coverage_by_bin")
    assert {metrics[name] for name in coverage} == {None}


def test_served_answers_are_scored_where_there_is_an_interval(trips: pd.DataFrame) -> None:
    """Those that are never below 1 minute, nor above 60."""
    model = Table(np.random.default_rng(1).uniform(-5, 70, 997), spread=2.0)
    bounds = {"edges": [10, 20, 30, 40], "low": [-1, -2, -3, -4, -5], "high": [5, 4, 3, 2, 1]}
    interval = Interval({name: np.array(values, float) for name, values in bounds.items()})
    held = HeldOutTrips(trips)
    minutes, low, high = answer(model, interval, held.cells)
    metrics = held.score(minutes, (low, high))
    minutes, low, high = answer(model, interval, cells_of(trips))
    actual = trips["duration"].to_numpy()
    held = (low <= actual) & (actual <= high)
    assert metrics["rmse"] == pytest.approx(root_mean_squared_error(actual, minutes))
    assert metrics["interval_coverage"] == pytest.approx(held.mean())
    assert metrics["interval_width"] == pytest.approx((high - low).mean())
    by_bin = metrics["interval_coverage_by_bin"]
    assert len(by_bin) == 5
    assert np.mean(by_bin) == pytest.approx(held.mean(), abs=0.01)
    lowest = minutes <= np.quantile(minutes, 0.2)
    assert by_bin[0] == pytest.approx(held[lowest].mean(), abs=0.02)


def by_hand(*trips: tuple[int, float]) -> HeldOutTrips:
    """Trips within zones, by their numbers, on Monday at midnight; with minutes."""
    zones = pd.Categorical([str(zone) for zone, _ in trips])
    return HeldOutTrips(
        pd.DataFrame(
            {
                "PULocationID": zones,
                "DOLocationID": zones,
                "pickup_hour": np.zeros(len(trips), np.uint8),
                "duration": [minutes for _, minutes in trips],
            }
        )
    )


def test_errors_by_pickup_are_a_models_rmse_where_trips_begin() -> None:
    trips = HeldOutTrips(
        pd.DataFrame(
            {
                "PULocationID": pd.Categorical(["132", "132", "7"]),
                "DOLocationID": pd.Categorical(["7", "9", "132"]),
                "pickup_hour": np.zeros(3, np.uint8),
                "duration": [10.0, 20.0, 30.0],
            }
        )
    )
    for run_id, minutes in (("other", 1.0), ("asked", 13.0)):
        trips.ask(run_id, lambda cells, minutes=minutes: (np.full(len(cells), minutes),) * 3)
    by_zone = trips.errors_by_pickup("asked")
    assert by_zone["trips"].to_dict() == {7: 1, 132: 2}
    assert by_zone["value"].to_dict() == pytest.approx({7: 17, 132: ((9 + 49) / 2) ** 0.5})


def test_limits_count_as_within() -> None:
    """Of six trips of which 10 minutes were expected, 5 to 15: four are close, and held."""
    trips = by_hand(*((1, minutes) for minutes in (5.0, 4.99, 10.0, 15.0, 15.01, 13.0)))
    metrics = trips.score(np.array([10.0]), (np.array([5.0]), np.array([15.0])))
    assert metrics["within_5_minutes"] == pytest.approx(4 / 6)
    assert metrics["interval_coverage"] == pytest.approx(4 / 6)
    assert metrics["interval_width"] == 10
    assert metrics["bias"] == pytest.approx(-0.5)
    assert metrics["mae"] == pytest.approx(23.02 / 6)


@pytest.mark.parametrize("off", [0.0, 0.25, 0.3])
def test_a_model_that_is_always_as_far_off_has_just_that_error(off: float) -> None:
    metrics = by_hand((1, 8.0), (1, 8.0), (2, 20.0)).score(np.array([8.0, 20.0]) + off)
    assert metrics["rmse"] == pytest.approx(off)
    whole_night = metrics["segments"]["night"]
    assert whole_night["trips"] == 3
    assert (whole_night["rmse"], whole_night["bias"]) == pytest.approx((off, off))


def test_coverage_is_told_by_fifth_of_the_prediction() -> None:
    """Ten trips, two of each prediction; the shortest predictions come first."""
    expected = {1: 50.0, 2: 40.0, 3: 30.0, 4: 20.0, 5: 10.0}
    held = {1: 2, 2: 1, 3: 0, 4: 2, 5: 1}
    trips = by_hand(
        *(
            (zone, minutes + (0 if trip < held[zone] else 2))
            for zone, minutes in expected.items()
            for trip in range(2)
        )
    )
    minutes = np.array(list(expected.values()))
    metrics = trips.score(minutes, (minutes - 1, minutes + 1))
    assert metrics["interval_coverage_by_bin"] == [0.5, 1.0, 0.0, 0.5, 1.0]
    assert metrics["interval_coverage"] == 0.6


@pytest.mark.parametrize(("trips", "thin"), [(9, 9), (10, 0)])
def test_a_pair_of_fewer_than_ten_trips_is_thin(trips: int, thin: int) -> None:
    segments = by_hand(*[(1, 5.0)] * trips).score(np.array([5.0]))["segments"]
    assert segments.get("thin_pairs", {"trips": 0})["trips"] == thin


def test_segments_are_places_and_hours(trips: pd.DataFrame) -> None:
    model = Table(np.full(1, 10.0))
    segments = scored(trips, model)["segments"]
    pickup, dropoff = (trips[zone].astype(int) for zone in ("PULocationID", "DOLocationID"))
    hour, weekday = trips["pickup_hour"] % 24, trips["pickup_hour"] < 120
    airport = pickup.isin([1, 132, 138]) | dropoff.isin([1, 132, 138])
    manhattan = pickup.isin(MANHATTAN) & dropoff.isin(MANHATTAN)
    pair_trips = trips.groupby([pickup, dropoff])["duration"].transform("size")
    expected = {
        "within_manhattan": manhattan,
        "airport": airport,
        "other": ~airport & ~manhattan,
        "morning_rush": weekday & hour.between(7, 9),
        "evening_rush": weekday & hour.between(16, 18),
        "night": hour <= 5,
        "thin_pairs": pair_trips <= 9,
    }
    assert segments.keys() == expected.keys()
    for name, chosen in expected.items():
        errors = 10 - trips.loc[chosen, "duration"]
        assert segments[name]["trips"] == chosen.sum()
        assert segments[name]["rmse"] == pytest.approx(np.sqrt((errors**2).mean()))
        assert segments[name]["bias"] == pytest.approx(errors.mean())


def stored(settings: Settings, month: str) -> dict[str, Any]:
    return read_json(Path(settings.storage) / f"green/backtest/{month}.json")


def through(settings: Settings, month: str) -> dict[str, str]:
    """The last month that each model was trained on which a backtest has scored."""
    return {
        name: model["trained_through"] for name, model in stored(settings, month)["models"].items()
    }


FAMILIES = ("linear", "mean", "lookup", "boosted")
SUMS = ("raw_trips", "cleaned_trips", "hourly_pairs")
BOOSTED = (*SUMS, "boosted_model")
BOTH = (*BOOSTED, "zone_pairs", "vectorizer", "model", "backtest")
"""Up to the sums, to boosted trees, and of both families to the backtest."""


@pytest.mark.after_three_months
def test_each_month_of_a_span_scores_the_models_before_it(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    """And tells their MLflow runs."""
    assert stored(settings, "2023-01") == {
        "month": "2023-01",
        "trips": stored(settings, "2023-01")["trips"],
        "failed_checks": [],
        "models": {},
    }
    for month, before in (("2023-02", "2023-01"), ("2023-03", "2023-02")):
        assert through(settings, month) == dict.fromkeys(FAMILIES, before)
    march = stored(settings, "2023-03")["models"]
    assert march["boosted"]["training_months"] == ["2023-01", "2023-02"]
    assert march["linear"]["training_months"] == ["2023-02"]
    for family in ("linear", "boosted"):
        logged = {
            run.data.tags["dagster.partition"]: run.data.metrics.get("backtest_rmse")
            for run in tracked_runs(settings, family)
        }
        assert logged == {
            "2023-01-01": stored(settings, "2023-02")["models"][family]["rmse"],
            "2023-02-01": march[family]["rmse"],
            "2023-03-01": None,
        }
        runs = {run.info.run_id for run in tracked_runs(settings, family)}
        assert march[family]["mlflow_run_id"] in runs
        known = mlflow.MlflowClient(settings.tracking_uri)
        (logged_once,) = known.get_metric_history(march[family]["mlflow_run_id"], "backtest_rmse")
        assert logged_once.step == 0
        assert 1.7e12 < logged_once.timestamp < 5e12  # Milliseconds since 1970.
    record = latest_record(instance, "backtest", "2023-03")
    assert record.metadata["boosted_rmse"].value == round(march["boosted"]["rmse"], 3)
    assert march["mean"]["mlflow_run_id"] is None


def test_the_newest_earlier_models_are_scored_and_never_the_months_own_or_a_later_one(
    materialize: Materialize, settings: Settings
) -> None:
    assert materialize("2023-01", *BOTH).success
    assert materialize("2023-04", *BOTH).success
    assert through(settings, "2023-04") == dict.fromkeys(FAMILIES, "2023-01")
    assert materialize("2023-02", *BOTH).success
    assert through(settings, "2023-02") == dict.fromkeys(FAMILIES, "2023-01")


@pytest.mark.after_three_months
def test_damaged_models_are_passed_over_for_older_ones(
    materialize: Materialize, settings: Settings
) -> None:
    data = Path(settings.storage) / "green"
    (data / "model/2023-02.skops").write_bytes(b"damaged")
    (data / "boosted_model/2023-02.npz").write_bytes(b"damaged")
    assert materialize("2023-03", "backtest").success
    assert through(settings, "2023-03") == dict.fromkeys(FAMILIES, "2023-01")


@pytest.mark.drill
def test_months_in_any_order_and_a_second_go_are_the_range_in_one_run(
    materialize: Materialize, settings: Settings, mlflow_database: Path, tmp_path: Path
) -> None:
    """Every stored value that needs history, but for the runs that made it; and who serves."""
    apart = laptop(tmp_path / "apart", Path(settings.trip_source))
    apart = changed(apart, months_per_run=1)
    (tmp_path / "apart").mkdir()
    shutil.copy(mlflow_database, tmp_path / "apart")
    assert materialize("2023-01:2023-06").success
    for number in (3, 1, 6, 4, 2, 5):
        assert materialize(f"2023-0{number}", settings=apart).success
    second = ("boosted_model", "boosted_metrics", "backtest", "champion", "predictions")
    assert materialize("2023-01:2023-06", *second, settings=apart).success
    for number in range(1, 7):
        month = f"2023-0{number}"
        one, two = (values(place, month) for place in (settings, apart))
        assert one.keys() == two.keys()
        assert [name for name in one if one[name] != two[name]] == []
    one, two = (standing(place) for place in (settings, apart))
    assert one["champion"] is not None
    assert one == two


def values(settings: Settings, month: str) -> dict[str, object]:
    """What is stored of a month, by name, without the ids of runs."""
    data = Path(settings.storage) / "green"
    names = ("cleaned_trips", "zone_pairs", "hourly_pairs")
    found: dict[str, object] = {
        name: (data / name / f"{month}.parquet").read_bytes() for name in names
    }
    with np.load(data / f"boosted_model/{month}.npz") as arrays:
        found |= {name: arrays[name].tobytes() for name in arrays if name != "mlflow_run_id"}
    metrics = read_json(data / f"boosted_metrics/{month}.json")
    found["boosted_metrics"] = {n: v for n, v in metrics.items() if n != "model_size_bytes"}
    backtest = read_json(data / f"backtest/{month}.json")
    for model in backtest["models"].values():
        del model["mlflow_run_id"]
    champion = read_json(data / f"champion/{month}.json")
    predicted = pd.read_parquet(data / f"predictions/{month}.parquet").drop(columns="model_version")
    return found | {
        "backtest": backtest,
        "champion": {
            name: champion[name] for name in ("decision", "relative_rmse", "pinned", "chosen")
        },
        "predictions": predicted.to_numpy().tobytes(),
    }


def standing(settings: Settings) -> dict[str, str]:
    """Family and month of the version that serves."""
    client = mlflow.MlflowClient(settings.tracking_uri)
    name = "nyc-taxi-trip-duration-green"
    tags = {
        alias: client.get_model_version_by_alias(name, alias).tags
        for alias in client.get_registered_model(name).aliases
        if alias == "champion"
    }
    return {alias: f"{its['family']} {its['month']}" for alias, its in tags.items()}


def test_a_gap_in_the_window_is_a_warning_and_a_first_month_is_none(
    materialize: Materialize, settings: Settings, instance: dg.DagsterInstance
) -> None:
    key = dg.AssetCheckKey(dg.AssetKey(["green", "boosted_model"]), "window_complete")

    def check(month: str) -> dg.AssetCheckEvaluation:
        history = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
        evaluation = history[0].evaluation
        assert evaluation.partition == f"{month}-01"
        return evaluation

    assert materialize("2023-01", *BOOSTED).success
    first = check("2023-01")
    assert first.passed
    assert first.description == "No earlier month is stored: trained on this one alone"
    assert materialize("2023-03", *BOOSTED).success
    third = check("2023-03")
    assert not third.passed
    finding, _, command = str(third.description).partition(". Afterwards, in order of the months: ")
    assert finding == "Trained on 2023-01, 2023-03; not stored: 2023-02"
    assert command == (
        "dagster asset materialize -m taxi_assets.definitions --select "
        "'green/boosted_model,green/boosted_metrics,green/backtest,green/champion,"
        "green/predictions' --partition 2023-03-01"
    )
    record = latest_record(instance, "boosted_model", "2023-03")
    versions = record.metadata["training_months"].value
    stored_sums = Path(settings.storage) / "green/hourly_pairs"
    assert versions == {
        month: hashlib.sha256((stored_sums / f"{month}.parquet").read_bytes()).hexdigest()
        for month in ("2023-01", "2023-03")
    }
    run, _ = tracked_runs(settings, "boosted")
    expected = " ".join(f"{month}:{version[:12]}" for month, version in versions.items())
    assert run.data.params["training_months"] == expected


def test_a_model_is_marked_when_a_month_of_its_window_is_stored_or_changed_later(
    materialize: Materialize,
    settings: Settings,
    instance: dg.DagsterInstance,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """At once, by the run of the other month, which says so; no longer once it is trained anew."""
    key = dg.AssetCheckKey(dg.AssetKey(["green", "boosted_model"]), "window_complete")

    def march() -> tuple[str | None, bool]:
        month = PartitionKeyFilter(key="2023-03-01")
        history = instance.event_log_storage.get_asset_check_execution_history(
            key, limit=1, partition_filter=month
        )
        evaluation = history[0].evaluation
        target = evaluation.target_materialization_data
        records = instance.fetch_materializations(
            dg.AssetRecordsFilter(key.asset_key, asset_partitions=["2023-03-01"]), limit=1
        ).records
        assert target is not None
        assert target.storage_id == records[0].storage_id
        return evaluation.description.partition(". Afterwards")[0], evaluation.passed

    assert materialize("2023-01", *SUMS).success
    assert materialize("2023-03", *BOOSTED).success
    assert march() == ("Trained on 2023-01, 2023-03; not stored: 2023-02", False)
    assert materialize("2023-02", *SUMS).success
    assert march() == ("Trained on 2023-01, 2023-03; stored or changed since: 2023-02", False)
    assert "boosted_model 2023-03: Trained on 2023-01, 2023-03; stored" in capfd.readouterr().err
    assert materialize("2023-03", "boosted_model").success
    assert march() == ("Trained on 2023-01, 2023-02, 2023-03", True)
    capfd.readouterr()
    assert materialize("2023-02", "hourly_pairs").success
    assert march() == ("Trained on 2023-01, 2023-02, 2023-03", True)
    assert "boosted_model 2023-03" not in capfd.readouterr().err
    shorten(Path(settings.storage) / "green/cleaned_trips/2023-01.parquet")
    assert materialize("2023-01", "hourly_pairs").success
    assert march() == (
        "Trained on 2023-01, 2023-02, 2023-03; stored or changed since: 2023-01",
        False,
    )


def shorten(path: Path) -> None:
    """Take a stored month's last trips away."""
    stored_format = ParquetFrame(COLUMNS)
    trips = stored_format.load(path.open("rb"))
    path.unlink()
    stored_format.dump(trips.head(4000), path)


@pytest.mark.after_three_months
def test_the_window_is_as_long_as_it_is_set(materialize: Materialize, settings: Settings) -> None:
    short = changed(settings, training_months=2)
    assert materialize("2023-02", "boosted_model", settings=short).success
    assert materialize("2023-03", "boosted_model", "backtest", settings=short).success
    trained = stored(settings, "2023-03")["models"]["boosted"]["training_months"]
    assert trained == ["2023-01", "2023-02"]
    with np.load(Path(settings.storage) / "green/boosted_model/2023-03.npz") as arrays:
        assert arrays["training_months"].tolist() == ["2023-02", "2023-03"]


@pytest.mark.after_three_months
def test_a_deleted_mlflow_run_does_not_keep_its_model_from_being_scored(
    materialize: Materialize, settings: Settings
) -> None:
    for run in tracked_runs(settings):
        mlflow.MlflowClient(settings.tracking_uri).delete_run(run.info.run_id)
    assert materialize("2023-02", "backtest").success
    assert through(settings, "2023-02") == dict.fromkeys(FAMILIES, "2023-01")


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
        ("2023-02", "backtest", "The model of 2023-01: ", "green/vectorizer,green/model"),
    ],
    ids=["metrics", "backtest"],
)
@pytest.mark.after_three_months
def test_vectorizer_and_model_of_two_trainings_are_not_mixed(
    materialize: Materialize, settings: Settings, month: str, asset: str, model: str, mending: str
) -> None:
    """A sentence with the command that mends it; the metrics that are stored stay."""
    file = Path(settings.storage) / f"green/{asset}/{month}.json"
    before = file.read_bytes()
    put_another_vectorizer(settings, "2023-01")
    (message,) = step_failures(materialize(month, asset))
    assert f"{asset} {month}: {model}The model was fitted on other features" in message
    assert f"--select '{mending}' --partition 2023-01-01" in message
    assert file.read_bytes() == before
    assert materialize("2023-01", "vectorizer", "model").success
    assert materialize(month, asset).success


@pytest.mark.after_three_months
def test_an_outage_does_not_count_as_a_missing_model(
    materialize: Materialize,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The metrics of the backtest stay, and the run fails as for any outage."""
    before = stored(settings, "2023-02")
    load = MonthlyIOManager.load

    def fail(manager: MonthlyIOManager, key: dg.AssetKey, month: Month) -> object:
        if month == Month(2023, 1):
            raise UnreachableStorageError("s3://bucket cannot be reached.")
        return load(manager, key, month)

    monkeypatch.setattr(MonthlyIOManager, "load", fail)
    (message,) = step_failures(materialize("2023-02", "backtest"))
    assert message == "backtest 2023-02: s3://bucket cannot be reached."
    assert capfd.readouterr().err.count("Trying again in") == 2
    assert stored(settings, "2023-02") == before


def features(settings: Settings, month: str) -> int:
    path = Path(settings.storage) / f"green/metrics/{month}.json"
    return int(read_json(path)["feature_count"])
