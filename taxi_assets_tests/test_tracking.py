"""MLflow runs under every way of running: one for each trained month, with a true status."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import dagster as dg
import mlflow
import pytest
import requests
import sqlalchemy as sa
from mlflow.entities import Run
from mlflow.protos.databricks_pb2 import BAD_REQUEST, RESOURCE_ALREADY_EXISTS
from mlflow.store.db import utils

from taxi_assets.definitions import build_definitions
from taxi_assets.errors import OutageError
from taxi_assets.settings import Settings
from taxi_assets.storage.formats import Json
from taxi_assets.tlc.fleets import FLEETS
from taxi_assets.tlc.months import Month
from taxi_assets.tracking import tags
from taxi_assets.tracking.registry import Registry
from taxi_assets.tracking.resource import active_run
from taxi_assets.tracking.runs import BOOSTED, DeletedRunError, Tracking
from taxi_assets.tracking.server import TrackingError, TrackingServer
from taxi_assets.tracking.tracked_run import TrackedRun
from taxi_assets_tests.conftest import (
    changed,
    latest_record,
    read_json,
    step_failures,
    tracked_runs,
)

pytestmark = pytest.mark.linear

NAME = "nyc-taxi-trip-duration-green"
Materialize = Callable[..., dg.ExecuteInProcessResult]

TRAINING = ("raw_trips", "cleaned_trips", "zone_pairs", "vectorizer", "model")


def client(settings: Settings) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(settings.tracking_uri)


def by_month(settings: Settings) -> dict[str, Run]:
    return {run.data.params["month"]: run for run in tracked_runs(settings)}


def raising(error: BaseException) -> Callable[..., None]:
    """A function that does nothing but raise."""

    def refuse(*_: object) -> None:
        raise error

    return refuse


DUPLICATE = 'duplicate key value violates unique constraint "tag_pk"'


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (mlflow.MlflowException("no answer", 1), True),
        # What somebody else has written at the same moment is there the next time.
        (mlflow.MlflowException(DUPLICATE, BAD_REQUEST), True),
        (mlflow.MlflowException("UNIQUE constraint failed: tags.key", BAD_REQUEST), True),
        (mlflow.MlflowException("model exists", RESOURCE_ALREADY_EXISTS), True),
        (mlflow.MlflowException("no such name", BAD_REQUEST), False),
        (requests.ConnectionError("https://me:hidden@host?token=hidden is away"), True),
        (OSError("https://me:hidden@store/model?X-Amz-Signature=hidden is away"), True),
        (ModuleNotFoundError("No module named 'MySQLdb'"), False),
    ],
)
def test_what_may_pass_is_tried_again_and_shows_no_secret(error: Exception, passes: bool) -> None:
    server = TrackingServer("postgresql://me:hidden@host/mlflow")
    with pytest.raises(TrackingError) as raised, server.explained():
        raise error
    assert isinstance(raised.value, OutageError) is passes
    message = str(raised.value)
    assert message.startswith("MLflow at postgresql://host/mlflow fails (")
    assert str(error).split()[-1] in message
    assert "hidden" not in message


def test_training_again_gives_the_same_model_and_supersedes_the_older_run(
    settings: Settings, materialize: Materialize, instance: dg.DagsterInstance
) -> None:
    models = []
    for _ in range(2):
        assert materialize("2023-01").success
        models.append(
            build_definitions(settings).load_asset_value(
                ["green", "model"], partition_key="2023-01-01", instance=instance
            )
        )
    newer, older = tracked_runs(settings)
    assert superseded(older) == ("true", newer.info.run_id)
    assert superseded(newer) == ("false", None)
    assert newer.data.metrics == older.data.metrics
    first, second = (model["model"] for model in models)
    assert first.coef_.tobytes() == second.coef_.tobytes()
    assert first.intercept_ == second.intercept_
    assert [model["mlflow_run_id"] for model in models] == [older.info.run_id, newer.info.run_id]


def superseded(run: Run) -> tuple[str, str | None]:
    tags = run.data.tags
    return tags["taxi_assets.superseded"], tags.get("taxi_assets.superseded_by")


@pytest.mark.after_three_months
@pytest.mark.parametrize("family", ["linear", "boosted"])
def test_a_version_says_what_its_model_was_scored_last(settings: Settings, family: str) -> None:
    (run, _, _) = tracked_runs(settings, family)
    known = client(settings)
    version = known.get_model_version_by_alias(NAME, f"newest_{family}")
    assert version.run_id == run.info.run_id
    rmse = run.data.metrics["rmse"]
    assert version.tags == {"month": "2023-03", "family": family, "rmse": f"{rmse:.6f}"}
    again = Registry(known, "green").add(run.info.run_id, "no other", Month(2023, 3), family, 5.5)
    assert again == str(version.version)
    assert known.get_model_version(NAME, again).tags["rmse"] == "5.500000"


@pytest.mark.parametrize(
    ("there", "meanwhile", "moves"),
    [
        ({"10": "2023-03", "9": "2023-03"}, {}, ["10"]),
        # Another run registers March after this one has looked, and moves the alias before it.
        ({"1": "2023-01", "2": "2023-02"}, {"3": "2023-03"}, ["2", "3"]),
    ],
)
def test_the_alias_follows_the_newest_month_and_its_highest_number(
    there: dict[str, str], meanwhile: dict[str, str], moves: list[str]
) -> None:
    listed, moved = dict(there), []

    class Client:
        def search_model_versions(self, *_: object, **__: object) -> list[SimpleNamespace]:
            return [
                SimpleNamespace(version=number, tags={"family": "linear", "month": month})
                for number, month in listed.items()
            ]

        def set_registered_model_alias(self, name: str, alias: str, version: str) -> None:
            moved.append((alias, version))
            listed.update(meanwhile)

    Registry(Client(), "green").point_to_newest("linear")
    assert moved == [("newest_linear", number) for number in moves]


def test_the_run_whose_model_is_stored_is_superseded_by_none(
    settings: Settings, materialize: Materialize, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first run stores its model once more, between the last one's storing and marking."""
    assert materialize("2023-01", *TRAINING).success
    path = Path(settings.storage) / "green/model/2023-01.skops"
    model, supersede = path.read_bytes(), TrackedRun.supersede_others
    assert materialize("2023-01", "model").success

    def supersede_later(run: TrackedRun, stored_run_id: Callable[[], str]) -> None:
        path.write_bytes(model)
        supersede(run, stored_run_id)

    monkeypatch.setattr(TrackedRun, "supersede_others", supersede_later)
    assert materialize("2023-01", "model").success
    last, second, first = tracked_runs(settings)
    assert superseded(first) == ("false", None)
    assert superseded(last) == ("true", first.info.run_id)
    assert superseded(second)[0] == "true"


