"""Several months in one run: the same values and records as month by month, whatever fails."""

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import pytest

from taxi_assets.errors import MonthError, OutageError, StorageError
from taxi_assets.runs.event_log import Records
from taxi_assets.runs.monthly_asset import MonthContext, monthly_asset, monthly_partitions
from taxi_assets.tlc.months import Month
from taxi_assets_tests.conftest import step_failures
from taxi_assets_tests.toy import ASSETS, GREEN, Toy, key

BAD = MonthError("The month is bad.")
AWAY = OutageError("It is away.")
MATERIALIZED, FAILED = "MATERIALIZED", "FAILED"


def explained(result: dg.ExecuteInProcessResult) -> list[str]:
    """The lines of the one sentence or list with which a run failed."""
    (message,) = step_failures(result)
    return message.splitlines()


def recorded(toy: Toy, asset: str, run: dg.ExecuteInProcessResult) -> list[str]:
    """The months that a run has recorded of an asset."""
    months = (f"2023-0{number}" for number in range(1, 7))
    return [m for m in months for record in toy.records(asset, m) if record.run_id == run.run_id]


def test_each_month_of_a_span_has_one_record_as_if_it_were_alone(toy: Toy) -> None:
    def versions(asset: str) -> dict[str, str]:
        tags = toy.records(asset, "2023-02")[0].asset_materialization.tags
        return {name: tag for name, tag in tags.items() if "event_pointer" not in name}

    spanned = toy.run("2023-01:2023-03")
    in_span = {name: versions(name) for name in ASSETS}
    assert in_span["numbers"]["dagster/data_version"] == "2"
    assert in_span["doubled"]["dagster/input_data_version/green/numbers"] == "2"
    numbers, doubled = (toy.records(name, "2023-02")[0] for name in ("numbers", "doubled"))
    pointer = doubled.asset_materialization.tags["dagster/input_event_pointer/green/numbers"]
    assert pointer == str(numbers.storage_id)
    for name in ASSETS:
        assert recorded(toy, name, spanned) == ["2023-01", "2023-02", "2023-03"]
    metadata = toy.records("numbers", "2023-02")[0].asset_materialization.metadata
    assert (metadata["summary"].value, metadata["third"].value) == ("2", 0.667)
    assert [toy.memory.values["totals", f"2023-0{number}"] for number in (1, 2, 3)] == [2, 6, 12]

    assert toy.run("2023-02").success
    assert {name: versions(name) for name in ASSETS} == in_span


@pytest.mark.parametrize(
    ("asset", "error", "told"),
    [
        pytest.param("numbers", BAD, "The month is bad.", id="at the source"),
        pytest.param("doubled", BAD, "The month is bad.", id="on its way"),
        pytest.param(
            "totals", ZeroDivisionError("by none"), "ZeroDivisionError: by none", id="bug"
        ),
    ],
)
def test_a_month_that_fails_costs_what_comes_after_in_it_and_its_old_values_stay(
    toy: Toy, asset: str, error: Exception, told: str
) -> None:
    assert toy.run("2023-02").success
    before = {name: toy.memory.values[name, "2023-02"] for name in ASSETS}
    toy.source["2023-02"] = 7
    toy.fail_at(asset, "2023-02", error)

    failed = toy.run("2023-01:2023-03")

    assert explained(failed) == ["1 of 3 months failed:", f"  {asset} 2023-02: {told}"]
    for name in ASSETS:
        reached = ASSETS.index(name) < ASSETS.index(asset)
        assert toy.statuses(name) == {
            "2023-01": MATERIALIZED,
            "2023-02": MATERIALIZED if reached else FAILED,
            "2023-03": MATERIALIZED,
        }
        assert (toy.memory.values[name, "2023-02"] == before[name]) != reached
        why = {"2023-02": f"{asset} failed: {told}"}
        assert toy.observed(name, failed.run_id) == ({} if reached else why)


