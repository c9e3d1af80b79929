"""Wiping a fleet, or a month of it: what was made of it is listed and goes, and nothing else."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import mlflow
import pytest
from fsspec.implementations.local import LocalFileSystem

from taxi_assets.settings import Settings
from taxi_assets.tlc.fleets import FLEETS
from taxi_assets_tests.conftest import LINEAR, changed, dagster_at, taxi_assets

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
) -> Callable[..., str]:
    """The command, where the settings are; gives what it prints."""
    monkeypatch.setenv("DAGSTER_HOME", instance.root_directory)
    monkeypatch.setenv("TAXI_STORAGE", settings.storage)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", settings.tracking_uri)

    def run(*arguments: str, code: int = 0) -> str:
        done = taxi_assets("wipe", *arguments)
        assert done.exit_code == code, done.output
        return done.output

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
    """What MLflow's pages show of a fleet."""
    client = mlflow.MlflowClient(settings.tracking_uri)
    experiments = [each.experiment_id for each in client.search_experiments()]
    runs = client.search_runs(experiments, f"tags.`taxi_assets.fleet` = '{fleet}'")
    models = client.search_logged_models(experiments)
    name = REGISTERED.format(fleet=fleet)
    registered = client.search_registered_models(f"name = '{name}'")
    return {
        "runs": {run.info.run_id: run.data.params["month"] for run in runs},
        "models": {model.model_id for model in models if model.name.startswith(f"{fleet}-")},
        "versions": {v.version: v.tags for v in client.search_model_versions(f"name = '{name}'")},
        "aliases": [model.aliases for model in registered],
    }


NOTHING: dict[str, object] = {"runs": {}, "models": set(), "versions": {}, "aliases": []}


@pytest.mark.after_three_months
def test_a_fleet_is_listed_by_name_and_goes_and_the_other_stays(
    settings: Settings,
    instance: dg.DagsterInstance,
    materialize: Callable[..., dg.ExecuteInProcessResult],
    wipe: Callable[..., str],
) -> None:
    synthetic = changed(settings, fleets=(FLEETS["synthetic"],), synthetic_trips=5_000)
    assert materialize("2023-03", *LINEAR, settings=synthetic).success
    made = tracked(settings, "synthetic")
    green = files(settings, "green"), history(instance, "green"), tracked(settings, "green")
    shown = wipe("--fleet", "synthetic")
    for name in (*files(settings, "synthetic"), *made["runs"], "version 1"):
        assert f"  {name}" in shown or f" {name}\n" in shown
    assert "Nothing has been removed. To remove it, say --yes." in shown
    assert tracked(settings, "synthetic") == made

    text = wipe("--fleet", "synthetic", "--yes")
    assert text.endswith(
        "synthetic is removed. `mlflow gc` frees the artifacts of what MLflow has deleted.\n"
    )
    assert not (Path(settings.storage) / "synthetic").exists()
    assert history(instance, "synthetic") == {"runs": set(), "records": set(), "months": set()}
    assert tracked(settings, "synthetic") == NOTHING
    assert len(instance.get_runs()) == 1
    after = files(settings, "green"), history(instance, "green"), tracked(settings, "green")
    assert after == green
    assert len(green[1]["months"]) == 3


@pytest.mark.after_three_months
def test_a_month_goes_alone_but_for_dagsters_records_and_can_be_made_again(
    settings: Settings,
    instance: dg.DagsterInstance,
    materialize: Callable[..., dg.ExecuteInProcessResult],
    wipe: Callable[..., str],
) -> None:
    before, known = files(settings, "green"), history(instance, "green")
    text = wipe("--fleet", "green", "--month", "2023-03", "--yes")
    assert "Dagster's records of the month stay: Dagster cannot forget those of one month." in text
    left = files(settings, "green")
    assert {path for path in before if "2023-03" not in path} == set(left)
    assert history(instance, "green") == known
    now = tracked(settings, "green")
    assert set(now["runs"].values()) == {"2023-01", "2023-02"}
    assert len(now["models"]) == 4
    client = mlflow.MlflowClient(settings.tracking_uri)
    for family in ("linear", "boosted"):
        name = REGISTERED.format(fleet="green")
        newest = client.get_model_version_by_alias(name, f"newest_{family}")
        assert newest.tags["month"] == "2023-02"
    assert materialize("2023-03").success
    metrics = "green/metrics/2023-03.json"
    again = files(settings, "green")[metrics]
    varying = {"model_size_bytes": 0, "checksum": ""}
    assert json.loads(again) | varying == json.loads(before[metrics]) | varying


