"""Trials of hyperparameters, and what is to be learnt from them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from taxi_assets.durations import boosted
from taxi_assets.durations.rolling_origin import Hyperparameters

WORTH_CHANGING = 0.005
"""Gain over the code's defaults, as a share of their objective, below which nothing is changed."""

SHOWN = 5
"""How many of the best trials the table has."""

BOOSTED = "taxi_assets/durations/boosted.py"
WINDOW = "taxi_assets/durations/window.py"


@dataclass(frozen=True)
class Trial:
    """Hyperparameters that have been judged.

    Attributes:
        number: in its study, from 0 on.
        hyperparameters: which.
        objective: see ``RollingOrigin.objective``.
        rmses: minutes, by judged month as text.
        seconds: of processor time that growing and judging took.
        started: when.
        ended: when.
    """

    number: int
    hyperparameters: Hyperparameters
    objective: float
    rmses: dict[str, float]
    seconds: float
    started: datetime
    ended: datetime


@dataclass(frozen=True)
class Findings:
    """What a study has found so far.

    Attributes:
        trials: those that are done, in any order, the code's defaults among them.
    """

    trials: Sequence[Trial]

    @property
    def best(self) -> Trial:
        """The trial with the least objective; of equals the earliest."""
        return min(self.trials, key=lambda trial: (trial.objective, trial.number))

    @property
    def defaults(self) -> Trial:
        """The trial of what the code has today."""
        today = Hyperparameters.of_the_code()
        return next(trial for trial in self.trials if trial.hyperparameters == today)

    @property
    def gain(self) -> float:
        """By what share the best trial's objective is below that of the code's defaults."""
        return 1 - self.best.objective / self.defaults.objective

    def table(self) -> list[str]:
        """The best trials and the defaults beside each other, a line for each figure."""
        others = [trial for trial in self.trials if trial != self.defaults]
        best = sorted(others, key=lambda trial: (trial.objective, trial.number))
        columns = [(f"trial {trial.number}", trial) for trial in best[:SHOWN]]
        columns.append(("defaults", self.defaults))
        rows = [["", *(heading for heading, _ in columns)]]
        rows.append(["objective", *(f"{trial.objective:.5f}" for _, trial in columns)])
        for month in self.defaults.rmses:
            rows.append([f"RMSE {month}", *(f"{trial.rmses[month]:.3f}" for _, trial in columns)])
        rows.append(["seconds", *(f"{trial.seconds:.1f}" for _, trial in columns)])
        values = [asdict(trial.hyperparameters) for _, trial in columns]
        rows += [[name, *(f"{value[name]}" for value in values)] for name in values[0]]
        return ["".join([f"{name:<22}", *(f"{cell:>10}" for cell in row)]) for name, *row in rows]

    def advice(self) -> list[str]:
        """What the study gained, whether that is worth a change, and the lines that make it."""
        best, months = self.best, ", ".join(self.best.rmses)
        if best == self.defaults:
            return [f"No trial of {len(self.trials)} does better than the defaults on {months}."]
        gained = (
            f"Trial {best.number}, the best of {len(self.trials)}, does {self.gain:.2%} better "
            f"than the defaults on {months}"
        )
        verdict = (
            f"{gained}: nothing is worth changing."
            if self.gain < WORTH_CHANGING
            else f"{gained}, the months that have chosen it. See other months before you change it."
        )
        lines = [verdict]
        for module, changed in self._changes().items():
            lines += [f"Its lines in {module}:", *changed]
        return lines

    def _changes(self) -> dict[str, list[str]]:
        """The lines of each module that would set the best trial's, where they are others."""
        today, best = asdict(self.defaults.hyperparameters), asdict(self.best.hyperparameters)
        changes: dict[str, list[str]] = {}
        for name, value in best.items():
            if value == today[name]:
                continue
            if name == "weight_of_a_month_ago":
                changes[WINDOW] = [f"WEIGHT_OF_A_MONTH_AGO = {value}"]
                continue
            of_module = changes.setdefault(BOOSTED, [])
            of_module.append(
                f"MEAN_ROUNDS, VARIANCE_ROUNDS = {value}, {boosted.VARIANCE_ROUNDS}"
                if name == "mean_rounds"
                else f'    "{name}": {value},'
            )
        return changes
