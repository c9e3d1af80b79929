"""What many tests start from."""

import io
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, chdir
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import dagster as dg
import mlflow
import pytest
import sqlalchemy
from click.testing import CliRunner, Result
from mlflow.entities import Run
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from taxi_assets.cli import main
from taxi_assets.definitions import build_definitions
from taxi_assets.durations import boosted, target_encoding
from taxi_assets.reports import plots
from taxi_assets.runs import months
from taxi_assets.settings import Settings
from taxi_assets.storage.formats import Json
from taxi_assets.tlc.fleets import FLEETS
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.synthetic import write_month
from taxi_assets.tracking.relocate import relocate
from taxi_assets_tests.toy import Toy

# Only `make browser-test` installs what this needs.
collect_ignore = [] if find_spec("playwright") else ["test_browser.py", "test_serving_page.py"]

DAGSTER = Path(sys.executable).with_name("dagster")
REAL_FILES = Path(__file__).parents[2] / "shared" / "tlc"

# As in the process of a run.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not REAL_FILES.exists():
        absent = pytest.mark.skip(reason=f"no TLC files in {REAL_FILES}")
        for item in items:
            if item.get_closest_marker("real_files"):
                item.add_marker(absent)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    ran = sum(
        "real_files" in report.keywords
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, [])
    )
    terminalreporter.write_line(f"{ran} tests ran on real TLC files")


@pytest.fixture(autouse=True, scope="session")
def no_telemetry() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_DISABLE_TELEMETRY", "1")
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "1")
        yield


@pytest.fixture(autouse=True)
def no_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dagster takes the addresses of pages from the project's ``.env``, where a run is launched."""
    for name in ("DAGSTER_UI_URL", "MLFLOW_UI_URL"):
        monkeypatch.delenv(name, raising=False)


@sqlalchemy.event.listens_for(sqlalchemy.Engine, "connect")
def forget_when_the_power_fails(connection: Any, _: object) -> None:
    """Dagster and MLflow wait for the disk some hundred times a month, which no test needs."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous = OFF")


def dagster_at(home: Path) -> AbstractContextManager[dg.DagsterInstance]:
    """A Dagster home on disk. What steps print is not captured, which takes a second a run."""
    home.mkdir(exist_ok=True)
    module = "dagster._core.storage.noop_compute_log_manager"
    logs = {"module": module, "class": "NoOpComputeLogManager"}
    return dg.DagsterInstance.local_temp(str(home), overrides={"compute_logs": logs})


@pytest.fixture(scope="session")
def source_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of synthetic months, in the role of TLC's site."""
    folder = tmp_path_factory.mktemp("source")
    for month in (f"2023-0{number}" for number in range(1, 7)):
        for fleet in FLEETS.values():
            path = folder / fleet.file_name(Month.parse(month))
            write_month(path, fleet, Month.parse(month), trips=6_000)
    return folder


def taxi_assets(*arguments: object, folder: Path | None = None) -> Result:
    """The command ``taxi-assets`` in a folder, by default an empty one."""
    with patch.dict(os.environ), TemporaryDirectory() as empty, chdir(folder or empty):
        return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="session")
def mlflow_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new MLflow database: making one takes MLflow seconds, copying it does not."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    mlflow.MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


def laptop(folder: Path, source_folder: Path) -> Settings:
    """A laptop's settings, with all in a folder."""
    return Settings.from_environment(
        TAXI_FLEET="green",
        TAXI_TRIP_SOURCE=str(source_folder),
        TAXI_STORAGE=str(folder / "data"),
        MLFLOW_TRACKING_URI=f"sqlite:///{folder}/mlflow.db",
    )


@pytest.fixture
def settings(
    tmp_path: Path,
    source_folder: Path,
    mlflow_database: Path,
    request: pytest.FixtureRequest,
) -> Settings:
    """A laptop's settings, in an empty folder, or in one where three months have been made."""
    if request.node.get_closest_marker("after_three_months"):
        copy_made(request.getfixturevalue("three_months"), tmp_path)
    else:
        shutil.copy(mlflow_database, tmp_path)
    return laptop(tmp_path, source_folder)


