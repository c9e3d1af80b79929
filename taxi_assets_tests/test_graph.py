"""The whole graph, as Dagster runs it: what is stored, recorded and tracked."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import mlflow
import pandas as pd
import pytest
import yaml
from dagster._core.event_api import PartitionKeyFilter

from taxi_assets.assets.graph import GRAPH
from taxi_assets.definitions import build_definitions
from taxi_assets.settings import Settings
from taxi_assets_tests.conftest import (
    REAL_FILES,
    changed,
    latest_record,
    read_json,
    shown,
    tracked_runs,
)

Materialize = Callable[..., dg.ExecuteInProcessResult]

MONTHS = ("2023-01", "2023-02", "2023-03")
NAMES = [asset.name for asset in GRAPH]


def last_result(
    instance: dg.DagsterInstance, check: dg.AssetCheckKey, month: str
) -> dg.AssetCheckEvaluation:
    """The last result of a check for a month."""
    (last,) = instance.event_log_storage.get_asset_check_execution_history(
        check, limit=1, partition_filter=PartitionKeyFilter(key=f"{month}-01")
    )
    assert last.evaluation is not None
    return last.evaluation


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
        assert key.path[0] == node.group_name == "green"
        assert all((node.description, node.kinds, node.owners, node.code_version)), key
        assert node.partitions_def.get_first_partition_key() == "2014-01-01"


@pytest.mark.after_three_months
@pytest.mark.parametrize("month", MONTHS)
def test_a_month_of_a_span_is_stored_recorded_and_tracked(
    settings: Settings, instance: dg.DagsterInstance, month: str
) -> None:
    storage = Path(settings.storage)
    published = Path(settings.trip_source) / f"green_tripdata_{month}.parquet"
    digest = hashlib.sha256(published.read_bytes()).hexdigest()
    stored = [str(path.relative_to(storage / "green")) for path in storage.rglob("*.*")]
    plots = [
        *("boosted_hours", "boosted_predictions", "durations", "errors"),
        *("pickup_zones", "predictions", *(["zone_errors"] if month != "2023-01" else [])),
    ]
    assert sorted(name for name in stored if month in name) == sorted(
        [
            *(f"plots/{month}/{name}.png" for name in plots),
            f"backtest/{month}.json",
            f"boosted_metrics/{month}.json",
            f"boosted_model/{month}.npz",
            f"champion/{month}.json",
            f"cleaned_trips/{month}.parquet",
            f"cleaned_trips/{month}.profile.json",
            f"hourly_pairs/{month}.parquet",
            f"metrics/{month}.json",
            f"model/{month}.skops",
            f"predictions/{month}.parquet",
            f"raw_trips/{month}.parquet",
            f"raw_trips/{month}.source.{digest[:16]}.json",
            f"vectorizer/{month}.skops",
            f"zone_pairs/{month}.parquet",
        ]
    )
    assert not [name for name in stored if name.startswith(".") or "2023" not in name]
    raw = (storage / f"green/raw_trips/{month}.parquet").read_bytes()
    assert raw == published.read_bytes()
    metrics = read_json(storage / f"green/metrics/{month}.json")
    assert metrics["records_loaded"] == 6_000

    (run,) = (run for run in tracked_runs(settings) if run.data.params["month"] == month)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == f"green {month} linear"
    logged = run.data.metrics.items()
    assert {name: value for name, value in logged if "backtest" not in name} == metrics
    assert len(run.data.params.pop("model_sha256")) == 64
    assert run.data.params == {
        "model_type": "LinearRegression",
        "fleet": "green",
        "month": month,
        "test_size": "0.2",
        "random_state": "42",
        "min_duration": "1.0",
        "max_duration": "60.0",
    }
    assert {"python", "dagster", "mlflow", "scikit-learn"} <= set(run.data.tags)
    (span,) = instance.get_runs()
    assert [name for name, tag in run.data.tags.items() if tag == span.run_id] == ["dagster.run_id"]
    assert run.data.tags["dagster.partition"] == f"{month}-01"
    assert "mlflow.parentRunId" not in run.data.tags
    assert len(run.outputs.model_outputs) == 1

    metadata = latest_record(instance, "metrics", month).metadata
    assert {name: metadata[name].value for name in metrics} == shown(metrics)
    assert list(metadata)[:2] == ["summary", "rmse"]
    assert metadata["mlflow_run_id"].value == run.info.run_id
    assert latest_record(instance, "cleaned_trips", month).metadata["preview"].value.records
    raw_record = latest_record(instance, "raw_trips", month)
    assert raw_record.tags["dagster/data_version"] == raw_record.metadata["sha256"].value


@pytest.mark.after_three_months
def test_the_pages_show_what_is_in_the_months_file(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    """Each asset's metadata beside the numbers of the file that was published."""
    published = Path(settings.trip_source) / "green_tripdata_2023-02.parquet"
    trips = pd.read_parquet(published)
    zoned = trips[["PULocationID", "DOLocationID"]].notna().all(axis=1)
    lasted = trips["lpep_dropoff_datetime"] - trips["lpep_pickup_datetime"]
    minutes = lasted.dt.total_seconds()[zoned] / 60
    kept = minutes[minutes.between(1, 60)]
    metrics = read_json(Path(settings.storage) / "green/metrics/2023-02.json")
    assert metrics["train_trips"] + metrics["validation_trips"] == len(kept)
    expected = {
        "raw_trips": {
            "records_loaded": len(trips),
            "size_bytes": published.stat().st_size,
            "source": str(published),
        },
        "cleaned_trips": {
            "records_loaded": len(trips),
            "records_cleaned": len(kept),
            "share_kept": round(len(kept) / len(trips), 3),
            "null_zones": (~zoned).sum(),
            "null_times": lasted.isna().sum(),
            "unreadable_values": 0,
            "mean_duration_minutes": round(kept.mean(), 3),
        },
        "zone_pairs": {name: metrics[name] for name in ("train_trips", "validation_trips")},
        "vectorizer": {"feature_count": metrics["feature_count"]},
        "model": {"intercept": round(metrics["intercept"], 3)},
        "hourly_pairs": {"trips": len(kept)},
    }
    for asset, values in expected.items():
        metadata = latest_record(instance, asset, "2023-02").metadata
        assert {name: metadata[name].value for name in values} == values


