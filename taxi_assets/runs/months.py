"""The months of a run, one after the other, each through all the assets that the run makes.

All assets of a fleet are one Dagster operation, any part of which can be selected. A month that
fails costs only itself; when a service is away, no further month is tried.
"""

import atexit
import gc
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
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
from taxi_assets.runs.event_log import Failed, Records
from taxi_assets.runs.monthly_asset import MonthlyAsset
from taxi_assets.runs.one_month import MonthMaker
from taxi_assets.runs.partitions import monthly_partitions
from taxi_assets.runs.process import prepare_run_process
from taxi_assets.tlc.fleets import Fleet
from taxi_assets.tlc.months import Month

RETRIES = dg.RetryPolicy(max_retries=2, delay=4, backoff=dg.Backoff.EXPONENTIAL)
"""Further attempts of a run that an outage has stopped: after 4 and 12 seconds. The operation
does not have the policy itself, as Dagster would then try again what somebody has interrupted."""


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
        if not (context.has_partition_key or context.has_partition_key_range):
            raise dg.Failure(
                "No month was chosen. Launch it for a partition, such as 2023-03-01, or a range.",
                allow_retries=False,
            )
        if not context.partition_keys:
            raise dg.Failure(
                "The range ends before it begins, and has no months. Launch it with the earlier "
                "month first, such as 2023-03-01...2023-04-01.",
                allow_retries=False,
            )
        note_process(context)
        prepare_run_process()
        for line in end_dead_runs(context.instance):
            context.log.info(line)
        with told_if_interrupted():
            yield from MonthsRun(context, fleet, graph).events()

    return make_months


@contextmanager
def told_if_interrupted() -> Iterator[None]:
    """Say what stays, and how to go on, where a block is left by Ctrl-C.

    That may strike where Dagster has the control, and the block is left only when the process ends.
    """
    waiting = True

    def tell() -> None:
        if waiting:
            print(
                "Interrupted. The months that are recorded stay, and nothing is half stored. To go "
                "on, start the same command again.",
                file=sys.stderr,
            )

    atexit.register(tell)
    try:
        yield
    except Exception:
        raise
    except BaseException:
        tell()
        raise
    finally:
        waiting = False
        atexit.unregister(tell)


