"""A run that is resumed goes on where it was left, and keeps nothing that is not so any more."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from taxi_assets import definitions, incoming
from taxi_assets.errors import UnreachableStorageError
from taxi_assets.graph import GRAPH
from taxi_assets.records import Records, failed_months
from taxi_assets.settings import Settings
from taxi_assets.storage.io_managers import MonthlyIOManager
from taxi_assets.tlc.fetch import FetchedMonth, fetch_month
from taxi_assets.tlc.months import Month
from taxi_assets_tests.conftest import LINEAR, latest_record, tracked_runs
from taxi_assets_tests.test_months import all_checks_current, figures, recorded, statuses

Materialize = Callable[..., dg.ExecuteInProcessResult]

pytestmark = pytest.mark.linear

NAMES = list(LINEAR)
TRIPS = ("raw_trips", "cleaned_trips")


def spoil(settings: Settings, *months: str) -> Callable[[str], None]:
    """Damage months at the source; give what mends one."""
    paths = {m: Path(settings.trip_source) / f"green_tripdata_{m}.parquet" for m in months}
    good = {month: path.read_bytes() for month, path in paths.items()}
    for path in paths.values():
        path.write_bytes(b"PAR1 bad")

    def mend(month: str) -> None:
        paths[month].write_bytes(good[month])

    return mend


def resume(run: dg.ExecuteInProcessResult) -> dict[str, str]:
    return {"dagster/root_run_id": run.run_id, "dagster/is_resume_retry": "true"}


def made_in(instance: dg.DagsterInstance, asset: str, month: str) -> object:
    """The run that made a month, if the latest record says that it was another's."""
    found = latest_record(instance, asset, month).metadata.get("made_in_run")
    return found and found.value


def test_a_resumed_run_goes_on_and_any_other_makes_all(
    own_source: Settings, materialize: Materialize, instance: dg.DagsterInstance
) -> None:
    """January is good at once; February becomes good before the run is resumed."""
    mend = spoil(own_source, "2023-02")
    failed = materialize("2023-01:2023-02", settings=own_source)
    assert not failed.success
    first = {name: latest_record(instance, name, "2023-01") for name in NAMES}

    mend("2023-02")
    resumed = materialize("2023-01:2023-02", settings=own_source, **resume(failed))
    assert resumed.success
    for name in NAMES:
        again = latest_record(instance, name, "2023-01")
        assert again.metadata["made_in_run"].value == failed.run_id
        assert again.tags == first[name].tags
        kept = {key: value for key, value in again.metadata.items() if key != "made_in_run"}
        assert kept == dict(first[name].metadata)
        assert "made_in_run" not in latest_record(instance, name, "2023-02").metadata
        assert recorded(instance, name, resumed.run_id) == ["2023-01-01", "2023-02-01"]
        assert statuses(instance, own_source, name) == dict.fromkeys(
            ("2023-01", "2023-02"), "MATERIALIZED"
        )
    assert all_checks_current(instance, own_source) == {"2023-01", "2023-02"}
    assert len(tracked_runs(own_source)) == 2

    all_anew = {"dagster/root_run_id": failed.run_id, "dagster/parent_run_id": failed.run_id}
    assert materialize("2023-01:2023-02", settings=own_source, **all_anew).success
    assert "made_in_run" not in latest_record(instance, "model", "2023-01").metadata
    assert len(tracked_runs(own_source)) == 4


def test_a_resumed_run_scores_a_model_that_was_missing_before(
    own_source: Settings, materialize: Materialize, instance: dg.DagsterInstance
) -> None:
    """March was complete without February's model, which is there now."""
    mend = spoil(own_source, "2023-02")
    failed = materialize("2023-02:2023-03", settings=own_source)
    mend("2023-02")
    assert materialize("2023-02:2023-03", settings=own_source, **resume(failed)).success
    assert "made_in_run" in latest_record(instance, "metrics", "2023-03").metadata
    backtest = latest_record(instance, "backtest", "2023-03").metadata
    assert "made_in_run" not in backtest
    models = backtest["figures"].value["models"]
    assert {model["trained_through"] for model in models.values()} == {"2023-02"}


def test_a_resumed_run_fetches_only_what_it_makes(
    own_source: Settings, materialize: Materialize, monkeypatch: pytest.MonkeyPatch
) -> None:
    mend = spoil(own_source, "2023-02")
    failed = materialize("2023-01:2023-03", *TRIPS, settings=own_source)
    mend("2023-02")
    fetched = []

    def fetch(source: object, fleet: object, month: Month, *more: object) -> FetchedMonth:
        fetched.append(str(month))
        return fetch_month(source, fleet, month, *more)

    monkeypatch.setattr(incoming, "fetch_month", fetch)
    again = materialize("2023-01:2023-03", *TRIPS, settings=own_source, **resume(failed))
    assert again.success
    assert fetched == ["2023-02"]