def test_an_unexpected_error_is_told_with_its_traceback_and_without_secrets(
    toy: Toy, capfd: pytest.CaptureFixture[str]
) -> None:
    toy.source["2023-01"] = RuntimeError("https://me:hidden@host/file?signature=hidden is odd")
    masked = "RuntimeError: https://***@host/file?*** is odd"
    failed = toy.run("2023-01")
    assert explained(failed) == [f"numbers 2023-01: {masked}"]
    assert toy.observed("numbers", failed.run_id) == {"2023-01": f"numbers failed: {masked}"}
    log = capfd.readouterr().err
    assert "in numbers\n" in log
    assert "hidden" not in log


def test_after_an_outage_the_next_attempt_goes_on_with_the_month_in_hand(toy: Toy) -> None:
    """February is bad; something is away once, at March's second asset."""
    toy.source["2023-02"] = BAD
    toy.fail_at("doubled", "2023-03", AWAY, times=1)
    run = toy.run("2023-01:2023-04")
    assert explained(run) == ["1 of 4 months failed:", "  numbers 2023-02: The month is bad."]
    made = [month[-1] for asset, month in toy.made if asset == "numbers"]
    assert made == ["1", "2", "3", "3", "4"]
    assert [month[-1] for asset, month in toy.made if asset == "totals"] == ["1", "3", "4"]
    for name in ASSETS:
        twice = ["2023-03"] if name == "numbers" else []
        assert recorded(toy, name, run) == ["2023-01", *twice, "2023-03", "2023-04"]
    observed = [event.partition for event in run.all_events if event.is_asset_observation]
    assert observed == ["2023-02-01"] * len(ASSETS)
    current = [state for state in toy.check_states().items() if state[1] == ("SUCCEEDED", True)]
    assert {month for (_, month), _ in current} == {"2023-01", "2023-03", "2023-04"}


@pytest.mark.parametrize(
    ("error", "waits"),
    [
        pytest.param(AWAY, [4, 12], id="may be back soon"),
        pytest.param(StorageError("It is full."), [], id="stays as it is"),
    ],
)
def test_a_service_that_does_not_do_its_part_stops_the_run_which_names_all_that_is_not_made(
    toy: Toy, error: Exception, waits: list[int], capfd: pytest.CaptureFixture[str]
) -> None:
    toy.source["2023-01"] = BAD
    toy.fail_at("doubled", "2023-03", error)
    failed = toy.run("2023-01:2023-05")
    assert explained(failed) == [
        "4 of 5 months failed:",
        "  numbers 2023-01: The month is bad.",
        f"  doubled 2023-03: {error}",
        "  2023-04: not tried",
        "  2023-05: not tried",
    ]
    assert toy.made.count(("numbers", "2023-03")) == 1 + len(waits)
    announced = re.findall(
        r"doubled 2023-03: It is away. Trying again in (\d+) s", capfd.readouterr().err
    )
    assert ([int(seconds) for seconds in announced], toy.slept) == (waits, waits)
    assert toy.statuses("numbers") == {
        "2023-01": FAILED, "2023-02": MATERIALIZED, "2023-03": MATERIALIZED,
        "2023-04": FAILED, "2023-05": FAILED,
    }  # fmt: skip
    assert toy.statuses("totals") == toy.statuses("numbers") | {"2023-03": FAILED}
    away = dict.fromkeys(("2023-03", "2023-04", "2023-05"), f"doubled failed: {error}")
    bad = {"2023-01": "numbers failed: The month is bad."}
    assert toy.observed("totals", failed.run_id) == bad | away
    assert toy.observed("numbers", failed.run_id).keys() == {"2023-01", "2023-04", "2023-05"}


@pytest.mark.parametrize("span", ["", "2023-02:2023-01"])
def test_a_run_without_a_month_ends_with_a_sentence(toy: Toy, span: str) -> None:
    (message,) = explained(toy.run(span))
    assert message.startswith("No month was chosen. Launch it for a partition, such as 2023-03-01")
    assert toy.made == []


