"""Removes what was made of a fleet, or of a month of it, and nothing else."""

from collections.abc import Sequence
from pathlib import Path

import dagster as dg

from taxi_assets.errors import MonthError, first_line, mask
from taxi_assets.reports.plots import PLOTS
from taxi_assets.runs.dead_runs import end_dead_runs
from taxi_assets.runs.event_log import keys_of
from taxi_assets.settings import Settings
from taxi_assets.storage.files import Storage
from taxi_assets.storage.layout import EXTENSIONS, own_files
from taxi_assets.tlc.fleets import Fleet
from taxi_assets.tlc.months import Month
from taxi_assets.tracking.champions import Champions
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
    title = fleet.name if month is None else f"{fleet.name} {month}"
    with _instance() as instance:
        for line in end_dead_runs(instance):
            print(line)
        ours = {dg.AssetKey([fleet.name, name]) for name in EXTENSIONS}
        made = [(run, keys_of(instance, run)) for run in instance.get_runs()]
        runs = [(run, keys) for run, keys in made if ours & keys]
        for run, _ in runs:
            _refuse_unless_over(run, fleet)
        own_runs = [run.run_id for run, keys in runs if keys <= ours]
        keys = sorted(ours & set(instance.all_asset_keys()))
        files, others = own_files(storage.names, fleet.name, PLOTS, month)
        tracked = find_tracked(server, fleet, month)
        versions = [int(one.version) for one in tracked.versions]
        standing = Champions(server, fleet.name).standing()
        mlflow_runs = [run for run in tracked.runs if run.info.lifecycle_stage != "deleted"]
        _list(f"{title}, {len(files)} files in {storage.shown}", files)
        _list(
            f"{title}, in MLflow at {server.shown}: {len(mlflow_runs)} runs and "
            f"{len(versions)} model versions",
            [f"run {run.info.run_name} {run.info.run_id}" for run in mlflow_runs]
            + [f"version {n}{', which serves' * (n == standing.champion)}" for n in versions],
        )
        left = [f"{storage.shown}/{path}" for path in others]
        if month is None:
            _list(
                f"{title}, in Dagster's history",
                [key.to_user_string() for key in keys] + [f"run {run_id}" for run_id in own_runs],
            )
            left += [f"{one.name} version {one.version}" for one in tracked.others]
            left += [f"run {run.run_id}" for run, _ in runs if run.run_id not in own_runs]
        else:
            print("Dagster's records of the month stay: Dagster cannot forget those of one month.")
            if standing.champion in versions:
                then = "the next month chooses another"
                if standing.previous not in {None, *versions}:
                    back = f"taxi-assets champion --fleet {fleet.name} --back"
                    then = f"{back} has the previous one serve"
                print(f"Without version {standing.champion} none serves: {then}.")
        if left:
            _list("These are not of this project, or of other assets too, and stay", left)
        if not really:
            print("Nothing has been removed. To remove it, say --yes.")
            return
        _remove_files(storage, files)
        remove_tracked(server, fleet, tracked, month)
        if month is None:
            instance.wipe_assets(keys)
            for run_id in own_runs:
                instance.delete_run(run_id)
    print(f"{title} is removed. `mlflow gc` frees the artifacts of what MLflow has deleted.")


def _instance() -> dg.DagsterInstance:
    """Dagster's history.

    Raises:
        MonthError: it is not known which, or it is not there.
    """
    try:
        return dg.DagsterInstance.get()
    except dg.DagsterError as error:
        raise MonthError(
            f"Dagster's history cannot be opened ({mask(first_line(error))}). Set DAGSTER_HOME to "
            "the folder that has it: in a checkout, export DAGSTER_HOME=$PWD/.dagster_home"
        ) from None


def _list(title: str, lines: Sequence[str]) -> None:
    print(f"{title}:", *lines, sep="\n  ")


def _refuse_unless_over(run: dg.DagsterRun, fleet: Fleet) -> None:
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