@pytest.fixture
def own_source(settings: Settings, tmp_path: Path) -> Settings:
    """Settings with a source folder that the test may change."""
    shutil.copytree(settings.trip_source, tmp_path / "source")
    return changed(settings, trip_source=str(tmp_path / "source"))


@pytest.fixture(scope="session")
def three_months(
    tmp_path_factory: pytest.TempPathFactory, source_folder: Path, mlflow_database: Path
) -> Path:
    """A folder in which green's 2023-01 to 2023-03 have been made, with all that goes with them.

    Tests that need such months copy it.
    """
    folder = tmp_path_factory.mktemp("three_months")
    shutil.copy(mlflow_database, folder)
    with (
        pytest.MonkeyPatch.context() as monkeypatch,
        dagster_at(folder / "dagster_home") as instance,
    ):
        make_cheap(monkeypatch)
        monkeypatch.chdir(folder)
        result = execute(laptop(folder, source_folder), instance, "2023-01:2023-03", ())
    assert result.success
    return folder


def copy_made(made: Path, folder: Path) -> Path:
    """Copy a folder and all that was made in it; also MLflow's artifacts are the copy's own."""
    shutil.copytree(made, folder, dirs_exist_ok=True)
    relocate(folder / "mlflow.db", made, folder)
    return folder


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Store metrics, decisions or a note, with their checksum, as the package stores them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Json().dump(dict(value), path)


def read_json(path: Path) -> dict[str, Any]:
    """What is stored there, without its checksum."""
    return Json().load(path.open("rb"))


LINEAR = (
    *("raw_trips", "cleaned_trips", "zone_pairs", "vectorizer", "model", "metrics"),
    "backtest",
)
"""The assets of the linear model, which are half of the graph and take half of the time."""


def changed(settings: Settings, **values: object) -> Settings:
    """The settings, with other values."""
    return settings.model_copy(update=values)


@pytest.fixture
def instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """A Dagster of the test's own, in memory; on disk where three months have been made."""
    home = Path(settings.storage).parent / "dagster_home"
    with dagster_at(home) if home.exists() else dg.DagsterInstance.ephemeral() as instance:
        yield instance


def titled(*names: str) -> Callable[..., dict[str, bytes]]:
    """What draws plots that are nothing but their title, with the month in it."""
    return lambda *of: {name: plot_of(of[-1]) for name in names}


def plot_of(title: str) -> bytes:
    """What ``make_cheap`` has drawn of a month, ``green 2023-03``: a dot that has this title."""
    plot, texts = io.BytesIO(), PngInfo()
    texts.add_text("Title", title)
    Image.new("1", (1, 1)).save(plot, "png", pnginfo=texts)
    return plot.getvalue()