def test_missing_zones_missing_times_and_unreadable_values_are_counted_apart(
    own_source: Settings, materialize: Materialize, instance: dg.DagsterInstance
) -> None:
    """A zone that cannot be read is missing, too."""
    path = Path(own_source.trip_source) / "green_tripdata_2023-01.parquet"
    trips = pd.read_parquet(path).astype({"PULocationID": float})
    trips.loc[:2, "PULocationID"] = None
    trips.loc[5, "PULocationID"] = 0.5
    trips.loc[10:14, "lpep_dropoff_datetime"] = None
    trips.to_parquet(path)
    assert materialize("2023-01", "raw_trips", "cleaned_trips", settings=own_source).success
    metadata = latest_record(instance, "cleaned_trips").metadata
    names = ("null_zones", "null_times", "unreadable_values")
    assert [metadata[name].value for name in names] == [4, 5, 1]


@pytest.mark.after_three_months
def test_what_the_pages_show_is_short(instance: dg.DagsterInstance) -> None:
    """What fits into the table of an asset's overview at 1,300 pixels; metrics have three decimals.

    The champion's summary alone is a sentence: its table has no wide column, and wraps it.
    """
    for asset in (each.name for each in GRAPH):
        metadata = latest_record(instance, asset).metadata
        assert len(metadata["summary"].value) <= 37 or asset == "champion", asset
        if "preview" in metadata:
            assert all(
                metric == round(metric, 3)
                for row in metadata["preview"].value.records
                for metric in row.data.values()
                if isinstance(metric, float)
            ), asset
    drift = dg.AssetCheckKey(dg.AssetKey(["green", "cleaned_trips"]), "drift_from_month_before")
    hours = last_result(instance, drift, "2023-03").metadata["hours"].value
    assert hours == round(hours, 3) > 0


