"""Try hyperparameters of the boosted model with Optuna, judged on the months that come next.

Each month of the span but the first is predicted by a model of the months before it. The
hourly_pairs of all have to be stored. Nothing that is stored, registered or served is changed.

The study is kept in a file, and MLflow has a run for each finished trial. Ctrl-C keeps what is
finished, and the same command goes on. Several processes may work on one study.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import click

from taxi_assets.durations import boosted, window
from taxi_assets.durations.rolling_origin import RollingOrigin
from taxi_assets.errors import MonthError, NotStoredError, command, first_line
from taxi_assets.runs.process import prepare_run_process
from taxi_assets.settings import Settings
from taxi_assets.storage.files import Storage
from taxi_assets.storage.io_managers import load_stored
from taxi_assets.tlc.fleets import FLEETS, Fleet
from taxi_assets.tlc.months import Month, months_of
from taxi_assets.tracking.runs import ABOUT_TRIALS, Tracking

if TYPE_CHECKING:
    import optuna
    import pandas as pd
    from optuna.trial import FrozenTrial

RANGES: Mapping[str, tuple[float, float]] = {
    "learning_rate": (0.03, 0.4),
    "num_leaves": (8, 128),
    "min_data_in_leaf": (5, 200),
    "lambda_l2": (0.1, 100.0),
    "cat_smooth": (1.0, 200.0),
    "cat_l2": (1.0, 200.0),
    "max_cat_threshold": (8, 256),
    "mean_rounds": (20, 200),
    "weight_of_a_month_ago": (0.5, 1.0),
}
"""The least and the greatest value of each hyperparameter; whole numbers if they are."""

WORTH_CHANGING = 0.005
"""Share of the present values' objective; a smaller gain is no reason to change the code."""

SHOWN = 5
"""How many of the best trials the table has."""

SETTINGS, PRESENT, RMSES = "settings", "present_values", "rmses"
"""Attributes: what a study is of; the code's values that a trial is of, and what it gave (minutes).
"""


@click.command(
    help=__doc__,
    epilog="Example: taxi-assets tune --fleet green --months 2021-01...2021-03 --trials 40",
)
@click.option("--fleet", "fleet_name", type=click.Choice(list(FLEETS)), required=True)
@click.option("--months", "span", metavar="MONTHS", required=True, help="As 2021-01...2021-03.")
@click.option(
    "--trials", type=click.IntRange(1), default=40, show_default=True, help="How many, in all."
)
@click.option("--study", "name", metavar="NAME", help="Kept in NAME.db; else tuning-<fleet>.db.")
def tune(fleet_name: str, span: str, trials: int, name: str | None) -> None:
    """Try, and say what was found."""
    try:
        import optuna
    except ModuleNotFoundError:
        raise click.ClickException(
            "Optuna is not installed: make .venv/with-tuning, or pip install 'taxi-assets[tuning]'."
        ) from None
    import sqlalchemy.exc
    from filelock import FileLock

    settings, fleet = Settings.from_environment(), FLEETS[fleet_name]
    path = Path(f"{(name or f'tuning-{fleet.name}').removesuffix('.db')}.db")
    if not re.fullmatch(r"[\w./-]+", str(path)):
        raise click.BadParameter("use letters, digits, . _ and -", param_hint="--study")
    prepare_run_process()
    try:
        origin = RollingOrigin(_stored_sums(settings, fleet, span), settings.training_months)
        # Optuna makes its tables without a thought to processes that do the same.
        with FileLock(f"{path}.lock"):
            study = open_study(path, fleet, origin)
        experiment = f"{settings.experiment_name}-tuning"
        tracking = Tracking(settings.tracking_uri, experiment, about=ABOUT_TRIALS)
        # The first trial may take minutes; an MLflow that fails says so before it.
        with tracking.server.turn():
            tracking.experiment_id()
        try_values(study, origin, trials, tracking)
        results = findings(study)
    except KeyboardInterrupt:
        kept = f"{path} keeps the trials that are finished; the same command goes on."
        click.echo(f"Interrupted. {kept}", err=True)
        raise SystemExit(130) from None
    except MonthError as error:
        raise click.ClickException(str(error)) from None
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.OptunaError, OSError) as error:
        raise click.ClickException(f"{path} cannot be used ({first_line(error)}).") from None
    click.echo("\n".join(results))


