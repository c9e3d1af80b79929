"""The team's deployment in containers: what it survives, and that nothing is lost.

The tests are one story, told in order: each begins where the one before it ended.
"""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
import requests

from taxi_assets_tests.deployment import (
    SERVICES,
    USER,
    Deployment,
    deployment,
    wait_until,
)
from taxi_assets_tests.services import PROJECT
from taxi_assets_tests.webserver import (
    ASSETS,
    ask,
    backfill_state,
    failure_of,
    launch_backfill,
    wait_for_backfill,
)

pytestmark = pytest.mark.container

PRESENT, NEXT = "test-present", "test-next"
MONTHS = [f"2023-{month:02}" for month in range(1, 5)]
TRIPS = 5000
PATIENCE = 300
"""Seconds that a backfill of two months may take on two busy cores."""


@pytest.fixture(scope="module")
def team() -> Iterator[Deployment]:
    with deployment((PRESENT, NEXT)) as running:
        running.environment |= {"TAXI_FLEET": "synthetic", "TAXI_SYNTHETIC_TRIPS": str(TRIPS)}
        yield running


def keys(months: list[str]) -> list[str]:
    return [f"{month}-01" for month in months]


def stored(team: Deployment) -> dict[str, dict[str, float]]:
    """The months' metrics that the store has, read as a worker reads them."""
    program = """
import json, fsspec
files = fsspec.filesystem("s3")
paths = files.glob("taxi/synthetic/metrics/*.json")
print(json.dumps({path[-12:-5]: json.loads(files.cat_file(path)) for path in paths}))
"""
    return dict(json.loads(team.python("ray-worker", program)))


def assert_months_are_there(team: Deployment, months: list[str]) -> None:
    """Stored, recorded and tracked: each month, once, with one metric in all three places."""
    in_store = stored(team)
    assert sorted(in_store) == months
    recorded = ask(
        team.dagster,
        """query($keys: [AssetKeyInput!]!) { assetNodes(assetKeys: $keys) {
             assetKey { path }
             assetMaterializations { partition metadataEntries {
               label ... on FloatMetadataEntry { floatValue } } } } }""",
        keys=[{"path": ["synthetic", asset]} for asset in ASSETS],
    )["assetNodes"]
    assert len(recorded) == len(ASSETS)
    for node in recorded:
        partitions = {each["partition"] for each in node["assetMaterializations"]}
        assert sorted(partitions) == keys(months), node["assetKey"]
    client = mlflow.MlflowClient(team.mlflow)
    experiment = client.get_experiment_by_name("nyc-taxi-trip-duration")
    assert experiment is not None
    tracked = client.search_runs([experiment.experiment_id], "tags.`taxi_assets.family` = 'linear'")
    finished = [run for run in tracked if run.info.status == "FINISHED"]
    assert sorted(run.data.tags["dagster.partition"] for run in finished) == keys(months)
    for run in finished:
        month = run.data.tags["dagster.partition"][:7]
        assert run.data.metrics["rmse"] == in_store[month]["rmse"]
        assert in_store[month]["records_loaded"] == TRIPS


def make(team: Deployment, months: list[str]) -> None:
    """Have a backfill make the months, each in a run that succeeds at once."""
    backfill = launch_backfill(team.dagster, "synthetic", keys(months))
    runs = wait_for_backfill(team.dagster, backfill, PATIENCE)
    assert [run["status"] for run in runs] == ["SUCCESS"] * len(months)


def under_way(team: Deployment, backfill: str) -> int:
    """How many runs of a backfill are under way."""
    _, runs = backfill_state(team.dagster, backfill)
    return sum(run["status"] == "STARTED" for run in runs)