@pytest.mark.after_three_months
def test_stored_values_load_as_plain_values(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
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


@pytest.mark.after_three_months
def test_the_logged_model_predicts_from_zone_ids(settings: Settings) -> None:
    run, *_ = tracked_runs(settings)
    mlflow.set_tracking_uri(settings.tracking_uri)
    try:
        model = mlflow.pyfunc.load_model(f"models:/{run.outputs.model_outputs[0].model_id}")
        artifacts = [file.path for file in mlflow.MlflowClient().list_artifacts(run.info.run_id)]
    finally:
        mlflow.set_tracking_uri(None)
    numbers = pd.DataFrame({"PULocationID": [132, 4], "DOLocationID": [230, 99]})
    pd.testing.assert_frame_equal(model.predict(numbers), model.predict(numbers.astype(str)))
    assert "dv.pkl" in artifacts
    described = [
        yaml.safe_load(path.read_text())
        for path in (Path(settings.storage).parent / "mlruns").rglob("MLmodel")
    ]
    (size,) = (each["model_size_bytes"] for each in described if each["run_id"] == run.info.run_id)
    assert run.data.metrics["model_size_bytes"] == size


LOOKING_BACK = {
    *("rmse_of_earlier_months", "drift_from_month_before", "drift_from_year_before"),
    *("window_complete", "boosted_better_than_linear", "interval_coverage", "model_decays"),
}
"""Checks that compare a month with months before it."""


@pytest.mark.after_three_months
def test_a_month_that_is_made_again_asset_by_asset_ends_and_is_judged_as_it_was(
    settings: Settings, materialize: Materialize, instance: dg.DagsterInstance
) -> None:
    def metrics() -> dict[str, object]:
        names = ("metrics", "boosted_metrics", "backtest", "champion")
        paths = [Path(settings.storage) / f"green/{name}/2023-02.json" for name in names]
        return {path.parent.name: read_json(path) for path in paths}

    def versions() -> dict[str, str]:
        records = {name: latest_record(instance, name, "2023-02") for name in NAMES}
        return {name: record.tags["dagster/data_version"] for name, record in records.items()}

    def findings() -> dict[str, str | None]:
        checks = build_definitions(settings).resolve_asset_graph().asset_check_keys
        return {
            check.name: last_result(instance, check, "2023-02").description
            for check in checks
            if check.name in LOOKING_BACK
        }

    before = metrics(), versions(), findings()
    assert before[2].keys() == LOOKING_BACK
    for name in NAMES:
        assert materialize("2023-02", name).success
    assert (metrics(), versions(), findings()) == before


@pytest.mark.after_three_months
def test_every_check_has_judged_every_month_and_its_result_is_current(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    checks = list(build_definitions(settings).resolve_asset_graph().asset_check_keys)
    infos = instance.event_log_storage.get_asset_check_partition_info(checks)
    judged = {(info.check_key, info.partition_key[:7]) for info in infos if info.is_current}
    assert judged == {(check, month) for check in checks for month in MONTHS}
    assert "PLANNED" not in {info.latest_execution_status.value for info in infos}


def test_a_backfill_is_cut_as_the_settings_say(settings: Settings) -> None:
    def policies(months_per_run: int | None) -> set[dg.BackfillPolicy]:
        definitions = build_definitions(changed(settings, months_per_run=months_per_run))
        graph = definitions.resolve_asset_graph()
        return {graph.get(key).backfill_policy for key in graph.get_all_asset_keys()}

    assert policies(None) == {dg.BackfillPolicy.single_run()}
    assert policies(3) == {dg.BackfillPolicy.multi_run(3)}


def test_what_changed_at_the_source_or_was_altered_here_is_fetched_again_and_nothing_else(
    own_source: Settings, materialize: Materialize
) -> None:
    assert materialize("2023-01:2023-03", "raw_trips", settings=own_source).success
    january, february, march = (
        Path(own_source.storage) / f"green/raw_trips/{month}.parquet" for month in MONTHS
    )
    before, good = january.stat().st_mtime_ns, february.read_bytes()
    february.write_bytes(good[:-1] + b"x")
    source = Path(own_source.trip_source)
    shutil.copyfile(
        source / "green_tripdata_2023-04.parquet", source / "green_tripdata_2023-03.parquet"
    )
    assert materialize("2023-01:2023-03", "raw_trips", settings=own_source).success
    assert january.stat().st_mtime_ns == before
    assert february.read_bytes() == good
    assert march.read_bytes() == (source / "green_tripdata_2023-03.parquet").read_bytes()


def test_a_run_that_trains_nothing_tracks_nothing(
    settings: Settings, materialize: Materialize
) -> None:
    assert materialize("2023-01", "raw_trips", "cleaned_trips").success
    assert tracked_runs(settings) == []


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
def test_real_months_give_their_known_metrics(
    settings: Settings, materialize: Materialize, fleet: str, month: str
) -> None:
    known = Settings.from_environment(TAXI_FLEET=fleet).fleets
    settings = changed(settings, fleets=known, trip_source=str(REAL_FILES))
    assert materialize(month, *NAMES[:6], settings=settings).success
    metrics = read_json(Path(settings.storage) / fleet / f"metrics/{month}.json")
    expected = dict(zip(FIGURES, EXPECTED[fleet, month], strict=True))
    assert {name: metrics[name] for name in FIGURES} == pytest.approx(expected, rel=1e-5)
