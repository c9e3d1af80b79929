"""How runs are executed, how backfills are cut into them, and how new months are noticed."""

import hashlib
import time
from collections.abc import Sequence

import click
import dagster as dg
from dagster._core.storage.tags import PARTITION_NAME_TAG, SENSOR_NAME_TAG

from taxi_assets.errors import ServiceError
from taxi_assets.monthly_assets import MonthlyAsset
from taxi_assets.partitions import monthly_partitions
from taxi_assets.publications import FIRST_WAIT, LONGEST_WAIT, Publications
from taxi_assets.records import failed_months
from taxi_assets.settings import Settings
from taxi_assets.storage.files import Storage
from taxi_assets.storage.layout import folder, model_file, months_among
from taxi_assets.storage.origins import trained_origin
from taxi_assets.tlc.fleets import Fleet
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.sources import TripSources

SECONDS_BETWEEN_LOOKS = 30

REMEMBERED_RUNS = 200
"""Runs that the sensor has requested last; those that failed it may request again."""

FILE = "taxi_assets/file"
"""Tag of a requested run: which version of which file it is for, as a digest."""

in_process_by_default = dg.multi_or_in_process_executor.configured(
    lambda config: config,
    name="in_process_by_default",
    config_schema=dg.Field(
        dg.Selector(
            {
                "in_process": dg.in_process_executor.config_schema.as_field(),
                "multiprocess": dg.multiprocess_executor.config_schema.as_field(),
            }
        ),
        default_value={"in_process": {}},
    ),
)
"""Dagster's executor, with the run's process as the default: a process for a step costs more than
a month."""


def backfills(settings: Settings) -> dg.BackfillPolicy:
    """A run for each contiguous range of months, or for as many months as the settings say.

    A range on the command line is always one run, and Dagster refuses it for any other policy.
    """
    command = click.get_current_context(silent=True)
    on_command_line = command is not None and command.params.get("partition_range") is not None
    if settings.months_per_run is None or on_command_line:
        return dg.BackfillPolicy.single_run()
    return dg.BackfillPolicy.multi_run(settings.months_per_run)


def new_months(fleet: Fleet, graph: Sequence[MonthlyAsset]) -> dg.SensorDefinition:
    """A sensor that runs each month of which no model is stored that was made of the source's file.

    It looks from the first month that has a stored model; where none has, at all of the fleet's.
    """

    @dg.sensor(
        name=f"new_{fleet.name}_months",
        target=dg.AssetSelection.groups(fleet.name),
        minimum_interval_seconds=SECONDS_BETWEEN_LOOKS,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description=(
            "Asks the trip source for months of which no model is stored that was made of this "
            "very file: months that are published and not trained yet, or published anew. It asks "
            "about file names and versions only, and less and less often where nothing changes."
        ),
    )
    def sensor(
        context: dg.SensorEvaluationContext,
        trip_source: dg.ResourceParam[TripSources],
        storage: dg.ResourceParam[Storage],
    ) -> dg.SensorResult | dg.SkipReason:
        if fleet.invented:
            return dg.SkipReason("Synthetic months are not published by anybody: materialize them.")
        try:
            return look(context, trip_source, storage)
        except ServiceError as error:
            return dg.SkipReason(str(error))

    def look(
        context: dg.SensorEvaluationContext, trip_source: TripSources, storage: Storage
    ) -> dg.SensorResult:
        source, now = trip_source.of(fleet), time.time()
        models = model_file(fleet, fleet.first_month)
        trained = months_among(storage.names(folder(models)), models)
        months = [Month.parse(key) for key in monthly_partitions(fleet).get_partition_keys()]
        keys = [asset.key(fleet) for asset in graph]
        requested = Requested(context, keys, now)

        def wanted(month: Month, version: str) -> bool:
            origin = trained_origin(storage, fleet, month)
            location = source.location(fleet, month)
            is_trained = origin is not None and (origin.location, origin.version) == (
                location,
                version,
            )
            return not is_trained and requested.may_come(month, _file(location, version))

        known = Publications.of(source.location(fleet, fleet.first_month), context.cursor)
        since = [month for month in months if month >= min(trained, default=month)]
        found = known.look(source, fleet, since, wanted, now, requested.failed(), trained)
        if known.newest and Month.parse(known.newest) not in trained:
            context.log.warning(
                f"The newest published month, {known.newest}, is not trained"
                + (" yet." if found else "; look at the run that was requested for it.")
            )
        return dg.SensorResult(
            [
                dg.RunRequest(
                    partition_key=month.partition_key,
                    tags={FILE: _file(source.location(fleet, month), version)},
                )
                for month, version in found
            ],
            skip_reason=None if found else _why_nothing(known, now),
            cursor=known.to_text(),
        )

    return sensor


class Requested:
    """The runs that a sensor has requested, and what may be requested once more.

    A month whose run failed because something was away may, after a pause that doubles each time.
    One that is bad in itself may not, nor one whose run somebody has stopped, until its file
    changes.
    """

    def __init__(
        self, context: dg.SensorEvaluationContext, keys: Sequence[dg.AssetKey], now: float
    ) -> None:
        self._instance = context.instance
        self._keys = keys
        self._now = now
        self._runs: dict[Month, list[dg.RunRecord]] = {}
        mine = dg.RunsFilter(tags={SENSOR_NAME_TAG: context.sensor_name})
        for record in context.instance.get_run_records(mine, limit=REMEMBERED_RUNS):
            month = Month.parse(record.dagster_run.tags[PARTITION_NAME_TAG])
            self._runs.setdefault(month, []).append(record)

    def failed(self) -> list[Month]:
        """Months whose last run has failed."""
        failure = dg.DagsterRunStatus.FAILURE
        return [
            month for month, runs in self._runs.items() if runs[0].dagster_run.status == failure
        ]

    def may_come(self, month: Month, file: str) -> bool:
        """Whether a month may be requested, given the file that it would be made of."""
        runs = [run for run in self._runs.get(month, []) if run.dagster_run.tags.get(FILE) == file]
        if not runs:
            return True
        last = runs[0].dagster_run
        if not last.is_finished or last.status == dg.DagsterRunStatus.CANCELED:
            return False
        pause = min(FIRST_WAIT * 2 ** (len(runs) - 1), LONGEST_WAIT)
        if self._now < (runs[0].end_time or self._now) + pause:
            return False
        bad = failed_months(self._instance, last.run_id, self._keys, [month])
        return month not in bad or bad[month].may_pass


def _file(location: str, version: str) -> str:
    return hashlib.sha256(f"{location} {version}".encode()).hexdigest()[:16]


def _why_nothing(known: Publications, now: float) -> str:
    if known.silent_until > now:
        return f"The source does not answer, or is busy; it is left alone for {known.silence:g} s."
    return f"Nothing new. The newest published month that is known is {known.newest or 'none'}."
