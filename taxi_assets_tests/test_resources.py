"""The graph at home in Dagster: its resources, its fleets, and what importing it leaves alone."""

import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from taxi_assets.assets.graph import GRAPH
from taxi_assets.definitions import build_definitions
from taxi_assets.resources import resources
from taxi_assets.runs.process import BriefLogRecord
from taxi_assets.settings import Settings
from taxi_assets.tlc.fleets import FLEETS
from taxi_assets_tests.conftest import changed, read_json

pytestmark = pytest.mark.linear

Materialize = Callable[..., dg.ExecuteInProcessResult]
GREEN = FLEETS["green"]


def test_a_run_can_have_another_storage_than_is_configured(
    settings: Settings, materialize: Materialize, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    """As the launchpad overrides it: also for the IO managers, which take it."""
    job = build_definitions(settings).resolve_implicit_global_asset_job_def()
    elsewhere = {"resources": {"storage": {"config": {"root": str(tmp_path / "elsewhere")}}}}
    done = job.execute_in_process(
        run_config=elsewhere,
        partition_key="2023-01-01",
        instance=instance,
        asset_selection=[dg.AssetKey(["green", name]) for name in ("raw_trips", "cleaned_trips")],
    )
    assert done.success
    assert (tmp_path / "elsewhere/green/cleaned_trips/2023-01.parquet").exists()
    assert (tmp_path / "elsewhere/green/plots/2023-01/durations.png").exists()
    assert not Path(settings.storage).exists()


def test_resources_show_the_names_of_variables_and_none_of_their_values() -> None:
    secret = Settings.from_environment(TAXI_STORAGE="s3://me:s3cret@host", TAXI_SYNTHETIC_TRIPS="7")
    shown = resources(secret, ["TAXI_STORAGE", "TAXI_SYNTHETIC_TRIPS"])
    assert "s3cret" not in str(shown)
    configured = {
        key: shown[key].get_resource_definition().config_schema.default_value
        for key in ("storage", "trip_source", "mlflow")
    }
    assert configured["storage"] == {"root": {"env": "TAXI_STORAGE"}}
    assert configured["trip_source"]["synthetic_trips"] == {"env": "TAXI_SYNTHETIC_TRIPS"}
    assert configured["trip_source"]["location"] == secret.trip_source
    assert configured["mlflow"]["experiment_name"] == "nyc-taxi-trip-duration"


@pytest.mark.parametrize(
    ("resource", "field"),
    [("storage", "root"), ("trip_source", "location"), ("mlflow", "tracking_uri")],
)
@pytest.mark.parametrize("value", ["elsewhere", {"env": "AWS_SECRET_ACCESS_KEY"}])
def test_a_deployment_can_keep_launches_from_setting_resources(
    resource: str, field: str, value: object, settings: Settings
) -> None:
    """Neither to other values nor to what another variable has."""
    fixed = build_definitions(changed(settings, configurable=False))
    job = fixed.resolve_implicit_global_asset_job_def()
    with pytest.raises(dg.DagsterInvalidConfigError, match=f'unexpected config entry "{field}"'):
        dg.validate_run_config(job, {"resources": {resource: {"config": {field: value}}}})


def test_a_run_is_one_process_unless_its_configuration_says_otherwise(settings: Settings) -> None:
    job = build_definitions(settings).resolve_implicit_global_asset_job_def()
    assert list(dg.validate_run_config(job, {})["execution"]["in_process_by_default"]) == [
        "in_process"
    ]
    dg.validate_run_config(job, {"execution": {"config": {"multiprocess": {"max_concurrent": 2}}}})


def test_every_fleet_has_a_group_a_pool_keys_and_a_freshness_of_its_own(settings: Settings) -> None:
    everything = changed(settings, fleets=tuple(FLEETS.values()))
    definitions = build_definitions(everything)
    assert {months.op.pool for months in definitions.assets} == set(FLEETS)
    specs = definitions.resolve_all_asset_specs()
    awaited = {spec.key.to_user_string() for spec in specs if spec.freshness_policy}
    assert awaited == {"yellow/model", "green/model", "fhvhv/model"}
    graph = definitions.resolve_asset_graph()
    assert len(graph.get_all_asset_keys()) == len(GRAPH) * len(FLEETS)
    for fleet in FLEETS:
        group = dg.AssetSelection.groups(fleet).resolve(graph)
        assert {key.path[0] for key in group} == {fleet}
        assert len(group) == len(GRAPH)


def test_invented_months_touch_no_others(settings: Settings, materialize: Materialize) -> None:
    synthetic = changed(settings, fleets=(FLEETS["synthetic"],), synthetic_trips=3_000)
    assert materialize("2023-01", settings=synthetic).success
    stored = [path for path in Path(settings.storage).rglob("*") if path.is_file()]
    assert {path.relative_to(settings.storage).parts[0] for path in stored} == {"synthetic"}
    metrics = Path(settings.storage) / "synthetic/metrics/2023-01.json"
    assert read_json(metrics)["records_loaded"] == 3_000


def test_a_months_files_can_be_deleted_and_made_again(
    settings: Settings, materialize: Materialize
) -> None:
    assert materialize("2023-01:2023-02").success
    metrics = Path(settings.storage) / "green/metrics/2023-01.json"
    before = read_json(metrics)
    for path in Path(settings.storage).glob("green/*/2023-01*"):
        if path.is_file():
            path.unlink()
    assert materialize("2023-01").success
    assert read_json(metrics) == before | {
        "model_size_bytes": read_json(metrics)["model_size_bytes"]
    }


IMPORTED = """
import gc, json, logging, os, sys, warnings
import dagster, pydantic
def state():
    return [
        gc.get_threshold(), gc.get_freeze_count(), str(logging.getLogRecordFactory()),
        str(warnings.filters), dict(os.environ), sys.path, str(sys.excepthook),
        logging.getLogger().level, [str(handler) for handler in logging.getLogger().handlers],
    ]
before = json.dumps(state())
from taxi_assets.definitions import defs
assert json.dumps(state()) == before
heavy = {"mlflow", "dagster_mlflow", "sklearn", "pandas", "pyarrow", "matplotlib"}
print(sorted(heavy & set(sys.modules)))
"""


def test_importing_the_definitions_changes_nothing_of_the_process(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", IMPORTED],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
    assert done.stderr == ""


def test_a_log_record_of_no_event_shows_its_own_message() -> None:
    """A sensor's, for instance."""
    record = BriefLogRecord("dagster", logging.WARNING, "", 1, "shown", (), None)
    record.dagster_meta = {"run_id": None}
    assert record.getMessage() == "shown"
