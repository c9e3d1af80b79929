"""The command ``taxi-assets``: everything that people do beside Dagster's and MLflow's pages.

What a command needs is imported when it is used, so that help is quick.
"""

import os
import shutil
import sqlite3
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from dotenv import load_dotenv

from taxi_assets.errors import MonthError, first_line, mask
from taxi_assets.settings import Settings
from taxi_assets.tlc.fleets import FLEETS
from taxi_assets.tlc.months import Month, months_of

if TYPE_CHECKING:
    from taxi_assets.tracking.server import TrackingServer

FOLDER, FILE = click.Path(file_okay=False, path_type=Path), click.Path(path_type=Path)


class Span(click.ParamType[list[Month]]):
    """A month, ``2023-03``, or a range of months, ``2023-01...2023-12``."""

    name = "months"

    def convert(self, value: Any, param: Any, ctx: Any) -> list[Month]:
        """The months, in order."""
        try:
            return months_of(value) if isinstance(value, str) else value
        except ValueError as error:
            self.fail(str(error), param, ctx)


def fleet_option(**options: Any) -> Callable[..., Any]:
    """The option that names a fleet."""
    return click.option("--fleet", type=click.Choice(list(FLEETS)), help="Whose trips.", **options)


class Commands(click.Group):
    """Commands whose errors are sentences, and that obey the ``.env`` that Dagster obeys."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        # All of it, as Dagster does: MLflow and object stores read variables of their own.
        load_dotenv(Path.cwd() / ".env")
        try:
            return super().invoke(ctx)
        except MonthError as error:
            raise click.ClickException(str(error)) from None


@click.group(cls=Commands, context_settings={"max_content_width": 100})
@click.version_option(package_name="taxi_assets")
def main() -> None:
    """Monthly models of how long New York's taxi trips take."""


def _keep_history(settings: Settings) -> None:
    """Have Dagster keep its history in this folder, and say once where everything lies."""
    home = Path.cwd() / ".dagster_home"
    os.environ["DAGSTER_HOME"] = str(home)
    if not home.exists():
        with os_errors_named(home):
            home.mkdir()
            shutil.copy(Path(__file__).with_name("dagster.yaml"), home)
        click.echo(
            f"Dagster's history is kept in {home}, assets in {mask(settings.storage)}, runs and "
            f"models in MLflow at {mask(settings.tracking_uri)}.",
            err=True,
        )


@main.command(
    epilog="Examples:"
    "\n\ntaxi-assets materialize green 2023-01"
    "\n\ntaxi-assets materialize green 2023-01...2023-03 --select raw_trips,cleaned_trips"
)
@click.argument("fleet", type=click.Choice(list(FLEETS)))
@click.argument("months", type=Span())
@click.option("--select", metavar="ASSETS", help="Only these, with commas between; else all.")
@click.option("--source", metavar="PLACE", help="A folder or URL, instead of TAXI_TRIP_SOURCE.")
@click.option("--storage", metavar="PLACE", help="A folder or URL, instead of TAXI_STORAGE.")
def materialize(
    fleet: str, months: list[Month], select: str | None, source: str | None, storage: str | None
) -> None:
    """Make months of a fleet, as `dagster asset materialize` does."""
    import dagster as dg

    from taxi_assets.assets.graph import GRAPH
    from taxi_assets.runs.monthly_asset import monthly_partitions

    places = {"TAXI_TRIP_SOURCE": source, "TAXI_STORAGE": storage}
    os.environ |= {name: place for name, place in places.items() if place is not None}
    os.environ["TAXI_FLEET"] = fleet
    settings = Settings.from_environment()
    known = monthly_partitions(FLEETS[fleet]).get_partition_keys()
    first, last = months[0].partition_key, months[-1].partition_key
    if not {first, last} <= {*known}:
        raise click.UsageError(f"{fleet} has the months {known[0][:7]} to {known[-1][:7]}.")
    given = select.split(",") if select else []
    names = [name.strip().removeprefix(f"{fleet}/") for name in given]
    unknown = set(names) - {asset.name for asset in GRAPH}
    if unknown:
        assets = ", ".join(asset.name for asset in GRAPH)
        raise click.UsageError(f"{fleet} has no asset {min(unknown)!r}; it has {assets}.")
    selected = ",".join(f"{fleet}/{name}" for name in names) or f"group:{fleet}"
    chosen = ["--partition", first] if first == last else ["--partition-range", f"{first}...{last}"]
    if "DAGSTER_HOME" not in os.environ:
        _keep_history(settings)
    sys.argv = ["dagster", "asset", "materialize", "-m", "taxi_assets.definitions",
                "--select", selected, *chosen]  # fmt: skip
    (dagster,) = entry_points(group="console_scripts", name="dagster")
    with warnings.catch_warnings():
        # That the command and what it calls may change one day.
        warnings.simplefilter("ignore")
        try:
            dagster.load()()
        except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError):
            # The run has said what stays.
            raise click.Abort from None


