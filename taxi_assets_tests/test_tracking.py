"""MLflow runs under every way of running: one for each trained month, with a true status."""

import json
import logging
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import mlflow
import pytest
import requests
from mlflow.entities import Run

from taxi_assets.definitions import build_definitions
from taxi_assets.durations import regression
from taxi_assets.errors import OutageError
from taxi_assets.settings import Settings
from taxi_assets.storage.formats import Json
from taxi_assets.tlc.fleets import FLEETS
from taxi_assets.tlc.months import Month
from taxi_assets.tracking import tags
from taxi_assets.tracking.client import once_more_where_it_collides
from taxi_assets.tracking.registry import Registry
from taxi_assets.tracking.resource import active_run
from taxi_assets.tracking.run_ownership import OWNER, Owner
from taxi_assets.tracking.runs import BOOSTED, LINEAR, DeletedRunError, Tracking
from taxi_assets.tracking.server import TrackingError, TrackingServer
from taxi_assets.tracking.tracked_run import TrackedRun
from taxi_assets_tests.conftest import (
    changed,
    latest_record,
    step_failures,
    tracked_runs,
)

pytestmark = pytest.mark.linear

NEWEST = "newest_linear"
Materialize = Callable[..., dg.ExecuteInProcessResult]

TRAINING = ("raw_trips", "cleaned_trips", "zone_pairs", "vectorizer", "model")


def client(settings: Settings) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(settings.tracking_uri)


def by_month(settings: Settings) -> dict[str, Run]:
    return {run.data.params["month"]: run for run in tracked_runs(settings)}


def test_the_run_stays_open_until_metrics_and_is_reopened_by_metrics_alone(
    settings: Settings, materialize: Materialize, monkeypatch: pytest.MonkeyPatch
) -> None:
    statuses = []

    def look(*arguments: object) -> object:
        statuses.append([run.info.status for run in tracked_runs(settings)])
        return predict(*arguments)

    predict = regression.predict
    monkeypatch.setattr("taxi_assets.durations.scoring.predict", look)
    assert materialize("2023-01").success
    assert materialize("2023-01", "metrics").success
    assert statuses == [["RUNNING"]] * 2 + [["FINISHED"]] * 2
    (run,) = tracked_runs(settings)
    assert run.info.status == "FINISHED"


def test_whoever_opens_a_run_owns_it(settings: Settings, materialize: Materialize) -> None:
    """So that it is put right when its owner is gone, and left alone as long as it is not."""
    for assets in ((), ("metrics",)):
        result = materialize("2023-01", *assets)
        (run,) = tracked_runs(settings)
        assert Owner.from_text(run.data.tags[OWNER]) == Owner.of_run(result.run_id)


@pytest.mark.parametrize(
    ("said", "tries"),
    [
        ('duplicate key value violates unique constraint "tag_pk"', 2),
        ("UNIQUE constraint failed: tags.key", 2),
        ("the run is deleted", 1),
    ],
)
def test_a_tag_that_somebody_else_writes_at_the_same_moment_is_written_once_more(
    said: str, tries: int
) -> None:
    tried = []

    def collide(*arguments: str) -> None:
        tried.append(arguments)
        if len(tried) == 1:
            raise mlflow.MlflowException(said)

    with pytest.raises(mlflow.MlflowException) if tries == 1 else nullcontext():
        once_more_where_it_collides(collide)("run", "key", "value")
    assert tried == [("run", "key", "value")] * tries


def test_training_again_supersedes_the_older_run(
    settings: Settings, materialize: Materialize
) -> None:
    for _ in range(2):
        assert materialize("2023-01").success
    newer, older = tracked_runs(settings)
    assert older.data.tags["taxi_assets.superseded_by"] == newer.info.run_id
    assert "taxi_assets.superseded_by" not in newer.data.tags
    assert newer.data.metrics == older.data.metrics