@pytest.mark.after_three_months
@pytest.mark.parametrize("family", ["linear", "boosted"])
def test_a_models_run_says_how_the_model_does_on_the_next_month(
    settings: Settings, family: str
) -> None:
    runs = {run.data.params["month"]: run for run in tracked_runs(settings, family)}
    for month, later in (("2023-01", "2023-02"), ("2023-02", "2023-03")):
        stored = read_json(Path(settings.storage) / f"green/backtest/{later}.json")
        assert runs[month].data.tags["taxi_assets.backtest_month"] == later
        rmse = stored["models"][family]["rmse"]
        assert runs[month].data.metrics["backtest_rmse"] == pytest.approx(rmse)
    assert "backtest_rmse" not in runs["2023-03"].data.metrics


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


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (KeyboardInterrupt(), "KILLED", "KeyboardInterrupt"),
        (
            ZeroDivisionError("https://me:secret@host/x?token=abc"),
            "FAILED",
            "ZeroDivisionError: https://***@host/x?***",
        ),
    ],
)
def test_a_run_that_does_not_reach_its_end_says_why(
    settings: Settings,
    materialize: Materialize,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    status: str,
    reason: str,
) -> None:
    monkeypatch.setattr("taxi_assets.tracking.tracked_run.write_model", raising(error))
    assert not materialize("2023-01", *TRAINING).success
    (run,) = tracked_runs(settings)
    assert (run.info.status, run.data.tags["taxi_assets.reason"]) == (status, reason)


def test_the_reason_is_told_where_mlflow_goes_away_before_it_is_noted(
    settings: Settings, materialize: Materialize, monkeypatch: pytest.MonkeyPatch
) -> None:
    failure = raising(ZeroDivisionError("no pipeline today"))
    monkeypatch.setattr("taxi_assets.tracking.tracked_run.write_model", failure)
    monkeypatch.setattr(mlflow.MlflowClient, "set_terminated", raising(requests.ConnectionError()))
    (message,) = step_failures(materialize("2023-01"))
    assert "model 2023-01: ZeroDivisionError: no pipeline today" in message
    (run,) = tracked_runs(settings)
    assert run.info.status == "RUNNING"


