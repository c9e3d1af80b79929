"""Try hyperparameters of the boosted model, judged on next months only.

    python -m taxi_assets.tuning --fleet green --months 2021-01:2021-03 --trials 40

Each month but the first is predicted by a model of those before it. The months' hourly_pairs have
to be stored. Ctrl-C keeps what is done; --resume goes on. MLflow has the trials in an experiment of
their own; nothing of what is stored, registered or served is changed.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from taxi_assets.durations.rolling_origin import RollingOrigin
from taxi_assets.errors import MonthError, NotStoredError, command
from taxi_assets.settings import Settings
from taxi_assets.storage.files import Storage
from taxi_assets.storage.io_managers import load_stored
from taxi_assets.tlc.fleets import FLEETS, Fleet
from taxi_assets.tlc.months import Month, months_of
from taxi_assets.tracking.servers import TrackingError
from taxi_assets.tracking.studies import StudyTracking
from taxi_assets.tuning.study import Study, StudyError, check_place

if TYPE_CHECKING:
    import pandas as pd

INTERRUPTED = 130
"""What a shell is told of a command that Ctrl-C has ended."""

FEWEST_MONTHS = 2


@click.command(help=__doc__)
@click.option("--fleet", "fleet_name", type=click.Choice(list(FLEETS)), required=True)
@click.option("--months", "span", metavar="FIRST:LAST", required=True, help="As 2021-01:2021-03.")
@click.option(
    "--trials", type=click.IntRange(1), default=40, show_default=True, help="How many, in all."
)
@click.option("--study", metavar="NAME", help="Kept in NAME.db; by default tuning-<fleet>.")
@click.option("--resume", is_flag=True, help="Go on with the study.")
def main(fleet_name: str, span: str, trials: int, study: str | None, resume: bool) -> None:
    """Try, and say what was found."""
    settings, fleet = Settings.from_environment(), FLEETS[fleet_name]
    path = Path(f"{study or f'tuning-{fleet.name}'}.db")
    try:
        months = _months(span)
        check_place(path, resume)
        origin = RollingOrigin(_stored_sums(settings, fleet, months), settings.training_months)
        subject = _subject(fleet, months, settings, origin)
        opened = Study(path, subject, resume)
    except (MonthError, ValueError) as error:
        raise click.ClickException(str(error)) from None
    except ModuleNotFoundError as error:
        if error.name != "optuna":
            raise
        raise click.ClickException(
            "Optuna is not installed: make .venv/with-tuning, or pip install 'taxi-assets[tuning]'."
        ) from None
    going_on = (
        f"What is done is kept in {path}. Go on: python -m taxi_assets.tuning --fleet "
        f"{fleet.name} --months {span} --trials {trials} --study {path.stem} --resume"
    )
    name = f"{fleet.name} {months[0]}:{months[-1]}"
    tracking = StudyTracking(settings.tracking_uri, settings.experiment_name)
    try:
        _tune(opened, origin, trials, tracking, name, subject)
    except KeyboardInterrupt:
        _show(opened)
        click.echo(f"Interrupted. {going_on}", err=True)
        raise SystemExit(INTERRUPTED) from None
    except MonthError as error:
        raise click.ClickException(f"{error} {going_on}") from None
    _show(opened)


def _tune(
    study: Study,
    origin: RollingOrigin,
    trials: int,
    tracking: StudyTracking,
    name: str,
    subject: Mapping[str, Any],
) -> None:
    """Go on with a study and track it; its MLflow run is ended truthfully."""
    run_id = study.run_id = tracking.begin(name, subject, study.run_id)
    status = "FAILED"
    try:
        tracking.log(run_id, study.done)
        left = max(0, trials - len(study.done)) * len(origin.judged)
        with click.progressbar(
            length=left, label=f"Tuning {name}", width=30, show_pos=True, item_show_func=_shown
        ) as bar:
            study.go_on(
                origin,
                trials,
                judged=lambda month: bar.update(1, month),
                ended=lambda: tracking.log(run_id, study.done),
            )
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    except TrackingError:
        # It does not take the end of a run either.
        status = ""
        raise
    finally:
        if status:
            tracking.end(run_id, status, study.findings)


def _show(study: Study) -> None:
    """Print what has been found."""
    findings = study.findings
    lines = [*findings.table(), "", *findings.advice()] if findings else ["No trial is done yet."]
    click.echo("\n".join(lines))


def _shown(month: Month | None) -> str | None:
    return f"judged on {month}" if month else None


def _subject(
    fleet: Fleet, months: list[Month], settings: Settings, origin: RollingOrigin
) -> dict[str, Any]:
    """What makes a study the same: the months by name, and by what a table of means does on them.

    Months that have been stored with other trips meanwhile are another subject.
    """
    return {
        "fleet": fleet.name,
        "months": f"{months[0]}:{months[-1]}",
        "training_months": settings.training_months,
        "lookup_rmse": " ".join(f"{month}:{rmse:.6f}" for month, rmse in origin.lookup.items()),
    }


def _months(span: str) -> list[Month]:
    """The months of a span such as 2021-01:2021-03.

    Raises:
        ValueError: it is none, or has a single month.
    """
    months = months_of(span)
    if len(months) < FEWEST_MONTHS:
        raise ValueError(
            f"--months {span} is {len(months)} of the two months that are needed at least, as in "
            "2021-01:2021-02: the first is only trained on."
        )
    return months


def _stored_sums(
    settings: Settings, fleet: Fleet, months: list[Month]
) -> "dict[Month, pd.DataFrame]":
    """The hourly pairs of months.

    Raises:
        StudyError: some are not stored.
        UnusableValueError, ServiceError: one cannot be read.
    """
    storage, sums, missing = Storage(settings.storage), {}, []
    for month in months:
        try:
            sums[month] = load_stored(storage, fleet, "hourly_pairs", month)
        except NotStoredError:
            missing.append(month)
    if missing:
        assets = ("raw_trips", "cleaned_trips", "hourly_pairs")
        making = command(
            [f"{fleet.name}/{asset}" for asset in assets],
            missing[0].partition_key,
            missing[-1].partition_key,
        )
        raise StudyError(
            f"The hourly_pairs of {fleet.name} {', '.join(map(str, missing))} are not stored in "
            f"{storage.shown}. Materialize them first: {making}"
        )
    return sums


if __name__ == "__main__":
    main()
