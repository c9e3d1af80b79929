"""Wiping a fleet, or a month of it: all that was made of it goes, and nothing else."""

import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import mlflow
import pytest
from fsspec.implementations.local import LocalFileSystem
from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException

from taxi_assets.settings import Settings
from taxi_assets.tlc.fleets import FLEETS
from taxi_assets.wipe import main
from taxi_assets_tests.conftest import LINEAR, changed, dagster_at

REGISTERED = "nyc-taxi-trip-duration-{fleet}"


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """A Dagster on disk, where the command finds it."""
    with dagster_at(tmp_path / "dagster_home") as instance:
        yield instance


@pytest.fixture
def wipe(
    settings: Settings,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., str]:
    """The command, where the settings are; gives what it prints."""
    monkeypatch.setenv("DAGSTER_HOME", instance.root_directory)
    monkeypatch.setenv("TAXI_STORAGE", settings.storage)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", settings.tracking_uri)

    def run(*arguments: str, code: int = 0) -> str:
        capsys.readouterr()
        assert main(arguments) == code
        said = capsys.readouterr()
        return said.out + said.err

    return run


def files(settings: Settings, fleet: str) -> dict[str, bytes]:
    """What is stored of a fleet, by its path."""
    root = Path(settings.storage)
    found = (path for path in root.glob(f"{fleet}/**/*") if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in found}


def history(instance: dg.DagsterInstance, fleet: str) -> dict[str, object]:
    """What Dagster knows of a fleet: runs, records, months, and what checks found."""
    keys = [key for key in instance.all_asset_keys() if key.path[0] == fleet]
    of_keys = [instance.fetch_materializations(key, limit=100).records for key in keys]
    runs = {record.run_id for records in of_keys for record in records}
    return {
        "runs": {run for run in runs if instance.get_run_by_id(run)},
        "records": {record.storage_id for records in of_keys for record in records},
        "months": {month for key in keys for month in instance.get_materialized_partitions(key)},
    }


def tracked(settings: Settings, fleet: str) -> dict[str, object]:
    """What MLflow knows of a fleet, deleted or not, and which artifacts there are of it."""
    client = mlflow.MlflowClient(settings.tracking_uri)
    experiment = client.get_experiment_by_name(settings.experiment_name).experiment_id
    runs = client.search_runs(
        [experiment], f"tags.`taxi_assets.fleet` = '{fleet}'", run_view_type=ViewType.ALL
    )
    models = [
        model
        for model in client.search_logged_models([experiment])
        if model.name.startswith(f"{fleet}-")
    ]
    versions = client.search_model_versions(f"name = '{REGISTERED.format(fleet=fleet)}'")
    registered = client.search_registered_models(f"name = '{REGISTERED.format(fleet=fleet)}'")
    folders = [run.info.artifact_uri for run in runs] + [m.artifact_location for m in models]
    return {
        "runs": {run.info.run_id: run.to_dictionary() for run in runs},
        "models": {model.model_id for model in models},
        "versions": {version.version: version.tags for version in versions},
        "aliases": [model.aliases for model in registered],
        "artifacts": {
            str(path): path.stat().st_size
            for folder in folders
            for path in Path(folder).rglob("*")
            if path.is_file()
        },
    }


@pytest.mark.after_three_months
def test_a_fleet_goes_from_files_history_and_mlflow_and_the_other_stays(
    settings: Settings,
    instance: dg.DagsterInstance,
    materialize: Callable[..., dg.ExecuteInProcessResult],
    wipe: Callable[..., str],
) -> None:
    synthetic = changed(settings, fleets=(FLEETS["synthetic"],), synthetic_trips=5_000)
    assert materialize("2023-03", *LINEAR, settings=synthetic).success
    made = tracked(settings, "synthetic")["artifacts"]
    green = [of(where, "green") for of, where in ((files, settings), (history, instance),
                                                  (tracked, settings))]  # fmt: skip

    shown = wipe("--fleet", "synthetic")
    assert "1 runs would be removed from Dagster's history" in shown
    assert "1 runs and 1 model versions would be removed from MLflow" in shown
    assert tracked(settings, "synthetic")["artifacts"] == made

    said = wipe("--fleet", "synthetic", "--yes")
    assert "synthetic: 1 runs removed from Dagster's history" in said
    assert files(settings, "synthetic") == {}
    assert history(instance, "synthetic") == {"runs": set(), "records": set(), "months": set()}
    assert len(instance.get_runs()) == 1
    nothing = {"runs": {}, "models": set(), "versions": {}, "aliases": [], "artifacts": {}}
    assert tracked(settings, "synthetic") == nothing
    assert made
    assert not [path for path in made if Path(path).exists()]

    assert files(settings, "green") == green[0]
    assert history(instance, "green") == green[1]
    assert tracked(settings, "green") == green[2]
    assert len(green[1]["months"]) == 3


