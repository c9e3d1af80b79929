"""Several months in one run: the same values and records as month by month, whatever fails."""

import re
import shutil
import weakref
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import pandas as pd
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver
from dagster._core.loader import LoadingContextForTest

from taxi_assets import definitions
from taxi_assets.assets import exercise
from taxi_assets.assets.graph import GRAPH
from taxi_assets.definitions import build_definitions
from taxi_assets.durations import cleaning, regression
from taxi_assets.runs import months
from taxi_assets.runs.partitions import monthly_partitions
from taxi_assets.settings import Settings
from taxi_assets.storage.files import Storage
from taxi_assets.storage.io_managers import MonthlyIOManager
from taxi_assets.tlc.months import Month
from taxi_assets.tracking.servers import UnreachableTrackingError
from taxi_assets.tracking.tracked_run import TrackedRun
from taxi_assets_tests.conftest import (
    LINEAR,
    changed,
    latest_record,
    read_json,
    shown,
    step_failures,
    tracked_runs,
)

Materialize = Callable[..., dg.ExecuteInProcessResult]

MONTHS = ("2023-01", "2023-02", "2023-03")
pytestmark = pytest.mark.linear

NAMES = list(LINEAR)


def figures(settings: Settings, month: str) -> dict[str, float]:
    """A month's figures, without the logged model's size, in which a run's id may show."""
    path = Path(settings.storage) / f"green/metrics/{month}.json"
    return read_json(path) | {"model_size_bytes": None}


def recorded(instance: dg.DagsterInstance, asset: str, run_id: str | None = None) -> list[str]:
    """The months that have been materialized, as often as they have been, by a run or by all."""
    records = instance.fetch_materializations(dg.AssetKey(["green", asset]), limit=100).records
    return sorted(str(r.partition_key) for r in records if run_id in (None, r.run_id))


def statuses(instance: dg.DagsterInstance, settings: Settings, asset: str) -> dict[str, str]:
    partitions = monthly_partitions(*settings.fleets)
    found = instance.get_status_by_partition(
        dg.AssetKey(["green", asset]), partitions.get_partition_keys(), partitions
    )
    return {key[:7]: status.value for key, status in (found or {}).items() if status}


def observed(instance: dg.DagsterInstance, asset: str, run_id: str) -> dict[str, str]:
    """What the page of an asset says of months that a run could not make."""
    records = instance.fetch_observations(dg.AssetKey(["green", asset]), limit=100).records
    return {
        str(record.partition_key)[:7]: str(record.asset_observation.description)
        for record in records
        if record.run_id == run_id
    }


def check_states(instance: dg.DagsterInstance, settings: Settings) -> dict[tuple[str, str], tuple]:
    """The status of each check by its name and month, and whether it is current."""
    graph = build_definitions(settings).resolve_asset_graph()
    infos = instance.event_log_storage.get_asset_check_partition_info(list(graph.asset_check_keys))
    return {
        (info.check_key.name, info.partition_key[:7]): (
            info.latest_execution_status.value,
            info.is_current,
        )
        for info in infos
    }


def all_checks_current(
    instance: dg.DagsterInstance, settings: Settings, names: Collection[str] = NAMES
) -> set[str]:
    """The months that every check of assets has judged with a result that Dagster calls current."""
    checks = {check.name for asset in GRAPH if asset.name in names for check in asset.checks}
    states = {
        key: state for key, state in check_states(instance, settings).items() if key[0] in checks
    }
    judged = {key for key, (status, current) in states.items() if status != "PLANNED" and current}
    return {month for _, month in states if all((name, month) in judged for name in checks)}


def stale(instance: dg.DagsterInstance, settings: Settings) -> dict[tuple[str, str], list[str]]:
    """What Dagster calls stale, and why."""
    graph = build_definitions(settings).resolve_asset_graph()
    resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
    causes = {
        (key.path[-1], partition[:7]): resolver.get_stale_causes(key, partition)
        for key in graph.get_all_asset_keys()
        for partition in instance.get_materialized_partitions(key)
    }
    return {key: [cause.reason for cause in found] for key, found in causes.items() if found}