@main.command(
    epilog="Examples:"
    "\n\ntaxi-assets predict --fleet green --from JFK --to 'Times Sq' --at 'Fri 17:00'"
    "\n\ntaxi-assets predict --fleet green trips.csv --output answers.csv"
)
@click.argument("trips", type=FILE, required=False)
@fleet_option(required=True)
@click.option("--from", "start", metavar="ZONE", help="A zone's name or number, or a place.")
@click.option("--to", "end", metavar="ZONE", help="A zone's name or number, or a place.")
@click.option("--at", metavar="TIME", help="Fri 17:00, 2023-04-07T17:00 or now; else all hours.")
@click.option("--output", type=FILE, help="A Parquet or CSV file for the answers.")
@click.option("--model", type=int, metavar="VERSION", help="Instead of the champion.")
def predict(
    trips: Path | None,
    fleet: str,
    start: str | None,
    end: str | None,
    at: str | None,
    output: Path | None,
    model: int | None,
) -> None:
    """Say how long a trip takes, or all trips of a CSV or Parquet file.

    A file has the columns PULocationID, DOLocationID and, where the hour is to count,
    pickup_datetime.
    """
    from taxi_assets.serving.batch import predict_file
    from taxi_assets.serving.inference import describe_trip, find_trip
    from taxi_assets.tracking.champions import load_serving

    one = start is not None or end is not None
    if one == (trips is not None) or (one and None in (start, end)):
        raise click.UsageError("Ask for one trip with --from and --to, or name a file of trips.")
    if trips is not None and output is None:
        raise click.UsageError("Name the file for the answers: --output answers.csv")
    if (at if trips else output) is not None:
        raise click.UsageError("--at goes with one trip, --output with a file of trips.")
    # Before the model is loaded, which takes seconds.
    trip = find_trip(start, end, at) if start is not None and end is not None else None
    serving = load_serving(existing_server(Settings.from_environment()), fleet, model)
    if trips is not None and output is not None:
        predict_file(serving, trips, output)
    elif trip is not None:
        click.echo(describe_trip(serving, fleet, *trip))


@main.command(
    epilog="Examples:"
    "\n\ntaxi-assets champion --fleet green"
    "\n\ntaxi-assets champion --fleet green --set 4 --why 'the newest looks odd'"
)
@fleet_option(required=True)
@click.option("--set", "number", type=int, metavar="VERSION", help="Have this version serve.")
@click.option("--back", is_flag=True, help="Have the previous champion serve.")
@click.option("--pin/--unpin", default=None, help="Keep months from moving the alias, or not.")
@click.option("--why", default="by hand", help="The reason, which is kept.")
def champion(fleet: str, number: int | None, back: bool, pin: bool | None, why: str) -> None:
    """Show which version serves and why, or choose another."""
    from taxi_assets.storage.files import Storage
    from taxi_assets.tracking.pinning import choose_champion

    if number is not None and back:
        raise click.UsageError("--set and --back exclude each other.")
    settings = Settings.from_environment()
    changes = number is not None or back or pin is not None
    storage, server = Storage(settings.storage), existing_server(settings, changes=changes)
    for line in choose_champion(storage, server, FLEETS[fleet], number, back, pin, why):
        click.echo(line)


@main.command(epilog="Example: taxi-assets serve --fleet green --port 8080")
@fleet_option()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@click.option("--port", default=8080, show_default=True, help="0 is any that is free.")
@click.option("--allow-host", multiple=True, metavar="NAME",
              help="Another name of this host, without scheme and port.")  # fmt: skip
@click.option("--model", type=int, metavar="VERSION", help="Instead of the champion.")
def serve(
    fleet: str | None, host: str, port: int, allow_host: tuple[str, ...], model: int | None
) -> None:
    """Serve the champion's answers, and a page to ask on; Ctrl-C stops it.

    Without --fleet it serves the fleet of TAXI_FLEET that has a champion.
    """
    from taxi_assets.serving import server
    from taxi_assets.serving.watch import Watch
    from taxi_assets.tracking.champions import load_serving

    settings = Settings.from_environment()
    with server.listen(host, port) as listening:
        tracking = existing_server(settings)
        name = fleet or server.fleet_to_serve(tracking, [each.name for each in settings.fleets])
        load = partial(load_serving, tracking, name, model)
        server.serve(listening, Watch(load, partial(print, flush=True)), name, allow_host)


@main.command(epilog="Example: taxi-assets report --output report.html")
@click.option("--output", type=FILE, default=Path("report.html"), show_default=True,
              help="The page's file.")  # fmt: skip
def report(output: Path) -> None:
    """Write one page about all stored months of the fleets of TAXI_FLEET."""
    from taxi_assets.reports.report import write_report
    from taxi_assets.storage.files import Storage

    settings = Settings.from_environment()
    pages = tracking_server(settings).pages or settings.mlflow_ui_url
    with os_errors_named(output):
        months, problems = write_report(Storage(settings.storage), settings.fleets, output, pages)
    for problem in problems:
        click.echo(problem, err=True)
    click.echo(f"{output}: {months} month{'' if months == 1 else 's'}")