BACK = "taxi-assets champion --fleet green --back has the previous one serve."


@pytest.mark.after_three_months
@pytest.mark.parametrize(
    ("month", "previous", "then"),
    [
        ("2023-02", 2, BACK),
        ("2023-02", 3, "the next month chooses another."),
        ("2023-02", None, "the next month chooses another."),
        ("2023-03", 2, None),
    ],
)
def test_whoever_wipes_the_champions_month_hears_who_serves_then(
    settings: Settings,
    wipe: Callable[..., str],
    month: str,
    previous: int | None,
    then: str | None,
) -> None:
    """It is version 4, of February."""
    client, name = mlflow.MlflowClient(settings.tracking_uri), REGISTERED.format(fleet="green")
    client.delete_registered_model_alias(name, "previous_champion")
    if previous is not None:
        client.set_registered_model_alias(name, "previous_champion", str(previous))
    line = f"Without version 4 none serves: {then}\n"
    for options in ([], ["--yes"]):
        shown = wipe("--fleet", "green", "--month", month, *options)
        assert ("  version 4, which serves\n" in shown) is (then is not None)
        assert (line in shown, "none serves" in shown) == (then is not None,) * 2
        assert shown.count("which serves") == (then is not None)
    back = taxi_assets("champion", "--fleet", "green", "--back")
    assert (back.exit_code, "champion  version 2, " in back.output) == (
        (0, True) if previous == 2 else (1, False)
    )


@pytest.mark.after_three_months
@pytest.mark.parametrize("deleted", [False, True])
def test_what_somebody_has_renamed_or_removed_before_is_no_hindrance(
    settings: Settings, wipe: Callable[..., str], deleted: bool
) -> None:
    client = mlflow.MlflowClient(settings.tracking_uri)
    made = tracked(settings, "green")
    experiment = client.get_experiment_by_name(settings.experiment_name)
    client.rename_experiment(experiment.experiment_id, "renamed")
    if deleted:
        client.delete_experiment(experiment.experiment_id)
    client.delete_logged_model(next(iter(made["models"])))
    first, second, *_ = made["runs"]
    client.delete_run(first)
    client._tracking_client.store._hard_delete_run(second)
    wipe("--fleet", "green", "--yes")
    now = tracked(settings, "green")
    assert (now["runs"], now["versions"], now["aliases"]) == ({}, {}, [])
    # MLflow knows no more of whose run the model of a run that is gone for good was.
    assert len(now["models"]) <= 1


