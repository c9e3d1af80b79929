"""The boosted model: sums stand for trips, nothing leaks, intervals hold eight trips of ten."""

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import lightgbm
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import Ridge
from sklearn.preprocessing import OneHotEncoder

from taxi_assets.durations import boosted
from taxi_assets.durations.boosted_month import fit_boosted_month, validate_boosted
from taxi_assets.durations.cleaning import clean_trips
from taxi_assets.durations.inference import (
    BANDS,
    FEATURES,
    PAIR_FEATURES,
    ZONES,
    Boosted,
    BoostedPairs,
    DurationModel,
    Encoding,
    Interval,
    Linear,
    answer,
    band_of,
    number,
    part,
    split_up,
)
from taxi_assets.durations.intervals import calibrate, linear_arrays, servable_linear
from taxi_assets.durations.models import FAMILIES, fit_models, read_models
from taxi_assets.durations.regression import fit_model, fit_vectorizer, predict
from taxi_assets.durations.sums import (
    HOURLY_PAIRS,
    ZONE_PAIRS,
    group_by_hourly_pair,
    group_by_zone_pair,
    split,
)
from taxi_assets.durations.target_encoding import fit_encoding
from taxi_assets.durations.window import (
    FOLDS,
    Window,
    cells_of,
    fold_of,
    months_before,
    training_window,
    zone_number,
    zone_numbers,
)
from taxi_assets.tlc.fleets import FLEETS
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.parquet import open_parquet
from taxi_assets.tlc.synthetic import write_month
from taxi_assets_tests.conftest import REAL_FILES

YELLOW = FLEETS["yellow"]
MONTHS = [Month(2023, number) for number in (1, 2, 3)]
TRIPS = 20_000


@pytest.fixture(scope="module")
def months(tmp_path_factory: pytest.TempPathFactory) -> dict[Month, pd.DataFrame]:
    """Cleaned trips of three synthetic months."""
    folder = tmp_path_factory.mktemp("months")
    cleaned = {}
    for month in MONTHS:
        path = Path(folder) / f"{month}.parquet"
        write_month(path, YELLOW, month, TRIPS)
        cleaned[month] = clean_trips(open_parquet(path), YELLOW, month).trips
    return cleaned


@pytest.fixture(scope="module")
def sums(months: dict[Month, pd.DataFrame]) -> list[tuple[Month, pd.DataFrame]]:
    return [(month, group_by_hourly_pair(trips)) for month, trips in months.items()]


@pytest.mark.parametrize(
    ("sum_up", "columns"),
    [(group_by_zone_pair, ZONE_PAIRS), (group_by_hourly_pair, HOURLY_PAIRS)],
)
def test_sums_are_what_grouping_gives(
    months: dict[Month, pd.DataFrame],
    sum_up: Callable[[pd.DataFrame], pd.DataFrame],
    columns: dict[str, str],
) -> None:
    trips = months[MONTHS[0]].assign(square=lambda trips: trips["duration"] ** 2)
    summed = sum_up(trips)
    assert {name: str(kind) for name, kind in summed.dtypes.items()} == columns
    trips["split"] = np.where(trips["validates"], "validation", "train")
    keys = [name for name in columns if name in trips]
    zones = dict.fromkeys(keys[:3], str)
    expected = (
        trips.astype(zones)
        .groupby(keys)
        .agg(
            trips=("duration", "size"),
            duration_sum=("duration", "sum"),
            duration_sum_of_squares=("square", "sum"),
            distance_trips=("trip_distance", "count"),
            distance_sum=("trip_distance", "sum"),
        )
    )
    found = summed.astype(zones).set_index(keys).sort_index()
    pd.testing.assert_frame_equal(found, expected[list(found)], check_dtype=False)


