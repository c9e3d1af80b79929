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
from typing import Any, NamedTuple

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


FAILED_AT, FAILED = "failed_at", "failed"
"""Metadata of an observation: the asset at which a month failed, and why."""

SOURCE = "taxi_assets/source"
"""Tag of a record: the data version of the month's source, the graph's first asset, that the value
was made from."""


UNDER_WAY = [dg.DagsterRunStatus[name] for name in ("STARTING", "STARTED", "CANCELING")]
"""Statuses of runs that are not over, and have begun."""

PARTITION_TAG, FIRST_TAG, LAST_TAG = (
    "dagster/partition",
    "dagster/asset_partition_range_start",
    "dagster/asset_partition_range_end",
)
"""Tags by which Dagster says of which months a run is."""

PAGE = 100
"""Records that are read at once."""


class Failed(NamedTuple):
    """At which asset a month failed, and why."""

    asset: str
    reason: str


@dataclass(frozen=True)
class Record:
    """A materialization that an earlier attempt has recorded, and what its checks found."""

    run_id: str
    storage_id: int
    made: dg.AssetMaterialization
    checks: Sequence[dg.AssetCheckEvaluation]

    @property
    def is_taken_over(self) -> bool:
        """Whether its run has not made what it records."""
        return MADE_IN in self.made.metadata


@dataclass
class Records:
    """The event log, as a run over months of a fleet writes it.

    Attributes:
        context: of the run.
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

    def fail(self, key: dg.AssetKey, month: Month, failed: Failed) -> dg.AssetObservation:
        """What the page of an asset says of a month that failed at it, or before it."""
        at, reason = failed
        return dg.AssetObservation(
            key,
            partition=month.partition_key,
            description=reason if key.path[-1] == at else f"{at} failed: {reason}",
            metadata={FAILED: reason, FAILED_AT: at},
        )

    def failed(self, key: dg.AssetKey, months: Sequence[Month]) -> dict[Month, Failed]:
        """The months that earlier attempts of this run could not make.

        Args:
            key: of the last asset that the run makes.
            months: of the run.
        """
        if not self.context.retry_number:
            return {}
        wanted = dg.AssetRecordsFilter(key, [month.partition_key for month in months])
        found = {}
        for record in self.context.instance.fetch_observations(wanted, limit=1000).records:
            observed = record.asset_observation
            if record.run_id == self.context.run_id and observed and FAILED in observed.metadata:
                at, reason = (str(observed.metadata[name].value) for name in (FAILED_AT, FAILED))
                found[Month.parse(str(observed.partition))] = Failed(at, reason)
        return found

    def of_month(self, specs: Sequence[dg.AssetSpec], month: Month) -> list[Record]:
        """The records of a month by the runs that this one continues; none if it has to be made.

        They count if each is its asset's latest, complete with its checks, by the same code, and
        if all were made from the source that is stored now.

        Args:
            specs: of all assets that the run makes.
            month: of them.
        """
        source = self._source_tag(month)
        records = []
        for spec in specs if self._continued else ():
            latest = self._look(spec.key, month)
            made = latest and latest.asset_materialization
            if latest is None or made is None or latest.run_id not in self._continued:
                return []
            tags = made.tags or {}
            if (tags.get(CODE_VERSION_TAG), tags.get(SOURCE)) != (str(spec.code_version), source):
                return []
            checks = [self._last_result(key, month) for key in self._checks(spec.key)]
            judged = [check for check in checks if check and _is_of(check, latest)]
            if len(judged) < len(checks):
                return []
            records.append(Record(latest.run_id, latest.storage_id, made, judged))
        return records

    def of_other_source(self, keys: Sequence[dg.AssetKey], month: Month) -> list[str]:
        """Names of those assets whose month was made from another source than is stored now."""
        source = self._source_tag(month)
        made = {key: self._look(key, month) for key in keys}
        tags = {
            key: record.asset_materialization.tags or {}
            for key, record in made.items()
            if record and record.asset_materialization
        }
        if source is None:
            return []
        return [key.path[-1] for key, of in tags.items() if of.get(SOURCE, source) != source]

    def take_over(self, record: Record, month: Month) -> Iterator[Event]:
        """Record once more in this run what another one has recorded, and where it comes from."""
        if record.run_id == self.context.run_id:
            return
        origin = {MADE_IN: dg.MetadataValue.dagster_run(record.run_id)}
        made = record.made
        yield dg.AssetMaterialization(
            made.asset_key,
            description=made.description,
            partition=month.partition_key,
            metadata={**origin, **made.metadata},
            tags=made.tags,
        )
        yield from self._judge(made.asset_key, month, record.checks)

    def passed(self, key: dg.AssetCheckKey, month: Month) -> bool | None:
        """Whether a month, as it is now, has passed a check; None if it was not judged."""
        last = self._last_result(key, month)
        latest = self._look(key.asset_key, month)
        return last.passed if last and latest and _is_of(last, latest) else None

    def judge_anew(
        self, key: dg.AssetKey, month: Month, check: dg.AssetCheckResult
    ) -> Iterator[Event]:
        """Record what a check finds of a month that this run does not make, if it is news."""
        last = self._last_result(dg.AssetCheckKey(key, str(check.check_name)), month)
        latest = self._look(key, month)
        if last is not None and latest is not None and last.description != check.description:
            self.context.log.info(f"{key.path[-1]} {month}: {check.description}")
            yield _evaluation(key, month, check, latest)

    def repeat(
        self, keys: Collection[dg.AssetCheckKey], months: Sequence[Month]
    ) -> Iterator[Event]:
        """Record once more what checks found last, so that asking in vain changes nothing."""
        for key in sorted(keys):
            for month in months:
                checked = self._last_result(key, month)
                if checked is not None:
                    yield checked

    @cached_property
    def _continued(self) -> Collection[str]:
        """Ids of the runs that this one goes on with: its own attempts, and those it resumes."""
        run = self.context.run
        root = run.tags.get(ROOT_RUN_ID_TAG)
        if root is not None and run.tags.get(RESUME_RETRY_TAG) == "true":
            group = self.context.instance.get_runs(dg.RunsFilter(tags={ROOT_RUN_ID_TAG: root}))
            return {root, run.run_id, *(other.run_id for other in group)}
        return {run.run_id} if self.context.retry_number else set()

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

    def _source_tag(self, month: Month) -> str | None:
        """What tells the month's source from another; None where it is not on record."""
        record = self._look(self.source, month)
        return record and _as_tag(_data_version(record))

    def _last_result(self, key: dg.AssetCheckKey, month: Month) -> dg.AssetCheckEvaluation | None:
        """What a check has found last; runs that were to execute it and did not do not count."""
        partition = PartitionKeyFilter(key=month.partition_key)
        history = self.context.instance.event_log_storage.get_asset_check_execution_history(
            key, limit=1, status=JUDGED, partition_filter=partition
        )
        return next((execution.evaluation for execution in history), None)

    def _tags(
        self, spec: dg.AssetSpec, month: Month, data_version: dg.DataVersion | None
    ) -> dict[str, str]:
        """As Dagster tags the materialization of a single partition."""
        tags = {CODE_VERSION_TAG: str(spec.code_version)}
        inputs = {}
        for key in (dep.asset_key for dep in spec.deps):
            record = self._look(key, month)
            inputs[key] = _data_version(record)
            tags[get_input_data_version_tag(key)] = inputs[key].value
            tags[get_input_event_pointer_tag(key)] = (
                str(record.storage_id) if record else NULL_EVENT_POINTER
            )
        if data_version is not None:
            tags[DATA_VERSION_IS_USER_PROVIDED_TAG] = "true"
        derived = compute_logical_data_version(str(spec.code_version), inputs)
        version = data_version or derived
        source = _as_tag(version) if spec.key == self.source else self._source_tag(month)
        return tags | {DATA_VERSION_TAG: version.value} | ({SOURCE: source} if source else {})