def open_study(path: Path, fleet: Fleet, origin: RollingOrigin) -> "optuna.Study":
    """The study of a fleet in a file, which has the study's name, and is made if it is not there.

    Months that were stored again with other trips are other settings, by the RMSE of a table of
    means on them.

    Raises:
        ClickException: the file holds something else, or a study of other settings.
    """
    import optuna
    import sqlalchemy

    settings = {
        "fleet": fleet.name,
        "months": f"{origin.judged[0] - 1}:{origin.judged[-1]}",
        "training_months": str(origin.training_months),
        **{f"range of {name}": f"{low} to {high}" for name, (low, high) in RANGES.items()},
        **{f"RMSE of means on {month}": f"{rmse:.6f}" for month, rmse in origin.lookup.items()},
    }
    another = "Give this study another name: --study"
    url = f"sqlite:///{path}"
    tables = sqlalchemy.inspect(sqlalchemy.create_engine(url)).get_table_names()
    if tables and "studies" not in tables:
        raise click.ClickException(f"{path} is a database of something else. {another}")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    names = ", ".join(optuna.get_all_study_names(url))
    if names not in ("", path.stem):
        raise click.ClickException(f"{path} holds the study {names}, not {path.stem}. {another}")
    pruner = optuna.pruners.MedianPruner()
    study = optuna.create_study(
        storage=url, pruner=pruner, study_name=path.stem, load_if_exists=True
    )
    if SETTINGS not in study.user_attrs and not study.trials:
        study.set_user_attr(SETTINGS, settings)
    noted = study.user_attrs.get(SETTINGS)
    if noted is None:
        raise click.ClickException(f"{path} holds a study of something else. {another}")
    for key in [*settings, *noted]:
        here, there = settings.get(key), noted.get(key)
        if here != there:
            raise click.ClickException(
                f"The study in {path} is of other settings: {key} {there}, not {here}. {another}"
            )
    return study


def try_values(
    study: "optuna.Study", origin: RollingOrigin, trials: int, tracking: Tracking
) -> None:
    """Try until so many trials are finished, by all processes together; present values first.

    Raises:
        TrackingError: MLflow does not do its part.
        KeyboardInterrupt: what is finished stays.
    """
    # What is imported later would count as the first trial's time.
    import lightgbm  # noqa: F401
    import optuna
    from optuna.trial import TrialState

    def objective(trial: optuna.Trial) -> float:
        for name, (low, high) in RANGES.items():
            if name == "weight_of_a_month_ago" and not several:
                continue
            if isinstance(low, int) and isinstance(high, int):
                trial.suggest_int(name, low, high, log=True)
            else:
                trial.suggest_float(name, low, high, log=True)
        relative: list[float] = []
        rmses: dict[str, float] = {}
        for month in origin.judged:
            if relative and PRESENT not in trial.user_attrs and trial.should_prune():
                raise optuna.TrialPruned
            rmses[f"rmse_{month}"] = origin.rmse(month, present | trial.params)
            trial.set_user_attr(RMSES, rmses)
            relative.append(rmses[f"rmse_{month}"] / origin.lookup[month])
            trial.report(fmean(relative), step=len(relative))
        return fmean(relative)

    def log(study: optuna.Study, trial: "FrozenTrial") -> None:
        name, settings = f"{study.study_name} {trial.number}", study.user_attrs[SETTINGS]
        of = {key: settings[key] for key in ("fleet", "months", "training_months")}
        metrics = dict(trial.user_attrs[RMSES])
        if trial.state == TrialState.COMPLETE:
            metrics["objective"] = trial.values[0]
        tracking.log_trial(name, trial, of | present | trial.params, metrics)

    several = any(len(origin.trained_on(month)) > 1 for month in origin.judged)
    present = present_values()
    # Optuna's skip_if_exists would also skip those that were interrupted or killed.
    alive = study.get_trials(states=(TrialState.WAITING, TrialState.COMPLETE))
    if not any(trial.user_attrs.get(PRESENT) == present for trial in alive):
        study.enqueue_trial(present, user_attrs={PRESENT: present})
    finished = (TrialState.COMPLETE, TrialState.PRUNED)
    study.optimize(
        objective,
        n_trials=max(0, trials - len(study.get_trials(states=finished))),
        callbacks=[log, optuna.study.MaxTrialsCallback(trials, finished)],
        show_progress_bar=True,
    )


