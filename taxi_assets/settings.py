"""The environment variables that configure everything; nothing else reads the environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import click

from taxi_assets.masking import mask
from taxi_assets.tlc.fleets import DEFAULT_FLEET, FLEETS, Fleet

TLC_TRIP_DATA = "https://d37ci6vzurychx.cloudfront.net/trip-data"
"""TLC's public CDN of trip records."""

SYNTHETIC = "synthetic"


class SettingsError(click.ClickException):
    """A variable has a value that cannot be meant. On the command line only the message shows."""


@dataclass(frozen=True)
class Settings:
    """The variables, with defaults filled in and relative paths made absolute.

    Attributes:
        fleet: ``TAXI_FLEET``.
        trip_source: ``TAXI_TRIP_SOURCE``, a URL, an absolute folder or ``synthetic``.
        synthetic_trips: ``TAXI_SYNTHETIC_TRIPS``, trips in a synthetic month.
        storage: ``TAXI_STORAGE``, a URL or an absolute folder.
        months_per_run: ``TAXI_MONTHS_PER_RUN``; None for ``all``, a contiguous range a run.
        tracking_uri: ``MLFLOW_TRACKING_URI``.
        experiment_name: ``MLFLOW_EXPERIMENT_NAME``.
        dagster_ui_url: ``DAGSTER_UI_URL``, where Dagster's pages are, for links from MLflow.
        mlflow_ui_url: ``MLFLOW_UI_URL``, where MLflow's pages are, for links from Dagster; a
            tracking server has them itself.
    """

    fleet: Fleet
    trip_source: str = field(repr=False)
    synthetic_trips: int
    storage: str = field(repr=False)
    months_per_run: int | None
    tracking_uri: str = field(repr=False)
    experiment_name: str
    dagster_ui_url: str | None = None
    mlflow_ui_url: str | None = None

    @classmethod
    def from_environment(
        cls, environment: Mapping[str, str] = os.environ, folder: Path | None = None
    ) -> Self:
        """Read the variables; an empty one counts as absent.

        Args:
            environment: the variables.
            folder: what relative paths start from, by default the current folder.

        Raises:
            SettingsError: a value cannot be meant; the message names its variable.
        """
        given = {name: value for name, value in environment.items() if value}
        folder = folder or Path.cwd()
        return cls(
            fleet=_fleet(given.get("TAXI_FLEET", DEFAULT_FLEET)),
            trip_source=_location(given, "TAXI_TRIP_SOURCE", TLC_TRIP_DATA, folder),
            synthetic_trips=_positive_number(given, "TAXI_SYNTHETIC_TRIPS", 200_000),
            months_per_run=_months_per_run(given),
            storage=_location(given, "TAXI_STORAGE", "data", folder),
            tracking_uri=_tracking_uri(
                given.get("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db"), folder
            ),
            experiment_name=given.get("MLFLOW_EXPERIMENT_NAME", "nyc-taxi-trip-duration"),
            dagster_ui_url=given.get("DAGSTER_UI_URL"),
            mlflow_ui_url=given.get("MLFLOW_UI_URL"),
        )


def _fleet(name: str) -> Fleet:
    if name not in FLEETS:
        raise SettingsError(f"TAXI_FLEET is {name!r}; set it to {' or '.join(FLEETS)}.")
    return FLEETS[name]


def _positive_number(
    given: Mapping[str, str], name: str, default: int, wanted: str = "a positive whole number"
) -> int:
    text = given.get(name, str(default))
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise SettingsError(f"{name} is {text!r}; set it to {wanted}.")
    return number


def _months_per_run(given: Mapping[str, str]) -> int | None:
    if given.get("TAXI_MONTHS_PER_RUN", "all") == "all":
        return None
    return _positive_number(given, "TAXI_MONTHS_PER_RUN", 1, "`all` or a positive whole number")


def _location(given: Mapping[str, str], name: str, default: str, folder: Path) -> str:
    """An absolute folder, or a URL as it is."""
    text = given.get(name, default)
    if "://" in text or text == SYNTHETIC:
        try:
            urlsplit(text)
        except ValueError as error:
            raise SettingsError(
                f"{name} is {mask(text)!r}, which is no URL ({error}); set it to one, or to a "
                "folder."
            ) from None
        return text
    return str((folder / Path(text).expanduser()).resolve())


def _tracking_uri(text: str, folder: Path) -> str:
    scheme, separator, path = text.partition(":///")
    if not separator and "://" not in text:
        raise SettingsError(
            f"MLFLOW_TRACKING_URI is {mask(text)!r}, a folder, which MLflow no longer tracks to; "
            "set it to a database such as sqlite:///mlflow.db or to the URL of an MLflow server."
        )
    if scheme == "sqlite" and path and not path.startswith("/"):
        return f"sqlite:///{(folder / path).resolve()}"
    return text
