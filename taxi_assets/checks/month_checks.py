"""Asset checks of single months: how one is written."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import dagster as dg


class Judgement(NamedTuple):
    """What a check finds.

    Attributes:
        passed: whether the month is as usual.
        finding: the metrics in a sentence.
        metadata: the metrics as numbers.
    """

    passed: bool
    finding: str
    metadata: Mapping[str, Any]


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

    def __call__(self, *arguments: Any, **more: Any) -> dg.AssetCheckResult:
        """Judge a month."""
        passed, finding, metadata = self.judge(*arguments, **more)
        return dg.AssetCheckResult(
            check_name=self.name,
            passed=passed,
            severity=dg.AssetCheckSeverity.WARN,
            description=finding,
            metadata={"finding": finding, **metadata},
        )

    def spec(self, asset: dg.AssetKey, months: dg.PartitionsDefinition[str]) -> dg.AssetCheckSpec:
        """The check as Dagster declares it."""
        description = inspect.getdoc(self.judge)
        return dg.AssetCheckSpec(
            self.name, asset=asset, description=description, partitions_def=months
        )


month_check = MonthCheck
"""Decorator of a function that returns a judgement."""
