"""Checks: which bad month makes which check speak, and how Dagster learns of it."""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from taxi_assets.checks import data, drift, model
from taxi_assets.checks.month_checks import MonthCheck
from taxi_assets.durations.columns import Unreadable
from taxi_assets.settings import Settings
from taxi_assets.tlc.fleets import FLEETS
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.parquet import open_parquet
from taxi_assets.tlc.raw_summary import Survey, survey_trips
from taxi_assets.tlc.synthetic import write_month
from taxi_assets_tests.conftest import LINEAR, changed

Materialize = Callable[..., dg.ExecuteInProcessResult]
GREEN = FLEETS["green"]
JANUARY, FEBRUARY, MARCH = (Month(2023, number) for number in (1, 2, 3))
CHECKS = [
    *(data.number_of_trips, data.trips_without_zone, data.pickups_in_month),
    *(
        data.readable_values,
        data.share_kept,
        data.usual_durations,
        model.known_zones,
        model.finite_coefficients,
    ),
    *(model.thin_zones, model.better_than_mean, model.rmse_of_earlier_months),
    *(model.window_complete, model.boosted_better_than_linear, model.interval_coverage),
    *(drift.drift_from_month_before, drift.drift_from_year_before, model.model_decays),
]


def passes(result: dg.AssetCheckResult) -> bool:
    return result.passed


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
    assert passes(checked) == passed
    assert metric(checked, "share_of_neighbours") == trips / 100_000
    assert "2023-01 and 2023-03" in str(checked.description)


def test_a_month_without_neighbours_has_nothing_to_be_compared_with() -> None:
    assert passes(data.number_of_trips(7, {}))


@pytest.mark.parametrize(
    ("check", "survey", "passed"),
    [
        (data.trips_without_zone, Survey(100_000, 1000, 90_000, 0, None, ()), True),
        (data.trips_without_zone, Survey(100_000, 1001, 90_000, 0, None, ()), False),
        (data.pickups_in_month, Survey(120_000, 0, 100_000, 1000, None, ()), True),
        (data.pickups_in_month, Survey(120_000, 0, 100_000, 1001, None, ()), False),
    ],
)
def test_shares_are_judged_by_their_thresholds(
    check: MonthCheck, survey: Survey, passed: bool
) -> None:
    checked = check(survey)
    assert passes(checked) == passed
    assert metric(checked, "share") == max(survey.null_zones, survey.outside_month) / 1e5


@pytest.mark.parametrize(("kept", "passed"), [(90_000, True), (89_999, False)])
def test_the_share_kept_is_judged(kept: int, passed: bool) -> None:
    checked = data.share_kept(kept, 100_000)
    assert passes(checked) == passed
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
    assert passes(judged) == passed
    assert judged.description == (
        f"The median is {middle:.1f} minutes, usual are 6 to 20; "
        f"95 of 100 trips last up to {long:.1f}, usual are 20 to 45"
    )


def test_a_long_trip_is_one_of_five_in_a_hundred() -> None:
    """Of 101 trips the 96th in order is the quantile of 0.95."""
    checked = data.usual_durations(pd.Series([*[10.0] * 95, 33.0, *[60.0] * 5]))
    assert metric(checked, "median_minutes") == 10
    assert metric(checked, "quantile_95_minutes") == 33


class Fitted:
    """What the checks look at of a fitted estimator."""

    feature_names_ = ("PULocationID=1", "DOLocationID=265")
    coef_ = np.array([1.0, -2.0])
    intercept_ = 20.0


def test_zones_that_tlc_does_not_know_are_named() -> None:
    strange = Fitted()
    strange.feature_names_ = (*Fitted.feature_names_, "PULocationID=266", "DOLocationID=-1")
    assert passes(model.known_zones(Fitted()))
    assert not passes(model.known_zones(strange))
    assert str(model.known_zones(strange).description).endswith(": -1, 266")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_coefficients_that_are_not_finite_are_counted(bad: float) -> None:
    broken = Fitted()
    broken.coef_ = np.array([1.0, bad])
    assert passes(model.finite_coefficients(Fitted()))
    assert not passes(model.finite_coefficients(broken))
    assert metric(model.finite_coefficients(broken), "infinite_coefficients") == 1
    described = model.finite_coefficients(broken).description
    assert described == "1 of 3 coefficients are not finite"


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
    assert passes(checked) == passed
    assert metric(checked, "zone_ids") == [str(zone) for zone in range(11, 21)]
    assert metric(checked, "thin_zones") == 10
    assert metric(checked, "share_of_trips") == 90 / (busy + 90)


