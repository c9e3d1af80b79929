"""How runs are executed."""

from typing import Any

import dagster as dg


@dg.configured(
    dg.multi_or_in_process_executor,
    config_schema=dg.Field(
        dg.Selector(
            {
                "in_process": dg.in_process_executor.config_schema.as_field(),
                "multiprocess": dg.multiprocess_executor.config_schema.as_field(),
            }
        ),
        # A process for each step costs more than all the work of a month.
        default_value={"in_process": {}},
    ),
)
def in_process_by_default(config: dict[str, Any]) -> dict[str, Any]:
    """Dagster's own executors; all steps run in the run's process unless the launch config asks."""
    return config