@pytest.mark.after_three_months
def test_every_month_of_a_span_is_stored_as_if_it_were_alone(
    settings: Settings, materialize: Materialize, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    alone = changed(settings, storage=str(tmp_path / "alone"))
    for month in MONTHS:
        assert materialize(month, settings=alone).success

    for month in MONTHS:
        assert figures(settings, month) == figures(alone, month)
        for frame in ("cleaned_trips", "zone_pairs"):
            path = f"green/{frame}/{month}.parquet"
            pd.testing.assert_frame_equal(
                pd.read_parquet(Path(settings.storage) / path),
                pd.read_parquet(Path(alone.storage) / path),
            )
        loaded = [
            build_definitions(own).load_asset_value(
                ["green", "model"], partition_key=f"{month}-01", instance=instance
            )
            for own in (settings, alone)
        ]
        assert loaded[0]["model"].coef_.tolist() == loaded[1]["model"].coef_.tolist()


@pytest.mark.after_three_months
def test_every_month_has_one_record_with_its_own_figures_and_data_version(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    for name in NAMES:
        assert recorded(instance, name) == [f"{month}-01" for month in MONTHS]
    for month in MONTHS:
        metrics = latest_record(instance, "metrics", month).metadata
        expected = figures(settings, month)
        del expected["model_size_bytes"]
        assert {name: metrics[name].value for name in expected} == shown(expected)
        for name in NAMES:
            path = latest_record(instance, name, month).metadata["path"].value
            assert f"/{name}/{month}." in path
        raw = latest_record(instance, "raw_trips", month)
        assert raw.tags["dagster/data_version"] == raw.metadata["sha256"].value
    versions = {latest_record(instance, "metrics", m).tags["dagster/data_version"] for m in MONTHS}
    assert len(versions) == len(MONTHS)


@pytest.mark.after_three_months
def test_data_versions_are_those_of_single_months(
    materialize: Materialize, instance: dg.DagsterInstance
) -> None:
    def versions() -> dict[str, str]:
        return {
            name: latest_record(instance, name, "2023-02").tags["dagster/data_version"]
            for name in NAMES
        }

    spanned = versions()
    assert materialize("2023-02").success
    assert versions() == spanned


def test_a_bad_month_costs_only_itself_and_its_old_value_stays(
    own_source: Settings, materialize: Materialize, instance: dg.DagsterInstance
) -> None:
    """February was good once and is corrupt now; March is gone; January and April are good."""
    settings = own_source
    assert materialize("2023-02", "raw_trips", settings=settings).success
    good = (Path(settings.storage) / "green/raw_trips/2023-02.parquet").read_bytes()
    source = Path(settings.trip_source)
    (source / "green_tripdata_2023-02.parquet").write_bytes(good[:1000])
    (source / "green_tripdata_2023-03.parquet").unlink()

    result = materialize("2023-01:2023-04", settings=settings)

    assert not result.success
    (message,) = step_failures(result)
    head, february, march = message.splitlines()
    assert head == "2 of 4 months failed:"
    assert february.startswith("  raw_trips 2023-02: ")
    assert "not a complete Parquet file" in february
    assert march.startswith("  raw_trips 2023-03: ")
    assert "does not exist" in march

    assert (Path(settings.storage) / "green/raw_trips/2023-02.parquet").read_bytes() == good
    for name in NAMES:
        assert statuses(instance, settings, name) == {
            "2023-01": "MATERIALIZED",
            "2023-02": "FAILED",
            "2023-03": "FAILED",
            "2023-04": "MATERIALIZED",
        }
        assert recorded(instance, name, result.run_id) == [
            "2023-01-01",
            "2023-04-01",
        ]
    assert sorted(run.data.params["month"] for run in tracked_runs(settings)) == [
        "2023-01",
        "2023-04",
    ]
    told = observed(instance, "raw_trips", result.run_id)
    assert told.keys() == {"2023-03", "2023-02"}
    assert "does not exist" in told["2023-03"]
    of_last = observed(instance, "backtest", result.run_id)
    assert of_last == {month: f"raw_trips failed: {why}" for month, why in told.items()}


def test_a_month_that_fails_on_its_way_keeps_what_it_has_reached(
    own_source: Settings, materialize: Materialize, instance: dg.DagsterInstance
) -> None:
    february = Path(own_source.trip_source) / "green_tripdata_2023-02.parquet"
    month = pd.read_parquet(february)
    month.drop(columns="PULocationID").to_parquet(february)

    (message,) = step_failures(materialize("2023-01:2023-03", settings=own_source))
    assert message.splitlines() == [
        "1 of 3 months failed:",
        "  cleaned_trips 2023-02: The file has no column PULocationID. "
        "What it has is 'VendorID', 'lpep_pickup_datetime', 'lpep_dropoff_datetime', "
        "'store_and_fwd_flag' and 15 more.",
    ]
    assert statuses(instance, own_source, "raw_trips") == dict.fromkeys(MONTHS, "MATERIALIZED")
    for name in NAMES[1:]:
        found = statuses(instance, own_source, name)
        assert found.pop("2023-02") == "FAILED"
        assert set(found.values()) == {"MATERIALIZED"}


def test_a_fault_in_the_code_costs_only_its_month(
    settings: Settings,
    materialize: Materialize,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    group = exercise.pairs.group_by_zone_pair

    def group_all_but_the_first(trips: pd.DataFrame) -> pd.DataFrame:
        monkeypatch.setattr(exercise.pairs, "group_by_zone_pair", group)
        raise ZeroDivisionError("no pairs today")

    monkeypatch.setattr(exercise.pairs, "group_by_zone_pair", group_all_but_the_first)
    (message,) = step_failures(materialize("2023-01:2023-02"))
    assert "  zone_pairs 2023-01: ZeroDivisionError: no pairs today" in message
    assert recorded(instance, "backtest") == ["2023-02-01"]


def test_an_outage_stops_after_the_month_in_hand_and_the_next_attempt_goes_on(
    own_source: Settings,
    materialize: Materialize,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """February is bad; MLflow is away once, in March, which is made from its first asset again."""
    (Path(own_source.trip_source) / "green_tripdata_2023-02.parquet").write_bytes(b"PAR1 bad")
    cleaned, trained = [], []

    def clean(opened: object, fleet: object, month: Month) -> cleaning.CleanedTrips:
        cleaned.append(str(month))
        return clean_trips(opened, fleet, month)

    def begin(run: TrackedRun, parameters: dict[str, object], *more: object) -> None:
        if parameters["model_type"] == "LinearRegression":
            trained.append(parameters["month"])
        if trained == ["2023-01", "2023-03"]:
            raise UnreachableTrackingError("MLflow is away.")
        begins(run, parameters, *more)

    clean_trips, begins = cleaning.clean_trips, TrackedRun.begin
    monkeypatch.setattr(cleaning, "clean_trips", clean)
    monkeypatch.setattr(TrackedRun, "begin", begin)
    result = materialize("2023-01:2023-04", settings=own_source)
    assert cleaned == ["2023-01", "2023-03", "2023-03", "2023-04"]
    assert trained == ["2023-01", "2023-03", "2023-03", "2023-04"]
    (message,) = step_failures(result)
    head, february = message.splitlines()
    assert head == "1 of 4 months failed:"
    assert february.startswith("  raw_trips 2023-02: ")
    assert "not a complete Parquet file" in february
    told = [event for event in result.all_events if event.is_asset_observation]
    assert [event.partition for event in told] == ["2023-02-01"] * len(NAMES)
    for name in NAMES:
        twice = ["2023-03-01"] if name in NAMES[:4] else []
        assert recorded(instance, name) == ["2023-01-01", *twice, "2023-03-01", "2023-04-01"]
    assert all_checks_current(instance, own_source) == {"2023-01", "2023-03", "2023-04"}


def test_a_run_without_a_month_ends_with_a_sentence(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    job = build_definitions(settings).resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(instance=instance, raise_on_error=False)
    (message,) = step_failures(result)
    assert message.startswith("No month was chosen. Launch it for a partition, such as 2023-03-01")


def test_an_unexpected_error_is_told_with_its_traceback_and_without_secrets(
    settings: Settings,
    materialize: Materialize,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("https://me:hidden@host/file?signature=hidden is odd")

    monkeypatch.setattr(regression, "fit_vectorizer", fail)
    result = materialize("2023-01")
    (message,) = step_failures(result)
    assert message == "vectorizer 2023-01: RuntimeError: https://***@host/file?*** is odd"
    told = capfd.readouterr().err
    assert "in fail\n" in told
    assert "hidden" not in told
    assert observed(instance, "vectorizer", result.run_id) == {
        "2023-01": "RuntimeError: https://***@host/file?*** is odd"
    }


def test_what_was_made_between_a_bad_month_and_an_outage_is_not_among_the_failed(
    own_source: Settings, materialize: Materialize, monkeypatch: pytest.MonkeyPatch
) -> None:
    """January is bad; MLflow is away from March on."""
    (Path(own_source.trip_source) / "green_tripdata_2023-01.parquet").write_bytes(b"PAR1 bad")
    begins = TrackedRun.begin

    def begin(run: TrackedRun, parameters: dict[str, object], *more: object) -> None:
        if parameters["month"] == "2023-03":
            raise UnreachableTrackingError("MLflow is away.")
        begins(run, parameters, *more)

    monkeypatch.setattr(TrackedRun, "begin", begin)
    (message,) = step_failures(materialize("2023-01:2023-04", settings=own_source))
    head, january, *others = message.splitlines()
    assert head == "3 of 4 months failed:"
    assert january.startswith("  raw_trips 2023-01: ")
    assert others == ["  model 2023-03: MLflow is away.", "  2023-04: not tried"]


def test_an_outage_that_stays_names_the_months_that_were_not_tried(
    settings: Settings,
    materialize: Materialize,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    trained = []

    def refuse(run: TrackedRun, parameters: dict[str, object], *more: object) -> None:
        trained.append(parameters["month"])
        raise UnreachableTrackingError("MLflow is away.")

    monkeypatch.setattr(TrackedRun, "begin", refuse)
    (message,) = step_failures(materialize("2023-01:2023-03"))
    assert message.splitlines() == [
        "3 of 3 months failed:",
        "  model 2023-01: MLflow is away.",
        "  2023-02: not tried",
        "  2023-03: not tried",
    ]
    assert trained == ["2023-01"] * 3
    assert re.findall(r"Trying again in .*", capfd.readouterr().err) == [
        "Trying again in 0 s (1 of 2).",
        "Trying again in 0 s (2 of 2).",
    ]
    assert statuses(instance, settings, "cleaned_trips") == {
        "2023-01": "MATERIALIZED",
        "2023-02": "FAILED",
        "2023-03": "FAILED",
    }
    assert statuses(instance, settings, "metrics") == dict.fromkeys(MONTHS, "FAILED")


def test_dagster_calls_stale_what_depends_on_a_month_that_changed(
    own_source: Settings, materialize: Materialize, instance: dg.DagsterInstance
) -> None:
    assert materialize("2023-01:2023-02", settings=own_source).success
    assert stale(instance, own_source) == {}
    source = Path(own_source.trip_source)
    shutil.copy(
        source / "green_tripdata_2023-03.parquet", source / "green_tripdata_2023-02.parquet"
    )
    assert materialize("2023-01:2023-02", "raw_trips", settings=own_source).success
    assert stale(instance, own_source) == {
        ("cleaned_trips", "2023-02"): ["has a new dependency data version"],
        ("metrics", "2023-02"): ["has a new dependency data version"],
    }
    rest = [name for name in NAMES if name != "raw_trips"]
    assert materialize("2023-02", *rest, settings=own_source).success
    assert stale(instance, own_source) == {}


def test_a_model_of_other_trips_gives_no_figures(
    own_source: Settings, materialize: Materialize
) -> None:
    """A sentence with the command that mends it; the figures that are stored stay."""
    assert materialize("2023-02", settings=own_source).success
    before = figures(own_source, "2023-02")
    source = Path(own_source.trip_source)
    shutil.copy(
        source / "green_tripdata_2023-03.parquet", source / "green_tripdata_2023-02.parquet"
    )
    assert materialize("2023-02", "raw_trips", "cleaned_trips", settings=own_source).success
    (message,) = step_failures(materialize("2023-02", "metrics", settings=own_source))
    assert "zone_pairs, vectorizer, model were made from another source file." in message
    mending = ["zone_pairs", "vectorizer", "model", "metrics"]
    selected = ",".join(f"green/{name}" for name in mending)
    assert f"--select '{selected}' --partition 2023-02-01" in message
    assert figures(own_source, "2023-02") == before
    assert materialize("2023-02", *mending, settings=own_source).success
    assert figures(own_source, "2023-02") != before


def test_the_command_makes_again_all_that_is_outdated(
    own_source: Settings, materialize: Materialize
) -> None:
    """Also what the figures do not take themselves, such as the sums for the boosted model."""
    made = ["raw_trips", "cleaned_trips", "hourly_pairs", "boosted_model", "boosted_metrics"]
    assert materialize("2023-02", *made, settings=own_source).success
    source = Path(own_source.trip_source)
    shutil.copy(
        source / "green_tripdata_2023-03.parquet", source / "green_tripdata_2023-02.parquet"
    )
    assert materialize("2023-02", *made[:2], settings=own_source).success
    (message,) = step_failures(materialize("2023-02", made[-1], settings=own_source))
    assert "hourly_pairs, boosted_model were made from another source file." in message
    assert materialize("2023-02", *made[2:], settings=own_source).success


@pytest.mark.after_three_months
def test_dagster_calls_stale_what_another_code_has_made(
    settings: Settings,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    newer = tuple(
        replace(asset, code_version="new") if asset.name == "zone_pairs" else asset
        for asset in GRAPH
    )
    monkeypatch.setattr(definitions, "GRAPH", newer)
    assert stale(instance, settings) == {
        ("zone_pairs", month): ["has a new code version"] for month in MONTHS
    }


SELECTIONS = {
    "one asset": ("zone_pairs",),
    "model and on": ("model", "metrics", "backtest"),
    "a gap": ("cleaned_trips", "vectorizer", "metrics"),
    "all but the download": tuple(name for name in NAMES if name != "raw_trips"),
}


@pytest.mark.after_three_months
@pytest.mark.parametrize("selection", SELECTIONS.values(), ids=SELECTIONS)
def test_any_selection_runs_and_loads_what_is_not_selected_once_a_month(
    settings: Settings,
    materialize: Materialize,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    selection: tuple[str, ...],
) -> None:
    before = {month: figures(settings, month) for month in ("2023-01", "2023-02")}
    load, loaded = MonthlyIOManager.load, Counter()

    def count(manager: MonthlyIOManager, key: dg.AssetKey, month: Month) -> object:
        loaded[key.path[-1], str(month)] += 1
        return load(manager, key, month)

    monkeypatch.setattr(MonthlyIOManager, "load", count)
    result = materialize("2023-01:2023-02", *selection)
    assert result.success
    for name in NAMES:
        made = ["2023-01-01", "2023-02-01"] if name in selection else []
        assert recorded(instance, name, result.run_id) == made
    assert {month: figures(settings, month) for month in before} == before
    # January's are loaded for February's models and backtest as well.
    for_others = ("vectorizer", "model")
    again = {(name, "2023-01") for name in for_others if "backtest" in selection}
    assert {key for key, times in loaded.items() if times > (2 if key in again else 1)} == set()
    assert not {name for name, month in loaded if month == "2023-02"} & (
        # Of the model that is stored, it is read whose run has trained it.
        set(selection) - {"raw_trips", "model"}
    )


def test_never_two_months_trips_are_in_memory_nor_one_for_longer_than_it_is_needed(
    settings: Settings, materialize: Materialize, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: list[weakref.ref] = []

    def clean_while_alone(*arguments: object) -> cleaning.CleanedTrips:
        assert [frame() for frame in alive if frame() is not None] == []
        cleaned = clean(*arguments)
        alive.append(weakref.ref(cleaned.trips))
        return cleaned

    def fit_without_trips(*arguments: object) -> object:
        assert [frame() for frame in alive if frame() is not None] == []
        return fit(*arguments)

    clean, fit = cleaning.clean_trips, exercise.regression.fit_vectorizer
    monkeypatch.setattr(cleaning, "clean_trips", clean_while_alone)
    assert materialize("2023-01:2023-03").success
    assert len(alive) == 3
    monkeypatch.setattr(exercise.regression, "fit_vectorizer", fit_without_trips)
    assert materialize("2023-01", *NAMES[:4]).success
    assert len(alive) == 4


def test_progress_is_reported_with_the_time_to_go(
    materialize: Materialize, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """By a clock that is ten seconds on whenever somebody looks: at first, and twice a month."""
    clock = count(0.0, 10.0)
    monkeypatch.setattr(months, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    assert materialize("2023-01:2023-03", "raw_trips").success
    assert materialize("2023-01:2023-02", "raw_trips").success
    assert materialize("2023-01", "raw_trips").success
    told = re.findall(r"2023-0\d done in .*", capfd.readouterr().err)
    assert told == [
        "2023-01 done in 10.0 s (1 of 3, about 40 s to go)",
        "2023-02 done in 10.0 s (2 of 3, about 20 s to go)",
        "2023-03 done in 10.0 s (3 of 3)",
        "2023-01 done in 10.0 s (1 of 2, about 20 s to go)",
        "2023-02 done in 10.0 s (2 of 2)",
        "2023-01 done in 10.0 s",
    ]


def test_the_time_to_go_follows_from_the_months_that_were_made(
    own_source: Settings,
    materialize: Materialize,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """January fails; the one month that is made is done 30 seconds after the start."""
    (Path(own_source.trip_source) / "green_tripdata_2023-01.parquet").unlink()
    clock = count(0.0, 10.0)
    monkeypatch.setattr(months, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    assert not materialize("2023-01:2023-03", "raw_trips", settings=own_source).success
    assert re.findall(r"2023-0\d done in .*", capfd.readouterr().err) == [
        "2023-02 done in 10.0 s (2 of 3, about 30 s to go)",
        "2023-03 done in 10.0 s (3 of 3)",
    ]


def test_after_an_outage_there_are_two_more_attempts_after_four_and_twelve_seconds() -> None:
    assert months.RETRIES.max_retries == 2
    assert [months.RETRIES.calculate_delay(attempt) for attempt in (1, 2)] == [4, 12]


def test_each_attempt_after_an_outage_waits_its_own_time(
    materialize: Materialize, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited = []

    def wait(attempt: int) -> float:
        waited.append(attempt)
        return 0

    def away(*_: object) -> None:
        raise UnreachableTrackingError("MLflow is away.")

    policy = SimpleNamespace(max_retries=2, calculate_delay=wait)
    monkeypatch.setattr(months, "RETRIES", policy)
    monkeypatch.setattr(exercise.pairs, "group_by_zone_pair", away)
    assert not materialize("2023-01", "raw_trips", "cleaned_trips", "zone_pairs").success
    assert waited == [1, 2]


def test_what_an_io_manager_logs_is_in_the_runs_log(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    class Talkative(dg.IOManager):
        def handle_output(self, context: dg.OutputContext, obj: object) -> None:
            context.log.info(f"keeping {context.asset_key.path[-1]} {context.partition_key}")

        def load_input(self, context: dg.InputContext) -> object:
            raise NotImplementedError

    plain = build_definitions(settings)
    defs = dg.Definitions(plain.assets, resources={**plain.resources, "month_files": Talkative()})
    result = defs.resolve_implicit_global_asset_job_def().execute_in_process(
        partition_key="2023-01-01",
        instance=instance,
        asset_selection=[dg.AssetKey(["green", "raw_trips"])],
    )
    messages = [entry.user_message for entry in instance.all_logs(result.run_id)]
    assert "keeping raw_trips 2023-01-01" in messages


def test_any_io_manager_can_keep_an_asset(
    settings: Settings, materialize: Materialize, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    """Dagster's own keeps the figures, and a user's asset takes the model, in one run with it."""
    taken = []

    @dg.asset(
        partitions_def=monthly_partitions(*settings.fleets),
        backfill_policy=dg.BackfillPolicy.single_run(),
        ins={"model": dg.AssetIn(dg.AssetKey(["green", "model"]))},
    )
    def users_own(context: dg.AssetExecutionContext, model) -> None:
        taken.append(model)

    plain = build_definitions(settings)
    defs = dg.Definitions(
        assets=[*plain.assets, users_own],
        resources={**plain.resources, "figures": dg.FilesystemIOManager(base_dir=str(tmp_path))},
        executor=dg.in_process_executor,
    )
    job = defs.resolve_implicit_global_asset_job_def()
    one = {"partition_key": "2023-01-01"}
    several = {
        "tags": {
            "dagster/asset_partition_range_start": "2023-01-01",
            "dagster/asset_partition_range_end": "2023-02-01",
        }
    }
    for span in (one, several):
        for names in (LINEAR, ()):
            keys = [dg.AssetKey(["green", name]) for name in names] + [dg.AssetKey("users_own")]
            assert job.execute_in_process(instance=instance, asset_selection=keys, **span).success
    assert [type(model["model"]).__name__ for model in taken[:2]] == ["LinearRegression"] * 2
    assert [sorted(models) for models in taken[2:]] == [["2023-01-01", "2023-02-01"]] * 2
    kept = defs.load_asset_value(
        ["green", "metrics"], partition_key="2023-02-01", instance=instance
    )
    assert kept["records_loaded"] == 6_000
    assert not (Path(settings.storage) / "green/metrics").exists()


def test_a_users_own_asset_does_not_start_when_a_month_has_failed(
    own_source: Settings, instance: dg.DagsterInstance
) -> None:
    @dg.asset(
        partitions_def=monthly_partitions(*own_source.fleets),
        backfill_policy=dg.BackfillPolicy.single_run(),
        deps=[dg.AssetKey(["green", "raw_trips"])],
    )
    def users_own() -> None:
        raise AssertionError

    (Path(own_source.trip_source) / "green_tripdata_2023-02.parquet").unlink()
    plain = build_definitions(own_source)
    defs = dg.Definitions(assets=[*plain.assets, users_own], resources=plain.resources)
    result = defs.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=instance,
        raise_on_error=False,
        asset_selection=[dg.AssetKey(["green", "raw_trips"]), dg.AssetKey("users_own")],
        tags={
            "dagster/asset_partition_range_start": "2023-01-01",
            "dagster/asset_partition_range_end": "2023-02-01",
        },
    )
    assert not result.success
    assert [event.step_key for event in result.get_step_failure_events()] == ["green_months"]


def test_only_what_changed_at_the_source_is_fetched_again(
    own_source: Settings, materialize: Materialize, instance: dg.DagsterInstance
) -> None:
    assert materialize("2023-01:2023-02", "raw_trips", settings=own_source).success
    stored = Path(own_source.storage) / "green/raw_trips"
    before = {path.name: path.stat().st_mtime_ns for path in stored.glob("*.parquet")}
    changed = Path(own_source.trip_source) / "green_tripdata_2023-02.parquet"
    shutil.copyfile(Path(own_source.trip_source) / "green_tripdata_2023-03.parquet", changed)

    assert materialize("2023-01:2023-02", "raw_trips", settings=own_source).success

    after = {path.name: path.stat().st_mtime_ns for path in stored.glob("*.parquet")}
    assert after["2023-01.parquet"] == before["2023-01.parquet"]
    assert after["2023-02.parquet"] != before["2023-02.parquet"]
    assert (stored / "2023-02.parquet").read_bytes() == changed.read_bytes()
    for month in ("2023-01", "2023-02"):
        assert latest_record(instance, "raw_trips", month).metadata["records_loaded"].value == 6_000


def test_a_stored_file_that_was_altered_is_fetched_again(
    settings: Settings, materialize: Materialize
) -> None:
    stored = Path(settings.storage) / "green/raw_trips/2023-01.parquet"
    assert materialize("2023-01", "raw_trips").success
    good = stored.read_bytes()
    stored.write_bytes(good[:-1] + b"x")
    assert materialize("2023-01", "raw_trips").success
    assert stored.read_bytes() == good


def test_a_backfill_is_cut_as_the_settings_say(settings: Settings) -> None:
    def policies(months_per_run: int | None) -> set[dg.BackfillPolicy]:
        definitions = build_definitions(changed(settings, months_per_run=months_per_run))
        graph = definitions.resolve_asset_graph()
        return {graph.get(key).backfill_policy for key in graph.get_all_asset_keys()}

    assert policies(None) == {dg.BackfillPolicy.single_run()}
    assert policies(3) == {dg.BackfillPolicy.multi_run(3)}


@pytest.mark.after_three_months
def test_storage_holds_nothing_but_whole_months(settings: Settings) -> None:
    assert not [path for path in Path(settings.storage).rglob("*") if path.name.startswith(".")]
    assert Storage(settings.storage).exists("green/model/2023-02.skops")
