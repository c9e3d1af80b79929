"""The environment's variables: defaults, absolute paths, and sentences for bad values."""

from pathlib import Path

import pytest

from taxi_assets.settings import TLC_TRIP_DATA, Settings, SettingsError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the command starts."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(**environment: str) -> Settings:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        return Settings.from_environment()


def test_defaults_are_a_laptop_and_tlcs_site(folder: Path) -> None:
    settings = read()
    assert [fleet.name for fleet in settings.fleets] == ["yellow", "green", "synthetic", "fhvhv"]
    assert settings.trip_source == TLC_TRIP_DATA
    assert settings.synthetic_trips == 200_000
    assert settings.months_per_run is None
    assert settings.storage == f"{folder}/data"
    assert settings.tracking_uri == f"sqlite:///{folder}/mlflow.db"
    assert settings.experiment_name == "nyc-taxi-trip-duration"


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        pytest.param("green", ["green"], id="one"),
        pytest.param("synthetic, yellow, synthetic", ["synthetic", "yellow"], id="two"),
    ],
)
def test_fleets(given: str, meant: list[str]) -> None:
    assert [fleet.name for fleet in read(TAXI_FLEET=given).fleets] == meant


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        pytest.param("tlc", "{folder}/tlc", id="relative"),
        pytest.param("/tlc", "/tlc", id="absolute"),
        pytest.param("s3://bucket/tlc", "s3://bucket/tlc", id="fsspec URL"),
        pytest.param("http://host/tlc", "http://host/tlc", id="web"),
        pytest.param("", TLC_TRIP_DATA, id="empty counts as absent"),
    ],
)
def test_trip_source(given: str, meant: str, folder: Path) -> None:
    assert read(TAXI_TRIP_SOURCE=given).trip_source == meant.format(folder=folder)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        pytest.param("sqlite:///runs.db", "sqlite:///{folder}/runs.db", id="relative"),
        pytest.param("sqlite:////runs.db", "sqlite:////runs.db", id="absolute"),
        pytest.param("http://mlflow:5000", "http://mlflow:5000", id="server"),
    ],
)
def test_tracking_uri(given: str, meant: str, folder: Path) -> None:
    assert read(MLFLOW_TRACKING_URI=given).tracking_uri == meant.format(folder=folder)


@pytest.mark.parametrize(("given", "meant"), [("all", None), ("3", 3)])
def test_months_per_run(given: str, meant: int | None) -> None:
    assert read(TAXI_MONTHS_PER_RUN=given).months_per_run == meant


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        (
            "TAXI_FLEET",
            "blue",
            "is 'blue'; set it to one or more of yellow, green, synthetic, fhvhv, with commas "
            "between.",
        ),
        ("TAXI_SYNTHETIC_TRIPS", "many", "is 'many'; set it to a positive whole number."),
        ("TAXI_SYNTHETIC_TRIPS", "0", "is '0'; set it to a positive whole number."),
        ("TAXI_MONTHS_PER_RUN", "-1", "is '-1'; set it to `all` or a positive whole number."),
        (
            "TAXI_STORAGE",
            "s3://[bucket",
            "is 's3://[bucket'; set it to a folder, or a URL that fsspec knows.",
        ),
        (
            "MLFLOW_TRACKING_URI",
            "file:///mlruns",
            "is 'file:///mlruns'; set it to a database such as sqlite:///mlflow.db or the URL of "
            "an MLflow server.",
        ),
        (
            "MLFLOW_TRACKING_URI",
            "http://[mlflow",
            "is 'http://[mlflow'; set it to a database such as sqlite:///mlflow.db or the URL of "
            "an MLflow server.",
        ),
        (
            "MLFLOW_TRACKING_URI",
            "mlruns",
            "is 'mlruns'; set it to a database such as sqlite:///mlflow.db or the URL of an MLflow "
            "server.",
        ),
    ],
)
def test_a_bad_value_is_one_sentence_that_names_its_variable(
    name: str, value: str, sentence: str
) -> None:
    with pytest.raises(SettingsError) as error:
        read(**{name: value})
    assert error.value.message == f"{name} {sentence}"


def test_a_secret_in_a_bad_value_is_not_shown() -> None:
    with pytest.raises(SettingsError) as error:
        read(TAXI_STORAGE="s3://me:s3cret@[bucket")
    assert "s3cret" not in error.value.message