@pytest.mark.after_three_months
def test_a_version_says_what_its_model_was_scored_last(settings: Settings) -> None:
    (_, _, run) = tracked_runs(settings)
    registry = Registry(client(settings), "green")
    (version,) = client(settings).search_model_versions(f"run_id = '{run.info.run_id}'")
    assert float(version.tags["rmse"]) == pytest.approx(run.data.metrics["rmse"], abs=1e-6)
    month = Month.parse(run.data.params["month"])
    assert registry.add(run.info.run_id, "no other", month, "linear", 5.5) == str(version.version)
    again = client(settings).get_model_version(registry.name, version.version)
    assert again.tags["rmse"] == "5.500000"


@pytest.mark.after_three_months
@pytest.mark.parametrize("family", ["linear", "boosted"])
def test_each_family_has_its_own_newest_version(family: str, settings: Settings) -> None:
    name = Registry(client(settings), "green").name
    newest = client(settings).get_model_version_by_alias(name, f"newest_{family}")
    assert (newest.tags["family"], newest.tags["month"]) == (family, "2023-03")


def test_the_newest_version_of_a_month_is_that_of_the_highest_number() -> None:
    tags = {"family": "linear", "month": "2023-03"}
    versions = [SimpleNamespace(version=number, tags=tags) for number in ("10", "9")]
    moved = []

    class Client:
        def search_model_versions(self, *_: object, **__: object) -> list[SimpleNamespace]:
            return versions

        def set_registered_model_alias(self, name: str, alias: str, version: str) -> None:
            moved.append(version)

    Registry(Client(), "green").point_to_newest("linear")
    assert moved == ["10"]


@pytest.mark.after_three_months
def test_models_of_the_same_month_do_not_supersede_those_of_another_family(
    settings: Settings,
) -> None:
    runs = [*tracked_runs(settings, "linear"), *tracked_runs(settings, "boosted")]
    assert len(runs) == 6
    assert [run for run in runs if "taxi_assets.superseded_by" in run.data.tags] == []


@pytest.mark.parametrize(("family", "superseded"), [(LINEAR, True), (BOOSTED, False)])
def test_a_run_that_does_not_say_what_it_trained_trained_the_linear_model(
    settings: Settings, family: str, superseded: bool
) -> None:
    tracking = Tracking(settings.tracking_uri, settings.experiment_name)
    context: Any = SimpleNamespace(fleet=FLEETS["green"], month=Month(2023, 1))
    experiment = client(settings).create_experiment(settings.experiment_name)
    of_month = {"taxi_assets.fleet": "green", "dagster.partition": "2023-01-01"}
    older, newer = (client(settings).create_run(experiment, tags=of_month) for _ in range(2))
    tracking.supersede_others(context, family, experiment, newer.info.run_id)
    tags = client(settings).get_run(older.info.run_id).data.tags
    by = tags.get("taxi_assets.superseded_by")
    assert by == (newer.info.run_id if superseded else None)


def test_the_run_whose_model_is_stored_is_superseded_by_none(settings: Settings) -> None:
    """Also where another was trained after it, and stored before."""
    tracking = Tracking(settings.tracking_uri, settings.experiment_name)
    context: Any = SimpleNamespace(fleet=FLEETS["green"], month=Month(2023, 1))
    experiment = client(settings).create_experiment(settings.experiment_name)
    of_month = {"taxi_assets.fleet": "green", "dagster.partition": "2023-01-01"}
    runs = [client(settings).create_run(experiment, tags=of_month) for _ in range(2)]
    for stored in reversed(runs):
        tracking.supersede_others(context, LINEAR, experiment, stored.info.run_id)
    ids = [run.info.run_id for run in runs]
    by = [client(settings).get_run(run).data.tags.get("taxi_assets.superseded_by") for run in ids]
    assert by == [None, ids[0]]


