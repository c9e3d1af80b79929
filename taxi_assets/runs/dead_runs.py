"""Runs that died without saying so, and would look alive for ever.

Nobody watches the runs that ``dagster asset materialize`` executes in its own process, nor those
that ``make dev`` has launched and is gone with.
"""

import time

import dagster as dg

from taxi_assets.runs.event_log import keys_of
from taxi_assets.storage.processes import Process
from taxi_assets.tlc.fleets import FLEETS

PROCESS = "taxi_assets/process"
"""Tag of a run: the process that executes it."""

LONGEST_START = 600
"""Seconds within which a run of the command line starts, or never."""

UNFINISHED = [
    dg.DagsterRunStatus[name] for name in ("NOT_STARTED", "STARTING", "STARTED", "CANCELING")
]
"""Statuses of runs that are not over, and are in no queue."""


def note_process(context: dg.AssetExecutionContext) -> None:
    """Note on the run which process executes it, unless it has a process for each step."""
    if "multiprocess" not in str(context.run.run_config.get("execution")):
        context.instance.add_run_tags(context.run_id, {PROCESS: Process.current().to_text()})


def end_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """End what is provably dead of the runs of fleets; say what was ended."""
    ended = []
    for record in instance.get_run_records(dg.RunsFilter(statuses=UNFINISHED)):
        run = record.dagster_run
        if not {key.path[0] for key in keys_of(instance, run)} & FLEETS.keys():
            continue
        by_command = run.remote_job_origin is None
        if process := Process.from_text(run.tags.get(PROCESS)):
            is_dead = process.is_gone
            why = f"process {process.pid} on {process.host} is gone"
        else:
            late = time.time() - record.create_timestamp.timestamp() > LONGEST_START
            began = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_START)
            is_dead = by_command and late and not began
            why = "it never began"
        if is_dead:
            # Dagster launches again what has failed, if it is told to, and nothing canceled.
            report = instance.report_run_canceled if by_command else instance.report_run_failed
            report(run, f"Ended by the next run, as {why}.")
            ended.append(f"Run {run.run_id} is ended: {why}.")
    return ended


def main() -> None:
    """End dead runs, before the pages show them."""
    with dg.DagsterInstance.get() as instance:
        for line in end_dead_runs(instance):
            print(line)


if __name__ == "__main__":
    main()
