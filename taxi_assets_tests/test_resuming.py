"""A run that is resumed takes over whole months, and keeps nothing that is not so any more."""

import dagster as dg
import pytest

from taxi_assets.errors import MonthError
from taxi_assets.runs.event_log import Records
from taxi_assets_tests.toy import ASSETS, Toy, resume

BAD = MonthError("The month is bad.")


def test_a_resumed_run_takes_over_whole_months_and_records_them_once_more(toy: Toy) -> None:
    toy.source["2023-02"] = BAD
    failed = toy.run("2023-01:2023-02")
    before = {name: toy.records(name, "2023-01")[0].asset_materialization for name in ASSETS}
    toy.source["2023-02"] = 2
    resumed = toy.run("2023-01:2023-02", **resume(failed))
    assert resumed.success
    assert toy.made == [(name, "2023-02") for name in ASSETS]
    for name in ASSETS:
        again, first = toy.records(name, "2023-01")
        made = again.asset_materialization
        assert (again.run_id, first.run_id) == (resumed.run_id, failed.run_id)
        assert made.metadata["made_in_run"].value == failed.run_id
        assert made.tags == before[name].tags
        rest = {key: value for key, value in made.metadata.items() if key != "made_in_run"}
        assert rest == dict(before[name].metadata)
        assert len(toy.records(name, "2023-02")) == 1
    assert toy.memory.values["totals", "2023-02"] == 6


def test_any_other_run_makes_all(toy: Toy) -> None:
    first = toy.run("2023-01:2023-02")
    tags = {"dagster/root_run_id": first.run_id, "dagster/parent_run_id": first.run_id}
    assert toy.run("2023-01:2023-02", **tags).success
    assert len(toy.made) == 6


def test_what_looks_back_is_made_again_after_a_month_that_was_made_again(toy: Toy) -> None:
    toy.source["2023-01"] = BAD
    failed = toy.run("2023-01:2023-03")
    assert toy.memory.values["totals", "2023-03"] == 10
    toy.source["2023-01"] = 1
    assert toy.run("2023-01:2023-03", **resume(failed)).success
    assert toy.memory.values["totals", "2023-03"] == 12
    toy.source["2023-01"] = BAD
    failed = toy.run("2023-01:2023-03", "numbers", "doubled")
    toy.source["2023-01"] = 1
    assert toy.run("2023-01:2023-03", "numbers", "doubled", **resume(failed)).success
    assert toy.made == [("numbers", "2023-01"), ("doubled", "2023-01")]


def test_what_another_resumed_run_has_made_again_counts_too(toy: Toy) -> None:
    """It died after the first month, so that the second is still of the run before."""
    toy.source["2023-01"] = BAD
    failed = toy.run("2023-01:2023-02")
    toy.source["2023-01"] = 1
    toy.fail_at("numbers", "2023-02", KeyboardInterrupt(), times=1)
    toy.run("2023-01:2023-02", **resume(failed))
    assert toy.run("2023-01:2023-02", **resume(failed)).success
    assert toy.memory.values["totals", "2023-02"] == 6


def test_in_a_new_history_what_is_not_on_record_is_no_other_source(toy: Toy) -> None:
    assert toy.run("2023-01").success
    with dg.DagsterInstance.ephemeral() as toy.instance:
        for asset in ("doubled", "numbers", "totals"):
            assert toy.run("2023-01", asset).success


def test_a_month_that_was_left_half_is_made_again_from_its_first_asset(toy: Toy) -> None:
    toy.fail_at("totals", "2023-02", BAD, times=1)
    failed = toy.run("2023-01:2023-02")
    assert toy.run("2023-01:2023-02", **resume(failed)).success
    assert toy.made == [(name, "2023-02") for name in ASSETS]


def test_what_any_run_of_the_group_has_made_is_taken_over(toy: Toy) -> None:
    toy.source |= {"2023-02": BAD, "2023-03": BAD}
    first = toy.run("2023-01:2023-03", "numbers")
    toy.source["2023-02"] = 2
    second = toy.run("2023-01:2023-03", "numbers", **resume(first))
    toy.source["2023-03"] = 3
    assert toy.run("2023-01:2023-03", "numbers", **resume(first)).success
    records = [toy.records("numbers", f"2023-0{number}")[0] for number in (1, 2, 3)]
    made_in = [record.asset_materialization.metadata.get("made_in_run") for record in records]
    assert [run and run.value for run in made_in] == [first.run_id, second.run_id, None]


@pytest.mark.parametrize("what", ["source", "another run", "code", "checks"])
def test_a_month_is_made_again_if_it_is_not_as_it_would_be_now(
    toy: Toy, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The source was made again; another run has made it; by other code; without its checks."""
    toy.source["2023-02"] = BAD
    with monkeypatch.context() as patch:
        if what == "checks":
            assert toy.run("2023-01").success
            patch.setattr(Records, "_judge", lambda *_: iter(()))
        failed = toy.run("2023-01:2023-02")
    if what == "source":
        toy.source["2023-01"] = 7
        assert toy.run("2023-01", "numbers").success
    elif what == "another run":
        assert toy.run("2023-01", "totals").success
    elif what == "code":
        toy.code_version = "2"
    toy.source["2023-02"] = 2
    assert toy.run("2023-01:2023-02", **resume(failed)).success
    assert [month for _, month in toy.made] == ["2023-01"] * 3 + ["2023-02"] * 3


def test_of_a_run_without_the_source_a_month_is_made_again_if_the_source_was(toy: Toy) -> None:
    assert toy.run("2023-01:2023-02").success
    toy.fail_at("totals", "2023-02", BAD, times=1)
    failed = toy.run("2023-01:2023-02", "doubled", "totals")
    toy.source["2023-01"] = 7
    assert toy.run("2023-01", "numbers").success
    assert toy.run("2023-01:2023-02", "doubled", "totals", **resume(failed)).success
    assert toy.memory.values["totals", "2023-02"] == 18
