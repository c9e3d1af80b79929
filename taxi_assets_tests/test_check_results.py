"""What checks find: recorded for the month that was made, current, and told in the run's log."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace

import dagster as dg
import pytest

from taxi_assets import definitions
from taxi_assets.assets.graph import GRAPH
from taxi_assets.checks import data
from taxi_assets.definitions import build_definitions
from taxi_assets.runs.event_log import Records
from taxi_assets.settings import Settings
from taxi_assets.tlc.months import Month
from taxi_assets_tests.conftest import execute, step_failures
from taxi_assets_tests.test_months import (
    MONTHS,
    all_checks_current,
    check_states,
    figures,
)

Materialize = Callable[..., dg.ExecuteInProcessResult]

pytestmark = pytest.mark.linear


def evaluations(log: Sequence[dg.EventLogEntry]) -> list[dg.AssetCheckEvaluation]:
    """What the checks of a run have found, in order."""
    events = [entry.dagster_event for entry in log if entry.dagster_event]
    return [
        event.asset_check_evaluation_data
        for event in events
        if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION
    ]


def test_every_check_result_is_current(
    settings: Settings, materialize: Materialize, instance: dg.DagsterInstance
) -> None:
    assert materialize("2023-01").success
    assert all_checks_current(instance, settings) == {"2023-01"}


@pytest.mark.after_three_months
def test_every_check_result_of_a_span_is_current(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    every = [asset.name for asset in GRAPH]
    assert all_checks_current(instance, settings, every) == set(MONTHS)


def test_of_selected_checks_each_judges(settings: Settings, instance: dg.DagsterInstance) -> None:
    """Here the last of the asset's three."""
    raw_trips = dg.AssetKey(["green", "raw_trips"])
    job = build_definitions(settings).resolve_implicit_global_asset_job_def()
    result = job.get_subset(
        asset_selection={raw_trips},
        asset_check_selection={dg.AssetCheckKey(raw_trips, "pickups_in_month")},
    ).execute_in_process(partition_key="2023-01-01", instance=instance)
    judged = evaluations(instance.all_logs(result.run_id))
    assert [check.check_name for check in judged] == ["pickups_in_month"]


@pytest.mark.after_three_months
def test_checks_alone_end_with_a_sentence_and_change_nothing(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    before = check_states(instance, settings)
    job = build_definitions(settings).resolve_implicit_global_asset_job_def()
    selection = job.get_subset(
        asset_selection=set(),
        asset_check_selection={
            dg.AssetCheckKey(dg.AssetKey(["green", "metrics"]), "better_than_mean")
        },
    )
    for last, asked in (
        ("2023-01-01", "--partition 2023-01-01"),
        ("2023-03-01", "--partition-range 2023-01-01...2023-03-01"),
    ):
        months = {
            "dagster/asset_partition_range_start": "2023-01-01",
            "dagster/asset_partition_range_end": last,
        }
        result = selection.execute_in_process(tags=months, instance=instance, raise_on_error=False)
        (message,) = step_failures(result)
        assert "A check judges a month when its asset is made" in message
        assert f"--select 'green/metrics' {asked}" in message
        assert check_states(instance, settings) == before


def test_what_a_check_found_of_an_older_record_counts_no_more(
    materialize: Materialize, instance: dg.DagsterInstance
) -> None:
    """Somebody has recorded the month again since, without its checks."""
    assert materialize("2023-01", "raw_trips").success
    raw_trips = dg.AssetKey(["green", "raw_trips"])
    check = dg.AssetCheckKey(raw_trips, "number_of_trips")

    def passed(month: Month) -> bool | None:
        return Records(SimpleNamespace(instance=instance), raw_trips).passed(check, month)

    assert passed(Month(2023, 1)) is True
    assert passed(Month(2023, 2)) is None
    instance.report_runless_asset_event(dg.AssetMaterialization(raw_trips, partition="2023-01-01"))
    assert passed(Month(2023, 1)) is None


def test_a_function_that_forgets_a_check_is_told(
    settings: Settings, materialize: Materialize, monkeypatch: pytest.MonkeyPatch
) -> None:
    forgetful = tuple(
        replace(asset, checks=[data.share_kept]) if asset.name == "raw_trips"
        else asset
        for asset in GRAPH
    )  # fmt: skip
    monkeypatch.setattr(definitions, "GRAPH", forgetful)
    (message,) = step_failures(materialize("2023-01", "raw_trips"))
    assert "raw_trips judged ['number_of_trips'" in message


@pytest.mark.after_three_months
def test_what_checks_find_is_shown_with_three_decimals(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    (run,) = instance.get_runs()
    shown_rmses = [
        check.metadata["rmse"].value
        for check in evaluations(instance.all_logs(run.run_id))
        if (check.asset_key.path[-1], check.check_name) == ("metrics", "better_than_mean")
    ]
    assert shown_rmses == [round(figures(settings, month)["rmse"], 3) for month in MONTHS]


LOOKING_BACK = {
    *("rmse_of_earlier_months", "drift_from_month_before", "drift_from_year_before"),
    *("window_complete", "boosted_better_than_linear", "interval_coverage", "model_decays"),
}


@pytest.mark.after_three_months
def test_a_month_that_is_made_again_is_judged_as_before_and_not_by_itself(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    def found(run_id: str) -> dict[str, str]:
        return {
            check.check_name: str(check.description)
            for check in evaluations(instance.all_logs(run_id))
            if check.partition == "2023-02-01" and check.check_name in LOOKING_BACK
        }

    (first,) = instance.get_runs()
    again = execute(settings, instance, "2023-02", [asset.name for asset in GRAPH])
    assert again.success
    assert found(first.run_id).keys() == LOOKING_BACK
    assert found(again.run_id) == found(first.run_id)


@pytest.mark.after_three_months
def test_the_runs_log_warns_of_what_checks_found_and_of_nothing_else(
    instance: dg.DagsterInstance,
) -> None:
    (run,) = instance.get_runs()
    log = instance.all_logs(run.run_id)
    assert not [entry for entry in log if "did not yield" in entry.user_message]
    warnings = [entry.user_message for entry in log if entry.level == logging.WARNING]
    january, *_ = [text for text in warnings if "2023-01" in text]
    assert january.startswith("model 2023-01: 224 coefficients rest on fewer than 10 trips, ")
    assert warnings == [
        f"{check.asset_key.path[-1]} {check.partition[:7]}: {check.description}"
        for check in evaluations(log)
        if not check.passed
    ]
