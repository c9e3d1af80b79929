"""What Dagster's event log says of each month of a span.

When a step over several months ends, Dagster records all of them with one common data version,
and none if the step failed. Each month therefore gets a record of its own when it is stored, with
its own figures, data version and provenance; and that record is repeated after Dagster's, as the
latest is the one that counts.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

import dagster as dg
from dagster._core.definitions.data_version import (
    CODE_VERSION_TAG,
    DATA_VERSION_IS_USER_PROVIDED_TAG,
    DATA_VERSION_TAG,
    DEFAULT_DATA_VERSION,
    compute_logical_data_version,
    get_input_data_version_tag,
)

from taxi_assets.tlc.months import Month


class MonthRecords:
    """The records that a step over several months makes."""

    def __init__(self, context: dg.AssetExecutionContext, months: Sequence[Month]) -> None:
        self._context = context
        self._made: list[dg.AssetMaterialization] = []
        spec = context.assets_def.get_asset_spec(context.asset_key)
        self._code_version = str(spec.code_version)
        self._inputs = {
            dep.asset_key: _data_versions(context.instance, dep.asset_key, months)
            for dep in spec.deps
        }

    def add(self, month: Month, metadata: Mapping[str, Any], data_version: str | None) -> None:
        """Record that a month has been stored."""
        record = dg.AssetMaterialization(
            self._context.asset_key,
            partition=month.partition_key,
            metadata=metadata,
            tags=self._tags(month, data_version),
        )
        self._made.append(record)
        self._context.op_execution_context.log_event(record)
        self._context.add_asset_metadata(metadata, partition_key=month.partition_key)

    def repeat(self) -> None:
        """Record all months again, as they were."""
        for record in self._made:
            self._context.op_execution_context.log_event(record)

    def _tags(self, month: Month, data_version: str | None) -> dict[str, str]:
        """As Dagster tags the materialization of a single partition."""
        inputs = {
            key: versions.get(month, DEFAULT_DATA_VERSION) for key, versions in self._inputs.items()
        }
        tags = {get_input_data_version_tag(key): value.value for key, value in inputs.items()}
        tags[CODE_VERSION_TAG] = self._code_version
        if data_version is not None:
            return tags | {
                DATA_VERSION_TAG: data_version,
                DATA_VERSION_IS_USER_PROVIDED_TAG: "true",
            }
        derived = compute_logical_data_version(self._code_version, inputs)
        return tags | {DATA_VERSION_TAG: derived.value}


def _data_versions(
    instance: dg.DagsterInstance, key: dg.AssetKey, months: Sequence[Month]
) -> dict[Month, dg.DataVersion]:
    """The data versions that an asset's months have as inputs, in one query.

    They are the hashes that Dagster takes of an input's partitions, also where there is but one.
    """
    tags = instance.event_log_storage.get_latest_tags_by_partition(
        key,
        dg.DagsterEventType.ASSET_MATERIALIZATION,
        [DATA_VERSION_TAG],
        asset_partitions=[month.partition_key for month in months],
    )
    return {
        Month.parse(partition): dg.DataVersion(
            sha256(values[DATA_VERSION_TAG].encode()).hexdigest()
        )
        for partition, values in tags.items()
        if DATA_VERSION_TAG in values
    }
