"""A graph of three assets in memory, in the role of the real one: milliseconds a month."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import dagster as dg
from dagster._core.definitions.data_version import CachingStaleStatusResolver
from dagster._core.loader import LoadingContextForTest

from taxi_assets.checks.month_checks import Judgement, month_check
from taxi_assets.runs.monthly_asset import (
    MonthContext,
    MonthlyAsset,
    monthly_asset,
    monthly_partitions,
)
from taxi_assets.runs.months import fleet_months
from taxi_assets.tlc.fleets import FLEETS
from taxi_assets.tlc.months import Month

if TYPE_CHECKING:
    from collections.abc import Callable

GREEN = FLEETS["green"]
ASSETS = ("numbers", "doubled", "totals")


@month_check
def is_positive(number: int) -> Judgement:
    """A number is positive."""
    return Judgement(number > 0, f"the number is {number}", {"number": number})


@month_check
def is_small(number: int) -> Judgement:
    """A number is below a thousand."""
    return Judgement(number < 1000, f"the number is {number}", {"thousands": number / 1000})


class Number(float):
    """A number of which one can see whether it is still in memory."""


class Memory(dg.IOManager):
    """Keeps values by asset and month, and counts how often it is asked for each."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, str], int] = {}
        self.loaded: Counter[tuple[str, str]] = Counter()

    def handle_output(self, context: dg.OutputContext, obj: int) -> None:
        self.values[context.asset_key.path[-1], context.partition_key[:7]] = int(obj)

    def load_input(self, context: dg.InputContext) -> int:
        month = (context.asset_key.path[-1], context.partition_key[:7])
        self.loaded[month] += 1
        return self.values[month]


