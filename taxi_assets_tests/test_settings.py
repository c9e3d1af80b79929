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
    ("variable", "given", "meant"),
    [
        ("TAXI_FLEET", "green", ["green"]),
        ("TAXI_FLEET", "synthetic, yellow, synthetic", ["synthetic", "yellow"]),
        ("TAXI_TRIP_SOURCE", "tlc", "{folder}/tlc"),
        ("TAXI_TRIP_SOURCE", "~/tlc", "{folder}/home/tlc"),
        ("TAXI_TRIP_SOURCE", "/tlc", "/tlc"),
        ("TAXI_TRIP_SOURCE", "s3://bucket/tlc", "s3://bucket/tlc"),
        ("TAXI_TRIP_SOURCE", "http://host/tlc", "http://host/tlc"),
        ("TAXI_TRIP_SOURCE", "", TLC_TRIP_DATA),
        ("TAXI_MONTHS_PER_RUN", "all", None),
        ("TAXI_MONTHS_PER_RUN", "3", 3),
        ("MLFLOW_TRACKING_URI", "sqlite:///runs.db", "sqlite:///{folder}/runs.db"),
        ("MLFLOW_TRACKING_URI", "sqlite:////runs.db", "sqlite:////runs.db"),
        ("MLFLOW_TRACKING_URI", "http://mlflow:5000", "http://mlflow:5000"),
    ],
)
def test_what_a_variable_means(variable: str, given: str, meant: object, folder: Path) -> None:
    """Folders become absolute, URLs stay, and an empty variable counts as absent."""
    settings = read(**{variable: given}, HOME=str(folder / "home"))
    values = {
        "TAXI_FLEET": [fleet.name for fleet in settings.fleets],
        "TAXI_TRIP_SOURCE": settings.trip_source,
        "TAXI_MONTHS_PER_RUN": settings.months_per_run,
        "MLFLOW_TRACKING_URI": settings.tracking_uri,
    }
    if isinstance(meant, str):
        meant = meant.format(folder=folder)
    assert values[variable] == meant


FLEETS = "one or more of yellow, green, synthetic, fhvhv, with commas between"
DATABASE = "a database such as sqlite:///mlflow.db or the URL of an MLflow server"


@pytest.mark.parametrize(
    ("variable", "value", "choices"),
    [
        ("TAXI_FLEET", "blue", FLEETS),
        ("TAXI_SYNTHETIC_TRIPS", "many", "a positive whole number"),
        ("TAXI_SYNTHETIC_TRIPS", "0", "a positive whole number"),
        ("TAXI_MONTHS_PER_RUN", "-1", "`all` or a positive whole number"),
        ("TAXI_STORAGE", "s3://[bucket", "a folder, or a URL that fsspec knows"),
        ("MLFLOW_TRACKING_URI", "file:///mlruns", DATABASE),
        ("MLFLOW_TRACKING_URI", "http://[mlflow", DATABASE),
        ("MLFLOW_TRACKING_URI", "mlruns", DATABASE),
    ],
)
def test_a_bad_value_is_one_sentence_that_names_its_variable(
    variable: str, value: str, choices: str
) -> None:
    with pytest.raises(SettingsError) as error:
        read(**{variable: value})
    assert error.value.message == f"{variable} is {value!r}; set it to {choices}."


def test_secrets_in_values_are_not_shown() -> None:
    with pytest.raises(SettingsError) as error:
        read(TAXI_STORAGE="s3://me:s3cret@[bucket")
    assert "s3cret" not in error.value.message
    variables = ("TAXI_STORAGE", "TAXI_TRIP_SOURCE", "MLFLOW_TRACKING_URI")
    assert "s3cret" not in repr(read(**dict.fromkeys(variables, "http://me:s3cret@host")))