def test_hours_of_the_week_begin_on_monday_at_midnight(tmp_path: Path) -> None:
    times = pd.to_datetime(["2023-03-06 00:00", "2023-03-06 23:59", "2023-03-12 23:30"] * 5)
    frame = pd.DataFrame(
        {
            "tpep_pickup_datetime": times,
            "tpep_dropoff_datetime": times + pd.Timedelta(minutes=10),
            "PULocationID": 132,
            "DOLocationID": 4,
            "trip_distance": [1.5, 0.0, 100.1, -3.0, 100.0] * 3,
        }
    )
    frame.to_parquet(tmp_path / "month.parquet")
    trips = clean_trips(open_parquet(tmp_path / "month.parquet"), YELLOW, Month(2023, 3)).trips
    assert trips["pickup_hour"].tolist() == [0, 23, 167] * 5
    assert trips["trip_distance"].fillna(-1).tolist() == [1.5, -1, -1, -1, 100] * 3
    frame.drop(columns="trip_distance").to_parquet(tmp_path / "month.parquet")
    trips = clean_trips(open_parquet(tmp_path / "month.parquet"), YELLOW, Month(2023, 3)).trips
    assert trips["trip_distance"].isna().all()
    assert trips["pickup_hour"].tolist() == [0, 23, 167] * 5


def test_bands_are_the_hours_of_working_days_and_of_weekends() -> None:
    assert band_of(np.array([0, 23, 24, 119, 120, 143, 167])).tolist() == [0, 23, 0, 23, 24, 47, 47]
    assert [part.tolist() for part in split_up(number(*np.array([[132], [4], [47]])))] == [
        *([132], [4], [47])
    ]


def test_zones_that_are_none_of_tlcs_are_all_others() -> None:
    zones = pd.Series(["1", "265", "266", "0", "-5"], dtype="category")
    assert zone_numbers(zones).tolist() == [1, 265, 0, 0, 0]


def test_trees_on_sums_are_trees_on_trips() -> None:
    """With the same bins, and no limit on the number of rows in a leaf."""
    random = np.random.default_rng(1)
    features = random.integers(0, 12, (20_000, 4)).astype(np.float64)
    minutes = 10 + features @ [1, 2, 0.5, 0.1] + random.normal(0, 3, len(features))
    groups, row = np.unique(features, axis=0, return_inverse=True)
    trips = np.bincount(row)
    parameters = {
        **boosted.PARAMETERS,
        "min_data_in_leaf": 1,
        "feature_pre_filter": False,
        "min_sum_hessian_in_leaf": 20.0,
    }
    of_trips = lightgbm.Dataset(features, minutes, params=parameters, free_raw_data=False)
    of_sums = lightgbm.Dataset(
        groups, np.bincount(row, minutes) / trips, weight=trips, reference=of_trips,
        params=parameters,
    )  # fmt: skip
    one, two = (lightgbm.train(parameters, rows, 100) for rows in (of_trips, of_sums))
    assert one.num_trees() == two.num_trees() == 100
    assert_allclose(two.predict(groups), one.predict(groups), rtol=1e-6)


def test_the_model_on_sums_is_as_good_as_one_on_trips(
    months: dict[Month, pd.DataFrame], sums: list[tuple[Month, pd.DataFrame]]
) -> None:
    """Its own features and parameters; where zones are categories, LightGBM counts rows."""
    window = training_window(MONTHS[1], sums[:2])
    encoding = Encoding(fit_encoding(window))
    on_sums = read_models(fit_models(window))["boosted"]
    features = boosted.folded_features(window)
    of_cell = {
        (cell, fold): row
        for row, (cell, fold) in enumerate(zip(window.cells, window.folds, strict=True))
    }
    rows, minutes, weights = [], [], []
    for age, month in ((1, MONTHS[0]), (0, MONTHS[1])):
        trips = months[month] if age else months[month][~months[month]["validates"]]
        cells = cells_of(trips)
        folds = fold_of(cells, (month.year * 12 + month.month) % 2)
        rows += [of_cell[key] for key in zip(cells, folds, strict=True)]
        minutes.append(trips["duration"].to_numpy())
        weights.append(np.full(len(trips), 0.95**age))
    actual = np.concatenate(minutes)
    dataset = lightgbm.Dataset(
        features[rows], actual, weight=np.concatenate(weights),
        categorical_feature=boosted.CATEGORIES, params=boosted.PARAMETERS, free_raw_data=False,
    )  # fmt: skip
    on_trips = lightgbm.train(boosted.PARAMETERS, dataset, boosted.MEAN_ROUNDS)
    held_out = months[MONTHS[2]]
    cells = cells_of(held_out)
    rmses = [
        np.sqrt(np.mean((held_out["duration"] - predicted) ** 2))
        for predicted in (on_sums.predict(cells), on_trips.predict(encoding.features(cells)))
    ]
    assert rmses[0] == pytest.approx(rmses[1], rel=0.003)
    dataset.set_label((actual - on_trips.predict(features[rows])) ** 2)
    of_squares = lightgbm.train(boosted.PARAMETERS, dataset, boosted.VARIANCE_ROUNDS)
    spread = on_sums.predict_with_spread(cells)[1]
    expected = np.sqrt(np.maximum(of_squares.predict(encoding.features(cells)), 1.0))
    assert spread.mean() == pytest.approx(expected.mean(), rel=0.01)
    assert np.abs(spread / expected - 1).mean() < 0.1