@pytest.mark.parametrize("uri", [None, "sqlite:///someones.db"])
def test_nothing_global_is_left_behind(
    materialize: Materialize,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    uri: str | None,
) -> None:
    """Of MLflow's default tracking URI, and of one that somebody has set."""
    request.addfinalizer(partial(mlflow.set_tracking_uri, None))
    mlflow.set_tracking_uri(uri)
    # Libraries, and what a run's process wants, set theirs once.
    assert materialize("2023-02").success
    # Somebody's own, which MLflow would put another in the place of.
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "77")
    environment, uri_before = dict(os.environ), mlflow.get_tracking_uri()
    # Threads would find it empty.
    monkeypatch.setattr(type(os.environ), "clear", lambda _: pytest.fail("emptied"))
    assert materialize("2023-01").success
    assert mlflow.active_run() is None
    assert mlflow.get_tracking_uri() == uri_before
    assert dict(os.environ) == environment


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


@pytest.mark.parametrize(("project", "is_checkout"), [(".", True), ("within", False)])
def test_a_run_names_the_commit_of_a_checkout_and_of_none_that_the_project_lies_in(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, project: str, is_checkout: bool
) -> None:
    """And the Dagster run without its pages, where they are not known."""

    def git(*command: str) -> str:
        author = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
        return subprocess.check_output(["git", "-C", str(tmp_path), *author, *command], text=True)

    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "the first")
    module = tmp_path / project / "taxi_assets/tracking/tags.py"
    module.parent.mkdir(parents=True)
    monkeypatch.setattr(tags, "__file__", str(module))
    monkeypatch.setattr(tags, "_git_commit", tags._git_commit.__wrapped__)
    dagster = SimpleNamespace(run_id="0b7c1f4e-0000")
    context = SimpleNamespace(
        fleet=FLEETS["green"], month=Month(2023, 1), code_version="3", dagster=dagster
    )
    given = tags.run_tags(context, "linear", None)
    commit = git("rev-parse", "HEAD").strip() if is_checkout else None
    assert given.get("mlflow.source.git.commit") == commit
    assert given["mlflow.note.content"] == (
        "The linear model of green taxis, 2023-01, trained by Dagster run 0b7c1f4e."
    )


def test_runs_whose_dagster_run_is_over_are_put_right(
    settings: Settings, materialize: Materialize, instance: dg.DagsterInstance
) -> None:
    """Somebody who was killed has left them; those of another history are left alone."""
    experiment = client(settings).create_experiment(settings.experiment_name)
    left = {}
    for number, status in enumerate(("SUCCESS", "CANCELED", "FAILURE", "STARTED", "of another")):
        run_id = f"0b7c1f4e-0000-4000-8000-{number:012d}"
        if status in dg.DagsterRunStatus.__members__:
            instance.add_run(dg.DagsterRun("job", run_id, status=dg.DagsterRunStatus[status]))
        run = client(settings).create_run(experiment, tags={"dagster.run_id": run_id})
        left[status] = run.info.run_id
    assert materialize("2023-01", *TRAINING).success
    runs = {status: client(settings).get_run(run_id) for status, run_id in left.items()}
    reasons = {status: run.data.tags.get("taxi_assets.reason") for status, run in runs.items()}
    assert {status: run.info.status for status, run in runs.items()} == {
        "SUCCESS": "KILLED",
        "CANCELED": "KILLED",
        "FAILURE": "FAILED",
        "STARTED": "RUNNING",
        "of another": "RUNNING",
    }
    assert reasons["FAILURE"] == "the Dagster run ended as FAILURE"
    assert reasons["STARTED"] is None


