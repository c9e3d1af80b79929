"""The MLflow runs of a study of hyperparameters: one for it all, and a child for each trial.

They are in an experiment of their own, so that none is ever among those of the trained months.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from taxi_assets.durations.trials import Findings, Trial
from taxi_assets.tracking.runs import DELETED, Tracking

if TYPE_CHECKING:
    from mlflow import MlflowClient

PARENT = "mlflow.parentRunId"
"""Tag by which MLflow's pages show a run below another."""

TRIAL = "taxi_assets.trial"
"""Tag of a child: the trial's number."""

MANY = 50_000
"""The most runs that MLflow finds at once."""


class StudyTracking(Tracking):
    """Where a study is tracked: beside the trained months, in ``<their experiment>-tuning``."""

    def __init__(self, uri: str, experiment_name: str) -> None:
        super().__init__(uri, f"{experiment_name}-tuning")
        self._tracked: set[int] = set()

    def begin(self, name: str, parameters: Mapping[str, Any], run_id: str | None) -> str:
        """Begin a study's run, or take it up again where it is still there.

        Args:
            name: the run's.
            parameters: what the study is of.
            run_id: of the run that the study has had before.

        Returns:
            The run's id.

        Raises:
            TrackingError: MLflow does not do its part.
        """
        from mlflow.entities import Param

        with self.server.turn():
            client = self.server.client
            experiment_id = self._experiment_id(client)
            if run_id is not None and _is_there(client, run_id):
                client.update_run(run_id, status="RUNNING")
                self._take_up(client, run_id)
                return run_id
            run = client.create_run(experiment_id, run_name=name)
            logged = [Param(key, str(value)) for key, value in parameters.items()]
            client.log_batch(run.info.run_id, params=logged)
            return str(run.info.run_id)

    def log(self, run_id: str, trials: Iterable[Trial]) -> None:
        """Add a child for each trial that has none yet.

        Raises:
            TrackingError: MLflow does not do its part.
        """
        new = [trial for trial in trials if trial.number not in self._tracked]
        with self.server.turn():
            for trial in new:
                self._log_child(run_id, trial)
                self._tracked.add(trial.number)

    def end(self, run_id: str, status: str, findings: Findings | None) -> None:
        """End a study's run as FINISHED, KILLED or FAILED, with what has been found, if anything.

        Raises:
            TrackingError: MLflow does not do its part.
        """
        with self.server.turn():
            client = self.server.client
            if findings is not None:
                client.log_metric(run_id, "objective", findings.best.objective)
                client.log_metric(run_id, "gain_over_defaults", findings.gain)
                client.set_tag(run_id, TRIAL, str(findings.best.number))
            client.set_terminated(run_id, status)

    def _take_up(self, client: "MlflowClient", run_id: str) -> None:
        """Find out which trials have children; one that was left halfway is logged anew."""
        experiment_id = client.get_run(run_id).info.experiment_id
        condition = f"tags.`{PARENT}` = '{run_id}'"
        for child in client.search_runs([experiment_id], condition, max_results=MANY):
            if child.info.status == "FINISHED":
                self._tracked.add(int(child.data.tags[TRIAL]))
            elif child.info.status == "RUNNING":
                client.set_terminated(child.info.run_id, "KILLED")

    def _log_child(self, parent: str, trial: Trial) -> None:
        from mlflow.entities import Metric, Param

        client = self.server.client
        ended = round(trial.ended.timestamp() * 1000)
        child = client.create_run(
            client.get_run(parent).info.experiment_id,
            start_time=round(trial.started.timestamp() * 1000),
            run_name=f"trial {trial.number}",
            tags={PARENT: parent, TRIAL: str(trial.number)},
        )
        figures = {"objective": trial.objective, "seconds": trial.seconds}
        figures |= {f"rmse_{month}": rmse for month, rmse in trial.rmses.items()}
        client.log_batch(
            child.info.run_id,
            [Metric(name, value, ended, 0) for name, value in figures.items()],
            [Param(name, str(value)) for name, value in asdict(trial.hyperparameters).items()],
        )
        client.set_terminated(child.info.run_id, "FINISHED", ended)


def _is_there(client: "MlflowClient", run_id: str) -> bool:
    """Whether there is a run, and nobody has deleted it."""
    from mlflow.exceptions import MlflowException

    try:
        return bool(client.get_run(run_id).info.lifecycle_stage != DELETED)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False