@pytest.mark.parametrize(("rmse", "passed"), [(8.9999, True), (9.0001, False)])
def test_a_model_must_beat_the_mean(rmse: float, passed: bool) -> None:
    assert passes(model.better_than_mean({"rmse": rmse, "baseline_rmse": 10.0})) == passed


def test_on_a_figure_without_error_nothing_is_gained() -> None:
    mean = model.better_than_mean({"rmse": 0.0, "baseline_rmse": 0.0})
    assert (passes(mean), metric(mean, "gain")) == (False, 0)
    none = {"rmse": 0.0}
    linear = model.boosted_better_than_linear({"linear": none, "boosted": none})
    assert (passes(linear), metric(linear, "gain")) == (False, 0)


@pytest.mark.parametrize(("rmse", "passed"), [(8.0499, True), (8.0501, False)])
def test_an_rmse_is_compared_with_the_median_of_the_months_before(
    rmse: float, passed: bool
) -> None:
    earlier = {JANUARY: 1.0, FEBRUARY: 7.0, MARCH: 70.0}
    assert passes(model.rmse_of_earlier_months(rmse, earlier)) == passed
    assert passes(model.rmse_of_earlier_months(rmse, {}))


@pytest.mark.parametrize(("boosted", "passed"), [(8.5, True), (8.5001, False), (None, True)])
def test_the_boosted_model_must_beat_the_linear_one(boosted: float | None, passed: bool) -> None:
    """Where there is none of both to compare there is nothing to warn of."""
    models = {"linear": {"rmse": 10.0}} | ({"boosted": {"rmse": boosted}} if boosted else {})
    judged = model.boosted_better_than_linear(models)
    assert passes(judged) == passed
    assert (judged.description == "There is no earlier model to score") == (boosted is None)


@pytest.mark.parametrize(
    ("coverage", "passed"), [(0.7499, False), (0.75, True), (0.85, True), (0.8501, False)]
)
def test_intervals_must_hold_eight_of_ten(coverage: float, passed: bool) -> None:
    judged = model.interval_coverage({"boosted": {"interval_coverage": coverage}})
    assert passes(judged) == passed
    assert metric(judged, "interval_coverage") == coverage
    assert passes(model.interval_coverage({}))


@pytest.mark.parametrize(
    ("missing", "alone", "passed"), [([], False, True), ([JANUARY], False, False), ([], True, True)]
)
def test_a_window_with_gaps_is_named(missing: list[Month], alone: bool, passed: bool) -> None:
    judged = model.window_complete(["2023-02", "2023-03"], missing, alone=alone)
    assert passes(judged) == passed
    assert metric(judged, "missing_months") == len(missing)
    if missing:
        assert judged.description == "Trained on 2023-02, 2023-03; not stored: 2023-01"


def test_each_check_says_what_to_do() -> None:
    for check in CHECKS:
        description = check.spec(dg.AssetKey("x"), dg.StaticPartitionsDefinition(["y"])).description
        assert description is not None
        assert re.search(r"\bIf (not|it is|many do|many trips do): ", description)


def survey_of(folder: Path, **columns: object) -> Survey:
    pd.DataFrame(columns).to_parquet(folder / "month.parquet")
    return survey_trips(open_parquet(folder / "month.parquet"), GREEN, JANUARY)


def test_what_a_file_has_no_column_for_is_not_judged(tmp_path: Path) -> None:
    survey = survey_of(tmp_path, fare_amount=[1.0, 2.0])
    assert (survey.trips, survey.null_zones, survey.timed, survey.outside_month) == (2, 2, 0, 0)
    for check, columns in (
        (data.trips_without_zone, "PULocationID or DOLocationID"),
        (data.pickups_in_month, "lpep_pickup_datetime or lpep_dropoff_datetime"),
    ):
        judged = check(survey)
        assert not passes(judged)
        assert judged.description == f"Not judged: the file has no column {columns}"


def test_times_that_cannot_be_read_are_in_no_other_month(tmp_path: Path) -> None:
    text = ["01/02/2023 0:30", "01/03/2023 0:45"]
    zones = {"PULocationID": [1, 2], "DOLocationID": [None, 3]}
    times = dict.fromkeys(("lpep_pickup_datetime", "lpep_dropoff_datetime"), text)
    survey = survey_of(tmp_path, **times, **zones)
    assert (survey.null_zones, survey.timed, survey.outside_month) == (1, 0, 0)
    judged = data.pickups_in_month(survey)
    assert not passes(judged)
    assert judged.description == (
        "Not judged: no pick-up time can be read; the first is '01/02/2023 0:30'"
    )


