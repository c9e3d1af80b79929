"""The MLflow runs of tuning: one for each finished trial, in an experiment of their own.

Optuna's own callback is deprecated, and logs RMSEs as text.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from taxi_assets.tracking.runs import Tracking

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

ABOUT_TRIALS = (
    "Each run is one trial of a study of the boosted model's hyperparameters. The metrics "
    "`rmse_…` are errors in minutes on the month that they name, by models of the months before it."
)
"""The experiment's description on MLflow's pages."""


class StudyTracking(Tracking):
    """Where trials are tracked: beside the trained months, in ``<their experiment>-tuning``."""

    def __init__(self, uri: str, experiment_name: str) -> None:
        """Find or make the experiment.

        Raises:
            TrackingError: MLflow does not do its part.
        """
        super().__init__(uri, f"{experiment_name}-tuning")
        with self.server.turn():
            self._id = self.experiment_id(ABOUT_TRIALS)

    def log_trial(
        self,
        name: str,
        trial: "FrozenTrial",
        parameters: Mapping[str, Any],
        metrics: Mapping[str, float],
    ) -> None:
        """Log a finished trial as a run with the trial's times.

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
            run_id = client.create_run(self._id, begun, run_name=name).info.run_id
            status = "FAILED"
            try:
                client.log_batch(run_id, logged, params)
                status = "FINISHED"
            finally:
                client.set_terminated(run_id, status, ended)
