"""Checks: which bad month makes which check speak, and how Dagster learns of it."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction import DictVectorizer

from taxi_assets.checks import data, drift, model
from taxi_assets.checks.month_checks import MonthCheck
from taxi_assets.durations.columns import Unreadable
from taxi_assets.runs.monthly_asset import MonthContext
from taxi_assets.settings import Settings
from taxi_assets.tlc.fleets import FLEETS
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.parquet import open_parquet
from taxi_assets.tlc.raw_summary import RawSummary, summarize
from taxi_assets.tlc.synthetic import write_month
from taxi_assets_tests.conftest import LINEAR, changed

Materialize = Callable[..., dg.ExecuteInProcessResult]
GREEN = FLEETS["green"]
JANUARY, FEBRUARY, MARCH = (Month(2023, number) for number in (1, 2, 3))
CHECKS = [
    check
    for module in (data, model, drift)
    for check in vars(module).values()
    if isinstance(check, MonthCheck)
]


def metric(result: dg.AssetCheckResult, name: str) -> object:
    return result.metadata[name].value


@pytest.mark.parametrize(
    ("trips", "passed"),
    [
        pytest.param(100_000, True, id="as many"),
        pytest.param(50_000, False, id="half of the rows are missing"),
        pytest.param(200_000, False, id="every row twice"),
        (70_000, True), (69_999, False), (140_000, True), (140_001, False),
    ],
)  # fmt: skip
def test_trips_are_compared_with_the_neighbours(trips: int, passed: bool) -> None:
    checked = data.number_of_trips(trips, {JANUARY: 90_000, MARCH: 110_000})
    assert checked.passed == passed
    assert metric(checked, "share_of_neighbours") == trips / 100_000
    assert "2023-01 and 2023-03" in str(checked.description)


def test_a_month_without_neighbours_has_nothing_to_be_compared_with() -> None:
    assert data.number_of_trips(7, {}).passed


@pytest.mark.parametrize(
    ("check", "summary", "passed", "finding"),
    [
        (data.trips_without_zone, RawSummary(100_000, 1000, 90_000, 7, None, ()), True,
         "1,000 of 100,000 trips have no zone; up to 1% are usual"),
        (data.trips_without_zone, RawSummary(100_000, 1001, 90_000, 7, None, ()), False,
         "1,001 of 100,000 trips have no zone; up to 1% are usual"),
        (data.pickups_in_month, RawSummary(120_000, 7, 100_000, 1000, None, ()), True,
         "1,000 of 100,000 trips were picked up in another month; up to 1% are usual"),
        (data.pickups_in_month, RawSummary(120_000, 7, 100_000, 1001, None, ()), False,
         "1,001 of 100,000 trips were picked up in another month; up to 1% are usual"),
    ],
)  # fmt: skip
def test_shares_are_judged_by_their_thresholds(
    check: MonthCheck, summary: RawSummary, passed: bool, finding: str
) -> None:
    checked = check(summary)
    assert (checked.passed, checked.description) == (passed, finding)
    assert metric(checked, "share") == int(finding[:5].replace(",", "")) / 1e5


@pytest.mark.parametrize(("kept", "passed"), [(90_000, True), (89_999, False)])
def test_the_share_kept_is_judged(kept: int, passed: bool) -> None:
    checked = data.share_kept(kept, 100_000)
    assert checked.passed == passed
    assert metric(checked, "share_kept") == kept / 100_000


@pytest.mark.parametrize(
    ("middle", "long", "passed"),
    [
        (6.0, 20.0, True), (5.99, 20.0, False), (6.0, 19.99, False),
        (20.0, 45.0, True), (20.01, 45.0, False), (20.0, 45.01, False),
    ],
)  # fmt: skip
def test_the_middle_trip_and_the_long_ones_have_their_usual_spans(
    middle: float, long: float, passed: bool
) -> None:
    judged = data.usual_durations(pd.Series([middle] * 60 + [long] * 40))
    assert judged.passed == passed
    assert judged.description == (
        f"The median is {middle:.1f} minutes, 6 to 20 are usual; "
        f"the 95 % quantile is {long:.1f}, 20 to 45 are usual"
    )


def test_a_long_trip_is_one_of_five_in_a_hundred() -> None:
    """Of 101 trips the 96th in order is the quantile of 0.95."""
    checked = data.usual_durations(pd.Series([*[10.0] * 95, 33.0, *[60.0] * 5]))
    assert metric(checked, "median_minutes") == 10
    assert metric(checked, "quantile_95_minutes") == 33


@pytest.mark.parametrize(
    ("zones", "unknown"), [(("1", "265"), []), (("1", "266", "0", "-1"), ["-1", "0", "266"])]
)
def test_zones_that_tlc_does_not_know_are_named(zones: tuple[str, ...], unknown: list[str]) -> None:
    fitted = DictVectorizer().fit([{"PULocationID": zone, "DOLocationID": "1"} for zone in zones])
    checked = model.known_zones(fitted)
    assert (checked.passed, metric(checked, "unknown_zones")) == (not unknown, unknown)
    assert checked.description == f"{len(unknown)} of {len(zones)} zones are unknown to TLC"


@pytest.mark.parametrize(("busy", "passed"), [(8_910, True), (8_909, False)])
def test_zones_of_few_trips_are_listed_and_weighed(busy: int, passed: bool) -> None:
    pairs = pd.DataFrame(
        {
            "split": ["train"] * 12 + ["validation"],
            "PULocationID": pd.Categorical(["132", "10", *map(str, range(11, 21)), "5"]),
            "DOLocationID": pd.Categorical(["132"] * 12 + ["5"]),
            "trips": [busy - 10, 10, *[9] * 10, 1],
        }
    )
    checked = model.thin_zones(pairs)
    assert checked.passed == passed
    assert metric(checked, "PULocationID") == [str(zone) for zone in range(11, 21)]
    assert metric(checked, "DOLocationID") == []
    assert metric(checked, "share_of_trips") == 90 / (busy + 90)
    assert str(checked.description).startswith("10 coefficients rest on fewer than 10 trips")


@pytest.mark.parametrize(
    ("judge", "values", "passed", "finding"),
    [
        (model.better_than_mean, [{"rmse": 8.9999, "baseline_rmse": 10.0}], True,
         "RMSE 9.00 minutes is 10.0% below that of the mean, 10.00; at least 10% are usual"),
        (model.better_than_mean, [{"rmse": 9.0001, "baseline_rmse": 10.0}], False, ""),
        (model.better_than_mean, [{"rmse": 0.0, "baseline_rmse": 0.0}], False, ""),
        (model.rmse_of_earlier_months, [8.0499, {JANUARY: 1.0, FEBRUARY: 7.0, MARCH: 70.0}], True,
         "RMSE 8.05 minutes; the median of 3 earlier months is 7.00, up to 1.15 times that is "
         "usual"),
        (model.rmse_of_earlier_months, [8.0501, {JANUARY: 1.0, FEBRUARY: 7.0, MARCH: 70.0}], False,
         ""),
        (model.rmse_of_earlier_months, [8.0, {}], True,
         "RMSE 8.00 minutes; no earlier month is stored to compare with"),
        (model.boosted_better_than_linear, [{"linear": {"rmse": 10.0}, "boosted": {"rmse": 8.5}}],
         True, "RMSE 8.500 minutes is 15.0% below the linear model's 10.000; at least 15% are "
         "usual"),
        (model.boosted_better_than_linear,
         [{"linear": {"rmse": 10.0}, "boosted": {"rmse": 8.5001}}], False, ""),
        (model.boosted_better_than_linear,
         [{"linear": {"rmse": 0.0}, "boosted": {"rmse": 0.0}}], False, ""),
        (model.boosted_better_than_linear, [{"linear": {"rmse": 10.0}}], True,
         "There is no earlier model to score"),
        (model.interval_coverage, [{"boosted": {"interval_coverage": 0.7499}}], False, ""),
        (model.interval_coverage, [{"boosted": {"interval_coverage": 0.75}}], True,
         "75.0% of the trips lie within their interval; 75% to 85% are usual"),
        (model.interval_coverage, [{"boosted": {"interval_coverage": 0.85}}], True, ""),
        (model.interval_coverage, [{"boosted": {"interval_coverage": 0.8501}}], False, ""),
        (model.interval_coverage, [{}], True, "There is no earlier model to score"),
        (model.window_complete, [["2023-02", "2023-03"], []], True, "Trained on 2023-02, 2023-03"),
        (model.window_complete, [["2023-02", "2023-03"], [JANUARY]], False,
         "Trained on 2023-02, 2023-03; not stored: 2023-01"),
    ],
)  # fmt: skip
def test_models_are_judged_by_their_thresholds(
    judge: MonthCheck, values: list[Any], passed: bool, finding: str
) -> None:
    checked = judge(*values)
    assert checked.passed == passed
    assert str(checked.description).startswith(finding)


def test_each_check_says_what_to_do() -> None:
    for check in CHECKS:
        description = check.spec(dg.AssetKey("x"), dg.StaticPartitionsDefinition(["y"])).description
        assert description is not None
        assert "\nIf not: " in description


def test_what_was_not_judged_is_reported_and_only_what_failed_has_failed() -> None:
    results = {"trips_without_zone": True, "share_kept": False, "usual_durations": True}
    reported: list[str] = []
    context = MonthContext(
        GREEN, MARCH, "backtest", "1",
        dagster=SimpleNamespace(log=SimpleNamespace(info=reported.append)),  # type: ignore[arg-type]
        load=lambda _asset, _month: None,
        judged=lambda _asset, check: results.get(check),
    )  # fmt: skip
    assert context.failed_checks(data.CORRECTNESS) == ["share_kept"]
    assert reported == [
        "backtest 2023-03: no result of pickups_in_month, readable_values is on record for this "
        "month"
    ]


def summary_of(folder: Path, **columns: object) -> RawSummary:
    pd.DataFrame(columns).to_parquet(folder / "month.parquet")
    return summarize(open_parquet(folder / "month.parquet"), GREEN, JANUARY)


def test_what_a_file_has_no_column_for_is_a_warning(tmp_path: Path) -> None:
    summary = summary_of(tmp_path, fare_amount=[1.0, 2.0])
    assert (summary.trips, summary.null_zones, summary.timed, summary.outside_month) == (2, 2, 0, 0)
    assert not data.trips_without_zone(summary).passed
    judged = data.pickups_in_month(summary)
    assert (judged.passed, judged.description) == (
        False,
        "Not judged: no pick-up time can be read; missing columns: lpep_pickup_datetime, "
        "lpep_dropoff_datetime, PULocationID, DOLocationID",
    )


def test_times_that_cannot_be_read_are_in_no_other_month(tmp_path: Path) -> None:
    text = ["01/02/2023 0:30", "01/03/2023 0:45"]
    zones = {"PULocationID": [1, 2], "DOLocationID": [None, 3]}
    times = dict.fromkeys(("lpep_pickup_datetime", "lpep_dropoff_datetime"), text)
    summary = summary_of(tmp_path, **times, **zones)
    assert (summary.null_zones, summary.timed, summary.outside_month) == (1, 0, 0)
    judged = data.pickups_in_month(summary)
    assert (judged.passed, judged.description) == (
        False,
        "Not judged: no pick-up time can be read; the first is '01/02/2023 0:30'",
    )


def test_a_month_begins_and_ends_at_midnight(tmp_path: Path) -> None:
    moments = ["2022-12-31 23:59:59.999999", "2023-01-01", "2023-01-31 23:59:59.999999"]
    times = dict.fromkeys(
        ("lpep_pickup_datetime", "lpep_dropoff_datetime"),
        pd.to_datetime([*moments, "2023-02-01"], format="ISO8601"),
    )
    summary = summary_of(tmp_path, **times, PULocationID=[1] * 4, DOLocationID=[1] * 4)
    assert (summary.timed, summary.outside_month) == (4, 2)


def test_trips_without_a_zone_are_counted_as_trips(tmp_path: Path) -> None:
    """Not the column that has more of them: cleaning leaves out trips that lack either."""
    summary = summary_of(
        tmp_path,
        lpep_pickup_datetime=pd.to_datetime(["2023-01-05"] * 4),
        lpep_dropoff_datetime=pd.to_datetime(["2023-01-05"] * 4),
        PULocationID=[1.0, None, 3.0, 4.5],
        DOLocationID=[None, 2.0, 3.0, 4.0],
    )
    assert (summary.null_zones, summary.timed, summary.outside_month) == (3, 4, 0)


@pytest.mark.parametrize(("unreadable", "passed"), [(0, True), (1000, True), (1001, False)])
def test_values_that_cannot_be_read_are_judged_by_column(unreadable: int, passed: bool) -> None:
    unreadable_values = Unreadable(
        Counter({"PULocationID": unreadable, "DOLocationID": 0}),
        Counter({"PULocationID": 100_000 - unreadable, "DOLocationID": 900_000}),
        {"PULocationID": "'JFK'"} if unreadable else {},
    )
    judged = data.readable_values(unreadable_values)
    assert judged.passed == passed
    assert metric(judged, "unreadable_values") == unreadable
    assert ("the first is 'JFK'" in str(judged.description)) == bool(unreadable)


def half_with_other_zones(trips: pd.DataFrame) -> pd.DataFrame:
    """Half of the rows; zones are those of other trips."""
    random = np.random.default_rng(1)
    zones = {name: random.permutation(trips[name].to_numpy()) for name in model.ZONES}
    return trips.assign(**zones).iloc[: len(trips) // 2]


def another_month_in_seconds(trips: pd.DataFrame) -> pd.DataFrame:
    """The trips of the month before; as many seconds long as they took minutes."""
    pickups = trips[GREEN.pickup_time] - pd.DateOffset(months=1)
    dropoffs = pickups + (trips[GREEN.dropoff_time] - trips[GREEN.pickup_time]) / 60
    return trips.assign(**{GREEN.pickup_time: pickups, GREEN.dropoff_time: dropoffs})


@pytest.mark.parametrize(
    ("damage", "assets", "speaking", "silent"),
    [
        (half_with_other_zones, (),
         {"number_of_trips", "better_than_mean", "rmse_of_earlier_months", "interval_coverage"},
         {"pickups_in_month", "readable_values", "share_kept", "usual_durations"}),
        (another_month_in_seconds, LINEAR,
         {"pickups_in_month", "share_kept", "usual_durations"},
         {"number_of_trips", "trips_without_zone", "readable_values", "rmse_of_earlier_months"}),
    ],
)  # fmt: skip
def test_the_right_checks_speak_of_a_bad_month(
    settings: Settings,
    tmp_path: Path,
    materialize: Materialize,
    damage: Callable[[pd.DataFrame], pd.DataFrame],
    assets: tuple[str, ...],
    speaking: set[str],
    silent: set[str],
) -> None:
    """Of months of 20,000 trips."""
    for month in (JANUARY, FEBRUARY):
        write_month(tmp_path / GREEN.file_name(month), GREEN, month, 20_000)
    damaged = tmp_path / GREEN.file_name(FEBRUARY)
    damage(pd.read_parquet(damaged)).to_parquet(damaged)
    source = changed(settings, trip_source=str(tmp_path))
    result = materialize("2023-01:2023-02", *assets, settings=source)
    assert result.success, "checks warn, and never fail a run"
    spoke = {
        event.event_specific_data.check_name
        for event in result.all_events
        if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION
        and event.event_specific_data.partition == FEBRUARY.partition_key
        and not event.event_specific_data.passed
    }
    assert speaking <= spoke
    assert silent.isdisjoint(spoke)