def test_a_month_begins_and_ends_at_midnight(tmp_path: Path) -> None:
    moments = ["2022-12-31 23:59:59.999999", "2023-01-01", "2023-01-31 23:59:59.999999"]
    times = dict.fromkeys(
        ("lpep_pickup_datetime", "lpep_dropoff_datetime"),
        pd.to_datetime([*moments, "2023-02-01"], format="ISO8601"),
    )
    survey = survey_of(tmp_path, **times, PULocationID=[1] * 4, DOLocationID=[1] * 4)
    assert (survey.timed, survey.outside_month) == (4, 2)


def test_trips_without_a_zone_are_counted_as_trips(tmp_path: Path) -> None:
    """Not the column that has more of them: cleaning leaves out trips that lack either."""
    survey = survey_of(
        tmp_path,
        lpep_pickup_datetime=pd.to_datetime(["2023-01-05"] * 4),
        lpep_dropoff_datetime=pd.to_datetime(["2023-01-05"] * 4),
        PULocationID=[1.0, None, 3.0, 4.5],
        DOLocationID=[None, 2.0, 3.0, 4.0],
    )
    assert (survey.null_zones, survey.timed, survey.outside_month) == (3, 4, 0)


@pytest.mark.parametrize(("unreadable", "passed"), [(0, True), (1000, True), (1001, False)])
def test_values_that_cannot_be_read_are_judged_by_column(unreadable: int, passed: bool) -> None:
    found = Unreadable(
        Counter({"PULocationID": unreadable, "DOLocationID": 0}),
        Counter({"PULocationID": 100_000 - unreadable, "DOLocationID": 900_000}),
        {"PULocationID": "'JFK'"} if unreadable else {},
    )
    judged = data.readable_values(found)
    assert passes(judged) == passed
    assert metric(judged, "unreadable_values") == unreadable
    assert ("the first is 'JFK'" in str(judged.description)) == bool(unreadable)


@pytest.fixture
def own_source(settings: Settings, tmp_path: Path) -> Settings:
    """Two months of 20,000 trips, which are enough to pass every check."""
    folder = tmp_path / "source"
    folder.mkdir()
    for month in (JANUARY, FEBRUARY):
        write_month(folder / GREEN.file_name(month), GREEN, month, 20_000)
    return changed(settings, trip_source=str(folder))


def rewrite(settings: Settings, month: Month, change: Callable[[pd.DataFrame], object]) -> None:
    path = Path(settings.trip_source) / GREEN.file_name(month)
    frame = pd.read_parquet(path)
    changed = change(frame)
    (frame if changed is None else changed).to_parquet(path)


def by_name(change: str) -> Callable[[pd.DataFrame], object]:
    def shuffle(frame: pd.DataFrame) -> None:
        random = np.random.default_rng(1)
        for zone in ("PULocationID", "DOLocationID"):
            frame[zone] = random.permutation(frame[zone].to_numpy())

    def shorten(frame: pd.DataFrame) -> None:
        duration = frame[GREEN.dropoff_time] - frame[GREEN.pickup_time]
        frame[GREEN.dropoff_time] = frame[GREEN.pickup_time] + duration / 60

    return {
        "half the rows": lambda frame: frame.iloc[: len(frame) // 2],
        "another month's file": lambda frame: frame.assign(
            **{
                column: frame[column] - pd.DateOffset(months=1)
                for column in (GREEN.pickup_time, GREEN.dropoff_time)
            }
        ),
        "zones shuffled": shuffle,
        "durations in seconds": shorten,
    }[change]


@pytest.mark.parametrize(
    ("change", "speaking"),
    [
        ("half the rows", {"number_of_trips"}),
        ("another month's file", {"pickups_in_month"}),
        ("zones shuffled", {"better_than_mean", "rmse_of_earlier_months", "interval_coverage"}),
        ("durations in seconds", {"share_kept", "usual_durations"}),
    ],
)
def test_the_right_check_speaks_of_a_bad_month(
    own_source: Settings,
    materialize: Materialize,
    instance: dg.DagsterInstance,
    change: str,
    speaking: set[str],
) -> None:
    assets = () if "interval_coverage" in speaking else LINEAR
    assert materialize("2023-01", *assets, settings=own_source).success
    rewrite(own_source, FEBRUARY, by_name(change))
    result = materialize("2023-02", *assets, settings=own_source)
    assert result.success, "checks warn, and never fail a run"
    spoke = {
        event.event_specific_data.check_name
        for event in result.all_events
        if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION
        and not event.event_specific_data.passed
    }
    assert speaking <= spoke
    if speaking & {"number_of_trips", "pickups_in_month"}:
        assert not spoke & {"better_than_mean", "share_kept", "usual_durations"}
