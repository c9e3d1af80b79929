"""The environment variables that configure everything; nothing else reads the environment."""

from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

import click
from pydantic import AfterValidator, BeforeValidator, Field, PositiveInt, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from taxi_assets.errors import mask
from taxi_assets.tlc.fleets import FLEETS, Fleet

TLC_TRIP_DATA = "https://d37ci6vzurychx.cloudfront.net/trip-data"
"""TLC's public CDN of trip records."""


class SettingsError(click.ClickException):
    """A variable has a value that cannot be meant. On the command line, click shows the message."""


def absolute_location(text: str) -> str:
    """An absolute folder, or a URL as it is; relative ones start from the current folder.

    Raises:
        ValueError: it looks like a URL, and is none.
    """
    if "://" not in text:
        return str(Path(text).expanduser().resolve())
    urlsplit(text)
    return text


def absolute_tracking_uri(text: str) -> str:
    """MLflow's database, its path made absolute, or the URL of a server.

    Raises:
        ValueError: it is a folder, which MLflow no longer tracks to, or no URL.
    """
    scheme, separator, path = text.partition(":///")
    if scheme == "file" or text == "sqlite://" or (not separator and "://" not in text):
        raise ValueError
    if scheme == "sqlite" and path and not path.startswith("/"):
        return f"sqlite:///{Path(path).resolve()}"
    urlsplit(text)
    return text


def _fleets(given: str) -> tuple[Fleet, ...]:
    names = dict.fromkeys(name.strip() for name in given.split(","))
    if not names.keys() <= FLEETS.keys():
        raise ValueError
    return tuple(FLEETS[name] for name in names)


def _months_per_run(text: str) -> str | None:
    return None if text == "all" else text


class Settings(BaseSettings):
    """The variables, by their names, with defaults filled in.

    A field's description is what its variable can be set to.
    """

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", case_sensitive=True, env_ignore_empty=True
    )

    fleets: Annotated[tuple[Fleet, ...], NoDecode, BeforeValidator(_fleets)] = Field(
        tuple(FLEETS.values()),
        validate_default=False,
        alias="TAXI_FLEET",
        description=f"one or more of {', '.join(FLEETS)}, with commas between",
    )
    trip_source: Annotated[str, AfterValidator(absolute_location)] = Field(
        TLC_TRIP_DATA,
        alias="TAXI_TRIP_SOURCE",
        description="a base URL, a folder, or a URL that fsspec knows",
        repr=False,
    )
    synthetic_trips: PositiveInt = Field(
        200_000, alias="TAXI_SYNTHETIC_TRIPS", description="a positive whole number"
    )
    storage: Annotated[str, AfterValidator(absolute_location)] = Field(
        "data",
        alias="TAXI_STORAGE",
        description="a folder, or a URL that fsspec knows",
        repr=False,
    )
    months_per_run: Annotated[PositiveInt | None, BeforeValidator(_months_per_run)] = Field(
        None, alias="TAXI_MONTHS_PER_RUN", description="`all` or a positive whole number"
    )
    training_months: PositiveInt = Field(
        3, alias="TAXI_TRAINING_MONTHS", description="a positive whole number"
    )
    configurable: bool = Field(
        True, alias="TAXI_CONFIGURABLE", description="yes or no: whether launches may set resources"
    )
    tracking_uri: Annotated[str, AfterValidator(absolute_tracking_uri)] = Field(
        "sqlite:///mlflow.db",
        alias="MLFLOW_TRACKING_URI",
        description="a database such as sqlite:///mlflow.db or the URL of an MLflow server",
        repr=False,
    )
    experiment_name: str = Field(
        "nyc-taxi-trip-duration", alias="MLFLOW_EXPERIMENT_NAME", description="a name"
    )
    dagster_ui_url: str | None = Field(None, alias="DAGSTER_UI_URL", description="a URL")
    mlflow_ui_url: str | None = Field(None, alias="MLFLOW_UI_URL", description="a URL")

    @classmethod
    def from_environment(cls, **instead: Any) -> Self:
        """Read the variables; an empty one counts as absent.

        Args:
            instead: values that win over the environment's, by their variables.

        Raises:
            SettingsError: a value cannot be meant; the message names its variable.
        """
        try:
            return cls(**instead)
        except ValidationError as error:
            raise SettingsError(_sentence(error.errors()[0])) from None


def _sentence(error: Any) -> str:
    """What is wrong with the value of a variable, and what it can be set to."""
    variable = error["loc"][0]
    field = next(f for f in Settings.model_fields.values() if f.alias == variable)
    return f"{variable} is {mask(str(error['input']))!r}; set it to {field.description}."
