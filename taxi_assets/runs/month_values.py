"""The values of one month: in memory as long as the month needs them, stored by IO managers.

An IO manager is given contexts like those of a run of this month alone, whatever other months the
run has.
"""

from collections.abc import Collection, Mapping
from typing import Any

import dagster as dg

from taxi_assets.runs.monthly_asset import MonthlyAsset
from taxi_assets.tlc.fleets import Fleet
from taxi_assets.tlc.months import Month


class MonthValues:
    """What a month's assets are made of, and what is made."""

    def __init__(self, context: dg.AssetExecutionContext, fleet: Fleet, month: Month) -> None:
        self._context = context
        self._fleet = fleet
        self._month = month
        self._in_memory: dict[str, Any] = {}

    def load(self, asset: MonthlyAsset) -> Any:
        """An asset's value: the one in memory, else the one that is stored."""
        if asset.name not in self._in_memory:
            stored = self._io_manager(asset).load_input(self._input_context(asset))
            self._in_memory[asset.name] = stored
        return self._in_memory[asset.name]

    def store(self, asset: MonthlyAsset, value: Any) -> Mapping[str, Any]:
        """Have a value stored, and keep it; return the metadata that the IO manager logs."""
        context = self._output_context(asset)
        self._io_manager(asset).handle_output(context, value)
        self._in_memory.pop(asset.name, None)
        if asset.stays_in_memory:
            self._in_memory[asset.name] = value
        return context.get_logged_metadata()

    def forget_all_but(self, needed: Collection[str]) -> None:
        """Let go what no asset takes that is still to be made."""
        kept = {name: value for name, value in self._in_memory.items() if name in needed}
        self._in_memory = kept

    def _io_manager(self, asset: MonthlyAsset) -> dg.IOManager:
        manager: dg.IOManager = getattr(self._context.resources, asset.io_manager)
        return manager

    def _output_context(self, asset: MonthlyAsset) -> dg.OutputContext:
        months = self._context.assets_def.partitions_def
        assert months is not None
        spec = self._context.assets_def.get_asset_spec(asset.key(self._fleet))
        return dg.OutputContext(
            step_key=str(self._context.op_execution_context.op_handle),
            name=asset.name,
            job_name=self._context.job_name,
            run_id=self._context.run_id,
            definition_metadata=spec.metadata,
            log_manager=self._context.log,
            resources=self._context.resources,
            asset_key=spec.key,
            partition_key=self._month.partition_key,
            asset_partitions_def=months,
            asset_partitions_subset=months.subset_with_partition_keys([self._month.partition_key]),
            asset_spec=spec,
        )

    def _input_context(self, asset: MonthlyAsset) -> dg.InputContext:
        output = self._output_context(asset)
        return dg.InputContext(
            name=asset.name,
            job_name=output.job_name,
            upstream_output=output,
            definition_metadata={},
            log_manager=self._context.log,
            resources=self._context.resources,
            asset_key=output.asset_key,
            partition_key=output.partition_key,
            asset_partitions_def=output.asset_partitions_def,
            asset_partitions_subset=output.asset_partitions_def.subset_with_partition_keys(
                [output.partition_key]
            ),
            instance=self._context.instance,
        )