def test_a_row_is_encoded_without_its_own_trips(sums: list[tuple[Month, pd.DataFrame]]) -> None:
    window = training_window(MONTHS[-1], sums)
    before = boosted.folded_features(window)
    fold = 3
    mine = window.folds == fold
    for name in ("duration_sum", "distance_sum"):
        window.sums[name][mine] *= 7
    after = boosted.folded_features(window)
    assert_array_equal(after[mine], before[mine])
    assert not np.array_equal(after[~mine], before[~mine])


def test_folds_are_scattered_and_fixed() -> None:
    cells = np.arange(10_000)
    for parity in (0, 1):
        assert np.bincount(fold_of(cells, parity)).min() > 1_800
    assert (fold_of(cells, 0) == fold_of(cells, 1)).mean() == pytest.approx(0.2, abs=0.02)
    assert fold_of(np.array([0, 1, 2, 123_456]), 0).tolist() == FOLDS_OF_TODAY


FOLDS_OF_TODAY = [0, 3, 4, 0]
"""Other folds would be another model."""


def test_validation_trips_are_in_no_fit(
    months: dict[Month, pd.DataFrame], sums: list[tuple[Month, pd.DataFrame]]
) -> None:
    """A month's own; only the intervals, which are calibrated on them, may change."""
    month = MONTHS[2]
    leaky = months[month].copy()
    leaky.loc[leaky["validates"], "duration"] = 1.0
    leaky.loc[leaky["validates"], "trip_distance"] = 99.0
    planted = [*sums[:2], (month, group_by_hourly_pair(leaky))]
    one = fit_boosted_month(training_window(month, sums), lambda: months[month])
    two = fit_boosted_month(training_window(month, planted), lambda: leaky)
    assert one.keys() == two.keys()
    changed = {name for name in one if one[name].tobytes() != two[name].tobytes()}
    assert changed == {
        f"{of}.{bound}" for of in ("interval", "pair_interval") for bound in ("low", "high")
    }


def test_months_before_count_with_all_their_trips_and_less_than_later_ones(
    sums: list[tuple[Month, pd.DataFrame]],
) -> None:
    window = training_window(MONTHS[-1], sums)
    expected = sum(
        0.95**age * (rows if age else split(rows, "train"))["duration_sum"].sum()
        for age, (_, rows) in zip((2, 1, 0), sums, strict=True)
    )
    assert window.sums["duration_sum"].sum() == pytest.approx(expected, rel=1e-12)
    alone = training_window(MONTHS[0], sums[:1])
    assert alone.sums["trips"].sum() == split(sums[0][1], "train")["trips"].sum()


@pytest.mark.parametrize(
    ("training_months", "before"),
    [
        (1, ["2022-03", "2022-04", "2022-05"]),
        (3, ["2022-03", "2022-04", "2022-05", "2023-01", "2023-02"]),
        (12, ["2022-03", *[f"2022-{number:02d}" for number in range(4, 13)], "2023-01", "2023-02"]),
    ],
)
def test_a_model_looks_at_the_last_months_and_at_those_around_the_predicted_one_a_year_before(
    training_months: int, before: list[str]
) -> None:
    """The model of March 2023 predicts April: a year before it are March, April and May 2022."""
    assert [str(month) for month in months_before(Month(2023, 3), training_months)] == before


