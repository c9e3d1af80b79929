"""The whole graph, as Dagster runs it: what is stored, recorded and tracked."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import mlflow
import pandas as pd
import pytest
import yaml

from taxi_assets.assets.graph import GRAPH
from taxi_assets.definitions import build_definitions
from taxi_assets.settings import Settings
from taxi_assets_tests.conftest import (
    REAL_FILES,
    changed,
    latest_record,
    shown,
    step_failures,
    tracked_runs,
)

Materialize = Callable[..., dg.ExecuteInProcessResult]

NAMES = [asset.name for asset in GRAPH]


def test_the_graph_is_described_for_people(settings: Settings) -> None:
    graph = build_definitions(settings).resolve_asset_graph()
    parents = {
        key.path[-1]: {parent.path[-1] for parent in graph.get(key).parent_keys}
        for key in graph.get_all_asset_keys()
    }
    assert parents == {
        "raw_trips": set(),
        "cleaned_trips": {"raw_trips"},
        "zone_pairs": {"cleaned_trips"},
        "vectorizer": {"zone_pairs"},
        "model": {"cleaned_trips", "zone_pairs", "vectorizer"},
        "metrics": {"raw_trips", "cleaned_trips", "zone_pairs", "vectorizer", "model"},
        "hourly_pairs": {"cleaned_trips"},
        "boosted_model": {"cleaned_trips", "hourly_pairs"},
        "boosted_metrics": {"raw_trips", "cleaned_trips", "boosted_model"},
        "backtest": {"cleaned_trips"},
        "champion": {"cleaned_trips", "backtest"},
        "predictions": {"cleaned_trips", "champion"},
    }
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert key.path[0] == "green"
        assert node.description
        assert node.group_name == "green"
        assert node.kinds
        assert node.owners
        assert node.code_version
        assert node.partitions_def.get_first_partition_key() == "2014-01-01"


def test_a_month_is_stored_recorded_and_tracked(
    settings: Settings, materialize: Materialize, instance: dg.DagsterInstance
) -> None:
    assert materialize("2023-01").success

    storage = Path(settings.storage)
    published = Path(settings.trip_source) / "green_tripdata_2023-01.parquet"
    digest = hashlib.sha256(published.read_bytes()).hexdigest()
    stored = sorted(str(path.relative_to(storage)) for path in storage.rglob("*.*"))
    assert stored == [
        "green/backtest/2023-01.json",
        "green/boosted_metrics/2023-01.json",
        "green/boosted_model/2023-01.npz",
        "green/champion/2023-01.json",
        "green/cleaned_trips/2023-01.parquet",
        "green/cleaned_trips/2023-01.profile.json",
        "green/hourly_pairs/2023-01.parquet",
        "green/metrics/2023-01.json",
        "green/model/2023-01.skops",
        "green/pictures/2023-01/boosted_hours.png",
        "green/pictures/2023-01/boosted_predictions.png",
        "green/pictures/2023-01/durations.png",
        "green/pictures/2023-01/errors.png",
        "green/pictures/2023-01/predictions.png",
        "green/pictures/2023-01/worst_pairs.png",
        "green/predictions/2023-01.parquet",
        "green/raw_trips/2023-01.parquet",
        f"green/raw_trips/2023-01.source.{digest[:16]}.json",
        "green/vectorizer/2023-01.skops",
        "green/zone_pairs/2023-01.parquet",
    ]
    raw = (storage / "green/raw_trips/2023-01.parquet").read_bytes()
    assert raw == published.read_bytes()
    figures = json.loads((storage / "green/metrics/2023-01.json").read_text())
    assert figures["records_loaded"] == 6_000

    (run,) = tracked_runs(settings)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "green 2023-01 linear"
    assert run.data.metrics == figures
    assert len(run.data.params.pop("model_sha256")) == 64
    assert run.data.params == {
        "model_type": "LinearRegression",
        "fleet": "green",
        "month": "2023-01",
        "test_size": "0.2",
        "random_state": "42",
        "min_duration": "1.0",
        "max_duration": "60.0",
    }
    assert {"python", "dagster", "mlflow", "scikit-learn"} <= set(run.data.tags)

    metadata = latest_record(instance, "metrics").metadata
    assert {name: metadata[name].value for name in figures} == shown(figures)
    assert list(metadata)[:2] == ["summary", "rmse"]
    assert metadata["mlflow_run_id"].value == run.info.run_id
    assert latest_record(instance, "cleaned_trips").metadata["preview"].value.records
    raw_record = latest_record(instance, "raw_trips")
    assert raw_record.tags["dagster/data_version"] == raw_record.metadata["sha256"].value


@pytest.mark.after_three_months
def test_what_the_pages_show_is_short(instance: dg.DagsterInstance) -> None:
    """What fits into the table of an asset's overview at 1,300 pixels; figures have three decimals.

    The champion's summary alone is a sentence: its table has no wide column, and wraps it.
    """
    for asset in (each.name for each in GRAPH):
        metadata = latest_record(instance, asset).metadata
        assert len(metadata["summary"].value) <= 37 or asset == "champion", asset
        if "preview" in metadata:
            assert all(
                figure == round(figure, 3)
                for row in metadata["preview"].value.records
                for figure in row.data.values()
                if isinstance(figure, float)
            ), asset
    drift = dg.AssetCheckKey(dg.AssetKey(["green", "cleaned_trips"]), "drift_from_month_before")
    (last, *_) = instance.event_log_storage.get_asset_check_execution_history(drift, limit=1)
    found = last.event.asset_check_evaluation.metadata
    assert found["hours"].value == round(found["hours"].value, 3) > 0


def test_stored_values_load_as_plain_values(
    settings: Settings, materialize: Materialize, instance: dg.DagsterInstance
) -> None:
    materialize("2023-01")
    defs = build_definitions(settings)

    def load(name: str) -> object:
        return defs.load_asset_value(["green", name], partition_key="2023-01-01", instance=instance)

    assert load("raw_trips").metadata.num_rows == 6_000
    trips = load("cleaned_trips")
    assert list(trips.columns) == [
        *("PULocationID", "DOLocationID", "duration", "pickup_hour", "trip_distance", "validates")
    ]
    assert load("hourly_pairs")["trips"].sum() == len(trips)
    assert "boosted.mean_trees" in load("boosted_model")
    assert load("zone_pairs")["trips"].sum() == len(trips)
    assert len(load("vectorizer").feature_names_) == len(load("model")["model"].coef_)
    assert load("metrics")["records_cleaned"] == len(trips)


def test_the_logged_model_predicts_from_zone_ids(
    settings: Settings, materialize: Materialize
) -> None:
    materialize("2023-01", *NAMES[:6])
    (run,) = tracked_runs(settings)
    mlflow.set_tracking_uri(settings.tracking_uri)
    try:
        model = mlflow.pyfunc.load_model(f"models:/{run.outputs.model_outputs[0].model_id}")
        artifacts = [file.path for file in mlflow.MlflowClient().list_artifacts(run.info.run_id)]
    finally:
        mlflow.set_tracking_uri(None)
    numbers = pd.DataFrame({"PULocationID": [132, 4], "DOLocationID": [230, 99]})
    pd.testing.assert_frame_equal(model.predict(numbers), model.predict(numbers.astype(str)))
    assert "dv.pkl" in artifacts
    (description,) = (Path(settings.storage).parent / "mlruns").rglob("MLmodel")
    size = yaml.safe_load(description.read_text())["model_size_bytes"]
    assert run.data.metrics["model_size_bytes"] == size


def test_assets_can_be_materialized_one_by_one(
    settings: Settings, materialize: Materialize
) -> None:
    for name in NAMES:
        assert materialize("2023-02", name).success
    (run,) = tracked_runs(settings)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["records_loaded"] == 6_000


def test_a_run_that_trains_nothing_tracks_nothing(
    settings: Settings, materialize: Materialize
) -> None:
    assert materialize("2023-01", "raw_trips", "cleaned_trips").success
    assert tracked_runs(settings) == []


def test_a_month_that_the_source_does_not_have_fails_with_a_sentence(
    settings: Settings, materialize: Materialize
) -> None:
    result = materialize("2019-07")
    assert not result.success
    (message,) = step_failures(result)
    assert message.startswith("raw_trips 2019-07: ")
    assert "does not exist. Choose a month that the source has" in message
    assert not list(Path(settings.storage).rglob("*.*"))


def test_a_missing_upstream_month_is_named_with_the_command_that_makes_it(
    materialize: Materialize,
) -> None:
    (message,) = step_failures(materialize("2023-01", "zone_pairs"))
    assert message.startswith("zone_pairs 2023-01: cleaned_trips 2023-01 is needed")
    assert "--select 'green/cleaned_trips' --partition 2023-01-01" in message


# From ../shared/tlc/README.md: the row-level method, fitted to convergence.
EXPECTED = {
    ("green", "2023-01"): (68_211, 65_946, 52_756, 462, 23.05905, 7.2195657, 4.95120, 8.96787),
    ("green", "2023-02"): (64_809, 62_574, 50_059, 455, 23.98565, 7.3579781, 5.06987, 9.25727),
    ("yellow", "2022-01"): (100_000, 97_899, 78_319, 447, 19.75849, 6.5468077, 4.81051, 8.94033),
}
FIGURES = (
    "records_loaded", "records_cleaned", "train_trips", "feature_count",
    "intercept", "rmse", "mae", "baseline_rmse",
)  # fmt: skip


@pytest.mark.real_files
@pytest.mark.parametrize(("fleet", "month"), EXPECTED)
def test_real_months_give_their_known_figures(
    settings: Settings, materialize: Materialize, fleet: str, month: str
) -> None:
    known = Settings.from_environment(TAXI_FLEET=fleet).fleets
    settings = changed(settings, fleets=known, trip_source=str(REAL_FILES))
    assert materialize(month, settings=settings).success
    figures = json.loads((Path(settings.storage) / fleet / f"metrics/{month}.json").read_text())
    expected = dict(zip(FIGURES, EXPECTED[fleet, month], strict=True))
    assert {name: figures[name] for name in FIGURES} == pytest.approx(expected, rel=1e-5)
