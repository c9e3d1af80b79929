"""From a function of one month to a Dagster asset over any span of months.

This is the only module that knows that a run may have several months. A run of one month is plain
Dagster: values go in, a value comes out. In a run of several, inputs are mappings from which a
month's value is loaded when it is its turn, and the output is a ``Span``, whose months the IO
manager has made and stored one after the other, so that never two are in memory.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any

import dagster as dg

from taxi_assets.checks.month_checks import CheckedMonth, MonthCheck, record_checks
from taxi_assets.errors import MonthError, ServiceError, explain
from taxi_assets.failures import explained_failures
from taxi_assets.masking import mask
from taxi_assets.partitions import commands, monthly_partitions
from taxi_assets.records import MonthRecords
from taxi_assets.tlc.fleets import Fleet
from taxi_assets.tlc.months import Month


@dataclass(frozen=True)
class MonthOutput:
    """What a month function gives back.

    Attributes:
        value: what the asset's IO manager stores.
        summary: the month in a few words, for the log and for Dagster's pages.
        metadata: figures and tables for Dagster's pages; numbers are plotted over the months.
        data_version: changes when, and only when, the value does; one is derived from the code
            version and the inputs' data versions where it is not given.
        checks: judgements of the month by the asset's checks.
    """

    value: Any
    summary: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    data_version: str | None = None
    checks: Sequence[CheckedMonth] = ()


@dataclass(frozen=True)
class MonthContext:
    """Which month a month function works on, and where it can say how it goes."""

    fleet: Fleet
    month: Month
    dagster: dg.AssetExecutionContext
    position: str = ""

    def materializes(self, asset: str) -> bool:
        """Whether the run has the fleet's asset of that name among those it materializes."""
        selected = self.dagster.run.asset_selection
        return not selected or dg.AssetKey([self.fleet.name, asset]) in selected

    def report(self, line: str) -> None:
        """Log a line about the month."""
        asset = self.dagster.asset_key.path[-1]
        self.dagster.log.info(f"{asset} {self.month}{self.position}: {line}")


@dataclass(frozen=True)
class MonthlyAsset:
    """A month function and what Dagster needs to know of it, for any fleet."""

    function: Callable[..., MonthOutput]
    io_manager_key: str
    group: str
    kinds: Set[str]
    code_version: str
    resources: Set[str]
    before_span: Callable[..., None] | None = None
    checks: Sequence[MonthCheck] = ()

    @property
    def name(self) -> str:
        """The asset's name: the function's."""
        return self.function.__name__

    @property
    def upstream(self) -> list[str]:
        """Names of the assets that the function takes."""
        _, *parameters = inspect.signature(self.function).parameters
        return [name for name in parameters if name not in self.resources]

    def build(self, fleet: Fleet, backfill_policy: dg.BackfillPolicy) -> dg.AssetsDefinition:
        """The Dagster asset ``<fleet>/<name>``."""

        # Dagster would evaluate the month function's annotations; this one hides them, so that
        # they may name types which are only imported for type checkers.
        def compute(context: dg.AssetExecutionContext, **inputs: Any) -> Iterator[dg.Output[Any]]:
            months = sorted(Month.parse(key) for key in context.partition_keys)
            if len(months) > 1:
                yield dg.Output(Span(self, fleet, months, inputs, context))
            else:
                yield from self._make_alone(MonthContext(fleet, months[0], context), inputs)
            # The judgements are recorded, each with its month; Dagster waits for outputs too.
            for check in checks:
                yield dg.Output(None, output_name=check.get_python_identifier())

        key = dg.AssetKey([fleet.name, self.name])
        months = monthly_partitions(fleet)
        checks = [check.spec(key, months) for check in self.checks]
        return dg.asset(
            name=self.name,
            key_prefix=fleet.name,
            ins={name: dg.AssetIn(key=[fleet.name, name]) for name in self.upstream},
            required_resource_keys=set(self.resources),
            partitions_def=months,
            check_specs=checks,
            backfill_policy=backfill_policy,
            io_manager_key=self.io_manager_key,
            description=inspect.getdoc(self.function),
            group_name=self.group,
            kinds=set(self.kinds),
            code_version=self.code_version,
            owners=["team:taxi-assets"],
            hooks={record_span_again},
        )(compute)

    def _make_alone(
        self, context: MonthContext, inputs: Mapping[str, Any]
    ) -> Iterator[dg.Output[Any]]:
        """Make the only month of a run; it is stored when the output has been yielded."""
        with explained_failures(self.name, context.month):
            output = self.make(context, inputs)
        version = output.data_version
        yield dg.Output(
            output.value,
            metadata={"summary": output.summary, **output.metadata},
            data_version=None if version is None else dg.DataVersion(version),
        )
        record_checks(context.dagster, context.month, output.checks)

    def make(self, context: MonthContext, inputs: Mapping[str, Any]) -> MonthOutput:
        """Call the month function with the month's inputs, and log what came out."""
        output = self.function(context, **inputs, **self._resources(context.dagster))
        context.report(output.summary)
        return output

    def prepare(
        self, fleet: Fleet, months: Sequence[Month], context: dg.AssetExecutionContext
    ) -> None:
        """Do what has to be done once, before the first month of a span."""
        if self.before_span is not None:
            self.before_span(fleet, months, **self._resources(context))

    def _resources(self, context: dg.AssetExecutionContext) -> dict[str, Any]:
        return {name: getattr(context.resources, name) for name in self.resources}


