"""A graph of three assets in memory, in the role of the real one: milliseconds a month."""

from typing import TYPE_CHECKING, Any

import dagster as dg

from taxi_assets.checks.month_checks import Judgement, month_check
from taxi_assets.runs.monthly_asset import MonthContext, MonthlyAsset, monthly_asset
from taxi_assets.runs.months import fleet_months
from taxi_assets.tlc.fleets import FLEETS
from taxi_assets.tlc.months import Month

if TYPE_CHECKING:
    from collections.abc import Callable

GREEN = FLEETS["green"]


@month_check
def is_positive(number: int) -> Judgement:
    """A number is positive."""
    return Judgement(number > 0, f"the number is {number}", {"number": number})


class Memory(dg.IOManager):
    """Keeps values by asset and month."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, str], Any] = {}

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        self.values[context.asset_key.path[-1], context.partition_key[:7]] = obj

    def load_input(self, context: dg.InputContext) -> Any:
        return self.values[context.asset_key.path[-1], context.partition_key[:7]]


class Toy:
    """Numbers by month at a source; ``numbers`` → ``doubled``; and ``totals``, which look back.

    Attributes:
        source: the numbers, or what is raised instead.
        made: which month of which asset has been made, in order.
        before: called with an asset's name and a month before it is made.
    """

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.memory = Memory()
        self.source: dict[str, int | Exception] = {
            f"2023-0{number}": number for number in range(1, 7)
        }
        self.made: list[tuple[str, str]] = []
        self.before: Callable[[str, str], None] = lambda _asset, _month: None
        self.code_version = "1"

    @property
    def graph(self) -> list[MonthlyAsset]:
        """The assets."""

        def begin(context: MonthContext) -> str:
            month = str(context.month)
            self.before(context.asset, month)
            self.made.append((context.asset, month))
            return month

        options: Any = {"io_manager": "memory", "kinds": set(), "code_version": "1"}

        @monthly_asset(**options, checks=[is_positive])
        def numbers(context: MonthContext) -> dg.MaterializeResult[int]:
            number = self.source[begin(context)]
            if isinstance(number, Exception):
                raise number
            return dg.MaterializeResult(
                value=number,
                metadata={"summary": str(number)},
                data_version=dg.DataVersion(str(number)),
                check_results=[is_positive(number)],
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

        return [numbers, doubled, totals]

    def run(self, span: str, *assets: str, **tags: str) -> dg.ExecuteInProcessResult:
        """Materialize a month, or months as 2023-01:2023-03."""
        months = fleet_months(GREEN, self.graph, dg.BackfillPolicy.single_run())
        definitions = dg.Definitions(assets=[months], resources={"memory": self.memory})
        first, _, last = span.partition(":")
        tags |= {
            "dagster/asset_partition_range_start": f"{first}-01",
            "dagster/asset_partition_range_end": f"{last or first}-01",
        }
        self.made = []
        return definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            tags=tags,
            instance=self.instance,
            asset_selection=[dg.AssetKey(["green", name]) for name in assets] or None,
            raise_on_error=False,
        )

    def records(self, asset: str, month: str) -> list[dg.EventLogRecord]:
        """The records of an asset's month, the latest first."""
        key = dg.AssetKey(["green", asset])
        wanted = dg.AssetRecordsFilter(key, asset_partitions=[f"{month}-01"])
        return list(self.instance.fetch_materializations(wanted, limit=100).records)

    def made_in(self, asset: str, month: str) -> object:
        """The run that made a month, if the latest record says that it was another's."""
        made = self.records(asset, month)[0].asset_materialization
        found = made.metadata.get("made_in_run") if made else None
        return found and found.value

    def observed(self, asset: str, run_id: str) -> dict[str, str]:
        """What the page of an asset says of months that a run could not make."""
        key = dg.AssetKey(["green", asset])
        records = self.instance.fetch_observations(key, limit=100).records
        return {
            str(record.partition_key)[:7]: str(record.asset_observation.description)
            for record in records
            if record.run_id == run_id and record.asset_observation
        }


def resume(run: dg.ExecuteInProcessResult) -> dict[str, str]:
    """Tags of a run that is re-executed from where another one failed."""
    return {"dagster/root_run_id": run.run_id, "dagster/is_resume_retry": "true"}
