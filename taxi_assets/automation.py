"""How runs are executed, how backfills are cut into them, and how new months are noticed."""

import sys
import time

import dagster as dg

from taxi_assets.partitions import monthly_partitions
from taxi_assets.publications import Publications
from taxi_assets.settings import Settings, SettingsError
from taxi_assets.storage.files import Storage
from taxi_assets.storage.incoming import month_file
from taxi_assets.storage.origins import noted_origin
from taxi_assets.tlc.fleets import Fleet
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.source import SyntheticSource, TripSource

SECONDS_BETWEEN_LOOKS = 30


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

    Raises:
        SettingsError: the command line asks for a range of months, which is always one run, and
            the settings for something else. Dagster would refuse it too, in other words.
    """
    if settings.months_per_run is None:
        return dg.BackfillPolicy.single_run()
    if "--partition-range" in sys.argv:
        raise SettingsError(
            f"TAXI_MONTHS_PER_RUN is {settings.months_per_run}, and --partition-range is always "
            "one run; set TAXI_MONTHS_PER_RUN to all, or backfill the range in Dagster's pages."
        )
    return dg.BackfillPolicy.multi_run(settings.months_per_run)


def new_months(fleet: Fleet, source: TripSource, storage: Storage) -> dg.SensorDefinition:
    """A sensor that runs each month which is published and not trained, or published anew.

    It looks from the first month that is trained on; where none is, at all of the fleet's.
    """

    @dg.sensor(
        name=f"new_{fleet.name}_months",
        target=dg.AssetSelection.all(),
        minimum_interval_seconds=SECONDS_BETWEEN_LOOKS,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description=(
            "Asks the trip source for months that are published and not trained yet, and for "
            "stored months that were published anew, and runs exactly those, once each. It asks "
            "about file names and versions only, and less and less often where nothing changes."
        ),
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        if isinstance(source, SyntheticSource):
            return dg.SkipReason("Synthetic months are not published by anybody.")
        model = dg.AssetKey([fleet.name, "model"])
        trained = {Month.parse(key) for key in context.instance.get_materialized_partitions(model)}
        keys = monthly_partitions(fleet).get_partition_keys()
        months = [month for month in map(Month.parse, keys) if month >= min(trained, default=month)]

        def stored_version(month: Month) -> str | None:
            origin = noted_origin(storage, month_file(fleet, month))
            same_place = origin is not None and origin.location == source.location(fleet, month)
            return origin.version if origin is not None and same_place else None

        known = Publications.from_text(context.cursor)
        wanted = known.look(source, fleet, months, trained, stored_version, time.time())
        newest = known.newest()
        if newest is not None and newest not in trained:
            context.log.warning(
                f"The newest published month, {newest}, is not trained"
                + (" yet." if wanted else "; look at the run that was requested for it.")
            )
        return dg.SensorResult(
            [
                dg.RunRequest(
                    run_key=f"{fleet.name} {month} {version}", partition_key=month.partition_key
                )
                for month, version in wanted
            ],
            skip_reason=None if wanted else _why_nothing(known, newest),
            cursor=known.to_text(),
        )

    return sensor


def _why_nothing(known: Publications, newest: Month | None) -> str:
    if known.silent_until > time.time():
        return f"The source does not answer, or is busy; it is left alone for {known.silence:g} s."
    return f"Nothing new. The newest published month that is known is {newest}."
