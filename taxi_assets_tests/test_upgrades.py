"""What ``deploy/compose.yaml`` makes of databases that older versions have left."""

import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import mlflow
import pytest
import sqlalchemy as sa
import yaml

from taxi_assets_tests import services as team

pytestmark = pytest.mark.cluster

OLD_DAGSTER, OLD_MLFLOW = "6b7fb194ff9c", "71994744cf8e"
"""The schemas of Dagster before it had a default limit of concurrency (January 2025), and of
MLflow 3.4.0."""


@pytest.fixture
def running() -> Iterator[team.Services]:
    """Postgres alone, and Dagster's instance on it."""
    with team.services() as services, pytest.MonkeyPatch.context() as patch:
        team.start_postgres(services, ["dagster", "mlflow"])
        instance = yaml.safe_load((team.PROJECT / "deploy/dagster.yaml").read_text())
        (services.folder / "dagster.yaml").write_text(
            yaml.safe_dump({"storage": instance["storage"]})
        )
        services.environment["DAGSTER_HOME"] = str(services.folder)
        for name, value in services.environment.items():
            patch.setenv(name, value)
        yield services


def url(database: str) -> str:
    login = "taxi:{DAGSTER_POSTGRES_PASSWORD}@127.0.0.1:{DAGSTER_POSTGRES_PORT}"
    return f"postgresql+psycopg2://{login.format_map(os.environ)}/{database}"


def migrate(service: str) -> None:
    """Run a service's command, as the compose file has it."""
    compose = yaml.safe_load((team.PROJECT / "deploy/compose.yaml").read_text())
    command = compose["services"][service]["command"].replace("$$", "$")
    ours = command.replace("mlflow@postgres:5432", url("").split("//")[1][:-1])
    path = f"{team.PROGRAMS}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(
        shlex.split(ours), check=True, capture_output=True, env=os.environ | {"PATH": path}
    )


def revision(database: str) -> str:
    with sa.create_engine(url(database)).connect() as connection:
        return str(connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar())


def test_an_older_mlflow_keeps_its_runs(running: team.Services) -> None:
    from alembic import command
    from mlflow.store.db.utils import _get_alembic_config
    from mlflow.store.tracking.dbmodels.initial_models import Base

    engine = sa.create_engine(url("mlflow"))
    Base.metadata.create_all(engine)
    config = _get_alembic_config(url("mlflow"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, OLD_MLFLOW)
        for row in (
            "INSERT INTO experiments (experiment_id, name, lifecycle_stage)"
            " VALUES (7, 'nyc-taxi-trip-duration', 'active')",
            "INSERT INTO runs"
            " (run_uuid, experiment_id, status, lifecycle_stage, user_id, start_time)"
            " VALUES ('old', 7, 'FINISHED', 'active', 'team', 0)",
            "INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid)"
            " VALUES ('rmse', 8.15, 0, 0, false, 'old')",
        ):
            connection.execute(sa.text(row))
    assert revision("mlflow") == OLD_MLFLOW

    migrate("migrate-mlflow")

    assert revision("mlflow") != OLD_MLFLOW
    client = mlflow.MlflowClient(url("mlflow"))
    (run,) = client.search_runs(["7"])
    assert (run.info.run_id, run.data.metrics) == ("old", {"rmse": 8.15})
    client.log_metric("old", "mae", 5.5)
    assert client.get_run("old").data.metrics == {"rmse": 8.15, "mae": 5.5}


def test_an_older_dagster_keeps_its_records(running: team.Services) -> None:
    from dagster._core.storage.sql import run_alembic_downgrade
    from dagster_postgres.utils import pg_alembic_config

    march = dg.AssetMaterialization("metrics", partition="2023-03-01", metadata={"rmse": 8.15})
    with dg.DagsterInstance.from_config(str(running.folder)) as instance:
        instance.report_runless_asset_event(march)
    engine = sa.create_engine(url("dagster"))
    with engine.begin() as connection:
        config = pg_alembic_config(str(Path(team.__file__)))
        run_alembic_downgrade(config, connection, OLD_DAGSTER)
    assert revision("dagster") == OLD_DAGSTER
    assert "using_default_limit" not in columns_of("concurrency_limits")

    migrate("migrate-dagster")

    assert revision("dagster") != OLD_DAGSTER
    with dg.DagsterInstance.from_config(str(running.folder)) as instance:
        assert instance.event_log_storage.get_pool_limits() != []
    assert "using_default_limit" in columns_of("concurrency_limits")
    with dg.DagsterInstance.from_config(str(running.folder)) as instance:
        (record,) = instance.fetch_materializations(dg.AssetKey("metrics"), limit=9).records
    assert record.partition_key == "2023-03-01"
    assert record.asset_materialization is not None
    assert record.asset_materialization.metadata["rmse"].value == 8.15


def columns_of(table: str) -> set[str]:
    inspector = sa.inspect(sa.create_engine(url("dagster")))
    return {column["name"] for column in inspector.get_columns(table)}