def _shown(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata as people read it: metrics with three decimals. What is stored has all."""
    return {name: _rounded(value) for name, value in metadata.items()}


def _rounded(value: Any) -> Any:
    match value:
        case float() | dg.FloatMetadataValue():
            metric = value if isinstance(value, float) else value.value
            # Dagster's pages show nothing of a value that JSON does not have.
            return round(metric, 3) if metric is not None and isfinite(metric) else str(metric)
        case dg.TableMetadataValue(records=rows, schema=schema):
            rounded = [dg.TableRecord(_shown(row.data)) for row in rows]
            return dg.MetadataValue.table(rounded, schema)
        case _:
            return value


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
    found = {}
    for first in range(0, len(ids), PAGE):
        wanted = dg.AssetRecordsFilter(key, storage_ids=ids[first : first + PAGE])
        for record in instance.fetch_materializations(wanted, limit=PAGE).records:
            made = record.asset_materialization
            if made is not None and made.partition is not None:
                found[Month.parse(made.partition)] = (made.tags or {}).get(SOURCE, "")
    return found


def keys_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> set[dg.AssetKey]:
    """The keys of all assets that a run makes, whatever else they are."""
    if run.asset_selection:
        return set(run.asset_selection)
    planned = instance.all_logs(
        run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
    )
    events = [entry.dagster_event for entry in planned if entry.dagster_event]
    return {event.asset_key for event in events if event.asset_key}


def months_under_way(context: dg.AssetExecutionContext) -> set[Month]:
    """The months of which other runs that are not over make assets of the same fleet."""
    fleets = {key.path[0] for key in context.selected_asset_keys}
    months = context.assets_def.partitions_def
    found: set[Month] = set()
    for run in context.instance.get_runs(dg.RunsFilter(statuses=UNDER_WAY)):
        if run.run_id == context.run_id or months is None:
            continue
        if not fleets & {key.path[0] for key in keys_of(context.instance, run)}:
            continue
        first = run.tags.get(PARTITION_TAG, run.tags.get(FIRST_TAG))
        last = run.tags.get(PARTITION_TAG, run.tags.get(LAST_TAG))
        keys = months.get_partition_keys()
        found |= {Month.parse(key) for key in keys if first and last and first <= key <= last}
    return found


def _is_of(check: dg.AssetCheckEvaluation, record: dg.EventLogRecord) -> bool:
    """Whether a check has judged what a record records."""
    target = check.target_materialization_data
    return target is not None and target.storage_id == record.storage_id


def _as_tag(version: dg.DataVersion) -> str:
    """The beginning of a data version, in the 63 characters that a tag may have."""
    return re.sub(r"[^\w.-]", "_", version.value, flags=re.ASCII)[:63]


def _data_version(record: "dg.EventLogRecord | None") -> dg.DataVersion:
    made = record and record.asset_materialization
    version = made.tags.get(DATA_VERSION_TAG) if made and made.tags else None
    return dg.DataVersion(version) if version else DEFAULT_DATA_VERSION
