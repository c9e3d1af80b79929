"""How new and republished months are noticed.

A look asks the source, in calendar order, which version of a month's file it has. A month is due if
any of its assets is missing, or was made from another file.
"""

import json
import time
from collections.abc import Sequence
from concurrent.futures import Future
from threading import Thread
from typing import NamedTuple

import dagster as dg

from taxi_assets.errors import ServiceError
from taxi_assets.runs.event_log import made_from
from taxi_assets.runs.monthly_asset import MonthlyAsset, monthly_partitions
from taxi_assets.storage.files import Storage
from taxi_assets.storage.layout import stored_file
from taxi_assets.storage.origins import noted_origin
from taxi_assets.tlc.fetch import TripSources
from taxi_assets.tlc.fleets import Fleet
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.source import BusySourceError, SourceError, TripSource, UnreachableSourceError

HOUR, WEEK = 60 * 60, 7 * 24 * 60 * 60
"""Seconds between two looks, and between two that also ask about months that are complete."""

TICK, LONGEST_LOOK, LONGEST_ANSWER = 30, 10, 8
"""Seconds between two ticks, most of which do nothing; and so that each ends within 20."""

TRIES = 3
"""Runs that are requested for one file; then the month waits for a person."""

FILE = "taxi_assets/file"
"""Tag of a requested run: the location and the version of the month's file."""


class Cursor(NamedTuple):
    """What a sensor remembers.

    Attributes:
        due: when the next look begins, or goes on. All times are in seconds since 1970.
        asked_all: when a look last ended that asked about all months.
        next: the month with which an unfinished look goes on.
    """

    due: float = 0
    asked_all: float = 0
    next: str = ""

    @classmethod
    def read(cls, text: str | None) -> "Cursor":
        """What is remembered; nothing, if the text is of another release."""
        try:
            return cls(**json.loads(text or "{}"))
        except (ValueError, TypeError):
            return cls()


def new_months(fleet: Fleet, graph: Sequence[MonthlyAsset]) -> dg.SensorDefinition:
    """A sensor that requests a run for each month that is due, from the first recorded one on."""

    @dg.sensor(
        name=f"new_{fleet.name}_months",
        target=dg.AssetSelection.groups(fleet.name),
        minimum_interval_seconds=TICK,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description=(
            "Asks the trip source once an hour for the months that are not complete, and once a "
            "week for all, and runs each month of which an asset is missing or was made from "
            "another file. It asks for file names and versions only."
        ),
    )
    def sensor(
        context: dg.SensorEvaluationContext,
        trip_source: dg.ResourceParam[TripSources],
        storage: dg.ResourceParam[Storage],
    ) -> dg.SensorResult | dg.SkipReason:
        if fleet.invented:
            return dg.SkipReason("Nobody publishes synthetic months: materialize them.")
        try:
            return _look(fleet, graph, context, trip_source.of(fleet), storage)
        except ServiceError as error:
            return dg.SkipReason(str(error))

    return sensor


def _look(
    fleet: Fleet,
    graph: Sequence[MonthlyAsset],
    context: dg.SensorEvaluationContext,
    source: TripSource,
    storage: Storage,
) -> dg.SensorResult | dg.SkipReason:
    """Ask about the months whose turn it is, and request those that are due."""
    end, now, instance = time.monotonic() + LONGEST_LOOK, time.time(), context.instance
    cursor = Cursor.read(context.cursor)
    if now < cursor.due:
        return dg.SkipReason(f"The next look is in {(cursor.due - now) / 60:.0f} minutes.")
    asks_all = now - cursor.asked_all >= WEEK
    months = [Month.parse(key) for key in monthly_partitions(fleet).get_partition_keys()]
    sources = [made_from(instance, asset.key(fleet), months) for asset in graph]
    first = min((month for of_asset in sources for month in of_asset), default=months[0])
    requests, waiting, outcome = list[dg.RunRequest](), list[str](), "Nothing new."
    next_cursor = Cursor(now + HOUR, now if asks_all else cursor.asked_all)
    for month in (month for month in months if str(month) >= max(cursor.next, str(first))):
        digests = {of_asset.get(month) for of_asset in sources}
        is_complete = len(digests) == 1 and None not in digests
        if is_complete and not asks_all:
            continue
        if time.monotonic() > end:
            outcome, next_cursor = "The look goes on.", cursor._replace(due=now, next=str(month))
            break
        try:
            version = _ask(source, fleet, month)
        except (BusySourceError, UnreachableSourceError) as error:
            if str(month) == cursor.next:
                # The look before has ended at it, too: other months have their turn.
                continue
            outcome = f"{error} The next look goes on with {month}."
            next_cursor = cursor._replace(due=now + HOUR, next=str(month))
            break
        except SourceError:
            continue
        file = f"{source.location(fleet, month)} {version}"
        path = stored_file(fleet.name, "raw_trips", month)
        origin = noted_origin(storage, path, *map(str, digests)) if is_complete else None
        if origin and f"{origin.location} {origin.version}" == file:
            continue
        tags = {FILE: file}
        runs = instance.get_runs(dg.RunsFilter(tags=tags), limit=TRIES)
        if not all(run.is_finished for run in runs):
            continue
        if len(runs) == TRIES or any(run.status == dg.DagsterRunStatus.CANCELED for run in runs):
            waiting.append(str(month))
        else:
            requests.append(dg.RunRequest(partition_key=month.partition_key, tags=tags))
    if waiting:
        outcome = f"{', '.join(waiting)} wait for a person: see their last runs. {outcome}"
        context.log.warning(outcome)
    return dg.SensorResult(
        requests,
        skip_reason=None if requests else dg.SkipReason(outcome),
        cursor=json.dumps(next_cursor._asdict()),
    )


def _ask(source: TripSource, fleet: Fleet, month: Month) -> str:
    """A month's version at the source, or an error in good time whatever the source does."""
    answer: Future[str] = Future()

    def ask() -> None:
        try:
            answer.set_result(source.version(fleet, month))
        except BaseException as error:
            answer.set_exception(error)

    Thread(target=ask, daemon=True).start()
    try:
        return answer.result(LONGEST_ANSWER)
    except TimeoutError:
        place = source.location(fleet, month)
        raise UnreachableSourceError(f"{place} gets no answer in {LONGEST_ANSWER} s.") from None
