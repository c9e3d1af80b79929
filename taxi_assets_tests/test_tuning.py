"""Hyperparameters are judged on months that come next, tracked apart, and tried on another day."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import mlflow
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from taxi_assets.durations import boosted, encoding, window
from taxi_assets.durations.cleaning import clean_trips
from taxi_assets.durations.hourly_pairs import group_by_hourly_pair
from taxi_assets.durations.models import fit_models, read_models
from taxi_assets.durations.rolling_origin import Hyperparameters, RollingOrigin
from taxi_assets.durations.trials import Findings, Trial
from taxi_assets.durations.window import cells_of
from taxi_assets.settings import Settings
from taxi_assets.storage.files import Storage
from taxi_assets.storage.io_managers import FORMATS, MonthlyIOManager
from taxi_assets.tlc.fleets import FLEETS
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.parquet import open_parquet
from taxi_assets.tracking.studies import StudyTracking
from taxi_assets.tuning.__main__ import main
from taxi_assets.tuning.study import RANGES, Range

GREEN = FLEETS["green"]
MONTHS = JANUARY, FEBRUARY, MARCH = [Month(2023, number) for number in (1, 2, 3)]
EXPERIMENT = "nyc-taxi-trip-duration"

Trips = dict[Month, pd.DataFrame]


@pytest.fixture(scope="module")
def trips(source_folder: Path) -> Trips:
    """Cleaned trips of three synthetic months."""
    paths = {month: source_folder / GREEN.file_name(month) for month in MONTHS}
    return {
        month: clean_trips(open_parquet(path), GREEN, month).trips for month, path in paths.items()
    }


@pytest.fixture(scope="module")
def sums(trips: Trips) -> Trips:
    return {month: group_by_hourly_pair(of_month) for month, of_month in trips.items()}


@pytest.fixture(autouse=True)
def few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boosted, "MEAN_ROUNDS", 4)
    monkeypatch.setitem(RANGES, "mean_rounds", Range(2, 6))  # type: ignore[arg-type]
    monkeypatch.setattr(encoding, "FACTOR_ROUNDS", 1)


def rmses(sums: Trips, training_months: int = 3) -> dict[str, float]:
    judged = RollingOrigin(sums, training_months).rmses(Hyperparameters.of_the_code())
    return {str(month): rmse for month, rmse in judged}


@pytest.mark.parametrize(
    ("training_months", "windows"),
    [
        (1, [(JANUARY, [JANUARY]), (FEBRUARY, [FEBRUARY])]),
        (3, [(JANUARY, [JANUARY]), (FEBRUARY, [JANUARY, FEBRUARY])]),
    ],
)
def test_each_month_but_the_first_is_predicted_from_those_before_it(
    sums: Trips,
    monkeypatch: pytest.MonkeyPatch,
    training_months: int,
    windows: list[tuple[Month, list[Month]]],
) -> None:
    origin = RollingOrigin(sums, training_months)
    assert origin.judged == [FEBRUARY, MARCH]
    seen = []
    real = window.training_window

    def spy(last: Month, months: Iterator[Any], weight: float) -> window.Window:
        given = list(months)
        seen.append((last, [month for month, _ in given]))
        return real(last, given, weight)

    monkeypatch.setattr(window, "training_window", spy)
    assert list(dict(origin.rmses(Hyperparameters.of_the_code()))) == [FEBRUARY, MARCH]
    assert seen == windows


def test_neither_later_trips_nor_validation_trips_of_the_last_month_are_trained_on(
    sums: Trips,
) -> None:
    honest = rmses(sums)

    def planted(month: Month, split: str) -> Trips:
        rows = sums[month].copy()
        rows.loc[rows["split"] == split, "duration_sum"] *= 2
        return {**sums, month: rows}

    later = rmses(planted(MARCH, "train"))
    assert (later["2023-02"], later["2023-03"] == honest["2023-03"]) == (honest["2023-02"], False)
    assert rmses(planted(FEBRUARY, "validation"))["2023-03"] == honest["2023-03"]
    assert rmses(planted(FEBRUARY, "train"))["2023-03"] != honest["2023-03"]


@pytest.mark.parametrize(("training_months", "weighs"), [(1, False), (2, True)])
def test_months_are_weighed_where_a_model_is_trained_on_several(
    sums: Trips, training_months: int, weighs: bool
) -> None:
    assert RollingOrigin(sums, training_months).weighs_months == weighs


def test_judged_are_the_projects_own_models_on_all_trips_of_the_month(
    trips: Trips, sums: Trips
) -> None:
    origin = RollingOrigin(sums, 3)
    found = dict(origin.rmses(Hyperparameters.of_the_code()))
    expected = {}
    for judged, before in ((FEBRUARY, MONTHS[:1]), (MARCH, MONTHS[:2])):
        summed = [(month, sums[month]) for month in before]
        models = read_models(fit_models(window.training_window(before[-1], summed)))
        actual, cells = trips[judged]["duration"].to_numpy(), cells_of(trips[judged])
        expected[judged] = {
            name: np.sqrt(np.mean((np.clip(model.predict(cells), 1, 60) - actual) ** 2))
            for name, model in models.items()
        }
        assert found[judged] == pytest.approx(expected[judged]["boosted"], rel=1e-9)
        assert origin.lookup[judged] == pytest.approx(expected[judged]["lookup"], rel=1e-9)
    relative = [one["boosted"] / one["lookup"] for one in expected.values()]
    assert origin.objective(found) == pytest.approx(sum(relative) / 2, rel=1e-9)


def test_what_is_tuned_are_the_codes_own_names_and_its_values_are_in_range() -> None:
    today = asdict(Hyperparameters.of_the_code())
    assert list(RANGES) == list(today)
    assert Hyperparameters.of_the_code().of_trees == boosted.PARAMETERS
    assert today["learning_rate"] == boosted.PARAMETERS["learning_rate"]
    assert (today["mean_rounds"], today["weight_of_a_month_ago"]) == (4, 0.95)
    assert all(RANGES[name].low <= value <= RANGES[name].high for name, value in today.items())


def test_another_weight_of_a_month_ago_is_another_model_and_the_same_measure(sums: Trips) -> None:
    origin = RollingOrigin(sums, 3)
    lighter = replace(Hyperparameters.of_the_code(), weight_of_a_month_ago=0.5)
    one, two = (dict(origin.rmses(each)) for each in (Hyperparameters.of_the_code(), lighter))
    # February is predicted from January alone.
    assert (one[FEBRUARY] == two[FEBRUARY], one[MARCH] == two[MARCH]) == (True, False)


def test_the_weight_of_a_month_ago_is_left_alone_where_no_model_has_two_months(
    tune: Callable[..., Result], settings: Settings
) -> None:
    assert tune(months="2023-01:2023-02", trials=2).exit_code == 0
    _, children = tracked(settings)
    assert [child.data.params["weight_of_a_month_ago"] for child in children] == ["0.95", "0.95"]


@pytest.fixture
def tune(
    settings: Settings, sums: Trips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """The command, in a folder where three months are stored."""
    frames = MonthlyIOManager(Storage(settings.storage), FORMATS["frames"])
    for month, rows in sums.items():
        frames.store(dg.AssetKey(["green", "hourly_pairs"]), month, rows)
    monkeypatch.setenv("TAXI_STORAGE", settings.storage)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", settings.tracking_uri)
    monkeypatch.chdir(tmp_path)

    def run(*more: str, months: str = "2023-01:2023-03", trials: int = 3) -> Result:
        arguments = ["--fleet", "green", "--months", months, "--trials", str(trials), *more]
        return CliRunner().invoke(main, arguments)

    return run


def tracked(settings: Settings) -> tuple[Run, list[Run]]:
    """The study's run, and its children in the order of trials."""
    client = mlflow.MlflowClient(settings.tracking_uri)
    experiment = client.get_experiment_by_name(f"{EXPERIMENT}-tuning")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in runs if run.info.run_id != parent.info.run_id]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} <= {parent.info.run_id}
    return parent, sorted(children, key=lambda run: int(run.data.tags["taxi_assets.trial"]))