def test_what_a_resumed_run_has_made_anew_counts_after_an_outage_too(
    own_source: Settings,
    materialize: Materialize,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The storage is away once, when February is to be scored with January's new model."""
    mend = spoil(own_source, "2023-01")
    failed = materialize("2023-01:2023-02", settings=own_source)
    mend("2023-01")
    load, away = MonthlyIOManager.load, iter([True])

    def load_later(manager: MonthlyIOManager, key: dg.AssetKey, month: Month) -> object:
        if (key.path[-1], month) == ("model", Month(2023, 1)) and next(away, False):
            raise UnreachableStorageError("s3://bucket cannot be reached.")
        return load(manager, key, month)

    monkeypatch.setattr(MonthlyIOManager, "load", load_later)
    resumed = materialize("2023-01:2023-02", settings=own_source, **resume(failed))
    assert resumed.success
    assert len(resumed.filter_events(lambda event: event.is_step_up_for_retry)) == 1
    assert made_in(instance, "metrics", "2023-02") == failed.run_id
    assert made_in(instance, "backtest", "2023-02") is None
    models = latest_record(instance, "backtest", "2023-02").metadata["figures"].value["models"]
    assert {model["trained_through"] for model in models.values()} == {"2023-01"}
    for name in NAMES:
        assert recorded(instance, name, resumed.run_id) == ["2023-01-01", "2023-02-01"]


def test_a_resumed_run_makes_anew_what_is_no_longer_the_latest_or_has_new_inputs(
    own_source: Settings, materialize: Materialize, instance: dg.DagsterInstance
) -> None:
    source = Path(own_source.trip_source)
    mend = spoil(own_source, "2023-02")
    failed = materialize("2023-01:2023-02", settings=own_source)
    shutil.copy(
        source / "green_tripdata_2023-03.parquet", source / "green_tripdata_2023-01.parquet"
    )
    assert materialize("2023-01", "raw_trips", settings=own_source).success

    mend("2023-02")
    assert materialize("2023-01:2023-02", settings=own_source, **resume(failed)).success
    for name in NAMES:
        assert "made_in_run" not in latest_record(instance, name, "2023-01").metadata
    assert figures(own_source, "2023-01") == figures_of("2023-03", own_source, materialize)


def test_the_failures_of_a_run_are_not_those_of_another(
    own_source: Settings, materialize: Materialize, instance: dg.DagsterInstance
) -> None:
    spoil(own_source, "2023-02")
    bad = materialize("2023-01:2023-02", *TRIPS, settings=own_source)
    other = materialize("2023-01:2023-02", *TRIPS, settings=own_source)
    asked = [dg.AssetKey(["green", name]) for name in TRIPS], [Month(2023, 1), Month(2023, 2)]
    for run_id in (bad.run_id, other.run_id):
        found = failed_months(instance, run_id, *asked)
        assert {month: failed.asset for month, failed in found.items()} == {
            Month(2023, 2): "raw_trips"
        }
    assert failed_months(instance, "a run that has not failed", *asked) == {}


def figures_of(month: str, settings: Settings, materialize: Materialize) -> dict[str, float]:
    assert materialize(month, settings=settings).success
    return figures(settings, month)


def test_what_was_made_in_any_run_of_the_group_is_kept(
    own_source: Settings, materialize: Materialize, instance: dg.DagsterInstance
) -> None:
    mend = spoil(own_source, "2023-02", "2023-03")
    first = materialize("2023-01:2023-03", *TRIPS, settings=own_source)
    mend("2023-02")
    second = materialize("2023-01:2023-03", *TRIPS, settings=own_source, **resume(first))
    assert not second.success
    mend("2023-03")
    assert materialize("2023-01:2023-03", *TRIPS, settings=own_source, **resume(first)).success
    for asset in TRIPS:
        months = ("2023-01", "2023-02", "2023-03")
        made = [made_in(instance, asset, month) for month in months]
        assert made == [first.run_id, second.run_id, None]


def test_what_was_not_checked_is_made_anew(
    own_source: Settings,
    materialize: Materialize,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The run was stopped between a record and its checks, whose results are of the one before."""
    assert materialize("2023-01", *TRIPS, settings=own_source).success
    mend = spoil(own_source, "2023-02")
    with monkeypatch.context() as patch:
        patch.setattr(Records, "_judge", lambda *_: iter(()))
        stopped = materialize("2023-01:2023-02", *TRIPS, settings=own_source)
    mend("2023-02")
    assert materialize("2023-01:2023-02", *TRIPS, settings=own_source, **resume(stopped)).success
    assert [made_in(instance, asset, "2023-01") for asset in TRIPS] == [None, None]


def test_what_another_code_has_made_is_made_anew(
    own_source: Settings,
    materialize: Materialize,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mend = spoil(own_source, "2023-02")
    failed = materialize("2023-01:2023-02", *TRIPS, settings=own_source)
    newer = tuple(
        replace(asset, code_version="new") if asset.name == "cleaned_trips" else asset
        for asset in GRAPH
    )
    monkeypatch.setattr(definitions, "GRAPH", newer)
    mend("2023-02")
    assert materialize("2023-01:2023-02", *TRIPS, settings=own_source, **resume(failed)).success
    assert made_in(instance, "raw_trips", "2023-01") == failed.run_id
    assert made_in(instance, "cleaned_trips", "2023-01") is None
