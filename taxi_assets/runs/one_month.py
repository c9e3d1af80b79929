"""Takes a month through all the assets that a run makes, in the order of the graph.

Each value is handed on in memory, stored by the asset's IO manager, and then recorded. What serves
all months of the run is opened once.
"""

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from importlib import import_module
from itertools import groupby
from typing import TYPE_CHECKING, Any

import dagster as dg

from taxi_assets.errors import MonthError, command
from taxi_assets.runs.event_log import Records
from taxi_assets.runs.monthly_asset import MonthContext, MonthlyAsset, resource_keys
from taxi_assets.tlc.fleets import Fleet
from taxi_assets.tlc.months import Month

if TYPE_CHECKING:
    import pandas as pd

MAX_HELD_BYTES = 128 << 20
"""Bytes of a frame that is held for the next assets although they could load it.

Cleaned trips take 18 bytes each: of seven million, loading them again takes a second.
"""


class MonthMaker:
    """Makes months of the assets that a run has selected, one month after the other.

    Attributes:
        wanted: the assets to be made, in the graph's order.
        at: name of the asset that is being made.
        records: Dagster's event log.
    """

    def __init__(
        self, context: dg.AssetExecutionContext, fleet: Fleet, graph: Sequence[MonthlyAsset]
    ) -> None:
        self.wanted = [a for a in graph if a.key(fleet) in context.selected_asset_keys]
        self.at = self.wanted[0].name if self.wanted else ""
        self.records = Records(context, graph[0].key(fleet))
        self._context = context
        self._fleet = fleet
        self._assets = {asset.name: asset for asset in graph}

    def key(self, asset: str) -> dg.AssetKey:
        """The key of the asset that has this name."""
        return self._assets[asset].key(self._fleet)

    def find_recorded(self, months: Sequence[Month]) -> dict[Month, list[dg.EventLogRecord]]:
        """The months that need not be made: the runs that this run resumes have recorded them.

        If assets look back, a month counts only if all earlier months of the run count, too, and
        were recorded before it.
        """
        recorded: dict[Month, list[dg.EventLogRecord]] = {}
        looks_back = any(asset.looks_back for asset in self.wanted)
        specs = [asset.spec(self._fleet) for asset in self.wanted]
        newest = 0
        for month in months:
            records = self.records.of_month(specs, month)
            ids = [record.storage_id for record in records]
            if looks_back and (not records or min(ids) < newest):
                break
            if records:
                recorded[month], newest = records, max(ids)
        return recorded

    def open_for_run(self, months: Sequence[Month], blocks: ExitStack) -> dict[str, Any]:
        """Open what assets need for all months of the run that are made."""
        opened: dict[str, Any] = {}
        for asset in self.wanted if months else []:
            self.at = asset.name
            for name, opens in asset.for_run.items():
                if name not in opened:
                    block = opens(self._fleet, months, **self._resources(opens))
                    opened[name] = blocks.enter_context(block)
        for name in (name for asset in self.wanted for name in asset.imports):
            # What fails here fails again where it is needed, with a month to it.
            with suppress(ImportError, MemoryError, OSError):
                import_module(name)
        return opened

    def make(self, month: Month, opened: Mapping[str, Any]) -> Iterator[Any]:
        """Make a month's assets."""
        to_make = list(self.wanted)
        values: dict[str, Any] = {}
        for for_month, assets in groupby(self.wanted, key=lambda asset: asset.for_month):
            with ExitStack() as blocks:
                given = dict(opened)
                for name, opens in for_month.items():
                    self.at = to_make[0].name
                    block = opens(self._month_context(to_make[0], month), **self._resources(opens))
                    given[name] = blocks.enter_context(block)
                for asset in assets:
                    yield from self._make(asset, month, values, given)
                    to_make.remove(asset)
                    needed = {name for left in to_make for name in left.upstream}
                    for name in values.keys() - needed:
                        del values[name]

    def _make(
        self, asset: MonthlyAsset, month: Month, values: dict[str, Any], given: Mapping[str, Any]
    ) -> Iterator[Any]:
        """Make, store and record a month of an asset; ``values`` are those in memory."""
        self.at = asset.name
        # Whatever failed, or was looked for in vain, left a cycle of references that may hold a
        # month's trips. The oldest objects, mostly of libraries, are not searched for them.
        gc.collect(1)
        inputs = [self.key(name) for name in asset.upstream]
        if outdated := self.records.of_other_source(inputs, month):
            key = self.key(asset.name).to_user_string()
            again = command([f'+key:"{key}"'], month.partition_key)
            raise MonthError(
                f"Made from another source file than is stored now: {', '.join(outdated)}. Make "
                f"them again from the start: {again}"
            )
        for name in asset.upstream:
            if name not in values and name not in asset.on_demand:
                values[name] = self._load(name, month)
        context = self._month_context(asset, month)
        result = asset.function(
            context,
            **{
                name: partial(self._give, name, month, values)
                if name in asset.on_demand
                else values[name]
                for name in asset.upstream
            },
            **{name: given[name] for name in asset.opens},
            **self._resources(asset.function),
        )
        output, _ = self._io_contexts(asset.name, month)
        self._io_manager(asset.name).handle_output(output, result.value)
        if asset.stays_in_memory:
            values[asset.name] = result.value
        stored = output.get_logged_metadata()
        metadata = {**(result.metadata or {}), **stored, **context.after_storing()}
        yield from self.records.add(
            asset.spec(self._fleet), month, metadata, result.data_version, result.check_results
        )
        for name, other, check in context.judged_anew:
            yield from self.records.judge_anew(self.key(name), other, check)
        context.report(str(metadata["summary"]))

    def _give(self, name: str, month: Month, values: dict[str, Any]) -> "pd.DataFrame":
        """A frame, which stays among the values that are held if it is short."""
        frame: pd.DataFrame = values.pop(name) if name in values else self._load(name, month)
        if frame.memory_usage().sum() <= MAX_HELD_BYTES:
            values[name] = frame
        return frame

    def _month_context(self, asset: MonthlyAsset, month: Month) -> MonthContext:
        def judged(name: str, check: str) -> bool | None:
            return self.records.passed(dg.AssetCheckKey(self.key(name), check), month)

        return MonthContext(
            self._fleet, month, asset.name, asset.code_version, self._context, self._load, judged
        )

    def _load(self, name: str, month: Month) -> Any:
        """What is stored of an asset's month."""
        _, context = self._io_contexts(name, month)
        return self._io_manager(name).load_input(context)

    def _io_manager(self, name: str) -> dg.IOManager:
        manager: dg.IOManager = getattr(self._context.resources, self._assets[name].io_manager)
        return manager

    def _io_contexts(self, name: str, month: Month) -> tuple[dg.OutputContext, dg.InputContext]:
        """Contexts for an IO manager, as in a run of this month alone.

        Dagster's ``build_output_context`` takes a tenth of a second.
        """
        months = self._context.assets_def.partitions_def
        assert months is not None
        options: dict[str, Any] = {
            "name": name,
            "asset_key": self.key(name),
            "partition_key": month.partition_key,
            "asset_partitions_def": months,
            "asset_partitions_subset": months.subset_with_partition_keys([month.partition_key]),
            "log_manager": self._context.log,
            "resources": self._context.resources,
        }
        output = dg.OutputContext(run_id=self._context.run_id, **options)
        return output, dg.InputContext(upstream_output=output, **options)

    def _resources(self, function: Callable[..., Any]) -> dict[str, Any]:
        return {key: getattr(self._context.resources, key) for key in resource_keys(function)}
