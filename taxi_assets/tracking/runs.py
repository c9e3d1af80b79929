"""Where the runs of trained months, and of a study's trials, are: an experiment of their own."""

import re
import time
from collections.abc import Mapping
from dataclasses import InitVar, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from taxi_assets.errors import MonthError
from taxi_assets.tracking.server import TrackingError, TrackingServer, unless_gone
from taxi_assets.tracking.tags import (
    BACKTEST_MONTH,
    DAGSTER_RUN,
    DESCRIPTION,
    REASON,
    TrainedMonth,
)

if TYPE_CHECKING:
    from mlflow.entities import Experiment
    from optuna.trial import FrozenTrial

LINEAR, BOOSTED = "linear", "boosted"
"""The families of models that are tracked."""

MODEL_ASSETS = {LINEAR: "model", BOOSTED: "boosted_model"}
"""The assets that train them."""

DELETED = "deleted"
"""MLflow's word for the life cycle of what somebody has deleted and may still restore."""

ABOUT_MONTHS = (
    "Each run is one training of one month of a fleet of New York taxis. [These runs]"
    "(#/experiments/{experiment}/runs?searchFilter=tags.%60taxi_assets.superseded%60%20%3D%20"
    "%27false%27) trained the models in use. The models of the family "
    "`linear` are linear regressions on pick-up and drop-off zones; those of the family `boosted` "
    "are gradient-boosted trees. Both predict a trip's duration in minutes.\n\n"
    "Metrics are about the month's validation trips, a fifth of all: `rmse` and `mae` are errors "
    "in minutes, `baseline_rmse` is the error of always predicting the mean, and `r2` is the share "
    "of the variance that the model explains. Metrics that begin with `backtest_` are about all "
    "trips of a later month, which the tag `taxi_assets.backtest_month` names.\n\n"
    "A run whose model has been replaced has the tag `taxi_assets.superseded`: filter by "
    "``tags.`taxi_assets.superseded` = 'false'`` to see the others only."
)
"""The description of the months' experiment on MLflow's pages; ``{experiment}`` is its id."""

ABOUT_TRIALS = (
    "Each run is one trial of a study of the boosted model's hyperparameters. The metrics "
    "`rmse_…` are errors in minutes on the month that they name, by models of the months before it."
)
"""The description of the experiment of trials."""


class DeletedRunError(MonthError):
    """Somebody has deleted the run that trained the month's model, or what it has logged."""

    def __init__(self, run_id: str, family: str) -> None:
        super().__init__(
            f"MLflow run {run_id}, which trained the model, or the model that it logged was "
            "deleted, or MLFLOW_TRACKING_URI leads to another database."
        )
        self.remake = (MODEL_ASSETS[family],)


@dataclass(eq=False)
class Tracking:
    """Where models are tracked: an MLflow database or server, and an experiment there."""

    uri: InitVar[str]
    experiment_name: str
    dagster_ui_url: str | None = None
    mlflow_ui_url: str | None = None
    about: str = ABOUT_MONTHS

    def __post_init__(self, uri: str) -> None:
        self.server = TrackingServer(uri)

    def experiment_id(self) -> str:
        """The experiment's id; the experiment is made, with its description, where there is none.

        Raises:
            TrackingError: somebody has deleted the experiment.
        """
        client = self.server.client
        experiment = client.get_experiment_by_name(self.experiment_name)
        if experiment is None:
            folder = None
            if (database := self.server.database) is not None:
                # Beside the database; a server has a place of its own.
                name = re.sub(r"[^\w.-]", "_", self.experiment_name)
                folder = str(Path(database).parent / "mlruns" / name)
            made = str(client.create_experiment(self.experiment_name, folder))
            client.set_experiment_tag(made, DESCRIPTION, self.about.format(experiment=made))
            return made
        self.refuse_deleted(experiment)
        return str(experiment.experiment_id)

    def refuse_deleted(self, experiment: "Experiment") -> None:
        """Refuse an experiment that somebody has deleted.

        Raises:
            TrackingError: the experiment was deleted.
        """
        if experiment.lifecycle_stage == DELETED:
            raise TrackingError(
                f"The experiment {experiment.name} at {self.server.shown} was deleted. Restore it: "
                f"mlflow experiments restore --experiment-id {experiment.experiment_id} (with "
                "MLFLOW_TRACKING_URI set), or set MLFLOW_EXPERIMENT_NAME to another."
            )

    def end_left_runs(self, experiment_id: str, instance: dg.DagsterInstance) -> None:
        """End the runs that are RUNNING although their Dagster run is over, as after a kill.

        Dagster runs whose process is gone have been ended before, by ``runs/dead_runs.py``.
        """
        client = self.server.client
        for run in client.search_runs([experiment_id], "attributes.status = 'RUNNING'"):
            dagster_run = instance.get_run_by_id(run.data.tags.get(DAGSTER_RUN, ""))
            if dagster_run is not None and dagster_run.is_finished:
                reason = f"the Dagster run ended as {dagster_run.status.value}"
                client.set_tag(run.info.run_id, REASON, reason)
                failed = dagster_run.status == dg.DagsterRunStatus.FAILURE
                client.set_terminated(run.info.run_id, "FAILED" if failed else "KILLED")

    def log_backtest(self, context: TrainedMonth, run_id: str, metrics: Mapping[str, Any]) -> None:
        """Log to a model's run how the model does on a later month.

        Nothing is logged to a run that somebody has deleted.

        Raises:
            TrackingError: MLflow does not do its part.
        """
        from mlflow.entities import Metric, RunTag

        with self.server.turn():
            client, now = self.server.client, int(time.time() * 1000)
            run = unless_gone(client.get_run, run_id)
            if run is None or run.info.lifecycle_stage == DELETED:
                context.report(f"MLflow run {run_id} was deleted; its backtest is not logged")
                return
            logged = [
                Metric(f"backtest_{name}", value, now, 0)
                for name, value in metrics.items()
                if isinstance(value, float)
            ]
            client.log_batch(run_id, logged, tags=[RunTag(BACKTEST_MONTH, str(context.month))])

    def log_trial(
        self,
        name: str,
        trial: "FrozenTrial",
        parameters: Mapping[str, Any],
        metrics: Mapping[str, float],
    ) -> None:
        """Log a finished trial as a run of its own times; a pruned trial's run is KILLED.

        Optuna's own callback is deprecated, logs RMSEs as text, and a pruned trial as a finished
        run.

        Raises:
            TrackingError: MLflow does not do its part.
        """
        from mlflow.entities import Metric, Param

        moments = (trial.datetime_start, trial.datetime_complete)
        begun, ended = (round(moment.timestamp() * 1000) for moment in moments if moment)
        params = [Param(key, str(value)) for key, value in parameters.items()]
        logged = [Metric(key, value, ended, 0) for key, value in metrics.items()]
        with self.server.turn():
            client = self.server.client
            run_id = client.create_run(self.experiment_id(), begun, run_name=name).info.run_id
            status = "FAILED"
            try:
                client.log_batch(run_id, logged, params)
                status = "KILLED" if trial.state.name == "PRUNED" else "FINISHED"
            finally:
                client.set_terminated(run_id, status, ended)
