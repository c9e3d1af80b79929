"""The fast way gives what the row-level method gives: same rows, same features, same numbers."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LinearRegression
from threadpoolctl import threadpool_limits

from taxi_assets.durations.cleaning import FEATURES as ZONES
from taxi_assets.durations.cleaning import VALIDATES, clean_trips
from taxi_assets.durations.regression import (
    TrainedModel,
    VocabularyError,
    bind,
    fit_model,
    fit_vectorizer,
    predict,
    vocabulary,
)
from taxi_assets.durations.scoring import score_model, validate_model
from taxi_assets.durations.sums import group_by_zone_pair
from taxi_assets.tlc.fleets import FLEETS, Fleet
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.synthetic import write_month
from taxi_assets_tests.conftest import REAL_FILES
from taxi_assets_tests.reference import row_level

CONVERGED = 1e-12


def random_month(seed: int, trips: int, zones: int) -> pd.DataFrame:
    """A month without any structure, but with durations on both limits."""
    random = np.random.default_rng(seed)
    pickup = pd.Timestamp("2023-01-01") + pd.to_timedelta(random.integers(0, 10**6, trips), "s")
    seconds = random.choice([0, 59, 60, 61, 700, 1234, 3599, 3600, 3601], trips)
    return pd.DataFrame(
        {
            "lpep_pickup_datetime": pickup.astype("datetime64[us]"),
            "lpep_dropoff_datetime": (pickup + pd.to_timedelta(seconds, "s")).astype(
                "datetime64[us]"
            ),
            **{zone: random.integers(1, zones + 1, trips) for zone in ZONES},
        }
    )


def write(month: pd.DataFrame, path: Path) -> Path:
    pq.write_table(pa.Table.from_pandas(month), path, row_group_size=1_000)
    return path


def assert_equal_to_row_level(path: Path, fleet: Fleet, month: Month) -> None:
    converged = row_level(pd.read_parquet(path), tol=CONVERGED)
    cleaned = clean_trips(pq.ParquetFile(path), fleet, month)
    trips = cleaned.trips

    assert cleaned.loaded == converged.loaded
    assert trips["duration"].tolist() == converged.trips["duration"].tolist()
    for zone in ZONES:
        assert trips[zone].tolist() == converged.trips[zone].tolist()
    held_out = converged.trips.index.isin(converged.validation.index)
    assert trips[VALIDATES].tolist() == held_out.tolist()

    pairs = group_by_zone_pair(trips)
    vectorizer = fit_vectorizer(pairs)
    assert vectorizer.vocabulary_ == converged.vectorizer.vocabulary_
    model = fit_model(pairs, vectorizer)
    predicted = predict(converged.validation, vectorizer, model)
    np.testing.assert_allclose(predicted, converged.predicted, rtol=1e-6)

    validation = validate_model(trips, pairs, vectorizer, model)
    metrics = score_model(pairs, vectorizer, model, validation)
    assert metrics == {
        "train_trips": len(converged.train),
        "validation_trips": len(converged.validation),
        "feature_count": len(converged.vectorizer.feature_names_),
        "intercept": pytest.approx(converged.model.intercept_, rel=1e-6),
        "rmse": pytest.approx(converged.rmse, rel=1e-6),
        "mae": pytest.approx(converged.mae, rel=1e-6),
        "r2": pytest.approx(converged.r2, rel=1e-6),
        "baseline_rmse": pytest.approx(converged.baseline_rmse, rel=1e-9),
    }
    assert metrics["rmse"] == pytest.approx(row_level(pd.read_parquet(path)).rmse, rel=1e-4)


@pytest.mark.parametrize(
    ("seed", "trips", "zones"),
    [
        pytest.param(1, 300, 5, id="few zones: every pair many times"),
        pytest.param(2, 2_500, 40, id="several row groups"),
        pytest.param(3, 400, 265, id="more pairs than trips: zones unseen in training"),
        pytest.param(4, 12, 3, id="hardly any trips"),
    ],
)
def test_random_months(tmp_path: Path, seed: int, trips: int, zones: int) -> None:
    path = write(random_month(seed, trips, zones), tmp_path / "month.parquet")
    assert_equal_to_row_level(path, FLEETS["green"], Month(2023, 1))


@pytest.mark.parametrize("fleet", FLEETS.values(), ids=list(FLEETS))
def test_synthetic_months(tmp_path: Path, fleet: Fleet) -> None:
    write_month(tmp_path / "month.parquet", fleet, Month(2023, 2), trips=20_000)
    assert_equal_to_row_level(tmp_path / "month.parquet", fleet, Month(2023, 2))


@pytest.mark.real_files
@pytest.mark.parametrize(
    "name", ["green_tripdata_2023-01", "green_tripdata_2023-02", "yellow_tripdata_2022-01"]
)
def test_real_months(name: str) -> None:
    fleet, _, month = name.split("_")
    assert_equal_to_row_level(REAL_FILES / f"{name}.parquet", FLEETS[fleet], Month.parse(month))


def test_the_fit_is_at_the_minimum_where_scikit_learns_sparse_solver_stops_short() -> None:
    """Zones with a million trips beside zones with one: the gradient still vanishes."""
    random = np.random.default_rng(5)
    zones = [f"{zone}" for zone in range(1, 201)]
    weight = np.geomspace(1, 3e6, 200).astype(int)
    pairs = pd.DataFrame(
        [
            ("train", pickup, dropoff, max(1, int(a * b / 3e6)))
            for pickup, a in zip(zones, weight, strict=True)
            for dropoff, b in zip(zones, weight, strict=True)
        ],
        columns=["split", *ZONES, "trips"],
    )
    pairs["duration_sum"] = pairs["trips"] * random.uniform(1, 60, len(pairs))
    vectorizer = fit_vectorizer(pairs)
    model = fit_model(pairs, vectorizer)

    residual = pairs["duration_sum"] - pairs["trips"] * predict(pairs, vectorizer, model)
    total = pairs["duration_sum"].sum()
    for zone in ZONES:
        assert residual.groupby(pairs[zone]).sum().abs().max() < 1e-9 * total


def test_the_fit_is_the_same_to_the_last_digit_whatever_the_number_of_threads(
    tmp_path: Path,
) -> None:
    write_month(tmp_path / "month.parquet", FLEETS["green"], Month(2023, 1), 20_000)
    month_file = pq.ParquetFile(tmp_path / "month.parquet")
    pairs = group_by_zone_pair(clean_trips(month_file, FLEETS["green"], Month(2023, 1)).trips)
    vectorizer = fit_vectorizer(pairs)
    coefficients = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            coefficients.append(fit_model(pairs, vectorizer).coef_.tolist())
    assert coefficients[0] == coefficients[1]


def pairs_of(*rows: tuple[str, str, int, float]) -> pd.DataFrame:
    """Training pairs: pick-up zone, drop-off zone, trips, mean minutes."""
    pairs = pd.DataFrame(rows, columns=[*ZONES, "trips", "minutes"]).assign(split="train")
    return pairs.assign(duration_sum=pairs["trips"] * pairs["minutes"])


def test_a_zone_unseen_in_training_adds_nothing() -> None:
    pairs = pairs_of(("1", "3", 1, 10.0), ("1", "4", 2, 15.0), ("2", "4", 1, 12.0))
    vectorizer = fit_vectorizer(pairs)
    model = fit_model(pairs, vectorizer)
    nowhere = pd.DataFrame({"PULocationID": ["99", "1"], "DOLocationID": ["98", "3"]})
    assert predict(nowhere, vectorizer, model) == pytest.approx([model.intercept_, 10.0])


def test_a_single_trip_of_a_zone_in_the_largest_month_is_learnt() -> None:
    """Its axis hardly varies; the axes along which no trip varies at all are left out."""
    pairs = pairs_of(
        ("1", "3", 9_000_000, 10.0), ("2", "3", 7_000_000, 12.0), ("4", "3", 1, 55.0)
    )  # fmt: skip
    vectorizer = fit_vectorizer(pairs)
    model = fit_model(pairs, vectorizer)
    assert predict(pairs, vectorizer, model) == pytest.approx([10.0, 12.0, 55.0], rel=1e-6)
    assert np.abs(model.coef_).max() < 60


def test_a_model_is_bound_to_the_vectorizer_that_it_was_fitted_with_and_to_no_other() -> None:
    own, other = (
        DictVectorizer().fit([dict.fromkeys(ZONES, zone) for zone in zones])
        for zones in ("12", "13")
    )
    model = LinearRegression()
    trained = TrainedModel(model=model, vocabulary=vocabulary(own), interval={}, mlflow_run_id="")
    assert bind(own, trained) is model
    with pytest.raises(VocabularyError, match="fitted on other features than the vectorizer has"):
        bind(other, trained)
