"""Runs of the command line that died without saying so, and would look alive for ever.

Dagster's daemon watches the runs that it has launched. Nobody watches those that
``dagster asset materialize`` executes in its own process.
"""

import multiprocessing
import time

import dagster as dg

from taxi_assets.storage.processes import Process
from taxi_assets.tlc.fleets import FLEETS

PROCESS = "taxi_assets/process"
"""Tag of a run: the process that executes it."""

LONGEST_START = 600
"""Seconds within which a run of the command line starts, or never."""


def note_process(context: dg.AssetExecutionContext) -> None:
    """Note on the run which process executes it, unless it has a process for each step."""
    if multiprocessing.parent_process() is None:
        context.instance.add_run_tags(context.run_id, {PROCESS: Process.current().to_text()})


def end_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """End what is provably dead of the command line's runs of fleets; say what was ended."""
    ended = []
    unfinished = [status for status in dg.DagsterRunStatus if status not in FINISHED]
    for record in instance.get_run_records(dg.RunsFilter(statuses=unfinished)):
        run = record.dagster_run
        if run.remote_job_origin is not None or not groups_of(instance, run) & FLEETS.keys():
            continue
        process = Process.from_text(run.tags.get(PROCESS))
        if run.status == dg.DagsterRunStatus.NOT_STARTED:
            if time.time() - record.create_timestamp.timestamp() > LONGEST_START:
                instance.delete_run(run.run_id)
                ended.append(f"Run {run.run_id}, which never started, is removed.")
        elif process is not None and process.is_gone:
            message = f"Process {process.pid} on {process.host}, which executed it, is gone."
            instance.report_run_canceled(run, message)
            ended.append(f"Run {run.run_id} is marked as canceled: its process is gone.")
    return ended


FINISHED = (
    dg.DagsterRunStatus.SUCCESS,
    dg.DagsterRunStatus.FAILURE,
    dg.DagsterRunStatus.CANCELED,
)


def groups_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> set[str]:
    """The first parts of the keys of all assets that a run makes: fleets, and whatever else."""
    keys = run.asset_selection
    if not keys:
        planned = instance.all_logs(
            run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
        )
        events = [entry.dagster_event for entry in planned if entry.dagster_event]
        keys = frozenset(event.asset_key for event in events if event.asset_key)
    return {key.path[0] for key in keys}


def main() -> None:
    """End dead runs, before the pages show them."""
    with dg.DagsterInstance.get() as instance:
        for line in end_dead_runs(instance):
            print(line)


if __name__ == "__main__":
    main()