@pytest.mark.parametrize(
    ("back", "weight"), [(1, 0.95), (2, 0.95**2), (9, 0.95**9), (10, 0.3), (12, 0.3), (13, 0.3)]
)
def test_a_trip_of_a_year_before_counts_three_tenths(
    sums: list[tuple[Month, pd.DataFrame]], back: int, weight: float
) -> None:
    """All its trips count, and its distances in the same way."""
    last, earlier = sums[2][1], sums[0][1]
    window = training_window(MONTHS[2], [(MONTHS[2] - back, earlier), (MONTHS[2], last)])
    for name, values in window.sums.items():
        expected = weight * earlier[name].sum() + split(last, "train")[name].sum()
        assert values.sum() == pytest.approx(expected, rel=1e-9)


FIT = """
import hashlib, sys, numpy as np
from pathlib import Path
from taxi_assets.durations.boosted_month import fit_boosted_month
from taxi_assets.durations.cleaning import clean_trips
from taxi_assets.durations.sums import group_by_hourly_pair
from taxi_assets.durations.window import training_window
from taxi_assets.tlc.fleets import FLEETS
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.parquet import open_parquet
from taxi_assets.tlc.synthetic import write_month
path = Path(sys.argv[1])
write_month(path, FLEETS["yellow"], Month(2023, 3), 20_000)
trips = clean_trips(open_parquet(path), FLEETS["yellow"], Month(2023, 3)).trips
month = Month(2023, 3)
window = training_window(month, [(month, group_by_hourly_pair(trips))])
arrays = fit_boosted_month(window, lambda: trips)
digest = hashlib.sha256()
for name in sorted(arrays):
    digest.update(np.ascontiguousarray(arrays[name]).tobytes())
print(digest.hexdigest())
"""


def test_the_same_month_gives_the_same_model_whatever_the_number_of_threads(tmp_path: Path) -> None:
    digests = set()
    for threads in ("1", "2"):
        variables = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)
        output = subprocess.run(
            [sys.executable, "-c", FIT, tmp_path / f"{threads}.parquet"],
            env={
                "PATH": "",
                "PYTHONPATH": ":".join(sys.path),
                "GOMP_SPINCOUNT": "2000",
                **variables,
            },
            capture_output=True,
            text=True,
            check=True,
        )
        digests.add(output.stdout)
    assert len(digests) == 1


def test_the_encoding_is_what_its_definition_says() -> None:
    """Two zones with many trips: means are theirs; an unknown pair is what its zones let expect."""
    cells = number(np.array([1, 1, 2, 3]), np.array([2, 2, 1, 3]), np.array([8, 9, 8, 0]))
    rows = pd.DataFrame(
        {
            "split": pd.Categorical(["train"] * 4),
            "PULocationID": pd.Categorical(["1", "1", "2", "3"]),
            "DOLocationID": pd.Categorical(["2", "2", "1", "3"]),
            "pickup_hour": np.array([8, 9, 8, 0], np.uint8),
            "trips": [1_000_000, 1_000_000, 1_000_000, 1],
            "duration_sum": [10e6, 20e6, 30e6, 40.0],
            "duration_sum_of_squares": [100e6, 400e6, 900e6, 1600.0],
            "distance_trips": [1_000_000, 0, 1_000_000, 0],
            "distance_sum": [2e6, 0.0, 3e6, 0.0],
        }
    )
    encoding = Encoding(fit_encoding(training_window(Month(2023, 3), [(Month(2023, 3), rows)])))
    assert encoding.mean == pytest.approx(20, abs=1e-4)
    assert_allclose(encoding.cell_mean(cells)[:3], [10, 20, 30], rtol=1e-4)
    features = features_of(encoding, cells)
    assert features["pickup_zone"].tolist() == [1, 1, 2, 3]
    assert features["dropoff_zone"].tolist() == [2, 2, 1, 3]
    friday_saturday_sunday = number(*np.array([[1] * 3, [2] * 3, [23, 24, 47]]))
    days = features_of(encoding, friday_saturday_sunday)
    assert (days["hour"].tolist(), days["weekend"].tolist()) == ([23, 0, 23], [0, 1, 1])
    expected = {
        "hour": 8,
        "weekend": 0,
        "cell_mean": 10,
        "pair_mean": 15,
        "distance": 2,
        "pair_trips": np.log(2e6),
        "reverse_pair_mean": 30,
        "reverse_distance": 3,
        "expected": encoding.expected[1, 2],
    }
    assert features.loc[0, list(expected)].to_dict() == pytest.approx(expected, rel=1e-4)
    assert np.isnan(features["distance"][3])
    # One trip of 40 minutes against beliefs worth 20 of a pair, and 50 of either zone.
    assert 20 < features["pair_mean"][3] < 25


