"""Removes what was made of a fleet, or of a month of it, and nothing else."""

from collections.abc import Sequence
from pathlib import Path

import dagster as dg

from taxi_assets.errors import MonthError, mask
from taxi_assets.reports.plots import PLOTS
from taxi_assets.runs.dead_runs import end_dead_runs
from taxi_assets.runs.event_log import keys_of
from taxi_assets.settings import Settings
from taxi_assets.storage.files import Storage
from taxi_assets.storage.layout import EXTENSIONS, own_files
from taxi_assets.tlc.fleets import Fleet
from taxi_assets.tlc.months import Month
from taxi_assets.tracking.removal import find_tracked, remove_tracked
from taxi_assets.tracking.server import TrackingServer


def wipe(
    settings: Settings, server: TrackingServer, fleet: Fleet, month: Month | None, *, really: bool
) -> None:
    """List what there is of a fleet, or of a month, and remove it if that is really meant.

    Raises:
        MonthError: a run of the fleet is under way, or a service does not do its part.
    """
    storage = Storage(settings.storage)
    with _instance() as instance:
        for line in end_dead_runs(instance):
            print(line)
        ours = {dg.AssetKey([fleet.name, name]) for name in EXTENSIONS}
        made = {run.run_id: keys_of(instance, run) for run in instance.get_runs()}
        runs = [run for run in instance.get_runs() if ours & made.get(run.run_id, set())]
        _refuse_live_runs(fleet, runs)
        own_runs = [run for run in runs if made[run.run_id] <= ours]
        keys = sorted(ours & set(instance.all_asset_keys()))
        files, others = own_files(storage.names, fleet.name, PLOTS, month)
        tracked = find_tracked(server, fleet, month)
        mlflow_runs = [run for run in tracked.runs if run.info.lifecycle_stage != "deleted"]
        title = fleet.name if month is None else f"{fleet.name} {month}"
        print(f"{title}, {len(files)} files in {storage.shown}:", *files, sep="\n  ")
        print(
            f"{title}, in MLflow at {server.shown}: {len(mlflow_runs)} runs and "
            f"{len(tracked.versions)} model versions:",
            *(f"run {run.info.run_name} {run.info.run_id}" for run in mlflow_runs),
            *(f"version {one.version}" for one in tracked.versions),
            sep="\n  ",
        )
        if month is None:
            print(f"{title}, in Dagster's history:", *(key.to_user_string() for key in keys),
                  *(f"run {run.run_id}" for run in own_runs), sep="\n  ")  # fmt: skip
        else:
            print("Dagster's records of the month stay: Dagster cannot forget those of one month.")
        left = [f"{storage.shown}/{path}" for path in others]
        left += [f"{one.name} version {one.version}" for one in tracked.others if month is None]
        left += [f"run {run.run_id}" for run in runs if month is None and run not in own_runs]
        if left:
            print("These are not of this project, or of other assets too, and stay:",
                  *left, sep="\n  ")  # fmt: skip
        if not really:
            print("Nothing has been removed. To remove it, say --yes.")
            return
        _remove_files(storage, files)
        remove_tracked(server, fleet, tracked, month)
        if month is None:
            instance.wipe_assets(keys)
            for run in own_runs:
                instance.delete_run(run.run_id)
    print(f"{title} is removed. `mlflow gc` frees the artifacts of what MLflow has deleted.")


def _instance() -> dg.DagsterInstance:
    """Dagster's history.

    Raises:
        MonthError: there is no telling which, or it is not there.
    """
    from dagster._core.errors import DagsterHomeNotSetError, DagsterInvariantViolationError

    try:
        return dg.DagsterInstance.get()
    except DagsterHomeNotSetError:
        raise MonthError(
            "DAGSTER_HOME is not set, so that Dagster's history is not known. Set it to the "
            "folder that has it: in a checkout, export DAGSTER_HOME=$PWD/.dagster_home"
        ) from None
    except DagsterInvariantViolationError as error:
        raise MonthError(f"DAGSTER_HOME has no history ({mask(str(error))}).") from None


def _refuse_live_runs(fleet: Fleet, runs: Sequence[dg.DagsterRun]) -> None:
    for run in runs:
        if not run.is_finished:
            raise MonthError(
                f"Run {run.run_id} of {fleet.name} is not over ({run.status.value}). Wait for its "
                "end, or terminate it on Dagster's pages. If it was interrupted before it began, "
                "wait ten minutes. Then try again. Nothing has been removed."
            )


def _remove_files(storage: Storage, files: Sequence[str]) -> None:
    for path in files:
        try:
            storage.remove(path)
        except OSError as error:
            raise MonthError(
                f"{storage.shown_path(path)} cannot be removed ({error.strerror or error}). Give "
                "access to it, then try again."
            ) from None
    for folder in sorted({str(Path(path).parent) for path in files}, key=len, reverse=True):
        storage.remove_empty(folder)