class Toy:
    """Numbers by month at a source; ``numbers`` → ``doubled``; and ``totals``, which look back.

    Attributes:
        source: the numbers, or what is raised instead.
        made: which month of which asset has been made, in order.
        in_memory: values of ``numbers`` that are.
        before: called with an asset's name and a month before it is made.
        more: assets of months beside the three.
        others: assets of somebody else.
        resources: of the definitions, the IO manager among them.
        slept: how long the runs have waited, in seconds.
    """

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.memory = Memory()
        self.source: dict[str, int | Exception] = {
            f"2023-0{number}": number for number in range(1, 7)
        }
        self.made: list[tuple[str, str]] = []
        self.in_memory: WeakSet[Number] = WeakSet()
        self.before: Callable[[str, str], None] = lambda _asset, _month: None
        self.code_version = "1"
        self.more: list[MonthlyAsset] = []
        self.others: list[dg.AssetsDefinition] = []
        self.resources: dict[str, Any] = {"memory": self.memory}
        self.slept: list[float] = []

    def fail_at(self, asset: str, month: str, error: BaseException, times: int = 100) -> None:
        """Have an error raised before a month of an asset is made, some times."""
        errors = [error] * times

        def before(name: str, text: str) -> None:
            if (name, text) == (asset, month) and errors:
                raise errors.pop()

        self.before = before

    @property
    def graph(self) -> list[MonthlyAsset]:
        """The assets."""

        def begin(context: MonthContext) -> str:
            month = str(context.month)
            self.before(context.asset, month)
            self.made.append((context.asset, month))
            return month

        options: Any = {"io_manager": "memory", "kinds": set(), "code_version": "1"}

        @monthly_asset(**options, checks=[is_positive, is_small])
        def numbers(context: MonthContext) -> dg.MaterializeResult[int]:
            number = self.source[begin(context)]
            if isinstance(number, Exception):
                raise number
            value = Number(number)
            self.in_memory.add(value)
            return dg.MaterializeResult(
                value=value,
                metadata={"summary": str(number), "third": number / 3},
                data_version=dg.DataVersion(str(number)),
                check_results=[is_positive(number), is_small(number)],
            )

        @monthly_asset(**options | {"code_version": self.code_version})
        def doubled(context: MonthContext, numbers: int) -> dg.MaterializeResult[int]:
            begin(context)
            return dg.MaterializeResult(value=2 * numbers, metadata={"summary": "twice"})

        @monthly_asset(**options, looks_back=True)
        def totals(context: MonthContext, doubled: int) -> dg.MaterializeResult[int]:
            month = begin(context)
            total = self.memory.values.get(("totals", str(Month.parse(month) - 1)), 0) + doubled
            return dg.MaterializeResult(value=total, metadata={"summary": "so far"})

        return [numbers, doubled, totals, *self.more]

    @property
    def definitions(self) -> dg.Definitions:
        """What Dagster loads."""
        months = fleet_months(GREEN, self.graph, dg.BackfillPolicy.single_run())
        return dg.Definitions(
            assets=[months, *self.others],
            resources=self.resources,
            executor=dg.in_process_executor,
        )

    def run(
        self, span: str, *assets: str, checks: Sequence[str] | None = None, **tags: str
    ) -> dg.ExecuteInProcessResult:
        """Materialize a month, or months as 2023-01:2023-03; of no month if the span is empty.

        Args:
            span: the months.
            assets: their names, by default all, or none if there are ``checks``.
            checks: names of the checks of ``numbers`` that are selected, by default all.
            tags: of the run.
        """
        first, _, last = span.partition(":")
        if span:
            tags |= {
                "dagster/asset_partition_range_start": f"{first}-01",
                "dagster/asset_partition_range_end": f"{last or first}-01",
            }
        job = self.definitions.resolve_implicit_global_asset_job_def()
        if assets or checks is not None:
            selected = None
            if checks is not None:
                selected = {dg.AssetCheckKey(key("numbers"), check) for check in checks}
            job = job.get_subset(
                asset_selection={key(name) for name in assets}, asset_check_selection=selected
            )
        self.made = []
        return job.execute_in_process(tags=tags, instance=self.instance, raise_on_error=False)

    def records(self, asset: str, month: str) -> list[dg.EventLogRecord]:
        """The records of an asset's month, the latest first."""
        wanted = dg.AssetRecordsFilter(key(asset), asset_partitions=[f"{month}-01"])
        return list(self.instance.fetch_materializations(wanted, limit=100).records)

    def observed(self, asset: str, run_id: str) -> dict[str, str]:
        """What the page of an asset says of months that a run could not make."""
        records = self.instance.fetch_observations(key(asset), limit=100).records
        return {
            str(record.partition_key)[:7]: str(record.asset_observation.description)
            for record in records
            if record.run_id == run_id and record.asset_observation
        }

    def statuses(self, asset: str) -> dict[str, str]:
        """What Dagster's overview says of each month of an asset."""
        months = monthly_partitions(GREEN)
        statuses = self.instance.get_status_by_partition(
            key(asset), months.get_partition_keys(), months
        )
        return {month[:7]: status.value for month, status in (statuses or {}).items() if status}

    def judged(self, run_id: str) -> list[dg.AssetCheckEvaluation]:
        """What the checks of a run have found, in order."""
        kind = dg.DagsterEventType.ASSET_CHECK_EVALUATION
        events = [entry.dagster_event for entry in self.instance.all_logs(run_id, of_type=kind)]
        return [event.asset_check_evaluation_data for event in events if event]

    def check_states(self) -> dict[tuple[str, str], tuple[str, bool]]:
        """The status of each check by its name and month, and whether Dagster calls it current."""
        keys = list(self.definitions.resolve_asset_graph().asset_check_keys)
        return {
            (info.check_key.name, str(info.partition_key)[:7]): (
                info.latest_execution_status.value,
                info.is_current,
            )
            for info in self.instance.event_log_storage.get_asset_check_partition_info(keys)
        }

    def stale(self) -> dict[tuple[str, str], list[str]]:
        """What Dagster calls stale, and why."""
        graph = self.definitions.resolve_asset_graph()
        resolver = CachingStaleStatusResolver(
            self.instance, graph, LoadingContextForTest(self.instance)
        )
        causes = {
            (name, month[:7]): resolver.get_stale_causes(key(name), month)
            for name in ASSETS
            for month in self.instance.get_materialized_partitions(key(name))
        }
        return {
            month: [cause.reason for cause in of_month]
            for month, of_month in causes.items()
            if of_month
        }


def key(asset: str) -> dg.AssetKey:
    """The key of an asset that has a name."""
    return dg.AssetKey(["green", asset])


def resume(run: dg.ExecuteInProcessResult) -> dict[str, str]:
    """Tags of a run that is re-executed from where another one failed."""
    return {"dagster/root_run_id": run.run_id, "dagster/is_resume_retry": "true"}