def features_of(encoding: Encoding, cells: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(encoding.features(cells), columns=list(FEATURES))


def test_features_say_where_zones_lie(sums: list[tuple[Month, pd.DataFrame]]) -> None:
    """JFK, LaGuardia and Upper East Side South, by their coordinates; 57 is a part of 56."""
    encoding = Encoding(fit_encoding(training_window(MONTHS[0], sums[:1])))
    pickup, dropoff = np.array([[132, 138], [138, 132], [237, 237], [57, 104], [56, 103]]).T
    features = features_of(encoding, number(pickup, dropoff, 7))
    expected = {
        "kilometres": [15.96, 15.96, 0],
        "kilometres_east": [-7.351, 7.351, 0],
        "kilometres_north": [14.166, -14.166, 0],
        "pickup_east": [12.953, 5.602, -2.163],
        "pickup_north": [-9.231, 4.935, 4.295],
        "dropoff_east": [5.602, 12.953, -2.163],
        "dropoff_north": [4.935, -9.231, 4.295],
    }
    for name, values in expected.items():
        assert features[name][:3].tolist() == pytest.approx(values, abs=0.005)
        assert features[name][3] == features[name][4]
    of_place = features_of(encoding, number(*np.array([[264, 4, 0], [4, 265, 0], [7] * 3])))
    assert of_place[["kilometres", "kilometres_east", "kilometres_north"]].isna().all(axis=None)
    assert of_place["pickup_east"].isna().tolist() == [True, False, True]
    assert of_place["dropoff_north"].isna().tolist() == [False, True, True]


def test_the_effects_of_zones_are_those_of_a_ridge_regression_on_trips(
    months: dict[Month, pd.DataFrame], sums: list[tuple[Month, pd.DataFrame]]
) -> None:
    encoding = fit_encoding(training_window(MONTHS[0], sums[:1]))
    trips = months[MONTHS[0]]
    trips = trips[~trips["validates"]]
    zones = OneHotEncoder().fit(trips[["PULocationID", "DOLocationID"]])
    above = trips["duration"] - trips["duration"].mean()
    features = zones.transform(trips[["PULocationID", "DOLocationID"]])
    ridge = Ridge(alpha=50.0, fit_intercept=False, tol=1e-8).fit(features, above)
    met = [[zone_number(zone) for zone in names] for names in zones.categories_]
    expected = np.split(ridge.coef_, [len(met[0])])
    for name, numbers, effects in zip(("pickup", "dropoff"), met, expected, strict=True):
        assert_allclose(encoding[f"{name}_effect"][numbers], effects, atol=0.05)


def test_effects_and_factors_of_zones_are_found() -> None:
    """Of forty zones, with one factor; a pair without trips has these alone."""
    random = np.random.default_rng(3)
    effects, factors = random.normal(0, 3, (2, 40)), random.normal(0, 2, (2, 40))
    minutes = 30 + effects[0][:, None] + effects[1] + np.outer(*factors)
    pickup, dropoff = (place + 1 for place in np.indices((40, 40)).reshape(2, -1))
    rows = pd.DataFrame(
        {
            "split": pd.Categorical(["train"] * 1600),
            "PULocationID": pd.Categorical(pickup.astype(str)),
            "DOLocationID": pd.Categorical(dropoff.astype(str)),
            "pickup_hour": np.full(1600, 8, np.uint8),
            "trips": np.full(1600, 1e5),
            "duration_sum": 1e5 * minutes.ravel(),
            "duration_sum_of_squares": 1e5 * minutes.ravel() ** 2,
            "distance_trips": np.zeros(1600),
            "distance_sum": np.zeros(1600),
        }
    )
    encoding = Encoding(fit_encoding(training_window(Month(2023, 3), [(Month(2023, 3), rows)])))
    by_zone = minutes.mean(1)[:, None] + minutes.mean(0) - minutes.mean()
    assert_allclose(encoding.expected[1:41, 1:41], minutes, atol=0.1)
    met = rows[(pickup != 1) | (dropoff != 2)]
    without = Encoding(fit_encoding(training_window(Month(2023, 3), [(Month(2023, 3), met)])))
    assert without.pair_mean[1, 2] == pytest.approx(without.expected[1, 2], abs=1e-4)
    assert abs(without.expected[1, 2] - by_zone[0, 1]) > 1


class Known:
    """A model that is right, and knows how its errors scatter, by a factor."""

    def predict(self, cells: np.ndarray) -> np.ndarray:
        return 10.0 + cells % BANDS

    def predict_with_spread(self, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.predict(cells), 0.5 * (1 + cells % 7)


def test_intervals_hold_eight_of_ten_in_every_quantile_bin() -> None:
    random = np.random.default_rng(2)
    cells = random.integers(0, 100_000, 200_000)
    model = Known()
    minutes, spread = model.predict_with_spread(cells)
    actual = minutes + 3 * spread * random.normal(size=len(cells))
    half = len(cells) // 2
    interval = Interval(calibrate(model, cells[:half], actual[:half]))
    low, high = interval.bounds(minutes[half:], spread[half:])
    held = (low <= actual[half:]) & (actual[half:] <= high)
    assert held.mean() == pytest.approx(0.8, abs=0.01)
    for place in range(5):
        assert held[bins_of(minutes[half:]) == place].mean() == pytest.approx(0.8, abs=0.02)


def test_no_answer_is_outside_what_trips_can_take() -> None:
    arrays = {"edges": [10, 20, 30, 40], "low": [-30.0] * 5, "high": [30.0] * 5}
    zones = np.zeros(ZONES)
    zones[1], zones[2] = -40, 100
    model = Linear({"intercept": 20.0, "pickup": zones, "dropoff": np.zeros(ZONES)})
    cells = number(np.array([1, 2, 3]), np.array([3, 3, 3]), np.array([0, 0, 0]))
    assert model.predict(cells).tolist() == [-20, 120, 20]
    minutes, low, high = answer(model, Interval(arrays), cells)
    assert (minutes.tolist(), low.tolist(), high.tolist()) == (
        [1, 60, 20],
        [1, 60, 1],
        [10, 60, 50],
    )


def test_the_linear_model_as_arrays_is_the_linear_model(
    months: dict[Month, pd.DataFrame],
) -> None:
    pairs = group_by_zone_pair(months[MONTHS[0]])
    vectorizer = fit_vectorizer(pairs)
    model = fit_model(pairs, vectorizer)
    arrays = linear_arrays(vectorizer, model)
    cells = cells_of(pairs.assign(pickup_hour=np.uint8(0)))
    assert_allclose(Linear(arrays).predict(cells), predict(pairs, vectorizer, model), rtol=1e-12)


def test_a_quantile_bin_that_has_no_trip_is_like_all() -> None:
    """Trips between the same two zones are predicted the same: four quantile bins are empty."""
    errors = np.random.default_rng(4).normal(size=500)
    interval = calibrate(Known(), np.full(500, 7 * BANDS), 10 + 0.5 * errors)
    for name, quantile in (("low", 0.1), ("high", 0.9)):
        assert_allclose(interval[name], [np.quantile(errors, quantile)] * 5)


def bins_of(minutes: np.ndarray) -> np.ndarray:
    """Which quantile bin of the trips each one is in, by predicted minutes."""
    return np.argsort(np.argsort(minutes, kind="stable")) * 5 // len(minutes)


def shares_held(answers: tuple[np.ndarray, ...], actual: np.ndarray) -> list[float]:
    """How many of the trips lie between their bounds: of all, and of each quantile bin."""
    minutes, low, high = answers
    held = (low <= actual) & (actual <= high)
    return [held.mean(), *(held[bins_of(minutes) == place].mean() for place in range(5))]


def intervals_of(window: Window, last: pd.DataFrame) -> dict[str, tuple[DurationModel, Interval]]:
    """The models that are trained on a window, and on the last month alone, and their bounds."""
    arrays = fit_boosted_month(window, lambda: last)
    encoding, trees = Encoding(part(arrays, "encoding")), part(arrays, "boosted")
    pairs = group_by_zone_pair(last)
    vectorizer = fit_vectorizer(pairs)
    linear = servable_linear(vectorizer, fit_model(pairs, vectorizer), last)
    return {
        "with a time": (Boosted(encoding, trees), Interval(part(arrays, "interval"))),
        "without": (BoostedPairs(encoding, trees), Interval(part(arrays, "pair_interval"))),
        "linear": (Linear(part(linear, "linear")), Interval(part(linear, "interval"))),
    }


def test_eight_trips_of_ten_of_the_next_month_lie_between_their_bounds(
    months: dict[Month, pd.DataFrame], sums: list[tuple[Month, pd.DataFrame]]
) -> None:
    """With a time, without one, and by the linear model; each quantile bin, too."""
    fitted = intervals_of(training_window(MONTHS[1], sums[:2]), months[MONTHS[1]])
    cells, actual = cells_of(months[MONTHS[2]]), months[MONTHS[2]]["duration"].to_numpy()
    for model, interval in fitted.values():
        share, *of_bins = shares_held(answer(model, interval, cells), actual)
        assert share == pytest.approx(0.8, abs=0.025)
        assert of_bins == pytest.approx([0.8] * 5, abs=0.04)


def test_trees_of_pairs_are_those_grown_on_the_sums_of_pairs(
    months: dict[Month, pd.DataFrame],
) -> None:
    """In each fold, by features of pairs alone; a plain reference from the trips on."""
    month = MONTHS[0]
    window = training_window(month, [(month, group_by_hourly_pair(months[month]))])
    trips = months[month][~months[month]["validates"]]
    cells = cells_of(trips)
    rows = (
        pd.DataFrame({"pair": cells - cells % BANDS, "fold": fold_of(cells, 1)})
        .assign(minutes=trips["duration"].to_numpy())
        .groupby(["pair", "fold"])["minutes"]
        .agg(["size", "mean"])
        .reset_index()
    )
    features = np.empty((len(rows), PAIR_FEATURES))
    for fold in range(FOLDS):
        mine = (rows["fold"] == fold).to_numpy()
        others = Encoding(fit_encoding(window.without(fold)))
        of_hours = others.features(rows["pair"].to_numpy()[mine])
        features[mine] = of_hours[:, :PAIR_FEATURES]
    dataset = lightgbm.Dataset(
        features, rows["mean"], weight=rows["size"],
        categorical_feature=boosted.CATEGORIES, params=boosted.PARAMETERS,
    )  # fmt: skip
    reference = lightgbm.train(boosted.PARAMETERS, dataset, boosted.MEAN_ROUNDS)

    arrays = fit_models(window)
    encoding = Encoding(part(arrays, "encoding"))
    model = BoostedPairs(encoding, part(arrays, "boosted"))
    asked = rows["pair"].unique()
    expected = reference.predict(encoding.features(asked)[:, :PAIR_FEATURES])
    assert_allclose(model.predict(asked), expected, rtol=1e-9)
    for answers, at_eleven in zip(
        model.predict_with_spread(asked), model.predict_with_spread(asked + 11), strict=True
    ):
        assert_array_equal(answers, at_eleven)


def test_every_family_predicts_and_the_better_ones_better(
    months: dict[Month, pd.DataFrame], sums: list[tuple[Month, pd.DataFrame]]
) -> None:
    models = read_models(fit_models(training_window(MONTHS[1], sums[:2])))
    assert list(models) == list(FAMILIES) == ["mean", "lookup", "boosted"]
    actual = months[MONTHS[2]]["duration"].to_numpy()
    cells = cells_of(months[MONTHS[2]])
    mean, lookup, trees = (
        np.sqrt(np.mean((model.predict(cells) - actual) ** 2)) for model in models.values()
    )
    assert trees < lookup < mean


def test_metrics_of_the_validation_trips_are_those_of_each_row(
    months: dict[Month, pd.DataFrame], sums: list[tuple[Month, pd.DataFrame]]
) -> None:
    trips = months[MONTHS[2]]
    arrays = fit_boosted_month(training_window(MONTHS[2], sums), lambda: trips)
    metrics = validate_boosted(arrays, trips).score(trips)
    held_out = trips[trips["validates"]]
    errors = held_out["duration"] - read_models(arrays)["boosted"].predict(cells_of(held_out))
    training_mean = trips.loc[~trips["validates"], "duration"].mean()
    assert metrics == pytest.approx(
        {
            "train_trips": (~trips["validates"]).sum(),
            "validation_trips": len(held_out),
            "feature_count": 18,
            "rmse": np.sqrt((errors**2).mean()),
            "mae": errors.abs().mean(),
            "r2": 1 - (errors**2).mean() / held_out["duration"].var(ddof=0),
            "baseline_rmse": np.sqrt(((held_out["duration"] - training_mean) ** 2).mean()),
        },
        rel=1e-9,
    )


@pytest.mark.real_files
@pytest.mark.parametrize(
    ("window", "truth", "gain"),
    [
        (["2021-01", "2021-02"], "2021-03", 0.447),
        (["2022-01"], "2022-02", 0.29),
        (["2023-01"], "2023-02", 0.307),
        (["2021-01", "2021-02", "2021-03", "2022-01"], "2022-02", 0.3),
        (["2022-01", "2022-02", "2023-01"], "2023-02", 0.316),
    ],
)
def test_the_next_real_month_is_predicted_far_better_than_by_the_linear_model(
    window: list[str], truth: str, gain: float
) -> None:
    green = FLEETS["green"]

    def trips_of(month: str) -> pd.DataFrame:
        path = REAL_FILES / f"green_tripdata_{month}.parquet"
        return clean_trips(open_parquet(path), green, Month.parse(month)).trips

    trained = {month: trips_of(month) for month in window}
    sums = [(Month.parse(name), group_by_hourly_pair(trips)) for name, trips in trained.items()]
    last = trained[window[-1]]
    fitted = intervals_of(training_window(sums[-1][0], sums), last)
    held_out = trips_of(truth)
    actual, cells = held_out["duration"].to_numpy(), cells_of(held_out)
    answers = {name: answer(*of, cells) for name, of in fitted.items()}
    rmse = {name: np.sqrt(np.mean((of[0] - actual) ** 2)) for name, of in answers.items()}
    assert 1 - rmse["with a time"] / rmse["linear"] > gain
    assert rmse["with a time"] < rmse["without"] < 1.09 * rmse["with a time"]
    held = {name: shares_held(of, actual) for name, of in answers.items()}
    for share, *of_bins in held.values():
        assert share == pytest.approx(0.8, abs=0.025)
        assert of_bins == pytest.approx([0.8] * 5, abs=0.04)
    assert held["without"][0] == pytest.approx(held["with a time"][0], abs=0.015)


def test_the_digest_of_trees_is_that_of_their_text(sums: list[tuple[Month, pd.DataFrame]]) -> None:
    arrays = fit_models(training_window(MONTHS[0], sums[:1]))
    for name in ("mean", "variance", "pair_mean", "pair_variance"):
        text = arrays[f"boosted.{name}_trees"].tobytes()
        assert text.startswith(b"tree\n")
        assert str(arrays[f"boosted.{name}_sha256"]) == hashlib.sha256(text).hexdigest()


def test_zones_are_categories_and_other_features_are_numbers(
    sums: list[tuple[Month, pd.DataFrame]],
) -> None:
    arrays = fit_models(training_window(MONTHS[0], sums[:1]))
    others_of = {"mean": 16, "variance": 16, "pair_mean": 13, "pair_variance": 13}
    for trees, others in others_of.items():
        text = arrays[f"boosted.{trees}_trees"].tobytes().decode()
        (infos,) = (line for line in text.splitlines() if line.startswith("feature_infos="))
        # Numbers have a range, and what is always the same has none.
        numbers = [info.startswith(("[", "none")) for info in infos.partition("=")[2].split()]
        assert numbers == [False] * 2 + [True] * others