class Span:
    """Several months of an asset, not made yet."""

    def __init__(
        self,
        asset: MonthlyAsset,
        fleet: Fleet,
        months: list[Month],
        inputs: Mapping[str, Mapping[Month, Any]],
        context: dg.AssetExecutionContext,
    ) -> None:
        self._asset = asset
        self._fleet = fleet
        self._months = months
        self._inputs = inputs
        self._context = context
        self._records = MonthRecords(context, months)

    def store_each(self, store: Callable[[Month, Any], Mapping[str, Any]]) -> None:
        """Make and store the months in order, and record each as soon as it is stored.

        A month that fails does not keep the others from being stored.

        Args:
            store: stores a month's value, and returns metadata about how it is stored.

        Raises:
            dagster.Failure: after the last month, if any failed.
        """
        try:
            self._asset.prepare(self._fleet, self._months, self._context)
        except MonthError as error:
            raise dg.Failure(f"{self._asset.name}: {error}", allow_retries=False) from None
        failed: dict[Month, str] = {}
        for number, month in enumerate(self._months, 1):
            position = f" ({number} of {len(self._months)})"
            context = MonthContext(self._fleet, month, self._context, position)
            try:
                output, stored = self._store(context, store)
                metadata = {"summary": output.summary, **output.metadata, **stored}
                self._records.add(month, metadata, output.data_version)
                record_checks(self._context, month, output.checks)
            except Exception as error:
                failed[month] = _reason(error)
                expected = isinstance(error, dg.Failure) or explain(error) is not None
                self._context.log.error(
                    f"{self._asset.name} {month}{position} failed: {failed[month]}",
                    exc_info=not expected,
                )
                if isinstance(error, ServiceError):
                    failed |= dict.fromkeys(self._months[number:], "not tried")
                    break
        if failed:
            raise dg.Failure(self._explain(failed), allow_retries=False)

    def _store(
        self, context: MonthContext, store: Callable[[Month, Any], Mapping[str, Any]]
    ) -> tuple[MonthOutput, Mapping[str, Any]]:
        """Make and store a month; what is returned no longer has the value."""
        inputs = {name: months[context.month] for name, months in self._inputs.items()}
        output = self._asset.make(context, inputs)
        stored = store(context.month, output.value)
        return replace(output, value=None), stored

    def record_again(self) -> None:
        """Record the months anew, after the records that Dagster makes at the end of a step."""
        self._records.repeat()

    def _explain(self, failed: Mapping[Month, str]) -> str:
        """Which months failed and why, and how to go on with the others."""
        lines = [f"{self._asset.name} failed for {len(failed)} of {len(self._months)} months:"]
        lines += [f"  {month}: {reason}" for month, reason in failed.items()]
        good = [month for month in self._months if month not in failed]
        waiting = self._waiting_assets()
        if good and waiting:
            lines.append("The other months are stored. To go on with them:")
            lines += [f"  {command}" for command in commands(waiting, good)]
        return "\n".join(lines)

    def _waiting_assets(self) -> list[dg.AssetKey]:
        """The run's assets that need this one, and therefore will not be materialized."""
        graph = self._context.job_def.asset_layer.asset_graph
        own = dg.AssetSelection.assets(self._context.asset_key)
        downstream = own.downstream(include_self=False).resolve(graph)
        return sorted(downstream & (self._context.run.asset_selection or downstream))


def _reason(error: Exception) -> str:
    if isinstance(error, dg.Failure):
        return str(error.description)
    return mask(explain(error) or f"{type(error).__name__}: {error}")


@dg.success_hook
def record_span_again(context: dg.HookContext) -> None:
    """Give a span's months the last word, see ``Span.record_again``."""
    for output in context.op_output_values.values():
        if isinstance(output, Span):
            output.record_again()


def monthly_asset(
    *,
    io_manager: str,
    group: str,
    kinds: Set[str],
    code_version: str,
    resources: Set[str] = frozenset(),
    before_span: Callable[..., None] | None = None,
    checks: Sequence[MonthCheck] = (),
) -> Callable[[Callable[..., MonthOutput]], MonthlyAsset]:
    """Declare that a function makes one month of an asset.

    The function's first parameter takes a ``MonthContext``. Parameters that ``resources`` names
    take Dagster resources, all others the same month of the asset of their name. ``before_span``
    is called with the fleet, the months and the resources before a run of several months.
    ``checks`` are those by which the function judges each month.
    """

    def declare(function: Callable[..., MonthOutput]) -> MonthlyAsset:
        return MonthlyAsset(
            function, io_manager, group, kinds, code_version, resources, before_span, checks
        )

    return declare