def test_of_two_runs_of_a_month_the_one_whose_model_is_stored_is_superseded_by_none(
    settings: Settings, materialize: Materialize, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run stores its model between this one's storing and its marking of the others."""
    names = ("raw_trips", "cleaned_trips", "zone_pairs", "vectorizer", "model")
    assert materialize("2023-01", *names).success
    (others,) = tracked_runs(settings)
    path = Path(settings.storage) / "green/model/2023-01.skops"
    model, supersede = path.read_bytes(), TrackedRun.supersede_others

    def supersede_later(run: TrackedRun, stored_run_id: Callable[[], str]) -> None:
        path.write_bytes(model)
        supersede(run, stored_run_id)

    monkeypatch.setattr(TrackedRun, "supersede_others", supersede_later)
    assert materialize("2023-01", "model").success
    by = {
        run.info.run_id: run.data.tags.get("taxi_assets.superseded_by")
        for run in tracked_runs(settings)
    }
    (late,) = by.keys() - {others.info.run_id}
    assert by == {others.info.run_id: None, late: others.info.run_id}


@pytest.mark.after_three_months
def test_the_backtest_of_a_model_whose_run_was_deleted_is_stored_and_not_tracked(
    settings: Settings, materialize: Materialize
) -> None:
    (deleted,) = [run for run in tracked_runs(settings) if run.data.params["month"] == "2023-01"]
    metrics = Path(settings.storage) / "green/backtest/2023-02.json"
    before = metrics.read_bytes()
    client(settings).delete_run(deleted.info.run_id)
    assert materialize("2023-02", "backtest").success
    assert metrics.read_bytes() == before


def test_a_librarys_message_shows_no_secret_of_any_place(settings: Settings) -> None:
    server = TrackingServer(settings.tracking_uri)
    with pytest.raises(TrackingError) as raised, server.explained():
        raise OSError("https://me:hidden@store/model?X-Amz-Signature=hidden is away")
    assert "is away" in str(raised.value)
    assert "hidden" not in str(raised.value)


def test_training_without_metrics_finishes_the_run(
    settings: Settings, materialize: Materialize
) -> None:
    assert materialize("2023-01", *TRAINING).success
    (run,) = tracked_runs(settings)
    assert (run.info.status, run.data.metrics) == ("FINISHED", {})


def test_an_interrupted_run_is_killed(
    settings: Settings, materialize: Materialize, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("taxi_assets.tracking.tracked_run.write_model", stop)
    assert not materialize("2023-01", *TRAINING).success
    (run,) = tracked_runs(settings)
    assert run.info.status == "KILLED"


def test_a_failing_step_fails_the_run_with_its_reason(
    settings: Settings, materialize: Materialize, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise ZeroDivisionError("no pipeline today")

    monkeypatch.setattr("taxi_assets.tracking.tracked_run.write_model", refuse)
    assert not materialize("2023-01").success
    (run,) = tracked_runs(settings)
    assert run.info.status == "FAILED"
    assert run.data.tags["taxi_assets.reason"] == "ZeroDivisionError: no pipeline today"


def test_the_reason_is_told_where_mlflow_goes_away_before_it_is_noted(
    settings: Settings, materialize: Materialize, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise ZeroDivisionError("no pipeline today")

    def away(*_: object) -> None:
        raise requests.ConnectionError

    monkeypatch.setattr("taxi_assets.tracking.tracked_run.write_model", refuse)
    monkeypatch.setattr(mlflow.MlflowClient, "set_terminated", away)
    (message,) = step_failures(materialize("2023-01"))
    assert "model 2023-01: ZeroDivisionError: no pipeline today" in message
    (run,) = tracked_runs(settings)
    assert run.info.status == "RUNNING"


@pytest.fixture(params=[None, "sqlite:///someones.db"])
def own_tracking_uri(request: pytest.FixtureRequest) -> Iterator[None]:
    """MLflow's default, or one that somebody has set."""
    mlflow.set_tracking_uri(request.param)
    yield
    mlflow.set_tracking_uri(None)  # type: ignore[arg-type]


@pytest.mark.usefixtures("own_tracking_uri")
def test_nothing_global_is_left_behind(
    settings: Settings, materialize: Materialize, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Libraries, and what a run's process wants, set theirs once.
    assert materialize("2023-02").success
    # Somebody's own, which MLflow would put another in the place of.
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "77")
    environment, uri = dict(os.environ), mlflow.get_tracking_uri()
    assert materialize("2023-01").success
    assert mlflow.active_run() is None
    assert mlflow.get_tracking_uri() == uri
    assert dict(os.environ) == environment
    assert logging.getLogger("mlflow.pyfunc").level == logging.NOTSET


def test_runs_say_what_is_needed_to_do_them_again(
    settings: Settings, materialize: Materialize, instance: dg.DagsterInstance
) -> None:
    linked = changed(
        settings, dagster_ui_url="http://dagster:3000/", mlflow_ui_url="http://mlflow:5000/"
    )
    result = materialize("2023-01", settings=linked)
    (run,) = tracked_runs(settings)
    link = latest_record(instance, "model").metadata["mlflow_run"].value
    assert link == (
        f"http://mlflow:5000/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
    )
    raw = latest_record(instance, "raw_trips").metadata
    tags = run.data.tags
    assert tags["taxi_assets.data_version"] == raw["sha256"].value
    assert tags["dagster.url"] == f"http://dagster:3000/runs/{result.run_id}"
    assert tags["mlflow.note.content"] == (
        "The linear model of green taxis, 2023-01, trained by "
        f"[Dagster run {result.run_id[:8]}]({tags['dagster.url']})."
    )
    assert {"python", "dagster", "dagster-mlflow", "mlflow", "numpy", "pandas"} <= set(tags)
    assert tags["taxi_assets.code_version"] == "3"
    assert run.data.params["random_state"] == "42"
    (dataset,) = (given.dataset for given in run.inputs.dataset_inputs)
    assert dataset.name == "green_tripdata_2023-01.parquet"
    assert raw["sha256"].value.startswith(dataset.digest)
    assert json.loads(dataset.source)["url"] == raw["source"].value
    for asset in ("model", "metrics"):
        metadata = latest_record(instance, asset).metadata
        assert metadata["mlflow_run_id"].value == run.info.run_id
    assert metadata["model_version"].value == "1"


def test_a_run_names_the_commit_of_a_checkout_and_the_dagster_run_without_its_pages(
    settings: Settings, materialize: Materialize, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Here of one that has a single commit; of a checkout that the project lies in, none."""
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "the first"]):
        author = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
        subprocess.run(["git", "-C", str(tmp_path), *author, *command], check=True)
    for project in (tmp_path / "within", tmp_path):
        (project / "taxi_assets/tracking").mkdir(parents=True)
        monkeypatch.setattr(tags, "__file__", str(project / "taxi_assets/tracking/tags.py"))
        tags._git_commit.cache_clear()
        if project != tmp_path:
            assert tags._git_commit() is None
    tags._git_commit.cache_clear()
    result = materialize("2023-01")
    tags._git_commit.cache_clear()
    (run,) = tracked_runs(settings)
    head = (tmp_path / ".git" / (tmp_path / ".git/HEAD").read_text().split()[1]).read_text()
    assert run.data.tags["mlflow.source.git.commit"] == head.strip()
    assert run.data.tags["mlflow.note.content"] == (
        f"The linear model of green taxis, 2023-01, trained by Dagster run {result.run_id[:8]}."
    )


def test_the_registry_has_a_version_for_each_trained_month_and_knows_the_newest(
    settings: Settings, materialize: Materialize
) -> None:
    for months in ("2023-02", "2023-03", "2023-01"):
        assert materialize(months).success
    assert materialize("2023-01", "metrics").success
    name = Registry(client(settings), "green").name
    versions = client(settings).search_model_versions(f"name = '{name}'")
    months = {version.version: version.tags["month"] for version in versions}
    assert months == {1: "2023-02", 2: "2023-03", 3: "2023-01"}
    metrics = by_month(settings)
    for version in versions:
        rmse = metrics[version.tags["month"]].data.metrics["rmse"]
        assert version.tags["rmse"] == f"{rmse:.6f}"
    assert client(settings).get_model_version_by_alias(name, NEWEST).tags["month"] == "2023-03"


def test_metrics_that_succeed_after_all_take_the_reason_of_their_failure_away(
    settings: Settings, materialize: Materialize, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise ZeroDivisionError("no metrics today")

    with monkeypatch.context() as patch:
        patch.setattr("taxi_assets.tracking.tracked_run.TrackedRun.log_metrics", refuse)
        assert not materialize("2023-01").success
    (failed,) = tracked_runs(settings)
    assert (failed.info.status, "no metrics" in failed.data.tags["taxi_assets.reason"]) == (
        "FAILED",
        True,
    )
    assert materialize("2023-01", "metrics").success
    (run,) = tracked_runs(settings)
    assert run.info.status == "FINISHED"
    assert "taxi_assets.reason" not in run.data.tags


def test_metrics_do_not_need_a_version_that_somebody_deleted(
    settings: Settings, materialize: Materialize
) -> None:
    assert materialize("2023-01").success
    client(settings).delete_registered_model(Registry(client(settings), "green").name)
    assert materialize("2023-01", "metrics").success
    (run,) = tracked_runs(settings)
    assert run.info.status == "FINISHED"


def owned_run(settings: Settings, owner: Owner) -> str:
    """A run that its owner has left, or not yet left, RUNNING."""
    made = client(settings)
    experiment = made.get_experiment_by_name(settings.experiment_name)
    identifier = (
        experiment.experiment_id if experiment else made.create_experiment(settings.experiment_name)
    )
    return made.create_run(identifier, tags={OWNER: owner.to_text()}).info.run_id


def test_only_runs_whose_owner_is_provably_gone_are_put_right(
    settings: Settings, materialize: Materialize
) -> None:
    """A dead process, a number given again, a living sibling, another host, an unknown owner."""
    sleeper = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    alive = replace(Owner.of_run("elsewhere"), pid=sleeper.pid, started=_start(sleeper.pid))
    dead = replace(alive, pid=2**22 + 1)
    reused = replace(alive, started=alive.started - 1000)
    remote = replace(dead, host=f"not-{socket.gethostname()}")
    expected = {
        owned_run(settings, dead): "KILLED",
        owned_run(settings, reused): "KILLED",
        owned_run(settings, alive): "RUNNING",
        owned_run(settings, remote): "RUNNING",
    }
    try:
        assert materialize("2023-01").success
        statuses = {run: client(settings).get_run(run).info.status for run in expected}
    finally:
        sleeper.communicate(b"\n")
    assert statuses == expected


def _start(pid: int) -> float:
    import psutil

    return psutil.Process(pid).create_time()


def test_a_run_of_a_finished_dagster_run_is_put_right(
    settings: Settings, materialize: Materialize
) -> None:
    failed = materialize("2019-07").run_id
    left = owned_run(settings, Owner.of_run(failed))
    assert materialize("2023-01").success
    run = client(settings).get_run(left)
    assert run.info.status == "FAILED"
    assert run.data.tags["taxi_assets.reason"] == "the Dagster run ended as FAILURE"


def test_a_version_is_registered_when_its_model_is_stored_and_scored(
    settings: Settings, materialize: Materialize, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by training alone, nor by metrics that could not be stored."""
    name = Registry(client(settings), "green").name

    def versions() -> list[str]:
        return [v.tags["month"] for v in client(settings).search_model_versions(f"name='{name}'")]

    assert materialize("2023-01").success
    assert materialize("2023-02", *TRAINING).success
    assert versions() == ["2023-01"]
    with monkeypatch.context() as patch:
        patch.setattr(Json, "dump", refuse_to_store)
        assert not materialize("2023-02", "metrics").success
    assert versions() == ["2023-01"]
    assert by_month(settings)["2023-02"].info.status == "FAILED"
    assert client(settings).get_model_version_by_alias(name, NEWEST).tags["month"] == "2023-01"
    assert materialize("2023-02", "metrics").success
    assert sorted(versions()) == ["2023-01", "2023-02"]
    assert client(settings).get_model_version_by_alias(name, NEWEST).tags["month"] == "2023-02"


def refuse_to_store(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_the_metrics_of_a_model_are_scored_in_the_run_that_trained_it_without_a_second_block(
    settings: Settings, materialize: Materialize, monkeypatch: pytest.MonkeyPatch
) -> None:
    """dagster-mlflow's resource is made once a month, on a run that exists."""
    opened = []

    def count(*arguments: object) -> object:
        opened.append(tracked_runs(settings)[0].info.status)
        return active_run(*arguments)

    monkeypatch.setattr("taxi_assets.tracking.tracked_run.active_run", count)
    assert materialize("2023-01:2023-02").success
    assert opened == ["RUNNING", "RUNNING"]
    assert materialize("2023-01", "model").success
    assert materialize("2023-01", "metrics").success
    assert opened == ["RUNNING", "RUNNING", "RUNNING", "FINISHED"]


def test_no_secret_of_an_error_reaches_a_tag(
    settings: Settings, materialize: Materialize, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise ZeroDivisionError("https://me:secret@host/x?token=abc")

    monkeypatch.setattr("taxi_assets.tracking.tracked_run.write_model", refuse)
    assert not materialize("2023-01").success
    (run,) = tracked_runs(settings)
    assert run.data.tags["taxi_assets.reason"] == "ZeroDivisionError: https://***@host/x?***"


def test_the_environment_is_never_emptied(
    settings: Settings, materialize: Materialize, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(os.environ), "clear", lambda _: pytest.fail("emptied"))
    assert materialize("2023-01").success


def test_artifacts_lie_beside_an_sqlite_database_wherever_the_run_has_started(
    settings: Settings,
    materialize: Materialize,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert materialize("2023-01").success
    (run,) = tracked_runs(settings)
    assert Path(run.info.artifact_uri).is_relative_to(tmp_path / "mlruns")
    assert list((tmp_path / "mlruns").rglob("MLmodel"))
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_each_way_of_being_unusable_has_its_own_advice(
    settings: Settings, materialize: Materialize
) -> None:
    assert materialize("2023-01").success
    metrics = (Path(settings.storage) / "green/metrics/2023-01.json").read_bytes()
    (run,) = tracked_runs(settings)
    experiment = run.info.experiment_id

    client(settings).delete_run(run.info.run_id)
    (message,) = step_failures(materialize("2023-01", "metrics"))
    assert (
        f"metrics 2023-01: MLflow run {run.info.run_id}, which trained the model, was deleted. "
        "Make them again: dagster asset materialize"
    ) in message
    assert "--select 'green/model,green/metrics' --partition 2023-01-01" in message

    client(settings).delete_experiment(experiment)
    (message,) = step_failures(materialize("2023-01", "model"))
    assert f"mlflow experiments restore --experiment-id {experiment}" in message

    database = settings.tracking_uri.partition("sqlite:///")[2]
    with sqlite3.connect(database) as connection:
        connection.execute("update alembic_version set version_num = 'cc1f77228345'")
    older = changed(settings, tracking_uri=f"{settings.tracking_uri}?")
    (message,) = step_failures(materialize("2023-01", "model", settings=older))
    assert "was made by an older MLflow" in message
    assert "mlflow db upgrade sqlite:///" in message
    assert (Path(settings.storage) / "green/metrics/2023-01.json").read_bytes() == metrics


@pytest.mark.after_three_months
@pytest.mark.parametrize("gone", ["its entry", "its files"])
def test_a_logged_model_that_is_gone_costs_only_its_month(
    settings: Settings, materialize: Materialize, instance: dg.DagsterInstance, gone: str
) -> None:
    run_id = by_month(settings)["2023-01"].info.run_id
    (logged,) = client(settings).get_run(run_id).outputs.model_outputs
    if gone == "its entry":
        client(settings).delete_logged_model(logged.model_id)
    else:
        shutil.rmtree(client(settings).get_logged_model(logged.model_id).artifact_location)
    result = materialize("2023-01:2023-02", "metrics")
    (message,) = step_failures(result)
    assert f"The model that MLflow run {run_id} has logged was deleted." in message
    assert "--select 'green/model,green/metrics' --partition 2023-01-01" in message
    records = instance.fetch_materializations(dg.AssetKey(["green", "metrics"]), limit=9).records
    made = [record.partition_key for record in records if record.run_id == result.run_id]
    assert made == ["2023-02-01"]


def test_without_tracking_training_stops_and_the_last_model_stays(
    settings: Settings,
    materialize: Materialize,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert materialize("2023-01:2023-02").success
    stored = {p: p.read_bytes() for p in (Path(settings.storage) / "green/model").iterdir()}
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    down = changed(settings, tracking_uri="http://someone:secret@127.0.0.1:9")
    result = materialize("2023-01:2023-02", settings=down)
    (message,) = step_failures(result)
    assert "MLflow at http://127.0.0.1:9 fails" in message
    assert "  2023-02: not tried" in message
    assert capfd.readouterr().err.count("Trying again in") == 2
    assert "secret" not in message
    assert {p: p.read_bytes() for p in (Path(settings.storage) / "green/model").iterdir()} == stored


def test_passwords_are_not_shown() -> None:
    server = TrackingServer("postgresql://me:secret@host/mlflow")
    assert server.shown == "postgresql://host/mlflow"
    assert TrackingServer("sqlite:////tmp/mlflow.db").shown == "sqlite:////tmp/mlflow.db"


def test_a_driver_that_is_not_installed_is_not_waited_for() -> None:
    with (
        pytest.raises(TrackingError, match="No module named 'MySQLdb'") as raised,
        TrackingServer("mysql://host/mlflow").explained(),
    ):
        raise ModuleNotFoundError("No module named 'MySQLdb'")
    assert not isinstance(raised.value, OutageError)


def test_training_twice_gives_the_same_model(
    settings: Settings, materialize: Materialize, instance: dg.DagsterInstance
) -> None:
    models = []
    for _ in range(2):
        assert materialize("2023-01").success
        models.append(
            build_definitions(settings).load_asset_value(
                ["green", "model"],
                partition_key=Month(2023, 1).partition_key,
                instance=instance,
            )
        )
    first, second = (model["model"] for model in models)
    assert first.coef_.tobytes() == second.coef_.tobytes()
    assert first.intercept_ == second.intercept_
    assert models[0]["mlflow_run_id"] != models[1]["mlflow_run_id"]


def test_a_model_that_somebody_else_registers_too_keeps_its_version(
    settings: Settings, materialize: Materialize
) -> None:
    assert materialize("2023-01").success
    known = client(settings)
    name = "nyc-taxi-trip-duration-green"
    ours = known.get_model_version(name, "1")
    known.create_registered_model("theirs")
    for _ in range(2):
        known.create_model_version("theirs", ours.source, ours.run_id)
    result = materialize("2023-01", "metrics")
    assert result.success
    assert [int(v.version) for v in known.search_model_versions(f"name = '{name}'")] == [1]
    assert known.get_model_version("theirs", "2").tags == {}


@pytest.mark.parametrize(("family", "asset"), [(LINEAR, "model"), (BOOSTED, "boosted_model")])
def test_a_model_whose_run_is_gone_is_to_be_made_again(
    settings: Settings, family: str, asset: str
) -> None:
    tracking = Tracking(settings.tracking_uri, settings.experiment_name)
    with pytest.raises(DeletedRunError, match="MLflow has no run 0123") as raised:
        tracking.own_run(None, family, "0123")  # type: ignore[arg-type]
    assert raised.value.remake == (asset,)