def make_cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no plots drawn, and few trees grown, which would take half of the time.

    They have tests of their own, and the drills. After an outage the next attempt follows at once.
    """
    monkeypatch.setattr(boosted, "MEAN_ROUNDS", 5)
    monkeypatch.setattr(boosted, "VARIANCE_ROUNDS", 3)
    monkeypatch.setitem(boosted.PARAMETERS, "learning_rate", 0.3)
    # Two threads for so few rows would mostly wait for each other, beside another process of tests.
    monkeypatch.setitem(boosted.PARAMETERS, "num_threads", 1)
    monkeypatch.setattr(target_encoding, "FACTOR_ROUNDS", 1)
    monkeypatch.setattr(plots, "cleaning_plots", titled("durations", "pickup_zones"))
    monkeypatch.setattr(plots, "model_plots", titled("predictions", "errors"))
    monkeypatch.setattr(plots, "boosted_plots", titled("boosted_predictions", "boosted_hours"))
    monkeypatch.setattr(
        plots, "backtest_plots",
        lambda family, _, month: {"zone_errors": plot_of(f"{month} {family}")},
    )  # fmt: skip
    monkeypatch.setattr(months, "WAITS", (0, 0))


def execute(
    settings: Settings,
    instance: dg.DagsterInstance,
    span: str,
    names: Sequence[str],
    **more_tags: str,
) -> dg.ExecuteInProcessResult:
    """Materialize a month, or months as 2023-01:2023-03, of all or some assets."""
    job = build_definitions(settings).resolve_implicit_global_asset_job_def()
    (fleet,) = settings.fleets
    first, *last = (Month.parse(month).partition_key for month in span.split(":"))
    tags = {
        "dagster/asset_partition_range_start": first,
        "dagster/asset_partition_range_end": "".join(last),
    }
    return job.execute_in_process(
        partition_key=None if last else first,
        tags=more_tags | (tags if last else {}),
        instance=instance,
        asset_selection=[dg.AssetKey([fleet.name, name]) for name in names] or None,
        raise_on_error=False,
    )


@pytest.fixture
def materialize(
    tmp_path: Path,
    settings: Settings,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Callable[..., dg.ExecuteInProcessResult]:
    """Materialize a month, or months as 2023-01:2023-03, as the command line does.

    All happens in the test's own process.
    """
    make_cheap(monkeypatch)
    monkeypatch.chdir(tmp_path)
    default = LINEAR if request.node.get_closest_marker("linear") else ()

    def run(
        span: str, *assets: str, settings: Settings = settings, **more_tags: str
    ) -> dg.ExecuteInProcessResult:
        return execute(settings, instance, span, assets or default, **more_tags)

    return run


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Toy]:
    """A graph of three assets in memory, with a Dagster of its own."""
    with dg.DagsterInstance.ephemeral() as instance:
        toy = Toy(instance)
        monkeypatch.setattr(months, "sleep", toy.slept.append)
        yield toy


class Command:
    """``dagster asset materialize`` in a folder of its own, as a user starts it."""

    def __init__(self, folder: Path, source: str = "", fleet: str = "green") -> None:
        self.folder = folder
        self.home = folder / "home"
        self.home.mkdir()
        self.variables = {
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            "DAGSTER_HOME": str(self.home),
            "DAGSTER_DISABLE_TELEMETRY": "1",
            "MLFLOW_DISABLE_TELEMETRY": "1",
            "TAXI_FLEET": fleet,
            "TAXI_TRIP_SOURCE": source,
        }

    def start(
        self, *arguments: str, preexec: Callable[[], None] | None = None, **variables: str
    ) -> subprocess.Popen[str]:
        """Start the command and go on; ``preexec`` is called in the new process before."""
        return subprocess.Popen(
            [DAGSTER, "asset", "materialize", "-m", "taxi_assets.definitions", *arguments],
            cwd=self.folder,
            env=self.variables | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=preexec,
        )

    def __call__(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the command to its end; standard error comes with standard output."""
        process = self.start(*arguments, **variables)
        output, _ = process.communicate()
        return subprocess.CompletedProcess(arguments, process.returncode, output, output)


@pytest.fixture
def command(tmp_path: Path, source_folder: Path, mlflow_database: Path) -> Command:
    shutil.copy(mlflow_database, tmp_path)
    return Command(tmp_path, str(source_folder))


def step_failures(result: dg.ExecuteInProcessResult) -> list[str]:
    """What failed steps told the user."""
    return [
        event.step_failure_data.user_failure_data.description
        for event in result.get_step_failure_events()
        if event.step_failure_data.user_failure_data
    ]


def shown(metrics: Mapping[str, float]) -> dict[str, float]:
    """Metrics as Dagster's pages show them: with three decimals. What is stored has all."""
    return {name: round(value, 3) for name, value in metrics.items()}


def latest_record(
    instance: dg.DagsterInstance, asset: str, month: str | None = None
) -> dg.AssetMaterialization | None:
    """The latest materialization of a green asset, of any month or of one."""
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(
            asset_key=dg.AssetKey(["green", asset]),
            asset_partitions=[Month.parse(month).partition_key] if month else None,
        ),
        limit=1,
    ).records
    return records[0].asset_materialization if records else None


def tracked_runs(settings: Settings, family: str = "linear") -> list[Run]:
    """The MLflow runs of the settings' experiment that trained a family, the newest first."""
    client = mlflow.MlflowClient(settings.tracking_uri)
    experiment = client.get_experiment_by_name(settings.experiment_name)
    if experiment is None:
        return []
    condition = f"tags.`taxi_assets.family` = '{family}'"
    return list(client.search_runs([experiment.experiment_id], condition))