def interrupt_at(call: int, patch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the middle of a trial."""
    real, calls = RollingOrigin.rmses, iter(range(1, 100))

    def rmses(origin: RollingOrigin, tried: Hyperparameters) -> Iterator[tuple[Month, float]]:
        if next(calls) == call:
            raise KeyboardInterrupt
        return real(origin, tried)

    patch.setattr(RollingOrigin, "rmses", rmses)


def test_the_codes_defaults_are_tried_first_and_told_beside_the_best(
    tune: Callable[..., Result], settings: Settings, sums: Trips
) -> None:
    result = tune()
    assert result.exit_code == 0, result.output
    parent, (first, *others) = tracked(settings)
    assert 1_700_000_000_000 < first.info.start_time <= first.info.end_time  # Milliseconds.
    today = {name: str(value) for name, value in asdict(Hyperparameters.of_the_code()).items()}
    assert first.data.params == today
    assert [other.data.params == today for other in others] == [False, False]
    expected = {f"rmse_{month}": rmse for month, rmse in rmses(sums).items()}
    assert first.data.metrics | expected == first.data.metrics
    objectives = [run.data.metrics["objective"] for run in (first, *others)]
    assert parent.data.metrics == pytest.approx(
        {
            "objective": min(objectives),
            "gain_over_defaults": 1 - min(objectives) / objectives[0],
        }
    )
    lines = result.output.splitlines()
    (figures,) = [line.split() for line in lines if line.startswith("objective")]
    assert figures[1:] == [f"{value:.5f}" for value in [*sorted(objectives[1:]), objectives[0]]]


def test_a_study_is_tracked_apart_from_the_trained_months(
    tune: Callable[..., Result], settings: Settings
) -> None:
    assert tune(trials=2).exit_code == 0
    client = mlflow.MlflowClient(settings.tracking_uri)
    names = {experiment.name for experiment in client.search_experiments()}
    assert names == {"Default", f"{EXPERIMENT}-tuning"}
    assert client.search_registered_models() == []
    parent, children = tracked(settings)
    assert parent.info.run_name == "green 2023-01:2023-03"
    assert parent.data.params["training_months"] == "3"
    assert [child.info.run_name for child in children] == ["trial 0", "trial 1"]
    assert {run.info.status for run in (parent, *children)} == {"FINISHED"}


def test_ctrl_c_keeps_what_is_done_and_resume_goes_on_to_the_full_number(
    tune: Callable[..., Result], settings: Settings
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        interrupt_at(3, patch)
        result = tune(trials=4)
    assert result.exit_code == 130
    assert "trial 1  defaults" in result.output
    assert (
        "Interrupted. What is done is kept in tuning-green.db. Go on: python -m taxi_assets.tuning "
        "--fleet green --months 2023-01:2023-03 --trials 4 --study tuning-green --resume"
    ) in result.output
    parent, before = tracked(settings)
    assert (parent.info.status, len(before)) == ("KILLED", 2)

    assert tune("--resume", trials=4).exit_code == 0
    resumed, after = tracked(settings)
    assert (resumed.info.run_id, resumed.info.status) == (parent.info.run_id, "FINISHED")
    assert [run.info.run_id for run in after][:2] == [run.info.run_id for run in before]
    assert [run.data.tags["taxi_assets.trial"] for run in after] == ["0", "1", "3", "4"]
    # One that goes on proposes nothing twice.
    assert len({tuple(run.data.params.items()) for run in after}) == 4

    assert tune("--resume", trials=4).exit_code == 0
    assert len(tracked(settings)[1]) == 4


def test_after_ctrl_c_in_the_first_trial_the_defaults_are_still_tried_first(
    tune: Callable[..., Result], settings: Settings
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        interrupt_at(1, patch)
        result = tune()
    assert (result.exit_code, "No trial is done yet." in result.output) == (130, True)
    assert tune("--resume", trials=2).exit_code == 0
    _, (first, _) = tracked(settings)
    assert first.data.params["num_leaves"] == str(boosted.PARAMETERS["num_leaves"])


def test_when_mlflow_fails_in_the_middle_the_study_is_kept_and_tracked_later(
    tune: Callable[..., Result], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = StudyTracking._log_child

    def fail(tracking: StudyTracking, run_id: str, trial: Trial) -> None:
        if trial.number == 1:
            raise MlflowException("the database is gone")
        real(tracking, run_id, trial)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StudyTracking, "_log_child", fail)
        result = tune()
    assert (result.exit_code, "Traceback" in result.output) == (1, False)
    assert "fails (the database is gone)" in result.output
    assert "What is done is kept in tuning-green.db. Go on: python -m" in result.output
    assert len(tracked(settings)[1]) == 1
    assert tune("--resume").exit_code == 0
    parent, children = tracked(settings)
    assert (parent.info.status, len(children)) == ("FINISHED", 3)


def test_a_study_that_is_taken_up_goes_on_in_its_run_with_the_trials_that_are_whole(
    settings: Settings,
) -> None:
    """Trial 0 is logged, 1 was left half-way by a kill, and a third was ended before."""
    client = mlflow.MlflowClient(settings.tracking_uri)
    before = StudyTracking(settings.tracking_uri, EXPERIMENT)
    run_id = before.begin("green", {"trials": 3}, None)
    before.log(run_id, [trial(0, 1.0)])
    experiment_id = client.get_run(run_id).info.experiment_id
    for number, status in (("1", None), ("2", "FAILED")):
        tags = {"mlflow.parentRunId": run_id, "taxi_assets.trial": number}
        left = client.create_run(experiment_id, tags=tags).info.run_id
        if status:
            client.set_terminated(left, status)
    before.end(run_id, "KILLED", None)

    after = StudyTracking(settings.tracking_uri, EXPERIMENT)
    assert after.begin("green", {}, run_id) == run_id
    assert client.get_run(run_id).info.status == "RUNNING"
    after.log(run_id, [trial(0, 1.0), trial(1, 0.9)])
    _, children = tracked(settings)
    assert sorted((c.data.tags["taxi_assets.trial"], c.info.status) for c in children) == [
        *[("0", "FINISHED"), ("1", "FINISHED"), ("1", "KILLED"), ("2", "FAILED")],
    ]
    first = children[0]
    assert first.info.end_time - first.info.start_time == 3_000  # Milliseconds.
    (logged,) = client.get_metric_history(first.info.run_id, "objective")
    assert (logged.value, logged.step, logged.timestamp) == (1.0, 0, first.info.end_time)

    client.delete_run(run_id)
    for gone in (run_id, "0" * 32):
        another = StudyTracking(settings.tracking_uri, EXPERIMENT).begin("green", {}, gone)
        assert another not in (run_id, gone)


@pytest.mark.parametrize(
    ("more", "months", "sentence"),
    [
        ((), "2023-01", "2023-01 is 1 of the two months that are needed at least"),
        ((), "2023-03:2023-01", "'2023-03:2023-01' ends before it begins."),
        ((), "2023-1:2023-03", "'2023-1' is not a month: write it as 2023-03."),
        (("--resume",), "2023-01:2023-03", "There is no tuning-green.db here to go on with."),
        (("--study", "../x"), "2023-01:2023-03", "'../x' is no name for a study"),
        (
            (),
            "2022-12:2023-05",
            "hourly_pairs of green 2022-12, 2023-04, 2023-05 are not stored",
        ),
        (
            (),
            "2023-03:2023-05",
            "Materialize them first: dagster asset materialize -m taxi_assets.definitions --select "
            "'green/raw_trips,green/cleaned_trips,green/hourly_pairs' "
            "--partition-range 2023-04-01...2023-05-01",
        ),
    ],
)
def test_what_cannot_be_a_study_is_refused_in_a_sentence(
    tune: Callable[..., Result], tmp_path: Path, more: tuple[str, ...], months: str, sentence: str
) -> None:
    result = tune(*more, months=months)
    assert (result.exit_code, "Traceback" in result.output) == (1, False)
    assert sentence in result.output
    assert list(tmp_path.glob("*tuning*.db")) == []


def test_a_study_is_not_mixed_with_another(
    tune: Callable[..., Result], settings: Settings, sums: Trips, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tune(trials=1).exit_code == 0
    assert "tuning-green.db is there already. Go on with it: --resume." in tune(trials=2).output
    other = tune("--resume", months="2023-01:2023-02")
    assert "is a study of fleet green, months 2023-01:2023-03, " in other.output
    monkeypatch.setenv("TAXI_TRAINING_MONTHS", "1")
    assert "this would be one of fleet green, months 2023-01:2023-03, training_months 1" in (
        tune("--resume").output
    )
    monkeypatch.delenv("TAXI_TRAINING_MONTHS")
    # The month has been stored with other trips meanwhile.
    frames = MonthlyIOManager(Storage(settings.storage), FORMATS["frames"])
    frames.store(dg.AssetKey(["green", "hourly_pairs"]), MARCH, sums[MARCH].iloc[:-50])
    assert "Give it another name: --study" in tune("--resume").output
    Path("odd.db").write_text("no database")
    assert "odd.db cannot be used (" in tune("--study", "odd", "--resume").output


def test_without_optuna_it_is_said_how_to_install_it(
    tune: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    result = tune()
    assert result.exit_code == 1
    assert "Optuna is not installed: make .venv/with-tuning" in result.output


def trial(number: int, objective: float, **changed: Any) -> Trial:
    begun = datetime(2026, 1, 1, tzinfo=UTC)
    tried = replace(Hyperparameters.of_the_code(), **changed)
    rmses = {"2021-02": 6 * objective, "2021-03": 5 * objective}
    return Trial(number, tried, objective, rmses, 2.0, begun, begun + timedelta(seconds=3))


def test_the_advice_is_the_lines_of_the_code_or_that_nothing_is_worth_changing() -> None:
    defaults = trial(0, 1.0)
    better = trial(1, 0.98, learning_rate=0.123, mean_rounds=90, weight_of_a_month_ago=0.9)
    found = Findings([defaults, better, trial(2, 1.1, num_leaves=8)])
    assert found.advice() == [
        "Trial 1, the best of 3, does 2.00% better than the defaults on 2021-02, 2021-03, the "
        "months that have chosen it. See other months before you change it.",
        "Its lines in taxi_assets/durations/boosted.py:",
        '    "learning_rate": 0.123,',
        f"MEAN_ROUNDS, VARIANCE_ROUNDS = 90, {boosted.VARIANCE_ROUNDS}",
        "Its lines in taxi_assets/durations/window.py:",
        "WEIGHT_OF_A_MONTH_AGO = 0.9",
    ]
    source = Path(boosted.__file__).read_text() + Path(window.__file__).read_text()
    for line in (
        '    "learning_rate": ',
        "MEAN_ROUNDS, VARIANCE_ROUNDS = ",
        "WEIGHT_OF_A_MONTH_AGO = ",
    ):
        assert f"\n{line}" in source
    small = Findings([defaults, trial(1, 0.9951, cat_l2=10.0)])
    assert small.advice()[0] == (
        "Trial 1, the best of 2, does 0.49% better than the defaults on 2021-02, 2021-03: nothing "
        "is worth changing."
    )
    none = Findings([defaults, trial(1, 1.2)])
    assert none.advice() == ["No trial of 2 does better than the defaults on 2021-02, 2021-03."]
    assert none.table()[:3] == [
        "                         trial 1  defaults",
        "objective                1.20000   1.00000",
        "RMSE 2021-02               7.200     6.000",
    ]
