"""From a function of one month to a Dagster asset."""

import inspect
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from taxi_assets.errors import MonthError
from taxi_assets.partitions import monthly_partitions
from taxi_assets.tlc.fleets import Fleet
from taxi_assets.tlc.months import Month


@dataclass(frozen=True)
class MonthOutput:
    """What a month function gives back.

    Attributes:
        value: what the asset's IO manager stores.
        summary: the month in a few words, for the log and for Dagster's pages.
        metadata: figures and tables for Dagster's pages; numbers are plotted over the months.
        data_version: changes when, and only when, the value does; Dagster derives one from the
            code version and the inputs' data versions where it is not given.
    """

    value: Any
    summary: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    data_version: str | None = None


@dataclass(frozen=True)
class MonthContext:
    """Which month a month function works on, and where it can say how it goes."""

    fleet: Fleet
    month: Month
    dagster: dg.AssetExecutionContext

    def report(self, line: str) -> None:
        """Log a line about the month."""
        asset = self.dagster.asset_key.path[-1]
        self.dagster.log.info(f"{asset} {self.month}: {line}")


@dataclass(frozen=True)
class MonthlyAsset:
    """A month function and what Dagster needs to know of it, for any fleet."""

    function: Callable[..., MonthOutput]
    io_manager_key: str
    group: str
    kinds: Set[str]
    code_version: str
    resources: Set[str]

    @property
    def name(self) -> str:
        """The asset's name: the function's."""
        return self.function.__name__

    def build(self, fleet: Fleet) -> dg.AssetsDefinition:
        """The Dagster asset ``<fleet>/<name>``."""
        _, *parameters = inspect.signature(self.function).parameters
        upstream = [name for name in parameters if name not in self.resources]

        # Dagster would evaluate the month function's annotations; this one hides them, so that
        # they may name types which are only imported for type checkers.
        def compute(context: dg.AssetExecutionContext, **inputs: Any) -> dg.Output[Any]:
            month = Month.parse(context.partition_key)
            resources = {name: getattr(context.resources, name) for name in self.resources}
            month_context = MonthContext(fleet, month, context)
            try:
                output = self.function(month_context, **inputs, **resources)
            except MonthError as error:
                raise dg.Failure(f"{self.name} {month}: {error}", allow_retries=False) from error
            month_context.report(output.summary)
            version = output.data_version
            return dg.Output(
                output.value,
                metadata={"summary": output.summary, **output.metadata},
                data_version=None if version is None else dg.DataVersion(version),
            )

        return dg.asset(
            name=self.name,
            key_prefix=fleet.name,
            ins={name: dg.AssetIn(key=[fleet.name, name]) for name in upstream},
            required_resource_keys=set(self.resources),
            partitions_def=monthly_partitions(fleet),
            io_manager_key=self.io_manager_key,
            description=inspect.getdoc(self.function),
            group_name=self.group,
            kinds=set(self.kinds),
            code_version=self.code_version,
            owners=["team:taxi-assets"],
        )(compute)


def monthly_asset(
    *,
    io_manager: str,
    group: str,
    kinds: Set[str],
    code_version: str,
    resources: Set[str] = frozenset(),
) -> Callable[[Callable[..., MonthOutput]], MonthlyAsset]:
    """Declare that a function makes one month of an asset.

    The function's first parameter takes a ``MonthContext``. Parameters that ``resources`` names
    take Dagster resources, all others the same month of the asset of their name.
    """

    def declare(function: Callable[..., MonthOutput]) -> MonthlyAsset:
        return MonthlyAsset(function, io_manager, group, kinds, code_version, resources)

    return declare