@pytest.mark.after_three_months
def test_what_is_somebody_elses_stays_and_is_named(
    settings: Settings, instance: dg.DagsterInstance, wipe: Callable[..., str]
) -> None:
    """Month files and notes in the fleet's folders, a version of a run of their own, a run of
    several fleets.
    """
    folder = Path(settings.storage) / "green"
    kept = ("green_tripdata_2023-01.parquet", "raw_trips/my notes.txt", "mine/2023-01.parquet",
            "model/2023-01.skops.bak", "model/2023-13.skops", "plots/holiday/me.png",
            "plots/2023-03/me.png")  # fmt: skip
    for name in ("mine", "plots/holiday"):
        (folder / name).mkdir()
    mine = dg.AssetKey(["green", "mine"])
    instance.report_runless_asset_event(dg.AssetMaterialization(mine))
    for name in kept:
        (folder / name).write_bytes(b"content")
    client = mlflow.MlflowClient(settings.tracking_uri)
    run = client.create_run("0")
    theirs = client.create_model_version(
        REGISTERED.format(fleet="green"), "somewhere", run.info.run_id
    )
    both = frozenset(dg.AssetKey([fleet, "raw_trips"]) for fleet in ("green", "yellow"))
    success = dg.DagsterRunStatus.SUCCESS
    run_id = "0b7c1f4e-0000-4000-8000-000000000002"
    instance.add_run(dg.DagsterRun("both", run_id, status=success, asset_selection=both))
    text = wipe("--fleet", "green", "--yes")
    stay = text.partition("or of other assets too, and stay:")[2]
    for name in ("green_tripdata_2023-01.parquet", "mine", "model/2023-01.skops.bak",
                 f"version {theirs.version}", run_id):  # fmt: skip
        assert f"{name}\n" in stay
    assert {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()} == {
        *map(Path, kept)
    }
    assert client.get_model_version(theirs.name, theirs.version).run_id == run.info.run_id
    assert instance.get_run_by_id(run_id) is not None
    assert instance.all_asset_keys() == [mine]


@pytest.mark.parametrize("other", [[], [["users", "own"]], [["yellow", "raw_trips"]]])
def test_a_run_that_is_not_over_keeps_its_fleet_whatever_else_it_makes(
    settings: Settings, instance: dg.DagsterInstance, wipe: Callable[..., str], other: list[str]
) -> None:
    keys = frozenset(map(dg.AssetKey, [["green", "raw_trips"], *other]))
    run_id, started = "0b7c1f4e-0000-4000-8000-000000000001", dg.DagsterRunStatus.STARTED
    instance.add_run(dg.DagsterRun("one", run_id=run_id, status=started, asset_selection=keys))
    stored = Path(settings.storage) / "green/raw_trips"
    stored.mkdir(parents=True)
    (stored / "2023-01.parquet").write_bytes(b"trips")
    for options in ([], ["--month", "2023-01"]):
        text = wipe("--fleet", "green", *options, "--yes", code=1)
        assert re.search(r"Run 0b7c\S+ of green is not over.* Nothing has been removed", text)
        assert (stored / "2023-01.parquet").exists()
    is_yellows = ["yellow", "raw_trips"] in other
    assert ("yellow is removed" in wipe("--fleet", "yellow", "--yes", code=int(is_yellows))
            ) is not is_yellows  # fmt: skip


def test_a_file_that_cannot_be_removed_is_named(
    settings: Settings, wipe: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (Path(settings.storage) / "green/model").mkdir(parents=True)
    (Path(settings.storage) / "green/model/2023-01.skops").touch()

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(LocalFileSystem, "rm", refuse)
    text = wipe("--fleet", "green", "--yes", code=1)
    assert "/green/model/2023-01.skops cannot be removed (Permission denied). Give access" in text
    assert "is removed." not in text


@pytest.mark.parametrize("home", [None, "missing"])
def test_without_a_dagster_home_nothing_is_removed(
    wipe: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, home: str | None
) -> None:
    if home is None:
        monkeypatch.delenv("DAGSTER_HOME")
    else:
        monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / home))
    text = wipe("--fleet", "green", "--yes", code=1)
    assert "Dagster's history cannot be opened" in text
    assert "Set DAGSTER_HOME to the folder that has it" in text


@pytest.mark.parametrize(
    ("month", "reason"),
    [
        ("March", "'March' is not a month: write it as 2023-03."),
        ("2023-01:2023-02", "--month is one month, such as 2023-03."),
    ],
)
def test_months_are_asked_for_as_months(wipe: Callable[..., str], month: str, reason: str) -> None:
    assert reason in wipe("--fleet", "green", "--month", month, "--yes", code=2)
