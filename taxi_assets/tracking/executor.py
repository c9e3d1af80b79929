"""Dagster's executors, with an eye on the MLflow runs that a Dagster run leaves behind."""

from collections.abc import Iterator

import dagster as dg
from dagster._core.execution.context.system import PlanOrchestrationContext
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.retries import RetryMode

from taxi_assets.errors import ServiceError
from taxi_assets.tracking.runs import Tracking


class TrackedExecutor(dg.Executor):
    """Executes as another executor does; at the end no MLflow run is left RUNNING.

    Between training a month and scoring it, the month's MLflow run is open. If the Dagster run
    ends there, because a step failed, somebody terminated it or a month of the span was bad, this
    is the place that still runs, in whichever processes the steps were.
    """

    def __init__(self, executor: dg.Executor, tracking: Tracking) -> None:
        self._executor = executor
        self._tracking = tracking

    @property
    def retries(self) -> RetryMode:
        """Those of the executor within."""
        return self._executor.retries

    def execute(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[dg.DagsterEvent]:
        """Execute the plan."""
        trained = False
        status = "KILLED"
        try:
            for event in self._executor.execute(plan_context, execution_plan):
                trained = trained or (event.step_key or "").endswith("__model")
                yield event
            status = "FAILED"
        finally:
            if trained:
                self._close(plan_context, status)

    def _close(self, plan_context: PlanOrchestrationContext, status: str) -> None:
        try:
            self._tracking.close_runs(plan_context.run_id, status)
        except ServiceError as error:
            plan_context.log.error(f"MLflow runs may be left RUNNING: {error}")


def tracked_executor(tracking: Tracking) -> dg.ExecutorDefinition:
    """All steps in the run's process, or, if the launch config asks, each in one of its own.

    In the run's process is the default, as a process for each step costs more than all the work
    of a month.
    """

    @dg.executor(
        name="in_process_by_default",
        config_schema=dg.Field(
            dg.Selector(
                {
                    "in_process": dg.in_process_executor.config_schema.as_field(),
                    "multiprocess": dg.multiprocess_executor.config_schema.as_field(),
                }
            ),
            default_value={"in_process": {}},
        ),
        requirements=dg.multi_or_in_process_executor.get_requirements,
    )
    def in_process_by_default(context: dg.InitExecutorContext) -> dg.Executor:
        create = dg.multi_or_in_process_executor.executor_creation_fn
        assert create is not None
        return TrackedExecutor(create(context), tracking)

    return in_process_by_default