def findings(study: "optuna.Study") -> list[str]:
    """A table of the best trials beside the present values, and what to write where, if anything.

    Trials that were pruned are counted, and not shown.
    """
    import pandas as pd
    from optuna.trial import TrialState

    finished = study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))
    judged = [trial for trial in finished if trial.state == TrialState.COMPLETE]
    judged.sort(key=lambda trial: trial.values)
    present = present_values()
    today = next((trial for trial in judged if trial.user_attrs.get(PRESENT) == present), None)
    if today is None:
        return ["The present values have not been judged yet: ask for more --trials."]
    others = [trial for trial in judged if trial.user_attrs.get(PRESENT) != present]
    columns = [(f"trial {trial.number}", trial) for trial in others[:SHOWN]]
    table = {
        name: {
            "objective": trial.values[0],
            **trial.user_attrs[RMSES],
            "seconds": trial.duration and trial.duration.total_seconds(),
            **present,
            **trial.params,
        }
        for name, trial in [*columns, ("present values", today)]
    }
    lines = [pd.DataFrame(table, dtype=object).to_string(float_format="{:.5g}".format), ""]
    best = judged[0]
    if best is today:
        return [*lines, f"No trial of {len(finished)} does better than the present values."]

    gain = 1 - best.values[0] / today.values[0]
    return [
        *lines,
        f"Trial {best.number}, the best of {len(finished)}, does {gain:.2%} better than the "
        "present values on the months that have chosen it:",
        "nothing is worth changing."
        if gain < WORTH_CHANGING
        else "see other months before you put its values into PARAMETERS and MEAN_ROUNDS of "
        "durations/boosted.py, and WEIGHT_OF_A_MONTH_AGO of durations/window.py.",
    ]


def present_values() -> dict[str, Any]:
    """The hyperparameters that the project's models are made with."""
    others = {
        "mean_rounds": boosted.MEAN_ROUNDS,
        "weight_of_a_month_ago": window.WEIGHT_OF_A_MONTH_AGO,
    }
    return {name: (boosted.PARAMETERS | others)[name] for name in RANGES}


def _stored_sums(settings: Settings, fleet: Fleet, span: str) -> "dict[Month, pd.DataFrame]":
    """The hourly pairs of the months of a span such as 2021-01:2021-03.

    Raises:
        BadParameter: it is none, or has a single month.
        NotStoredError: some are not stored.
        UnusableValueError, ServiceError: they cannot be read.
    """
    try:
        months, storage = months_of(span), Storage(settings.storage)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--months") from None
    if months[1:] == []:
        raise click.BadParameter(f"{span} is one month, two are needed.", param_hint="--months")
    sums = {}
    for month in months:
        try:
            sums[month] = load_stored(storage, fleet, "hourly_pairs", month)
        except NotStoredError:
            assets = ("raw_trips", "cleaned_trips", "hourly_pairs")
            keys = [f"{fleet.name}/{asset}" for asset in assets]
            making = command(keys, month.partition_key, months[-1].partition_key)
            raise NotStoredError(
                f"The hourly_pairs of {fleet.name} {month} are not stored in {storage.shown}. "
                f"Materialize them, and those after it: {making}"
            ) from None
    return sums
