"""Remove a fleet, or a month of it, and nothing else: files, Dagster's history, MLflow's runs.

``python -m taxi_assets.wipe --fleet synthetic`` says what there is; ``--yes`` removes it. Of a
single month (``--month 2023-03``) Dagster's record stays, as Dagster cannot forget one.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from taxi_assets.errors import MonthError
from taxi_assets.settings import Settings, SettingsError
from taxi_assets.storage.files import Storage
from taxi_assets.storage.layout import fleet_files
from taxi_assets.tlc.fleets import FLEETS, Fleet
from taxi_assets.tlc.months import Month
from taxi_assets.tracking.removal import find_tracked, remove_tracked
from taxi_assets.tracking.servers import TrackingServer, try_mlflow_briefly

if TYPE_CHECKING:
    import dagster as dg


def main(arguments: Sequence[str] | None = None) -> int:
    """Do as the command line says; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m taxi_assets.wipe", description=__doc__)
    parser.add_argument("--fleet", choices=FLEETS, required=True)
    parser.add_argument("--month", type=Month.parse, help="one month alone: 2023-03")
    parser.add_argument("--yes", action="store_true", help="remove it; without, it is only shown")
    asked = parser.parse_args(arguments)
    try_mlflow_briefly()
    try:
        settings = Settings.from_environment()
    except SettingsError as error:
        parser.error(error.message)
    try:
        wipe(settings, FLEETS[asked.fleet], asked.month, really=asked.yes)
    except MonthError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def wipe(settings: Settings, fleet: Fleet, month: Month | None, *, really: bool) -> None:
    """Say what there is of a fleet, or of a month, and remove it if that is really meant.

    Raises:
        MonthError: a run of the fleet is under way, or a service does not do its part.
    """
    storage, server = Storage(settings.storage), TrackingServer(settings.tracking_uri)
    files = fleet_files(storage.names, fleet, month)
    tracked = find_tracked(server, settings.experiment_name, fleet, month)
    title = fleet.name if month is None else f"{fleet.name} {month}"
    said = "removed" if really else "would be removed"
    runs = _wipe_history(fleet, really=really and month is None)
    if month is None:
        print(f"{title}: {runs} runs {said} from Dagster's history")
    print(f"{title}: {len(files)} files and folders {said} from {storage.shown}")
    print(
        f"{title}: {len(tracked.runs)} runs and {len(tracked.versions)} model versions {said} "
        f"from MLflow at {server.shown}"
    )
    if not really:
        print("Nothing has been removed. To remove it, say --yes.")
        return
    for path in files:
        try:
            storage.remove(path)
        except OSError as error:
            raise MonthError(
                f"{storage.shown_path(path)} cannot be removed ({error.strerror or error}). Give "
                "access to it, then try again."
            ) from None
    if not remove_tracked(server, fleet, tracked, month):
        print("MLflow's server keeps the artifacts; `mlflow gc` on its machine removes them.")


def _wipe_history(fleet: Fleet, *, really: bool) -> int:
    """Wipe what Dagster knows of a fleet; return how many runs that is.

    Raises:
        MonthError: one of them is under way; or there is no telling.
    """
    import dagster as dg
    from dagster._core.errors import DagsterHomeNotSetError

    try:
        instance = dg.DagsterInstance.get()
    except DagsterHomeNotSetError:
        raise MonthError(
            "DAGSTER_HOME is not set, so that Dagster's history is not known. Set it to the "
            "folder that has it: in a checkout, export DAGSTER_HOME=$PWD/.dagster_home"
        ) from None
    with instance:
        runs = [run for run in instance.get_runs() if _is_of(fleet, run, instance)]
        for run in runs:
            if not run.is_finished:
                raise MonthError(
                    f"Run {run.run_id} of {fleet.name} is not over. Wait for its end, or terminate "
                    "it on Dagster's pages, then try again. Nothing has been removed."
                )
        if really:
            keys = [key for key in instance.all_asset_keys() if key.path[0] == fleet.name]
            instance.wipe_assets(keys)
            for run in runs:
                instance.compute_log_manager.delete_logs(prefix=[run.run_id])
                instance.delete_run(run.run_id)
        return len(runs)


def _is_of(fleet: Fleet, run: "dg.DagsterRun", instance: "dg.DagsterInstance") -> bool:
    """Whether a run was to make assets of this fleet, and of no other."""
    import dagster as dg

    keys = run.asset_selection
    if not keys:
        planned = instance.all_logs(
            run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
        )
        keys = frozenset(
            event.dagster_event.asset_key
            for event in planned
            if event.dagster_event and event.dagster_event.asset_key
        )
    return {key.path[0] for key in keys} == {fleet.name}


if __name__ == "__main__":
    sys.exit(main())
