"""The environment's variables: defaults, absolute paths, and sentences for bad values."""

from pathlib import Path

import pytest

from taxi_assets.settings import TLC_TRIP_DATA, Settings, SettingsError

FOLDER = Path("/somewhere")


def read(**environment: str) -> Settings:
    return Settings.from_environment(environment, FOLDER)


def test_defaults_are_a_laptop_and_tlcs_site() -> None:
    settings = read()
    assert settings.fleet.name == "yellow"
    assert settings.trip_source == TLC_TRIP_DATA
    assert settings.synthetic_trips == 200_000
    assert settings.storage == "/somewhere/data"
    assert settings.tracking_uri == "sqlite:////somewhere/mlflow.db"
    assert settings.experiment_name == "nyc-taxi-trip-duration"


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        pytest.param("../tlc", "/tlc", id="relative"),
        pytest.param("/tlc", "/tlc", id="absolute"),
        pytest.param("s3://bucket/tlc", "s3://bucket/tlc", id="fsspec URL"),
        pytest.param("http://host/tlc", "http://host/tlc", id="web"),
        pytest.param("synthetic", "synthetic", id="made up"),
        pytest.param("", TLC_TRIP_DATA, id="empty counts as absent"),
    ],
)
def test_trip_source(given: str, meant: str) -> None:
    assert read(TAXI_TRIP_SOURCE=given).trip_source == meant


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        pytest.param("sqlite:///runs.db", "sqlite:////somewhere/runs.db", id="relative"),
        pytest.param("sqlite:////runs.db", "sqlite:////runs.db", id="absolute"),
        pytest.param("http://mlflow:5000", "http://mlflow:5000", id="server"),
    ],
)
def test_tracking_uri(given: str, meant: str) -> None:
    assert read(MLFLOW_TRACKING_URI=given).tracking_uri == meant


@pytest.mark.parametrize(
    ("name", "value", "advice"),
    [
        ("TAXI_FLEET", "blue", "TAXI_FLEET is 'blue'; set it to yellow or green."),
        ("TAXI_SYNTHETIC_TRIPS", "many", "set it to a positive whole number"),
        ("TAXI_SYNTHETIC_TRIPS", "0", "set it to a positive whole number"),
        ("MLFLOW_TRACKING_URI", "mlruns", "set it to a database such as sqlite:///mlflow.db"),
    ],
)
def test_a_bad_value_is_answered_with_advice(name: str, value: str, advice: str) -> None:
    with pytest.raises(SettingsError, match=advice) as error:
        read(**{name: value})
    assert name in str(error.value)