@pytest.mark.after_three_months
def test_what_somebody_has_deleted_of_another_fleet_can_still_be_restored(
    settings: Settings, wipe: Callable[..., str]
) -> None:
    """`mlflow gc` would remove it for good."""
    client = mlflow.MlflowClient(settings.tracking_uri)
    run_id = next(iter(tracked(settings, "green")["runs"]))
    client.delete_run(run_id)
    client.delete_experiment(client.create_experiment("another"))
    wipe("--fleet", "yellow", "--yes")
    client.restore_run(run_id)
    client.restore_experiment(client.get_experiment_by_name("another").experiment_id)
    assert run_id in tracked(settings, "green")["runs"]


@pytest.mark.after_three_months
def test_a_month_goes_alone_and_can_be_made_again(
    settings: Settings,
    instance: dg.DagsterInstance,
    materialize: Callable[..., dg.ExecuteInProcessResult],
    wipe: Callable[..., str],
) -> None:
    before, known = files(settings, "green"), history(instance, "green")
    kept = tracked(settings, "green")
    said = wipe("--fleet", "green", "--month", "2023-03", "--yes")
    assert "green 2023-03: 2 runs and 2 model versions removed from MLflow" in said

    left = files(settings, "green")
    assert {path for path in before if "2023-03" not in path} == set(left)
    assert history(instance, "green") == known
    now = tracked(settings, "green")
    months = {run["data"]["params"]["month"] for run in now["runs"].values()}
    assert months == {"2023-01", "2023-02"}
    assert len(now["models"]) == 4
    client = mlflow.MlflowClient(settings.tracking_uri)
    for family in ("linear", "boosted"):
        newest = client.get_model_version_by_alias(
            REGISTERED.format(fleet="green"), f"newest_{family}"
        )
        assert newest.tags["month"] == "2023-02"
    assert len(kept["models"]) == 6

    assert materialize("2023-03").success
    figures = "green/metrics/2023-03.json"
    assert json.loads(files(settings, "green")[figures]) == json.loads(before[figures])


@pytest.mark.after_three_months
def test_a_month_of_one_fleet_is_no_other_fleets(
    settings: Settings, wipe: Callable[..., str]
) -> None:
    before = tracked(settings, "green")
    said = wipe("--fleet", "yellow", "--month", "2023-03", "--yes")
    assert "yellow 2023-03: 0 runs and 0 model versions removed from MLflow" in said
    assert tracked(settings, "green") == before


@pytest.mark.after_three_months
@pytest.mark.parametrize("removed", ["marked", "gone"])
def test_what_of_it_has_been_removed_before_is_no_hindrance(
    settings: Settings, wipe: Callable[..., str], removed: str
) -> None:
    """By somebody on MLflow's pages; by a removal that was interrupted."""
    client = mlflow.MlflowClient(settings.tracking_uri)
    made: Any = tracked(settings, "green")
    first, *_ = made["models"]
    client.delete_logged_model(first)
    if removed == "gone":
        with sqlite3.connect(settings.tracking_uri.partition(":///")[2]) as connection:
            connection.execute("delete from logged_models where model_id = ?", (first,))
    client.delete_run(next(iter(made["runs"])))
    wipe("--fleet", "green", "--yes")
    nothing = {"runs": {}, "models": set(), "versions": {}, "aliases": [], "artifacts": {}}
    assert tracked(settings, "green") == nothing


@pytest.mark.after_three_months
def test_a_version_of_the_month_goes_without_its_run_too(
    settings: Settings, wipe: Callable[..., str]
) -> None:
    """Somebody has removed the run for good, as `mlflow gc` does; MLflow keeps the version."""
    client = mlflow.MlflowClient(settings.tracking_uri)
    name = "nyc-taxi-trip-duration-green"

    def versions() -> list[str]:
        return sorted(v.tags["month"] for v in client.search_model_versions(f"name = '{name}'"))

    assert versions() == ["2023-01"] * 2 + ["2023-02"] * 2 + ["2023-03"] * 2
    first, *_ = client.search_model_versions("tags.month = '2023-01'")
    client._tracking_client.store._hard_delete_run(first.run_id)
    wipe("--fleet", "green", "--month", "2023-01", "--yes")
    assert versions() == ["2023-02"] * 2 + ["2023-03"] * 2


@pytest.mark.after_three_months
def test_whatever_version_there_is_of_the_months_runs_goes(
    settings: Settings, wipe: Callable[..., str]
) -> None:
    """Somebody has registered a model of it once more, and not said of which month it is."""
    client = mlflow.MlflowClient(settings.tracking_uri)
    first, *_ = client.search_model_versions("tags.month = '2023-01'")
    client.create_model_version(first.name, first.source, first.run_id)
    wipe("--fleet", "green", "--month", "2023-01", "--yes")
    left = client.search_model_versions(f"name = '{first.name}'")
    assert sorted(version.tags["month"] for version in left) == ["2023-02"] * 2 + ["2023-03"] * 2


