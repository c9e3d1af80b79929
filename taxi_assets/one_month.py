"""Takes a month through all the assets that a run makes, in the order of the graph.

Each value is handed on in memory, stored by the asset's IO manager, and then recorded. What serves
all months of the run is opened once.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from itertools import groupby
from typing import Any

import dagster as dg

from taxi_assets.errors import MonthError
from taxi_assets.month_values import MonthValues
from taxi_assets.monthly_assets import MonthContext, MonthlyAsset, Opens, resource_keys
from taxi_assets.records import Record, Records
from taxi_assets.tlc.fleets import Fleet
from taxi_assets.tlc.months import Month


class OutdatedError(MonthError):
    """What a month is to be made of does not belong together."""

    def __init__(self, outdated: Sequence[str]) -> None:
        were = "were" if len(outdated) > 1 else "was"
        super().__init__(f"What {', '.join(outdated)} {were} made from has changed since.")
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
        self.at = ""
        self._context = context
        self._fleet = fleet
        self._assets = {asset.name: asset for asset in graph}
        self._records = records
        self._made_anew = False

    def key(self, asset: str) -> dg.AssetKey:
        """The key of the asset that has this name."""
        return self._assets[asset].key(self._fleet)

    def find_done(self, months: Sequence[Month]) -> list[Month]:
        """The months of which earlier attempts of this run have recorded all.

        What these attempts have made counts as made anew, for assets that look back.
        """
        own = {month: self._own_records(month) for month in months}
        self._made_anew = any(record.is_anew for records in own.values() for record in records)
        return [month for month, records in own.items() if len(records) == len(self.wanted)]

    def open_for_run(self, months: Sequence[Month], blocks: ExitStack) -> dict[str, Any]:
        """Open what assets need for all months of the run."""
        opened = {}
        for asset in self.wanted if months else []:
            self.at = asset.name
            for opens in asset.per_run:
                if opens.__name__ not in opened:
                    spec = self._spec(asset)
                    to_make = [m for m in months if self._records.earlier(spec, m) is None]
                    block = opens(self._fleet, to_make, **self._resources(opens))
                    opened[opens.__name__] = blocks.enter_context(block)
        return opened

    def make(self, month: Month, opened: Mapping[str, Any]) -> Iterator[Any]:
        """Make a month's assets, but for those that an earlier attempt has made."""
        to_make: list[MonthlyAsset] = []
        for asset in self.wanted:
            anew = {made.name for made in to_make} & set(asset.upstream)
            anew_before = asset.looks_back and self._made_anew
            earlier = self._records.earlier(self._spec(asset), month)
            own = earlier is not None and earlier.run_id == self._context.run_id
            if earlier is None or anew or (anew_before and not own):
                to_make.append(asset)
            else:
                yield from self._records.take_over(earlier, month)
        self._made_anew = self._made_anew or bool(to_make)
        values = MonthValues(self._context, self._fleet, month)
        for opens, assets in groupby(list(to_make), key=lambda asset: asset.per_month):
            with self._open_for_month(opens, to_make[0], month) as block:
                given = {**opened, opens.__name__: block} if opens else opened
                for asset in assets:
                    yield from self._make(asset, month, values, given)
                    to_make.remove(asset)
                    values.forget_all_but({name for left in to_make for name in left.upstream})

    def _make(
        self, asset: MonthlyAsset, month: Month, values: MonthValues, given: Mapping[str, Any]
    ) -> Iterator[Any]:
        """Make, store and record a month of an asset."""
        self.at = asset.name
        context = self._month_context(asset, month)
        inputs = [each for name, each in self._assets.items() if name in asset.upstream]
        if self._outdated(inputs, month):
            raise OutdatedError(self._outdated(self._lineage(asset), month))
        result = asset.make(
            context,
            {
                **{each.name: values.load(each) for each in inputs},
                **{opens.__name__: given[opens.__name__] for opens in asset.opens},
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

    def _own_records(self, month: Month) -> list[Record]:
        """What earlier attempts of this run have recorded of a month."""
        records = [self._records.earlier(self._spec(asset), month) for asset in self.wanted]
        run_id = self._context.run_id
        return [record for record in records if record is not None and record.run_id == run_id]

    def _outdated(self, assets: Sequence[MonthlyAsset], month: Month) -> list[str]:
        return self._records.outdated([self._spec(asset) for asset in assets], month)

    def _lineage(self, asset: MonthlyAsset) -> list[MonthlyAsset]:
        """All assets that an asset is made from, directly or not, in the graph's order."""
        names = {*asset.upstream}
        for each in reversed(self._assets.values()):
            names.update(each.upstream if each.name in names else ())
        return [each for each in self._assets.values() if each.name in names]

    def _open_for_month(
        self, opens: Opens | None, asset: MonthlyAsset, month: Month
    ) -> AbstractContextManager[Any]:
        """Open what assets of a month share that follow each other; ``asset`` is the first."""
        if opens is None:
            return nullcontext()
        self.at = asset.name
        return opens(self._month_context(asset, month), **self._resources(opens))

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
        )

    def _load(self, name: str, month: Month) -> Any:
        return MonthValues(self._context, self._fleet, month).load(self._assets[name])

    def _resources(self, function: Callable[..., Any]) -> dict[str, Any]:
        return {key: getattr(self._context.resources, key) for key in resource_keys(function)}

    def _spec(self, asset: MonthlyAsset) -> dg.AssetSpec:
        spec: dg.AssetSpec = self._context.assets_def.get_asset_spec(asset.key(self._fleet))
        return spec
