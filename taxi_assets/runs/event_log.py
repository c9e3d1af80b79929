"""What Dagster's event log says of the months of assets: records, check results, failures.

A step over several months that gives outputs has Dagster record all of them at its end, with one
data version. So each month is recorded here instead, as Dagster records a single one: when it is
stored, with its own metrics, data version and inputs, and with check results that target it.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import isfinite
from typing import Any

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData,
)
from dagster._core.definitions.data_version import (
    CODE_VERSION_TAG,
    DATA_VERSION_IS_USER_PROVIDED_TAG,
    DATA_VERSION_TAG,
    DEFAULT_DATA_VERSION,
    NULL_EVENT_POINTER,
    compute_logical_data_version,
    get_input_data_version_tag,
    get_input_event_pointer_tag,
)
from dagster._core.event_api import PartitionKeyFilter
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.tags import RESUME_RETRY_TAG, ROOT_RUN_ID_TAG

from taxi_assets.tlc.months import Month

Event = dg.AssetMaterialization | dg.AssetCheckEvaluation | dg.AssetObservation

MADE_IN = "made_in_run"
"""Metadata of a record that a resumed run has taken over."""

JUDGED = {AssetCheckExecutionRecordStatus.SUCCEEDED, AssetCheckExecutionRecordStatus.FAILED}

SOURCE = "taxi_assets/source"
"""Tag of a record: the data version of the month's source, the graph's first asset, that the value
was made from."""


@dataclass
class Records:
    """Reads and writes the event log for a run over months of a fleet.

    Attributes:
        context: Dagster's context of the run.
        source: key of the asset that all others are made from.
    """

    context: dg.AssetExecutionContext
    source: dg.AssetKey
    _latest: dict[tuple[dg.AssetKey, Month], "dg.EventLogRecord | None"] = field(
        default_factory=dict
    )

    def add(
        self,
        spec: dg.AssetSpec,
        month: Month,
        metadata: Mapping[str, Any],
        data_version: dg.DataVersion | None,
        checks: Sequence[dg.AssetCheckResult],
    ) -> Iterator[Event]:
        """Record that a month has been stored, and what its checks found."""
        yield dg.AssetMaterialization(
            spec.key,
            partition=month.partition_key,
            metadata=_shown(metadata),
            tags=self._tags(spec, month, data_version),
        )
        yield from self._judge(spec.key, month, checks)

    def of_month(self, specs: Sequence[dg.AssetSpec], month: Month) -> list[dg.EventLogRecord]:
        """The records of a month by the runs that this run resumes; none if it has to be made.

        Each record must be the latest of its asset, have all check results, and come from the
        same code and from the source that is stored now.

        Args:
            specs: the assets that the run makes.
            month: the month.
        """
        source = self._tag(self.source, month, SOURCE)
        records = []
        for spec in specs if self._resumed else ():
            latest = self._look(spec.key, month)
            if latest is None or latest.run_id not in self._resumed:
                return []
            made_by = (self._tag(spec.key, month, name) for name in (CODE_VERSION_TAG, SOURCE))
            if tuple(made_by) != (str(spec.code_version), source):
                return []
            if any(self.passed(check, month) is None for check in self._checks(spec.key)):
                return []
            records.append(latest)
        return records

    def of_other_source(self, keys: Sequence[dg.AssetKey], month: Month) -> list[str]:
        """Names of those assets whose month was made from another source than is stored now."""
        source = self._tag(self.source, month, SOURCE)
        sources = {key.path[-1]: self._tag(key, month, SOURCE) for key in keys}
        return [name for name, other in sources.items() if source and other not in (None, source)]

    def take_over(self, record: dg.EventLogRecord, month: Month) -> Iterator[Event]:
        """Record in this run what another run has recorded, and which run that was."""
        made = record.asset_materialization
        assert made is not None
        checks = [self.last_result(check, month) for check in self._checks(made.asset_key)]
        yield made.with_metadata(
            {MADE_IN: dg.MetadataValue.dagster_run(record.run_id), **made.metadata}
        )
        yield from self._judge(made.asset_key, month, [check for check in checks if check])

    def passed(self, key: dg.AssetCheckKey, month: Month) -> bool | None:
        """Whether a month, as it is now, has passed a check; None if it was not judged."""
        last = self.last_result(key, month)
        latest = self._look(key.asset_key, month)
        target = last.target_materialization_data if last else None
        is_of_latest = latest and target and target.storage_id == latest.storage_id
        return last.passed if last and is_of_latest else None

    def last_result(self, key: dg.AssetCheckKey, month: Month) -> dg.AssetCheckEvaluation | None:
        """The last result of a check; a run that planned the check without a result is ignored."""
        partition = PartitionKeyFilter(key=month.partition_key)
        history = self.context.instance.event_log_storage.get_asset_check_execution_history(
            key, limit=1, status=JUDGED, partition_filter=partition
        )
        return next((execution.evaluation for execution in history), None)

    def judge_anew(
        self, key: dg.AssetKey, month: Month, check: dg.AssetCheckResult
    ) -> Iterator[Event]:
        """Record a check result for a month that this run does not make, if it is another one."""
        last = self.last_result(dg.AssetCheckKey(key, str(check.check_name)), month)
        latest = self._look(key, month)
        if last is not None and latest is not None and last.description != check.description:
            self.context.log.info(f"{key.path[-1]} {month}: {check.description}")
            yield _evaluation(key, month, check, latest)

    @cached_property
    def _resumed(self) -> Collection[str]:
        """Ids of the runs that this one resumes."""
        root = self.context.run.tags.get(ROOT_RUN_ID_TAG)
        if root is None or self.context.run.tags.get(RESUME_RETRY_TAG) != "true":
            return set()
        group = self.context.instance.get_runs(dg.RunsFilter(tags={ROOT_RUN_ID_TAG: root}))
        return {root, *(run.run_id for run in group)}

    def _checks(self, key: dg.AssetKey) -> list[dg.AssetCheckKey]:
        """The asset's checks that are part of the run."""
        return [check for check in self.context.selected_asset_check_keys if check.asset_key == key]

    def _judge(
        self,
        key: dg.AssetKey,
        month: Month,
        checks: Sequence[dg.AssetCheckResult | dg.AssetCheckEvaluation],
    ) -> Iterator[Event]:
        """Record check results for the materialization that was recorded just now."""
        self._latest.pop((key, month), None)
        latest = self._look(key, month)
        selected = {check.name for check in self._checks(key)}
        for check in checks:
            if latest is None or check.check_name not in selected:
                continue
            if not check.passed:
                self.context.log.warning(f"{key.path[-1]} {month}: {check.description}")
            yield _evaluation(key, month, check, latest)

    def _look(self, key: dg.AssetKey, month: Month) -> "dg.EventLogRecord | None":
        """The latest materialization of a month, as this run knows it."""
        if (key, month) not in self._latest:
            wanted = dg.AssetRecordsFilter(key, asset_partitions=[month.partition_key])
            records = self.context.instance.fetch_materializations(wanted, limit=1).records
            self._latest[key, month] = next(iter(records), None)
        return self._latest[key, month]

    def _tag(self, key: dg.AssetKey, month: Month, name: str) -> str | None:
        """A tag of the latest materialization of a month."""
        record = self._look(key, month)
        made = record and record.asset_materialization
        return (made.tags or {}).get(name) if made else None

    def _tags(
        self, spec: dg.AssetSpec, month: Month, data_version: dg.DataVersion | None
    ) -> dict[str, str]:
        """As Dagster tags the materialization of a single partition."""
        tags = {CODE_VERSION_TAG: str(spec.code_version)}
        inputs = {}
        for key in (dep.asset_key for dep in spec.deps):
            record, version = self._look(key, month), self._tag(key, month, DATA_VERSION_TAG)
            inputs[key] = dg.DataVersion(version) if version else DEFAULT_DATA_VERSION
            tags[get_input_data_version_tag(key)] = inputs[key].value
            tags[get_input_event_pointer_tag(key)] = (
                str(record.storage_id) if record else NULL_EVENT_POINTER
            )
        if data_version is not None:
            tags[DATA_VERSION_IS_USER_PROVIDED_TAG] = "true"
        else:
            data_version = compute_logical_data_version(str(spec.code_version), inputs)
        tags[DATA_VERSION_TAG] = data_version.value
        source = self._tag(self.source, month, SOURCE)
        if spec.key == self.source:
            # A tag has at most 63 characters, of some kinds.
            source = re.sub(r"[^\w.-]", "_", data_version.value, flags=re.ASCII)[:63]
        return tags | ({SOURCE: source} if source else {})