@main.command(epilog="Example: taxi-assets convert yellow_tripdata_2019-01.csv.gz tlc")
@click.argument("files", type=click.Path(exists=True, path_type=Path), nargs=-1, required=True)
@click.argument("folder", type=FOLDER)
def convert(files: tuple[Path, ...], folder: Path) -> None:
    """Make month files of CSV files of trips."""
    from taxi_assets.tlc import convert

    with os_errors_named(folder):
        for path in files:
            click.echo(f"Converting {path}", err=True)
            click.echo(convert.convert(path, folder))


@main.command(
    epilog="Example: taxi-assets synthetic FOLDER --fleet yellow --months 2023-01...2023-12"
)
@click.argument("folder", type=FOLDER)
@fleet_option(default="yellow", show_default=True)
@click.option("--months", type=Span(), required=True, help="2023-03, or 2023-01...2023-12.")
@click.option("--trips", type=click.IntRange(1), default=200_000, show_default=True,
              help="Trips in each month.")  # fmt: skip
def synthetic(folder: Path, fleet: str, months: list[Month], trips: int) -> None:
    """Write invented month files of TLC's schema into a folder."""
    from taxi_assets.tlc.atomic import replacing
    from taxi_assets.tlc.synthetic import write_month

    with os_errors_named(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for month in months:
            path = folder / FLEETS[fleet].file_name(month)
            with replacing(path) as unfinished:
                write_month(unfinished, FLEETS[fleet], month, trips)
            click.echo(path)


@main.command(
    epilog="Examples:\n\ntaxi-assets wipe --fleet green\n\ntaxi-assets wipe --fleet green --yes"
)
@fleet_option(required=True)
@click.option("--month", type=Span(), help="One month alone: 2023-03.")
@click.option("--yes", is_flag=True, help="Remove it; without, it is only listed.")
def wipe(fleet: str, month: list[Month] | None, yes: bool) -> None:
    """Remove what was made of a fleet, or of a month of it, and nothing else.

    Of a single month Dagster's records stay, as Dagster cannot forget those of one month.
    """
    import sqlalchemy.exc

    from taxi_assets.runs.wipe import wipe as wipe_fleet

    if month is not None and len(month) > 1:
        raise click.UsageError("--month is one month, such as 2023-03.")
    settings = Settings.from_environment()
    chosen = month[0] if month else None
    try:
        wipe_fleet(settings, tracking_server(settings), FLEETS[fleet], chosen, really=yes)
    except sqlalchemy.exc.SQLAlchemyError as error:
        reason = mask(first_line(error))
        raise click.ClickException(f"Dagster's history cannot be used ({reason}).") from None


@main.command(epilog="Example: taxi-assets relocate /where/it/was")
@click.argument("old", type=FOLDER)
def relocate(old: Path) -> None:
    """Tell MLflow's SQLite database that this folder was at OLD before it was moved."""
    from taxi_assets.tracking.relocate import relocate as replace_paths

    scheme, _, path = Settings.from_environment().tracking_uri.partition(":///")
    if scheme != "sqlite" or not Path(path).is_file():
        raise click.UsageError("MLFLOW_TRACKING_URI is not an SQLite database that exists here.")
    try:
        click.echo(f"{replace_paths(Path(path), old, Path.cwd())} paths changed")
    except sqlite3.Error as error:
        raise click.ClickException(f"{path} cannot be changed ({error}).") from None


@main.command(
    epilog="Example: taxi-assets tune --fleet green --months 2021-01...2021-03 --trials 40",
    add_help_option=False,
    context_settings={"ignore_unknown_options": True},
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def tune(arguments: tuple[str, ...]) -> None:
    """Search hyperparameters of the boosted model on stored months."""
    from taxi_assets.tuning import tune as command

    command.main(arguments, prog_name="taxi-assets tune")


def tracking_server(settings: Settings) -> "TrackingServer":
    """MLflow, which is not asked for minutes while it is away."""
    from taxi_assets.tracking.server import TrackingServer, try_mlflow_briefly

    try_mlflow_briefly()
    return TrackingServer(settings.tracking_uri)


def existing_server(settings: Settings, *, changes: bool = False) -> "TrackingServer":
    """MLflow, for commands that read: they make and lock no database, unless one changes it."""
    server = replace(tracking_server(settings), locks=changes)
    if server.database is not None and not Path(server.database).is_file():
        raise click.ClickException(
            f"There is no MLflow database at {server.shown}, so that no model serves. Materialize "
            "two months first, or set MLFLOW_TRACKING_URI to where it is."
        )
    return server


@contextmanager
def os_errors_named(place: Path) -> Iterator[None]:
    """Say in a sentence what the operating system has against a place."""
    try:
        yield
    except OSError as error:
        reason = mask(f"{error.filename or place}: {error.strerror or error}.")
        raise click.ClickException(reason) from None