def test_a_version_is_registered_when_its_model_is_stored_and_scored(
    settings: Settings, materialize: Materialize, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by training alone, nor by metrics that could not be stored."""

    def march() -> tuple[str, bool]:
        run = by_month(settings)["2023-03"]
        return run.info.status, "taxi_assets.reason" in run.data.tags

    assert materialize("2023-02").success
    assert materialize("2023-03", *TRAINING).success
    assert (registered(settings), newest(settings)) == ({1: "2023-02"}, "2023-02")
    with monkeypatch.context() as patch:
        patch.setattr(Json, "dump", raising(OSError(28, "No space left on device")))
        assert not materialize("2023-03", "metrics").success
    assert (registered(settings), newest(settings)) == ({1: "2023-02"}, "2023-02")
    assert march() == ("FAILED", True)
    # Metrics that succeed after all take the reason of their failure away.
    assert materialize("2023-03", "metrics").success
    assert (registered(settings), newest(settings)) == ({1: "2023-02", 2: "2023-03"}, "2023-03")
    assert march() == ("FINISHED", False)
    # An older month, whenever it is made, is not the newest; nor has a month two versions.
    assert materialize("2023-01").success
    assert materialize("2023-01", "metrics").success
    months = {1: "2023-02", 2: "2023-03", 3: "2023-01"}
    assert (registered(settings), newest(settings)) == (months, "2023-03")
    # Metrics do not need a version that somebody has deleted.
    client(settings).delete_registered_model(NAME)
    assert materialize("2023-01", "metrics").success
    assert registered(settings) == {1: "2023-01"}


def registered(settings: Settings) -> dict[int, str]:
    """The months of the versions, by their numbers; each has the RMSE of its run."""
    versions = client(settings).search_model_versions(f"name = '{NAME}'")
    for version in versions:
        rmse = by_month(settings)[version.tags["month"]].data.metrics["rmse"]
        assert version.tags["rmse"] == f"{rmse:.6f}"
    return {int(version.version): version.tags["month"] for version in versions}


def newest(settings: Settings) -> str:
    """The month that the alias of the newest linear model leads to."""
    version = client(settings).get_model_version_by_alias(NAME, "newest_linear")
    return str(version.tags["month"])


def test_a_month_has_one_run_whether_its_assets_are_made_together_or_alone(
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
    run, *_ = tracked_runs(settings)
    assert (run.info.status, run.data.metrics) == ("FINISHED", {})
    again = materialize("2023-01", "metrics")
    assert again.success
    assert opened == ["RUNNING", "RUNNING", "RUNNING", "FINISHED"]
    scored, *others = tracked_runs(settings)
    assert len(others) == 2
    assert (scored.info.run_id, scored.info.status) == (run.info.run_id, "FINISHED")
    assert scored.data.metrics["records_loaded"] == 6_000
    # So that it is put right when that Dagster run is over.
    assert scored.data.tags["dagster.run_id"] == again.run_id


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
        f"metrics 2023-01: MLflow run {run.info.run_id}, which trained the model, or the model "
        "that it logged was deleted, or MLFLOW_TRACKING_URI leads to another database. Make them "
        "again: dagster asset materialize"
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
    assert "was made by another MLflow. If that was older, back the database up" in message
    assert f"mlflow db upgrade {settings.tracking_uri}" in message
    assert "If it was newer, install that one" in message
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
    assert f"MLflow run {run_id}, which trained the model, or the model that it logged" in message
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


def test_a_boosted_model_whose_run_is_gone_is_to_be_made_again(settings: Settings) -> None:
    tracking, context = Tracking(settings.tracking_uri, settings.experiment_name), Any
    with pytest.raises(DeletedRunError, match="MLflow run 0123, which trained") as raised:
        TrackedRun(tracking, context, BOOSTED).reopen("0123")
    assert raised.value.remake == ("boosted_model",)


@pytest.mark.after_three_months
def test_mlflows_pages_say_in_plain_english_what_is_there(settings: Settings) -> None:
    known = client(settings)
    experiment = known.get_experiment_by_name(settings.experiment_name)
    assert experiment.tags["mlflow.note.content"].startswith(
        "Each run is one training of one month"
    )
    shown = "tags.`taxi_assets.superseded` = 'false'"
    assert shown in experiment.tags["mlflow.note.content"]
    assert (
        f"(#/experiments/{experiment.experiment_id}/runs?searchFilter={quote(shown)})"
        in (experiment.tags["mlflow.note.content"])
    )
    runs = known.search_runs([experiment.experiment_id], shown)
    assert len(runs) == 6
    for run in runs:
        tags = {name: tag for name, tag in run.data.tags.items() if not name.startswith("mlflow.")}
        columns = {**tags, **run.data.params}
        assert [name for name, text in columns.items() if re.search(r"[{}\[\]]", text)] == []


def test_who_is_interrupted_while_the_database_is_made_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow cannot go on with a database that has a part of its tables."""
    server = TrackingServer(f"sqlite:///{tmp_path}/new.db")
    upgrade = utils._upgrade_db
    made = []

    def look(engine: sa.Engine) -> None:
        made.append(engine.url.database)
        if len(made) == 1:
            raise KeyboardInterrupt
        upgrade(engine)

    monkeypatch.setattr(utils, "_upgrade_db", look)
    with pytest.raises(KeyboardInterrupt):
        _ = server.client
    assert {path.name for path in tmp_path.iterdir()} == {"new.db.lock"}
    assert [each.name for each in server.client.search_experiments()] == ["Default"]
    assert len(made) == 2
    assert str(tmp_path / "new.db") not in made
    assert {path.name for path in tmp_path.iterdir()} == {"new.db", "new.db.lock"}
