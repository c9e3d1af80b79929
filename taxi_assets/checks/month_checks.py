"""Asset checks of single months: how one is written, and how Dagster learns of its result."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData,
)

from taxi_assets.tlc.months import Month


class Judgement(NamedTuple):
    """What a check finds.

    Attributes:
        passed: whether the month is as usual.
        finding: the figures in a sentence.
        metadata: the figures as numbers.
    """

    passed: bool
    finding: str
    metadata: Mapping[str, Any]


@dataclass(frozen=True)
class CheckedMonth:
    """A check's judgement of a month, on its way to Dagster."""

    check: str
    judgement: Judgement


@dataclass(frozen=True)
class MonthCheck:
    """A check of one month of an asset. It warns and never fails a run.

    Attributes:
        judge: the function; its name is the check's, its docstring the check's description.
    """

    judge: Callable[..., Judgement]

    @property
    def name(self) -> str:
        """The check's name."""
        return self.judge.__name__

    def __call__(self, *arguments: Any, **more: Any) -> CheckedMonth:
        """Judge a month."""
        return CheckedMonth(self.name, self.judge(*arguments, **more))

    def spec(self, asset: dg.AssetKey, months: dg.PartitionsDefinition[str]) -> dg.AssetCheckSpec:
        """The check as Dagster declares it."""
        description = inspect.getdoc(self.judge)
        return dg.AssetCheckSpec(
            self.name, asset=asset, description=description, partitions_def=months
        )


month_check = MonthCheck
"""Makes a check of a function that returns a judgement."""


def record_checks(
    context: dg.AssetExecutionContext, month: Month, checked: Iterable[CheckedMonth]
) -> None:
    """Record a month's judgements in Dagster, beside the month's latest materialization."""
    latest = context.instance.fetch_materializations(
        dg.AssetRecordsFilter(context.asset_key, asset_partitions=[month.partition_key]), limit=1
    ).records
    target = None
    if latest:
        target = AssetCheckEvaluationTargetMaterializationData(
            storage_id=latest[0].storage_id,
            run_id=latest[0].run_id,
            timestamp=latest[0].timestamp,
        )
    for name, (passed, finding, metadata) in ((one.check, one.judgement) for one in checked):
        if not passed:
            context.log.warning(f"{context.asset_key.path[-1]} {month}: {finding}")
        # Dagster logs these too, though the signature does not say so.
        context.op_execution_context.log_event(
            dg.AssetCheckEvaluation(  # type: ignore[arg-type]
                asset_key=context.asset_key,
                check_name=name,
                passed=passed,
                metadata={"finding": finding, **metadata},
                target_materialization_data=target,
                severity=dg.AssetCheckSeverity.WARN,
                description=finding,
                partition=month.partition_key,
            )
        )