def logged_model(settings: Settings, month: str) -> tuple[str, str, Path]:
    """Of a month's linear model: the ids of its run and of itself, and where its files are."""
    client = mlflow.MlflowClient(settings.tracking_uri)
    version = next(
        version
        for version in client.search_model_versions(f"tags.month = '{month}'")
        if version.tags["family"] == "linear"
    )
    (logged,) = client.get_run(version.run_id).outputs.model_outputs
    location = client.get_logged_model(logged.model_id).artifact_location
    return version.run_id, logged.model_id, Path(location)


@pytest.mark.after_three_months
def test_a_models_files_go_where_somebody_has_marked_it_as_deleted(
    settings: Settings, wipe: Callable[..., str]
) -> None:
    _, model_id, location = logged_model(settings, "2023-01")
    assert (location / "MLmodel").exists()
    mlflow.MlflowClient(settings.tracking_uri).delete_logged_model(model_id)
    said = wipe("--fleet", "green", "--month", "2023-01", "--yes")
    assert [path for path in location.rglob("*") if path.is_file()] == []
    assert "MLflow's server" not in said


@pytest.mark.after_three_months
def test_a_server_marks_what_goes_as_deleted_and_keeps_the_artifacts(
    settings: Settings, wipe: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = mlflow.MlflowClient(settings.tracking_uri)
    run_id, model_id, location = logged_model(settings, "2023-01")
    with monkeypatch.context() as patched:
        patched.setattr("taxi_assets.tracking.removal._database", lambda _: None)
        said = wipe("--fleet", "green", "--month", "2023-01", "--yes")
    assert "MLflow's server keeps the artifacts; `mlflow gc` on its machine removes them." in said
    assert client.get_run(run_id).info.lifecycle_stage == "deleted"
    with pytest.raises(MlflowException, match="not found"):
        client.get_logged_model(model_id)
    assert (location / "MLmodel").exists()


def test_a_run_that_is_not_over_keeps_its_fleet(
    settings: Settings, instance: dg.DagsterInstance, wipe: Callable[..., str]
) -> None:
    key = dg.AssetKey(["green", "raw_trips"])
    instance.add_run(
        dg.DagsterRun("one", run_id="0b7c1f4e-0000-4000-8000-000000000001",
                      status=dg.DagsterRunStatus.STARTED, asset_selection=frozenset({key}))
    )  # fmt: skip
    stored = Path(settings.storage) / "green/raw_trips"
    stored.mkdir(parents=True)
    (stored / "2023-01.parquet").write_bytes(b"trips")
    for options in ([], ["--month", "2023-01"]):
        said = wipe("--fleet", "green", *options, "--yes", code=1)
        assert re.search(r"Run 0b7c\S+ of green is not over.* Nothing has been removed", said)
        assert (stored / "2023-01.parquet").exists()


def test_a_run_of_several_fleets_stays(
    instance: dg.DagsterInstance, wipe: Callable[..., str]
) -> None:
    both = frozenset(dg.AssetKey([fleet, "raw_trips"]) for fleet in ("green", "yellow"))
    run_id = "0b7c1f4e-0000-4000-8000-000000000002"
    success = dg.DagsterRunStatus.SUCCESS
    instance.add_run(dg.DagsterRun("both", run_id, status=success, asset_selection=both))
    assert "green: 0 runs removed from Dagster's history" in wipe("--fleet", "green", "--yes")
    assert instance.get_run_by_id(run_id) is not None


def test_files_that_are_nobodys_stay_and_are_no_hindrance(
    settings: Settings, wipe: Callable[..., str]
) -> None:
    folder = Path(settings.storage) / "green"
    (folder / "raw_trips").mkdir(parents=True)
    for name in (".DS_Store", "my notes.txt", "raw_trips/2023-01.parquet"):
        (folder / name).write_bytes(b"content")
    for options in (["--month", "2023-01"], []):
        said = wipe("--fleet", "green", *options, "--yes")
        assert "1 files and folders removed" in said
        assert sorted(path.name for path in folder.glob("*.*")) == [".DS_Store", "my notes.txt"]
    assert not (folder / "raw_trips").exists()


def test_a_file_that_cannot_be_removed_is_named(
    settings: Settings, wipe: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (Path(settings.storage) / "green/model").mkdir(parents=True)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(LocalFileSystem, "rm", refuse)
    said = wipe("--fleet", "green", "--yes", code=1)
    assert "/green/model cannot be removed (Permission denied). Give access to it" in said


def test_without_a_dagster_home_nothing_is_removed(
    settings: Settings, wipe: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DAGSTER_HOME")
    said = wipe("--fleet", "green", "--yes", code=1)
    assert "DAGSTER_HOME is not set" in said
    assert "export DAGSTER_HOME=" in said


def test_months_are_asked_for_as_months(wipe: Callable[..., str]) -> None:
    with pytest.raises(SystemExit):
        wipe("--fleet", "green", "--month", "March")
