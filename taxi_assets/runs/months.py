"""The months of a run, one after the other, each through all the assets that the run makes.

All assets of a fleet are one Dagster operation, any part of which can be selected. A month that
fails costs only itself; when a service is away, no further month is tried.
"""

import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import product
from time import monotonic, sleep
from typing import Any

import dagster as dg
from dagster._core.definitions.source_asset import SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION

from taxi_assets.errors import (
    MonthError,
    OutageError,
    ServiceError,
    command,
    explain,
    mask,
)
from taxi_assets.runs.dead_runs import end_dead_runs, note_process
from taxi_assets.runs.monthly_asset import MonthlyAsset, monthly_partitions
from taxi_assets.runs.one_month import MonthMaker
from taxi_assets.runs.process import prepare_run_process
from taxi_assets.tlc.fleets import Fleet
from taxi_assets.tlc.months import Month

WAITS = (4.0, 12.0)
"""Seconds from an outage to the next attempt; after the last attempt, the run ends."""


def fleet_months(
    fleet: Fleet, graph: Sequence[MonthlyAsset], backfill_policy: dg.BackfillPolicy
) -> dg.AssetsDefinition:
    """All assets of a fleet, as one Dagster operation over any months and any selection."""
    months = monthly_partitions(fleet)

    @dg.multi_asset(
        name=f"{fleet.name}_months",
        specs=[asset.spec(fleet) for asset in graph],
        check_specs=[
            check.spec(asset.key(fleet), months) for asset in graph for check in asset.checks
        ],
        can_subset=True,
        partitions_def=months,
        backfill_policy=backfill_policy,
        # Months look back: with a limit of 1, runs of a fleet follow each other.
        pool=fleet.name,
        required_resource_keys=set().union(*(asset.resources for asset in graph)),
    )
    def make_months(context: dg.AssetExecutionContext) -> Iterator[Any]:
        chosen = context.has_partition_key or context.has_partition_key_range
        if not (chosen and context.partition_keys):
            raise dg.Failure(
                "No month was chosen. Launch it for a partition, such as 2023-03-01, or for a "
                "range with the earlier month first, such as 2023-03-01...2023-04-01.",
                allow_retries=False,
            )
        note_process(context)
        prepare_run_process()
        for line in end_dead_runs(context.instance):
            context.log.info(line)
        yield from MonthsRun(context, fleet, graph).events()

    return make_months


class MonthsRun:
    """Makes the selected assets of a run's months."""

    def __init__(
        self, context: dg.AssetExecutionContext, fleet: Fleet, graph: Sequence[MonthlyAsset]
    ) -> None:
        self._context = context
        self._maker = MonthMaker(context, fleet, graph)
        self._months = sorted(Month.parse(key) for key in context.partition_keys)
        self._left = list(self._months) if self._maker.wanted else []
        self._failed: dict[Month, tuple[str, str]] = {}

    def events(self) -> Iterator[Any]:
        """Make the months; what is yielded is for Dagster to record.

        Raises:
            dagster.Failure: after the last month, if any failed, or after an outage.
        """
        for month, records in self._maker.find_recorded(self._left).items():
            for record in records:
                yield from self._maker.records.take_over(record, month)
            self._left.remove(month)
        yield from self._make_left()
        if self._failed:
            raise dg.Failure(self._explain(), allow_retries=False)
        yield from self._repeat_other_checks()
        for asset in self._maker.wanted:
            # Tells Dagster, which then starts what else in the run needs the asset, that it is
            # there, and has it record nothing.
            unrecorded = {SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION: True}
            yield dg.MaterializeResult(asset_key=self._maker.key(asset.name), metadata=unrecorded)
        for name, spec in self._context.assets_def.check_specs_by_output_name.items():
            if spec.key in self._context.selected_asset_check_keys:
                # Dagster would log that it misses them.
                yield dg.Output(None, output_name=name)

    def _make_left(self) -> Iterator[Any]:
        """Make the months that are left, in several attempts if there are outages."""
        for attempt, wait in enumerate((*WAITS, None), 1):
            try:
                yield from self._attempt()
                return
            except ServiceError as error:
                if wait is None or not isinstance(error, OutageError):
                    yield from self._fail(error, self._left)
                    return
                self._context.log.warning(
                    f"{self._maker.at} {self._left[0]}: {mask(str(error))} Trying again in "
                    f"{wait:g} s ({attempt} of {len(WAITS)})."
                )
                sleep(wait)

    def _attempt(self) -> Iterator[Any]:
        """Make the months that are left, as far as they can be made.

        Raises:
            ServiceError: the first month that is left could not be made, and others need not be
                tried.
        """
        with ExitStack() as blocks:
            opened = self._maker.open_for_run(self._left, blocks)
            while self._left:
                month, begun = self._left[0], monotonic()
                try:
                    yield from self._maker.make(month, opened)
                except Exception as error:
                    if isinstance(error, ServiceError):
                        raise
                    yield from self._fail(error, [month])
                    outcome = f"failed at {self._maker.at}"
                else:
                    outcome = f"done in {monotonic() - begun:.1f} s"
                if (total := len(self._months)) > 1:
                    outcome += f" ({self._months.index(month) + 1} of {total})"
                self._context.log.info(f"{month} {outcome}")
                self._left.remove(month)

    def _fail(self, error: Exception, months: Sequence[Month]) -> Iterator[Any]:
        """Note why the first of these months failed; because of it, the others are not tried.

        The page of each asset that a month did not reach says so.
        """
        month, at = months[0], self._maker.at
        reason = explain(error)
        if reason is None:
            trace = "".join(traceback.format_exception(error))
            self._context.log.error(mask(f"{at} {month}: unexpected error\n{trace}"))
            reason = f"{type(error).__name__}: {error}"
        elif isinstance(error, MonthError) and error.remake:
            keys = [self._maker.key(name).to_user_string() for name in (*error.remake, at)]
            making = command(dict.fromkeys(keys), month.partition_key)
            reason = f"{reason} Make them again: {making}"
        reason = mask(reason)
        self._failed[month] = at, reason
        names = [asset.name for asset in self._maker.wanted]
        for each in months:
            for name in names[names.index(at) if each == month else 0 :]:
                yield dg.AssetObservation(
                    self._maker.key(name),
                    partition=each.partition_key,
                    description=f"{at} failed: {reason}",
                )

    def _explain(self) -> str:
        """Which months failed, and why."""
        lines = [f"{at} {month}: {reason}" for month, (at, reason) in self._failed.items()]
        if len(self._months) == 1:
            return lines[0]
        lines += [f"{month}: not tried" for month in self._left if month not in self._failed]
        return "\n  ".join([f"{len(lines)} of {len(self._months)} months failed:", *lines])

    def _repeat_other_checks(self) -> Iterator[Any]:
        """Record again the results of selected checks whose assets the run does not make.

        A run that gives none would hide them.

        Raises:
            dagster.Failure: there are such checks.
        """
        selected = self._context.selected_asset_keys
        others = [k for k in self._context.selected_asset_check_keys if k.asset_key not in selected]
        if others:
            for check, month in product(sorted(others), self._months):
                if last := self._maker.records.last_result(check, month):
                    yield last
            raise dg.Failure(
                "A check judges a month when its asset is made, and that result stays. To have the "
                "month judged anew, materialize the asset again.",
                allow_retries=False,
            )