def test_without_passwords_nothing_starts(team: Deployment, tmp_path: Path) -> None:
    empty = tmp_path / "secrets.env"
    for absent in team.passwords.keys() - {"BACKUP_PASSWORD"}:
        team.write_secrets(empty, {k: v for k, v in team.passwords.items() if k != absent})
        command = [*team.compose_command(empty), "up", "--detach"]
        done = subprocess.run(
            command, env=team.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode != 0
        assert "set it in deploy/secrets.env" in done.stdout + done.stderr
    assert team.containers() == []


def test_all_comes_up_and_makes_two_months(team: Deployment) -> None:
    team.up()
    make(team, MONTHS[:2])
    assert_months_are_there(team, MONTHS[:2])


def through_the_door(team: Deployment, url: str, method: str = "GET", **request: Any) -> int:
    """The status of a request with the login, if it brings no other; 0 if nobody answers."""
    login = (USER, team.passwords["DOOR_PASSWORD"])
    given = {"auth": login, "verify": team.certificate, "timeout": 20, **request}
    try:
        return requests.request(method, url, **given).status_code
    except requests.Timeout:
        return 0


def test_nobody_passes_the_door_without_the_login(team: Deployment) -> None:
    wait_until(
        lambda: through_the_door(team, f"{team.predictions}/health") == 200,
        "the first champion is served",
        PATIENCE,
    )
    for url in (team.dagster, team.mlflow, team.predictions):
        assert through_the_door(team, url) == 200
        assert through_the_door(team, url, auth=None) == 401
        assert through_the_door(team, url, auth=(USER, "wrong")) == 401
        assert through_the_door(team, url, headers={"Host": "rebound.example"}) == 421
        with pytest.raises(requests.ConnectionError):
            requests.get(url.replace("https://localhost", "http://127.0.0.2"), timeout=5)


LAUNCH = "mutation { reloadWorkspace { __typename } }"


def test_another_page_cannot_change_anything(team: Deployment) -> None:
    """What a page of somebody else can have a browser send that has logged in."""
    graphql = f"{team.dagster}/graphql"
    of_dagster = {"Origin": team.dagster}
    foreign = {"Origin": "https://elsewhere.example"}
    query = {"query": LAUNCH}
    assert through_the_door(team, graphql, "POST", json=query, headers=of_dagster) == 200
    assert through_the_door(team, graphql, "POST", json=query, headers=foreign) == 403
    assert through_the_door(team, graphql, "POST", json=query, headers={"Origin": "null"}) == 403
    assert (
        through_the_door(team, graphql, "POST", json=query, headers={"Origin": team.mlflow}) == 403
    )
    assert through_the_door(team, graphql, params=query) == 405
    assert through_the_door(team, graphql, "POST", data=query) == 415
    plain = {"Content-Type": "text/plain"}
    assert through_the_door(team, graphql, "POST", data=json.dumps(query), headers=plain) == 415
    alias = f"{team.mlflow}/api/2.0/mlflow/registered-models/alias"
    wanted = {"name": "nyc-taxi-trip-duration-synthetic", "alias": "champion", "version": "1"}
    assert through_the_door(team, alias, "POST", json=wanted, headers=foreign) == 403
    assert through_the_door(team, alias, "POST", data=wanted) == 415


def test_a_launch_reads_no_variable_and_writes_nowhere_else(team: Deployment) -> None:
    for root in ({"env": "AWS_SECRET_ACCESS_KEY"}, "s3://elsewhere"):
        answer = ask(
            team.dagster,
            """query($pipeline: PipelineSelector!, $config: RunConfigData!) {
                 isPipelineConfigValid(
                   pipeline: $pipeline, runConfigData: $config, mode: "default"
                 ) {
                   __typename ... on RunConfigValidationInvalid { errors { message } } } }""",
            pipeline={
                "pipelineName": "__ASSET_JOB",
                "repositoryName": "__repository__",
                "repositoryLocationName": "taxi_assets",
            },
            config={"resources": {"storage": {"config": {"root": root}}}},
        )["isPipelineConfigValid"]
        assert answer["__typename"] == "RunConfigValidationInvalid"
        assert 'unexpected config entry "root"' in answer["errors"][0]["message"]


def test_containers_may_do_no_more_than_they_must(team: Deployment) -> None:
    for service in [*SERVICES, "serve"]:
        (container,) = team.containers(service)
        host = team.look(container)["HostConfig"]
        assert host["ReadonlyRootfs"], service
        assert host["Memory"] > 0, service
        assert "no-new-privileges" in host["SecurityOpt"], service
        status = team.run("podman", "exec", container, "cat", "/proc/1/status")
        assert "CapEff:\t0000000000000000" in status, service
        assert "Uid:\t0\t" not in status, service
        published = [each["HostIp"] for ports in host["PortBindings"].values() for each in ports]
        assert published == ["127.0.0.1"] * (3 if service == "door" else 0), service


def test_each_login_reaches_only_what_is_its_own(team: Deployment) -> None:
    """Tried from the containers that have the login."""
    buckets = """
import boto3
from botocore.exceptions import ClientError
store = boto3.client("s3")
for bucket in ("taxi", "mlflow"):
    for name, ask in [("list", store.list_objects_v2), ("delete", store.delete_bucket)]:
        if (name, bucket) in {own}:
            continue
        try:
            ask(Bucket=bucket)
            print(bucket, name, "done")
        except ClientError as error:
            print(bucket, name, error.response["Error"]["Code"])
"""
    for service, own, other in (("ray-worker", "taxi", "mlflow"), ("mlflow", "mlflow", "taxi")):
        program = buckets.replace("{own}", f"[('delete', '{own}')]")
        assert set(team.python(service, program).splitlines()) == {
            f"{own} list done",
            f"{other} list AccessDenied",
            f"{other} delete AccessDenied",
        }
    make_login = """
import grpc
# An identity with the name "nobody" and the action "Admin".
login = b"\\x0a\\x0f\\x0a\\x06nobody\\x1a\\x05Admin"
call = grpc.insecure_channel("store:18333").unary_unary(
    "/messaging_pb.SeaweedS3IamCache/PutIdentity", lambda given: given, lambda given: given
)
try:
    call(login, timeout=10)
    print("made")
except grpc.RpcError as error:
    print(error.code().name)
"""
    assert team.python("ray-worker", make_login) == "UNAUTHENTICATED\n"
    databases = """
import os, psycopg2
login = dict(host="postgres", user="dagster", password=os.environ["DAGSTER_POSTGRES_PASSWORD"])
for database in ("dagster", "mlflow", "postgres"):
    try:
        psycopg2.connect(dbname=database, **login).cursor().execute("CREATE TABLE intruder ()")
        print(database, "entered")
    except psycopg2.Error as error:
        print(database, "refused")
"""
    assert "mlflow refused" in team.python("webserver", databases).splitlines()
    known = {}
    for service in [*SERVICES, "serve"]:
        (container, *_) = team.containers(service)
        values = {entry.split("=", 1)[1] for entry in team.look(container)["Config"]["Env"]}
        known[service] = {name for name, word in team.passwords.items() if word in values}
    assert known["ray-head"] == {"RAY_AUTH_TOKEN"}
    assert known["daemon"] == known["webserver"] == {"RAY_AUTH_TOKEN", "DAGSTER_POSTGRES_PASSWORD"}
    assert (known["door"], known["serve"]) == ({"DOOR_PASSWORD"}, set())
    assert known["mlflow"] == {"MLFLOW_POSTGRES_PASSWORD", "MLFLOW_STORE_PASSWORD"}


def test_a_backfill_survives_restarts_and_a_dead_worker(team: Deployment) -> None:
    backfill = launch_backfill(team.dagster, "synthetic", keys(MONTHS[2:]))
    # One that dies before it says so is missed only after Dagster's patience for a start.
    wait_until(lambda: under_way(team, backfill) == 1, "the worker has a run", 180)
    (worker,) = team.containers("ray-worker")
    team.crash(worker)
    for service in ("daemon", "code", "mlflow"):
        team.restart(service)
    runs = wait_for_backfill(team.dagster, backfill, 2 * PATIENCE)
    again = [run for run in runs if run["status"] != "SUCCESS"]
    print(
        f"{len(again)} runs failed: {[failure_of(team.dagster, run) for run in again]}", flush=True
    )
    assert all(run["status"] == "FAILURE" for run in again)
    assert_months_are_there(team, MONTHS)


def test_a_backup_restores_into_an_empty_deployment_only(
    team: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = team.folder / "backup.tar.gpg"
    team.run(PROJECT / "deploy/backup", archive)
    wait_until(team.is_healthy, "all is healthy after the backup", PATIENCE)
    with pytest.raises(RuntimeError, match="has data already"):
        team.run(PROJECT / "deploy/restore", archive)
    half = team.folder / "half.tar.gpg"
    half.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
    with pytest.raises(RuntimeError, match="is damaged, not complete"):
        team.run(PROJECT / "deploy/restore", half)
    other = tmp_path / "secrets.env"
    team.write_secrets(other, team.passwords | {"BACKUP_PASSWORD": "other"})
    monkeypatch.setitem(team.environment, "SECRETS", str(other))
    with pytest.raises(RuntimeError, match="of another BACKUP_PASSWORD"):
        team.run(PROJECT / "deploy/restore", archive)
    assert b"PGDMP" not in archive.read_bytes()
    assert sorted(path.name for path in team.folder.iterdir()) == [
        "backup.tar.gpg",
        "door.crt",
        "half.tar.gpg",
        "secrets.env",
    ]


def test_the_next_version_reads_old_months_and_a_restore_leads_back(team: Deployment) -> None:
    """The next version has two workers."""
    before = stored(team)
    team.down(volumes=False)
    team.up(TAXI_VERSION=NEXT, RAY_WORKERS="2")
    assert len(team.containers("ray-worker")) == 2
    assert stored(team) == before
    make(team, ["2023-05"])
    assert_months_are_there(team, [*MONTHS, "2023-05"])

    team.down(volumes=True)
    team.run(PROJECT / "deploy/restore", team.folder / "backup.tar.gpg")
    team.up(TAXI_VERSION=PRESENT)
    assert stored(team) == before
    assert_months_are_there(team, MONTHS)
