"""Runs of the command line that died without saying so are ended by whoever comes next."""

import os
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import dagster as dg
import pytest
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

from taxi_assets.runs import dead_runs
from taxi_assets.runs.dead_runs import LONGEST_START, PROCESS, end_dead_runs
from taxi_assets.storage.processes import Process
from taxi_assets_tests.toy import Toy

HERE = Process.current()
GONE = Process(HERE.host, 2**22 + 1, 1.0).to_text()
ELSEWHERE = GONE.replace(HERE.host, "other")
KEYS = frozenset({dg.AssetKey(["green", "raw_trips"])})
NOT_STARTED, STARTED, CANCELED = (
    dg.DagsterRunStatus[name] for name in ("NOT_STARTED", "STARTED", "CANCELED")
)
LAUNCHED = RemoteJobOrigin(
    RemoteRepositoryOrigin(
        ManagedGrpcPythonEnvCodeLocationOrigin(LoadableTargetOrigin(), "taxi"), "__repository__"
    ),
    "job",
)


@pytest.fixture
def instance(toy: Toy) -> dg.DagsterInstance:
    return toy.instance


def add(instance: dg.DagsterInstance, status: dg.DagsterRunStatus, **more: Any) -> str:
    options = {"asset_selection": KEYS} | more
    run = dg.DagsterRun("job", run_id=str(uuid4()), status=status, **options)
    return instance.add_run(run).run_id


@pytest.mark.parametrize(
    ("origin", "ended_as"), [(None, CANCELED), (LAUNCHED, dg.DagsterRunStatus.FAILURE)]
)
def test_a_run_whose_process_is_gone_is_ended(
    instance: dg.DagsterInstance, origin: RemoteJobOrigin | None, ended_as: dg.DagsterRunStatus
) -> None:
    """The command's is canceled; what ``make dev`` has launched and is gone with has failed."""
    run_id = add(instance, STARTED, tags={PROCESS: GONE}, remote_job_origin=origin)
    why = f"process {2**22 + 1} on {HERE.host} is gone"
    assert end_dead_runs(instance) == [f"Run {run_id} is ended: {why}."]
    assert instance.get_run_by_id(run_id).status == ended_as
    assert end_dead_runs(instance) == []


@pytest.mark.parametrize("status", [NOT_STARTED, STARTED])
def test_a_run_of_the_command_that_died_before_it_noted_its_process_is_canceled_in_the_end(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, status: dg.DagsterRunStatus
) -> None:
    run_id = add(instance, status)
    launched = add(instance, status, remote_job_origin=LAUNCHED)
    begun = add(instance, status)
    step_start = dg.DagsterEvent("STEP_START", "job", step_key="in_a_process_of_its_own")
    instance.report_dagster_event(step_start, begun)
    now = dead_runs.time.time()
    monkeypatch.setattr(dead_runs, "time", SimpleNamespace(time=lambda: now + LONGEST_START - 60))
    assert end_dead_runs(instance) == []
    monkeypatch.setattr(dead_runs, "time", SimpleNamespace(time=lambda: now + LONGEST_START + 60))
    assert end_dead_runs(instance) == [f"Run {run_id} is ended: it never began."]
    assert instance.get_run_by_id(run_id).status == CANCELED
    assert {instance.get_run_by_id(other).status for other in (launched, begun)} == {status}


@pytest.mark.parametrize(
    ("status", "options"),
    [
        pytest.param(STARTED, {"tags": {PROCESS: HERE.to_text()}}, id="alive"),
        pytest.param(STARTED, {"tags": {PROCESS: ELSEWHERE}}, id="elsewhere"),
        pytest.param(STARTED, {}, id="unknown"),
        pytest.param(STARTED, {"tags": {PROCESS: GONE}, "asset_selection": frozenset(
            {dg.AssetKey("users_own")})}, id="somebody else's"),
        pytest.param(CANCELED, {"tags": {PROCESS: GONE}}, id="over"),
    ],
)  # fmt: skip
def test_what_is_not_provably_dead_and_ours_is_left_alone(
    instance: dg.DagsterInstance, status: dg.DagsterRunStatus, options: dict[str, Any]
) -> None:
    run_id = add(instance, status, **options)
    assert end_dead_runs(instance) == []
    assert instance.get_run_by_id(run_id).status == status


def test_a_run_notes_its_process_and_ends_what_is_dead(toy: Toy) -> None:
    dead = add(toy.instance, STARTED, tags={PROCESS: GONE})
    result = toy.run("2023-01")
    noted = Process.from_text(toy.instance.get_run_by_id(result.run_id).tags[PROCESS])
    assert noted.pid == os.getpid()
    assert not noted.is_gone
    assert toy.instance.get_run_by_id(dead).status == CANCELED


def test_a_process_with_the_number_of_one_that_has_ended_is_another() -> None:
    assert not HERE.is_gone
    assert Process(HERE.host, HERE.pid, HERE.started - 60).is_gone
    assert Process.from_text("damaged") is None


def test_who_interrupts_a_run_is_told_what_stays_and_how_to_go_on(
    toy: Toy, capfd: pytest.CaptureFixture[str]
) -> None:
    toy.fail_at("doubled", "2023-02", KeyboardInterrupt())
    assert not toy.run("2023-01:2023-03").success
    log = capfd.readouterr().err
    assert log.count("Interrupted. The months that are recorded stay") == 1
    assert "Stack Trace" not in log
    assert len(toy.records("totals", "2023-01")) == 1