def test_dagster_calls_stale_what_depends_on_a_month_that_changed_or_on_other_code(
    toy: Toy,
) -> None:
    assert toy.run("2023-01:2023-02").success
    assert toy.stale() == {}
    toy.source["2023-02"] = 7
    assert toy.run("2023-01:2023-02", "numbers").success
    assert toy.stale() == {("doubled", "2023-02"): ["has a new dependency data version"]}
    assert toy.run("2023-02", "doubled", "totals").success
    assert toy.stale() == {}
    toy.code_version = "2"
    newer = ["has a new code version"]
    assert toy.stale() == {("doubled", "2023-01"): newer, ("doubled", "2023-02"): newer}


def test_nothing_is_made_of_another_source_than_is_stored_and_the_command_that_mends_it_is_told(
    toy: Toy,
) -> None:
    @monthly_asset(io_manager="memory", kinds=set(), code_version="1")
    def halves(context: MonthContext, totals: int) -> dg.MaterializeResult[int]:
        return dg.MaterializeResult(value=totals // 2, metadata={"summary": "half of it"})

    toy.more = [halves]
    assert toy.run("2023-02").success
    toy.source["2023-02"] = 7
    assert toy.run("2023-02", "numbers").success
    (message,) = explained(toy.run("2023-02", "halves"))
    assert message.startswith(
        "halves 2023-02: Made from another source file than is stored now: totals. Make them again"
    )
    assert "--select '+key:\"green/halves\"' --partition 2023-02-01" in message
    assert toy.memory.values["halves", "2023-02"] == 2
    assert toy.run("2023-02", *ASSETS, "halves").success
    assert toy.memory.values["halves", "2023-02"] == 7


@pytest.mark.parametrize(
    ("selection", "loaded"),
    [
        pytest.param(ASSETS, (), id="all"),
        pytest.param(("doubled",), ("numbers",), id="one"),
        pytest.param(("doubled", "totals"), ("numbers",), id="all but the source"),
        pytest.param(("numbers", "totals"), ("doubled",), id="a gap"),
    ],
)
def test_any_selection_loads_what_is_not_selected_once_a_month(
    toy: Toy, selection: Sequence[str], loaded: Sequence[str]
) -> None:
    assert toy.run("2023-01:2023-02").success
    before = dict(toy.memory.values)
    toy.memory.loaded.clear()
    run = toy.run("2023-01:2023-02", *selection)
    made = ["2023-01", "2023-02"]
    for name in ASSETS:
        assert recorded(toy, name, run) == (made if name in selection else [])
    assert toy.memory.loaded == {(name, month): 1 for name in loaded for month in made}
    assert toy.memory.values == before


def test_a_value_is_in_memory_no_longer_than_its_month_needs_it(toy: Toy) -> None:
    left: list[tuple[str, int]] = []
    toy.before = lambda asset, _: left.append((asset, len(toy.in_memory)))
    assert toy.run("2023-01:2023-02").success
    assert left == [("numbers", 0), ("doubled", 1), ("totals", 0)] * 2


def test_progress_is_reported_and_a_failure_is_told_once(
    toy: Toy, capfd: pytest.CaptureFixture[str]
) -> None:
    toy.source["2023-02"] = BAD
    toy.run("2023-01:2023-03")
    toy.run("2023-01")
    log = capfd.readouterr().err
    lines = re.findall(
        r"(2023-0\d (?:done|failed)) (?:in \d+\.\d s|at (\w+))( \(.*\))?$", log, re.M
    )
    assert lines == [
        ("2023-01 done", "", " (1 of 3)"),
        ("2023-02 failed", "numbers", " (2 of 3)"),
        ("2023-03 done", "", " (3 of 3)"),
        ("2023-01 done", "", ""),
    ]
    assert log.count("The month is bad.") == 1


def test_any_io_manager_can_keep_months_which_a_users_own_asset_takes_in_the_same_run(
    toy: Toy, tmp_path: Path
) -> None:
    taken = []

    @dg.asset(
        partitions_def=monthly_partitions(GREEN),
        backfill_policy=dg.BackfillPolicy.single_run(),
        ins={"doubled": dg.AssetIn(key("doubled"), input_manager_key="memory")},
    )
    def users_own(doubled) -> None:
        taken.append(doubled)

    toy.others = [users_own]
    toy.resources = {"memory": dg.FilesystemIOManager(base_dir=str(tmp_path))}
    job = toy.definitions.resolve_implicit_global_asset_job_def()
    selected = [key("numbers"), key("doubled"), users_own.key]
    for first, last in (("2023-01-01", "2023-01-01"), ("2023-01-01", "2023-02-01")):
        span = {
            "dagster/asset_partition_range_start": first,
            "dagster/asset_partition_range_end": last,
        }
        assert job.execute_in_process(
            tags=span, instance=toy.instance, asset_selection=selected
        ).success
    assert taken == [2, {"2023-01-01": 2, "2023-02-01": 4}]
    toy.source["2023-02"] = BAD
    failed = job.execute_in_process(
        tags=span, instance=toy.instance, asset_selection=selected, raise_on_error=False
    )
    assert [event.step_key for event in failed.get_step_failure_events()] == ["green_months"]
    assert len(taken) == 2


def test_what_checks_find_is_recorded_for_the_month_and_warned_of_in_the_runs_log(
    toy: Toy,
) -> None:
    toy.source["2023-02"] = 1_234_567
    run = toy.run("2023-01:2023-02")
    results = {(check.partition, check.check_name): check for check in toy.judged(run.run_id)}
    assert {month: check.passed for month, check in results.items()} == {
        ("2023-01-01", "is_positive"): True,
        ("2023-01-01", "is_small"): True,
        ("2023-02-01", "is_positive"): True,
        ("2023-02-01", "is_small"): False,
    }
    is_small = results["2023-02-01", "is_small"]
    assert is_small.severity == dg.AssetCheckSeverity.WARN
    assert is_small.metadata["thousands"].value == 1234.567
    assert set(toy.check_states().values()) == {("SUCCEEDED", True), ("FAILED", True)}
    log = toy.instance.all_logs(run.run_id)
    warnings = [entry.user_message for entry in log if entry.level == logging.WARNING]
    assert warnings == ["numbers 2023-02: the number is 1234567"]


def test_of_selected_checks_each_judges(toy: Toy) -> None:
    run = toy.run("2023-01", "numbers", checks=["is_small"])
    assert [check.check_name for check in toy.judged(run.run_id)] == ["is_small"]


def test_checks_alone_end_with_a_sentence_and_change_nothing(toy: Toy) -> None:
    toy.source["2023-02"] = 1_234
    assert toy.run("2023-01:2023-03").success
    before = toy.check_states()
    (message,) = explained(toy.run("2023-01:2023-02", checks=["is_small"]))
    assert "A check judges a month when its asset is made" in message
    assert toy.check_states() == before
    assert toy.made == []


def test_what_a_check_found_of_an_older_record_counts_no_more(toy: Toy) -> None:
    """Somebody has recorded the month again since, without its checks."""
    assert toy.run("2023-01").success

    def passed(month: Month) -> bool | None:
        records = Records(SimpleNamespace(instance=toy.instance), key("numbers"))
        return records.passed(dg.AssetCheckKey(key("numbers"), "is_small"), month)

    assert passed(Month(2023, 1)) is True
    assert passed(Month(2023, 2)) is None
    again = dg.AssetMaterialization(key("numbers"), partition="2023-01-01")
    toy.instance.report_runless_asset_event(again)
    assert passed(Month(2023, 1)) is None
