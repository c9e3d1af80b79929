"""Hyperparameters are judged on months that come next, by a study that goes on another day."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import dagster as dg
import mlflow
import numpy as np
import optuna
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from taxi_assets.durations import boosted, target_encoding, window
from taxi_assets.durations.cleaning import clean_trips
from taxi_assets.durations.models import fit_models, read_models
from taxi_assets.durations.rolling_origin import RollingOrigin
from taxi_assets.durations.sums import group_by_hourly_pair
from taxi_assets.durations.window import cells_of
from taxi_assets.settings import Settings
from taxi_assets.storage.files import Storage
from taxi_assets.storage.io_managers import MonthlyIOManager
from taxi_assets.tlc.fleets import FLEETS
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.parquet import open_parquet
from taxi_assets.tuning import PRESENT, RANGES, RMSES, findings, present_values, tune

GREEN = FLEETS["green"]
MONTHS = JANUARY, FEBRUARY, MARCH = [Month(2023, number) for number in (1, 2, 3)]

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
    monkeypatch.setitem(RANGES, "mean_rounds", (2, 6))  # type: ignore[arg-type]
    monkeypatch.setattr(target_encoding, "FACTOR_ROUNDS", 1)


@pytest.mark.parametrize(("training_months", "before_march"), [(1, [FEBRUARY]), (3, MONTHS[:2])])
@pytest.mark.parametrize("weight", [0.95, 0.5])
def test_judged_are_the_projects_own_models_of_the_months_before_on_all_trips_of_the_month(
    trips: Trips,
    sums: Trips,
    monkeypatch: pytest.MonkeyPatch,
    training_months: int,
    before_march: list[Month],
    weight: float,
) -> None:
    monkeypatch.setattr(window, "WEIGHT_OF_A_MONTH_AGO", weight)
    origin = RollingOrigin(sums, training_months)
    for judged, before in ((FEBRUARY, [JANUARY]), (MARCH, before_march)):
        summed = [(month, sums[month]) for month in before]
        models = read_models(fit_models(window.training_window(before[-1], summed, weight)))
        actual, cells = trips[judged]["duration"].to_numpy(), cells_of(trips[judged])
        expected = {
            name: np.sqrt(np.mean((np.clip(model.predict(cells), 1, 60) - actual) ** 2))
            for name, model in models.items()
        }
        found = origin.rmse(judged, present_values())
        assert found == pytest.approx(expected["boosted"], rel=1e-9)
        assert origin.lookup[judged] == pytest.approx(expected["lookup"], rel=1e-9)


def test_what_is_tuned_are_the_codes_own_names_and_its_values_are_in_range() -> None:
    present = present_values()
    assert (present["learning_rate"], present["mean_rounds"]) == (0.15, 4)
    assert present["weight_of_a_month_ago"] == window.WEIGHT_OF_A_MONTH_AGO
    assert all(low <= present[name] <= high for name, (low, high) in RANGES.items())


@pytest.fixture
def run(
    settings: Settings, sums: Trips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """The command, in a folder where three months are stored."""
    frames = MonthlyIOManager(Storage(settings.storage))
    for month, rows in sums.items():
        frames.store(dg.AssetKey(["green", "hourly_pairs"]), month, rows)
    monkeypatch.setenv("TAXI_STORAGE", settings.storage)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", settings.tracking_uri)
    monkeypatch.chdir(tmp_path)

    def run(*more: str, months: str = "2023-01:2023-03", trials: int = 3) -> Result:
        arguments = ["--fleet", "green", "--months", months, "--trials", str(trials), *more]
        return CliRunner().invoke(tune, arguments)

    return run


def tracked(settings: Settings) -> list[Run]:
    client = mlflow.MlflowClient(settings.tracking_uri)
    experiment = client.get_experiment_by_name("nyc-taxi-trip-duration-tuning")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], order_by=["start_time"]))


def test_present_values_are_tried_first_and_each_trial_is_a_run_in_an_experiment_of_its_own(
    run: Callable[..., Result], settings: Settings, sums: Trips
) -> None:
    result = run()
    assert result.exit_code == 0, result.output
    first, *others = tracked(settings)
    setting = {"fleet": "green", "months": "2023-01:2023-03", "training_months": "3"}
    present = setting | {name: str(value) for name, value in present_values().items()}
    assert first.data.params == present
    assert [other.data.params == present for other in others] == [False, False]
    origin = RollingOrigin(sums, 3)
    rmses = {month: origin.rmse(month, present_values()) for month in (FEBRUARY, MARCH)}
    expected = {f"rmse_{month}": rmse for month, rmse in rmses.items()}
    expected["objective"] = fmean(rmse / origin.lookup[month] for month, rmse in rmses.items())
    assert first.data.metrics == pytest.approx(expected)
    assert first.info.run_name == "tuning-green 0"
    assert {each.info.status for each in (first, *others)} == {"FINISHED"}
    assert 1_700_000_000_000 < first.info.start_time < first.info.end_time  # Milliseconds.
    (metrics,) = [line for line in result.stdout.splitlines() if line.startswith("objective")]
    last, *before = [each.data.metrics["objective"] for each in (first, *others)]
    assert metrics.split()[1:] == [f"{value:.5g}" for value in (*sorted(before), last)]
    # All are done: the same command only tells.
    assert run().stdout == result.stdout
    assert len(tracked(settings)) == 3


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit])
def test_the_same_command_goes_on_after_ctrl_c_or_a_kill(
    run: Callable[..., Result],
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    end: type[BaseException],
) -> None:
    """SystemExit leaves what a kill leaves, a trial that runs for ever."""
    real = RollingOrigin.rmse
    for interrupted in (1, 5):
        calls = iter(range(1, 100))

        def rmse(origin: RollingOrigin, month: Month, tried: dict[str, Any]) -> float:
            if next(calls) == interrupted:  # noqa: B023
                raise end
            return real(origin, month, tried)

        monkeypatch.setattr(RollingOrigin, "rmse", rmse)
        result = run()
        assert end is SystemExit or (result.exit_code, result.stderr.splitlines()[-1]) == (
            130,
            "Interrupted. tuning-green.db keeps the trials that are finished; the same command "
            "goes on.",
        )
    assert run().exit_code == 0
    first, *others = tracked(settings)
    assert first.data.params["cat_l2"] == str(present_values()["cat_l2"])
    assert (first.info.status, len(others)) == ("FINISHED", 2)
    # No sampler that goes on proposes what it has proposed before.
    assert len({each.data.params["cat_l2"] for each in (first, *others)}) == 3


def test_what_is_worse_after_a_month_is_pruned_but_never_the_present_values(
    run: Callable[..., Result], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    always = optuna.pruners.ThresholdPruner(upper=0.0)
    monkeypatch.setattr(optuna.pruners, "MedianPruner", lambda: always)
    assert "No trial of 2 does better than the present values." in run(trials=2).output
    present, pruned = tracked(settings)
    assert (present.info.status, len(present.data.metrics)) == ("FINISHED", 3)
    assert (pruned.info.status, list(pruned.data.metrics)) == ("KILLED", ["rmse_2023-02"])


def test_the_weight_of_a_month_ago_is_left_alone_where_no_model_has_two_months(
    run: Callable[..., Result], settings: Settings
) -> None:
    assert run(months="2023-01:2023-02", trials=2).exit_code == 0
    weights = [each.data.params["weight_of_a_month_ago"] for each in tracked(settings)]
    assert weights == ["0.95", "0.95"]


def test_when_mlflow_fails_in_the_middle_the_study_is_kept(
    run: Callable[..., Result], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MlflowException("the database is gone")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "log_batch", fail)
        result = run()
    assert (result.exit_code, "Traceback" in result.output) == (1, False)
    assert "fails (the database is gone)" in result.output
    assert [each.info.status for each in tracked(settings)] == ["FAILED"]
    assert run().exit_code == 0
    assert [len(each.data.metrics) for each in tracked(settings)] == [0, 3, 3]


@pytest.mark.parametrize(
    ("months", "sentence"),
    [
        ("2023-01", "2023-01 is one month, two are needed."),
        ("2023-03:2023-01", "'2023-03:2023-01' ends before it begins."),
        (
            "2023-03:2023-05",
            "Materialize them, and those after it: dagster asset materialize -m "
            "taxi_assets.definitions --select 'green/raw_trips,green/cleaned_trips,green/"
            "hourly_pairs' --partition-range 2023-04-01...2023-05-01",
        ),
    ],
)
def test_months_that_cannot_be_tuned_on_are_refused_in_a_sentence(
    run: Callable[..., Result], tmp_path: Path, months: str, sentence: str
) -> None:
    result = run(months=months)
    assert (result.exit_code > 0, "Traceback" in result.output) == (True, False)
    assert sentence in result.output
    assert list(tmp_path.glob("tuning-green.db*")) == []


def test_a_study_is_not_mixed_with_another(
    run: Callable[..., Result], settings: Settings, sums: Trips, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(name: str = "tuning-green", months: str = "2023-01:2023-03") -> str:
        result = run("--study", name, months=months)
        assert (result.exit_code, len(result.output.splitlines())) == (1, 1)
        assert len(tracked(settings)) == 1
        return result.output

    assert run(trials=1).exit_code == 0
    assert refused(months="2023-01:2023-02") == (
        "Error: The study in tuning-green.db is of other settings: months 2023-01:2023-03, not "
        "2023-01:2023-02. Give this study another name: --study\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TAXI_TRAINING_MONTHS", "1")
        assert "training_months 3, not 1." in refused()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RANGES, "cat_l2", (1.0, 50.0))  # type: ignore[arg-type]
        assert "range of cat_l2 1.0 to 200.0, not 1.0 to 50.0." in refused()
    shutil.copy("tuning-green.db", "copy.db")
    assert "copy.db holds the study tuning-green, not copy." in refused("copy.db")
    before = Path("mlflow.db").read_bytes()
    assert "mlflow.db is a database of something else." in refused("mlflow")
    assert Path("mlflow.db").read_bytes() == before
    foreign = optuna.create_study(study_name="foreign", storage="sqlite:///foreign.db")
    foreign.optimize(lambda _: 1.0, 1)
    assert "foreign.db holds a study of something else." in refused("foreign")
    Path("odd.db").write_text("no database")
    assert "odd.db cannot be used (" in refused("odd")
    # The month has been stored with other trips meanwhile.
    frames = MonthlyIOManager(Storage(settings.storage))
    frames.store(dg.AssetKey(["green", "hourly_pairs"]), MARCH, sums[MARCH].iloc[:-50])
    assert "other settings: RMSE of means on 2023-03 " in refused()


def test_without_optuna_it_is_said_how_to_install_it(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    result = run()
    assert result.exit_code == 1
    assert "Optuna is not installed: make .venv/with-tuning" in result.output


BETTER = "does {} better than the present values on the months that have chosen it:\n{}"
WHERE = (
    "see other months before you put its values into PARAMETERS and MEAN_ROUNDS of "
    "durations/boosted.py, and WEIGHT_OF_A_MONTH_AGO of durations/window.py."
)


@pytest.mark.parametrize(
    ("objective", "verdict"),
    [
        (1.1, "No trial of 2 does better than the present values."),
        (0.9951, BETTER.format("0.49%", "nothing is worth changing.")),
        (0.98, BETTER.format("2.00%", WHERE)),
    ],
)
def test_it_is_said_what_to_write_where_or_that_nothing_is_worth_changing(
    objective: float, verdict: str
) -> None:
    study = optuna.create_study()
    present = {PRESENT: present_values(), RMSES: {"rmse_2021-02": 6.0}}
    study.add_trial(optuna.create_trial(value=1.0, user_attrs=present))
    other = {RMSES: {"rmse_2021-02": 6.0 * objective}}
    study.add_trial(optuna.create_trial(value=objective, user_attrs=other))
    table, *conclusion = findings(study)
    assert "\n".join(conclusion).endswith(verdict)
    assert table.splitlines()[1].split() == ["objective", f"{objective:.5g}", "1"]