def _shown(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata as people read it: metrics with three decimals. What is stored has all."""
    return {name: _rounded(value) for name, value in metadata.items()}


def _rounded(value: Any) -> Any:
    metric = value.value if isinstance(value, dg.FloatMetadataValue) else value
    if not isinstance(metric, float):
        return value
    # Dagster's pages show nothing of a value that JSON does not have.
    return round(metric, 3) if isfinite(metric) else str(metric)


def _evaluation(
    key: dg.AssetKey,
    month: Month,
    check: dg.AssetCheckResult | dg.AssetCheckEvaluation,
    of: "dg.EventLogRecord",
) -> dg.AssetCheckEvaluation:
    """What a check has found of a month, as it was recorded."""
    return dg.AssetCheckEvaluation(
        asset_key=key,
        check_name=str(check.check_name),
        passed=check.passed,
        metadata=_shown(check.metadata),
        target_materialization_data=AssetCheckEvaluationTargetMaterializationData(
            storage_id=of.storage_id, run_id=of.run_id, timestamp=of.timestamp
        ),
        severity=check.severity,
        description=check.description,
        partition=month.partition_key,
    )


def made_from(
    instance: dg.DagsterInstance, key: dg.AssetKey, months: Sequence[Month]
) -> dict[Month, str]:
    """The data versions of the sources that months of an asset were made from, where they were."""
    latest = instance.event_log_storage.get_latest_storage_id_by_partition(
        key, dg.DagsterEventType.ASSET_MATERIALIZATION
    )
    ids = [latest[key] for key in (month.partition_key for month in months) if key in latest]
    wanted = dg.AssetRecordsFilter(key, storage_ids=ids)
    records = instance.fetch_materializations(wanted, limit=len(ids)).records if ids else ()
    made = [record.asset_materialization for record in records]
    return {Month.parse(str(of.partition)): (of.tags or {}).get(SOURCE, "") for of in made if of}


def keys_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> set[dg.AssetKey]:
    """The keys of all assets that a run makes, whatever else they are."""
    if run.asset_selection:
        return set(run.asset_selection)
    planned = instance.all_logs(
        run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
    )
    events = [entry.dagster_event for entry in planned if entry.dagster_event]
    return {event.asset_key for event in events if event.asset_key}