class MonthsRun:
    """An attempt of a run to make the selected assets of its months."""

    def __init__(
        self, context: dg.AssetExecutionContext, fleet: Fleet, graph: Sequence[MonthlyAsset]
    ) -> None:
        self._context = context
        self._months = sorted(Month.parse(key) for key in context.partition_keys)
        self._records = Records(context, graph[0].key(fleet))
        self._maker = MonthMaker(context, fleet, graph, self._records)
        self._failed: dict[Month, Failed] = {}
        self._untried: list[Month] = []
        self._began = time.monotonic()
        self._done = 0

    def events(self) -> Iterator[Any]:
        """Make the months; what is yielded is for Dagster to record.

        Raises:
            dagster.Failure: after the last month, if any failed, or after an outage.
            dagster.RetryRequested: an outage may have passed in a moment.
        """
        keys = [self._maker.key(asset.name) for asset in self._maker.wanted]
        if keys:
            self._failed = self._records.failed(keys[-1], self._months)
        left = [month for month in self._months if month not in self._failed]
        try:
            yield from self._make_months(left)
        except ServiceError as error:
            last = max(set(left) & set(self._failed))
            self._untried = [month for month in left if month > last]
            if isinstance(error, OutageError) and self._context.retry_number < RETRIES.max_retries:
                self._try_again(error)
            for month in (last, *self._untried):
                yield from self._maker.fail(month, self._failed[last], tried=month == last)
        if self._failed:
            raise dg.Failure(self._explain(), allow_retries=False)
        yield from self._repeat_other_checks()
        for key in keys:
            # Tells Dagster, which then starts what else in the run needs the asset, that it is
            # there, and has it record nothing.
            unrecorded = {SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION: True}
            yield dg.MaterializeResult(asset_key=key, metadata=unrecorded)
        for name, spec in self._context.assets_def.check_specs_by_output_name.items():
            if spec.key in self._context.selected_asset_check_keys:
                # Dagster would log that it misses them.
                yield dg.Output(None, output_name=name)

    def _make_months(self, months: Sequence[Month]) -> Iterator[Any]:
        """Make each month that can be made.

        Raises:
            ServiceError: other months need not be tried.
        """
        recorded = self._maker.find_recorded(months)
        to_make = [month for month in months if month not in recorded]
        with ExitStack() as blocks:
            try:
                opened = self._maker.open_for_run(to_make, blocks)
            except ServiceError as error:
                self._note_failure(to_make[0], error)
                raise
            for name in (name for asset in self._maker.wanted for name in asset.imports):
                # What fails here fails again where it is needed, with a month to it.
                with suppress(ImportError, MemoryError, OSError):
                    import_module(name)
            for month in months:
                begun = time.monotonic()
                try:
                    if month in recorded:
                        yield from self._maker.take_over(month, recorded[month])
                    else:
                        yield from self._maker.make(month, opened)
                except Exception as error:
                    failed = self._note_failure(month, error)
                    if isinstance(error, ServiceError):
                        raise
                    yield from self._maker.fail(month, failed)
                else:
                    self._report_progress(month, begun)
                # A failure's traceback, and in Python 3.13 Dagster's steps, leave cycles of
                # references that may hold a month's trips. The oldest objects, mostly of
                # libraries, are not searched for them.
                gc.collect(1)

    def _note_failure(self, month: Month, error: Exception) -> Failed:
        """Say why a month could not be made."""
        reason = explain(error)
        if reason is None:
            told = "".join(traceback.format_exception(error))
            self._context.log.error(mask(f"{self._maker.at} {month}: unexpected error\n{told}"))
            reason = f"{type(error).__name__}: {error}"
        elif isinstance(error, MonthError) and error.remake:
            assets = dict.fromkeys([*error.remake, self._maker.at])
            keys = [self._maker.key(name).to_user_string() for name in assets]
            reason = f"{reason} Make them again: {command(keys, month.partition_key)}"
        failed = self._failed[month] = Failed(self._maker.at, mask(reason))
        self._context.log.error(f"{failed.asset} {month}: {failed.reason}")
        return failed

    def _try_again(self, error: OutageError) -> None:
        """Have Dagster begin another attempt.

        Raises:
            dagster.RetryRequested: always.
        """
        attempt = self._context.retry_number + 1
        seconds = RETRIES.calculate_delay(attempt)
        self._context.log.warning(
            f"Trying again in {seconds:g} s ({attempt} of {RETRIES.max_retries})."
        )
        cause = dg.Failure(mask(str(error)), allow_retries=False)
        raise dg.RetryRequested(RETRIES.max_retries, seconds) from cause

    def _explain(self) -> str:
        """Which months failed, and why."""
        if len(self._months) == 1:
            ((month, (asset, reason)),) = self._failed.items()
            return f"{asset} {month}: {reason}"
        return "\n".join(
            [
                f"{len(self._failed) + len(self._untried)} of {len(self._months)} months failed:",
                *(f"  {asset} {month}: {reason}"
                  for month, (asset, reason) in sorted(self._failed.items())),
                *(f"  {month}: not tried" for month in self._untried),
            ]
        )  # fmt: skip

    def _report_progress(self, month: Month, begun: float) -> None:
        """Say that a month is done, and of a range, how long the rest may take."""
        now = time.monotonic()
        self._done += 1
        line = f"{month} done in {now - begun:.1f} s"
        if (total := len(self._months)) > 1:
            place = self._months.index(month) + 1
            left = (now - self._began) / self._done * (total - place)
            to_go = f", about {left:.0f} s to go" if place < total else ""
            line += f" ({place} of {total}{to_go})"
        self._context.log.info(line)

    def _repeat_other_checks(self) -> Iterator[Any]:
        """Record again what checks found whose assets the run does not make.

        Raises:
            dagster.Failure: there are such checks.
        """
        selected = self._context.selected_asset_keys
        others = [k for k in self._context.selected_asset_check_keys if k.asset_key not in selected]
        if not others:
            return
        yield from self._records.repeat(others, self._months)
        assets = sorted({key.asset_key.to_user_string() for key in others})
        first, last = (self._months[at].partition_key for at in (0, -1))
        making = command(assets, first, last)
        raise dg.Failure(
            "A check judges a month when its asset is made; what it found then stays. To have the "
            f"month judged anew, make it again: {making}",
            allow_retries=False,
        )
