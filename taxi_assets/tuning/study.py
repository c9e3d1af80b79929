"""An Optuna study of hyperparameters, kept in an SQLite file so that it can go on later."""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from taxi_assets.durations.rolling_origin import Hyperparameters, RollingOrigin
from taxi_assets.durations.trials import Findings, Trial
from taxi_assets.errors import MonthError, first_line

if TYPE_CHECKING:
    import optuna

    from taxi_assets.tlc.months import Month

SEED = 1
"""Of the sampler, plus the number of trials that are there when it begins: one that goes on does
not propose what it has proposed before."""

DIGITS = 3
"""Significant digits that are tried, so that what is put into the code is what was judged."""

SUBJECT, RUN_ID, RMSES, SECONDS = "subject", "mlflow_run_id", "rmses", "seconds"
"""What is noted of a study, and of its trials."""


class Range(NamedTuple):
    """Bounds between which values are tried, whole numbers if they are; by their logarithm, or not.

    Attributes:
        low: the least value.
        high: the greatest.
        log: whether each doubling is as likely as any other.
    """

    low: float
    high: float
    log: bool = True


RANGES: Mapping[str, Range] = {
    "learning_rate": Range(0.03, 0.4),
    "num_leaves": Range(8, 128),
    "min_data_in_leaf": Range(5, 200),
    "lambda_l2": Range(0.1, 100.0),
    "cat_smooth": Range(1.0, 200.0),
    "cat_l2": Range(1.0, 200.0),
    "max_cat_threshold": Range(8, 256),
    "mean_rounds": Range(20, 200),
    "weight_of_a_month_ago": Range(0.5, 1.0, log=False),
}
"""What is tried of each hyperparameter."""


class StudyError(MonthError):
    """There is no such study, or it is another, or its file cannot be used."""


class Study:
    """A study in a file.

    Attributes:
        path: the file.
        run_id: the MLflow run that it is tracked in, once it is.
    """

    def __init__(self, path: Path, subject: Mapping[str, Any], resume: bool) -> None:
        """Open a study, or begin one.

        Args:
            path: the file; its name without the ending is the study's.
            subject: what the study is of; only the same is gone on with.
            resume: whether it is there already.

        Raises:
            StudyError: it is not, or is of something else, or cannot be read.
        """
        check_place(path, resume)
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.path = path
        with self._explained():
            self._study = optuna.create_study(
                study_name=path.stem,
                storage=f"sqlite:///{path}",
                direction="minimize",
                load_if_exists=True,
            )
            trials = len(self._study.trials)
            self._study.sampler = optuna.samplers.TPESampler(seed=SEED + trials)
            noted = self._study.user_attrs.setdefault(SUBJECT, dict(subject))
            self._study.set_user_attr(SUBJECT, noted)
        if noted != subject:
            raise StudyError(
                f"{path.name} is a study of {_said(noted)}; this would be one of {_said(subject)}. "
                "Give it another name: --study"
            )

    @property
    def run_id(self) -> str | None:
        """The id of its MLflow run, if it has had one."""
        return self._study.user_attrs.get(RUN_ID)

    @run_id.setter
    def run_id(self, run_id: str) -> None:
        with self._explained():
            self._study.set_user_attr(RUN_ID, run_id)

    @property
    def done(self) -> list[Trial]:
        """The trials that are done, in their order."""
        import optuna

        with self._explained():
            complete = self._study.get_trials(states=[optuna.trial.TrialState.COMPLETE])
        return [_trial(one) for one in complete]

    @property
    def findings(self) -> Findings | None:
        """What has been found, once the code's defaults are done."""
        done, today = self.done, Hyperparameters.of_the_code()
        return Findings(done) if any(one.hyperparameters == today for one in done) else None

    def go_on(
        self,
        origin: RollingOrigin,
        trials: int,
        judged: "Callable[[Month], object]",
        ended: Callable[[], object],
    ) -> None:
        """Try until there are so many trials; the code's defaults are the first.

        Args:
            origin: judges.
            trials: number that shall be done in the end.
            judged: called after each month of a trial.
            ended: called after each trial.

        Raises:
            StudyError: the file cannot be written to.
            KeyboardInterrupt: what is done stays.
        """
        # What is imported later would count as the first trial's time.
        import lightgbm  # noqa: F401

        def objective(trial: "optuna.Trial") -> float:
            hyperparameters = _suggest(trial, origin)
            begun = time.process_time()
            rmses = {}
            for month, rmse in origin.rmses(hyperparameters):
                rmses[month] = rmse
                judged(month)
            trial.set_user_attr(RMSES, {str(month): rmse for month, rmse in rmses.items()})
            trial.set_user_attr(SECONDS, time.process_time() - begun)
            return origin.objective(rmses)

        def each(_study: "optuna.Study", _trial: "optuna.trial.FrozenTrial") -> None:
            ended()

        with self._explained():
            if self.findings is None:
                self._study.enqueue_trial(asdict(Hyperparameters.of_the_code()))
            left = trials - len(self.done)
            if left > 0:
                self._study.optimize(objective, left, callbacks=[each])

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what keeps the file from being used into a StudyError."""
        import optuna
        import sqlalchemy.exc

        try:
            yield
        except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.OptunaError) as error:
            raise StudyError(f"{self.path} cannot be used ({first_line(error)}).") from None


def check_place(path: Path, resume: bool) -> None:
    """Make sure that a study can be begun, or gone on with.

    Raises:
        StudyError: it has a name that no file has; it is there already, or not there.
    """
    if not re.fullmatch(r"\w[\w.-]*", str(path), re.ASCII):
        raise StudyError(
            f"{str(path)[:-3]!r} is no name for a study: use letters, digits, . _ and -."
        )
    if resume and not path.is_file():
        raise StudyError(f"There is no {path.name} here to go on with. Begin without --resume.")
    if not resume and path.exists():
        raise StudyError(
            f"{path.name} is there already. Go on with it: --resume. Or begin one of another name: "
            "--study"
        )


def _suggest(trial: "optuna.Trial", origin: RollingOrigin) -> Hyperparameters:
    today = asdict(Hyperparameters.of_the_code())
    for name, (low, high, log) in RANGES.items():
        if name == "weight_of_a_month_ago" and not origin.weighs_months:
            continue
        if isinstance(today[name], int):
            trial.suggest_int(name, int(low), int(high), log=log)
        else:
            trial.suggest_float(name, low, high, log=log)
    return _rounded(trial.params)


def _rounded(parameters: Mapping[str, Any]) -> Hyperparameters:
    """What was tried; what was not is as in the code."""
    rounded: dict[str, Any] = {
        name: float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
        for name, value in parameters.items()
    }
    return replace(Hyperparameters.of_the_code(), **rounded)


def _trial(one: "optuna.trial.FrozenTrial") -> Trial:
    # A trial that is done has a value and both times.
    return Trial(
        one.number,
        _rounded(one.params),
        one.value or 0.0,
        one.user_attrs[RMSES],
        one.user_attrs[SECONDS],
        *(moment for moment in (one.datetime_start, one.datetime_complete) if moment),
    )


def _said(subject: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in subject.items())
