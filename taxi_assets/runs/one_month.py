"""Takes a month through all the assets that a run makes, in the order of the graph.

Each value is handed on in memory, stored by the asset's IO manager, and then recorded. What serves
all months of the run is opened once.
"""

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import groupby
from math import inf
from typing import Any

import dagster as dg

from taxi_assets.errors import MonthError
from taxi_assets.runs.event_log import Failed, Record, Records, months_under_way
from taxi_assets.runs.month_values import MonthValues
from taxi_assets.runs.monthly_asset import MonthContext, MonthlyAsset, resource_keys
from taxi_assets.tlc.fleets import Fleet
from taxi_assets.tlc.months import Month


class OutdatedError(MonthError):
    """What a month is to be made of was not all made from the same source."""

    def __init__(self, outdated: Sequence[str]) -> None:
        were = "were" if len(outdated) > 1 else "was"
        super().__init__(f"{', '.join(outdated)} {were} made from another source file.")
        self.remake = tuple(outdated)


class MonthMaker:
    """Makes months of the assets that a run has selected, one month after the other.

    Attributes:
        wanted: the assets to be made, in the graph's order.
        at: name of the asset that is in hand.
    """

    def __init__(
        self,
        context: dg.AssetExecutionContext,
        fleet: Fleet,
        graph: Sequence[MonthlyAsset],
        records: Records,
    ) -> None:
        self.wanted = [a for a in graph if a.key(fleet) in context.selected_asset_keys]
        self.at = self.wanted[0].name if self.wanted else ""
        self._context = context
        self._fleet = fleet
        self._assets = {asset.name: asset for asset in graph}
        self._records = records

    def key(self, asset: str) -> dg.AssetKey:
        """The key of the asset that has this name."""
        return self._assets[asset].key(self._fleet)

    def find_recorded(self, months: Sequence[Month]) -> dict[Month, list[Record]]:
        """The months that need not be made: the runs that this one continues have recorded all.

        If assets look back, no month is among them after one that is made again, or that was made
        again by one of these runs since.
        """
        found: dict[Month, list[Record]] = {}
        looks_back = any(asset.looks_back for asset in self.wanted)
        made_since = 0.0
        for month in months:
            records = self._records.of_month([self._spec(asset) for asset in self.wanted], month)
            first = min((record.storage_id for record in records), default=0)
            if not records or (looks_back and first < made_since):
                made_since = inf
                continue
            found[month] = records
            made = [record.storage_id for record in records if not record.is_taken_over]
            made_since = max([made_since, *made])
        return found

    def open_for_run(self, months: Sequence[Month], blocks: ExitStack) -> dict[str, Any]:
        """Open what assets need for all months of the run that are made."""
        opened: dict[str, Any] = {}
        for asset in self.wanted if months else []:
            self.at = asset.name
            for name, opens in asset.for_run.items():
                if name not in opened:
                    block = opens(self._fleet, months, **self._resources(opens))
                    opened[name] = blocks.enter_context(block)
        return opened

    def make(self, month: Month, opened: Mapping[str, Any]) -> Iterator[Any]:
        """Make a month's assets."""
        to_make = list(self.wanted)
        values = MonthValues(self._context, self._fleet, month)
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
                    values.forget_all_but({name for left in to_make for name in left.upstream})
                    # What was looked for in vain leaves a cycle that holds the asset's trips.
                    gc.collect(1)

    def take_over(self, month: Month, records: Sequence[Record]) -> Iterator[Any]:
        """Record once more in this run what another one has recorded of a month."""
        for record in records:
            yield from self._records.take_over(record, month)

    def fail(self, month: Month, failed: Failed, *, tried: bool = True) -> Iterator[Any]:
        """Tell the page of each asset that the month did not reach why it did not."""
        names = [asset.name for asset in self.wanted]
        for name in names[names.index(failed.asset) if tried else 0 :]:
            yield self._records.fail(self.key(name), month, failed)

    def _make(
        self, asset: MonthlyAsset, month: Month, values: MonthValues, given: Mapping[str, Any]
    ) -> Iterator[Any]:
        """Make, store and record a month of an asset."""
        self.at = asset.name
        context = self._month_context(asset, month)
        inputs = [each for name, each in self._assets.items() if name in asset.upstream]
        lineage = [self.key(name) for name in self._lineage(asset)]
        if outdated := self._records.of_other_source(lineage, month):
            raise OutdatedError(outdated)
        result = asset.make(
            context,
            {
                **{each.name: values.load(each) for each in inputs},
                **{name: given[name] for name in asset.opens},
                **self._resources(asset.function),
            },
        )
        stored = values.store(asset, result.value)
        metadata = {**(result.metadata or {}), **stored, **context.after_storing()}
        yield from self._records.add(
            self._spec(asset), month, metadata, result.data_version, result.check_results
        )
        if asset.judges_others is not None:
            found = asset.judges_others(context, **self._resources(asset.judges_others))
            for name, other, check in found:
                yield from self._records.judge_anew(
                    self._spec(self._assets[name]).key, other, check
                )
        context.report(str(metadata["summary"]))

    def _lineage(self, asset: MonthlyAsset) -> list[str]:
        """Names of all that an asset is made from, directly or not, in the graph's order."""
        names = {*asset.upstream}
        for each in reversed(self._assets.values()):
            names.update(each.upstream if each.name in names else ())
        return [name for name in self._assets if name in names]

    def _month_context(self, asset: MonthlyAsset, month: Month) -> MonthContext:
        return MonthContext(
            self._fleet,
            month,
            asset.name,
            asset.code_version,
            self._context,
            self._load,
            lambda name, check: self._records.passed(
                dg.AssetCheckKey(self.key(name), check), month
            ),
            lambda: months_under_way(self._context),
        )

    def _load(self, name: str, month: Month) -> Any:
        return MonthValues(self._context, self._fleet, month).load(self._assets[name])

    def _resources(self, function: Callable[..., Any]) -> dict[str, Any]:
        return {key: getattr(self._context.resources, key) for key in resource_keys(function)}

    def _spec(self, asset: MonthlyAsset) -> dg.AssetSpec:
        spec: dg.AssetSpec = self._context.assets_def.get_asset_spec(asset.key(self._fleet))
        return spec
