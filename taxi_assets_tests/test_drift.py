"""Drift: how far apart two months are, and from where on a check says so."""

from collections.abc import Callable, Sequence
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from taxi_assets.checks.drift import drift_from_month_before, drift_from_year_before
from taxi_assets.durations.cleaning import clean_trips
from taxi_assets.durations.drift import LENGTHS, Profile, distances, parse_profile, profile
from taxi_assets.settings import Settings
from taxi_assets.storage.files import Storage
from taxi_assets.storage.stored_months import earlier_profiles, note_profile
from taxi_assets.tlc.fleets import FLEETS
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.parquet import open_parquet
from taxi_assets.tlc.zones import zone_of
from taxi_assets_tests.conftest import REAL_FILES

GREEN = FLEETS["green"]
MONTH = Month(2023, 3)


def counted(
    zones: Sequence[int] = (500, 500), hours: Sequence[int] = (500, 500), minutes: float = 10.05
) -> Profile:
    """A month with trips in the first zones and hours, all of one duration."""
    durations = [*[0] * int(minutes * 10), sum(hours)]
    counts = dict(zip(LENGTHS, (zones, zones, hours, durations), strict=True))
    return {name: [*of, *[0] * (LENGTHS[name] - len(of))] for name, of in counts.items()}


def test_a_profile_counts_zones_hours_of_the_day_and_tenths_of_minutes() -> None:
    trips = pd.DataFrame(
        {
            "PULocationID": pd.Categorical(["132", "132", "266", "1"]),
            "DOLocationID": pd.Categorical(["1", "2", "2", "265"]),
            "duration": [1.0, 10.55, 59.99, 60.0],
            "pickup_hour": np.array([0, 24, 167, 143], np.uint8),
        }
    )
    counted_trips = profile(trips)
    assert {name: len(counts) for name, counts in counted_trips.items()} == {
        "pickup_zones": 266, "dropoff_zones": 266, "hours": 24, "durations": 601,
    }  # fmt: skip
    assert {
        name: {place: n for place, n in enumerate(counts) if n}
        for name, counts in counted_trips.items()
    } == {
        "pickup_zones": {0: 1, 1: 1, 132: 2},
        "dropoff_zones": {1: 1, 2: 2, 265: 1},
        "hours": {0: 2, 23: 2},
        "durations": {10: 1, 105: 1, 599: 1, 600: 1},
    }


def test_equal_months_are_not_apart_and_those_that_share_nothing_are_wholly() -> None:
    same = distances(counted(), counted(zones=(7, 7), hours=(7, 7)))
    assert same == pytest.approx(dict.fromkeys(LENGTHS, 0.0), abs=1e-7)
    apart = distances(counted(), counted(zones=(0, 0, 7), hours=(0, 0, 7), minutes=20.05))
    assert apart == pytest.approx(
        {"pickup_zones": 1, "dropoff_zones": 1, "hours": 1, "durations": 10 / 10.05}
    )


@pytest.mark.parametrize(
    ("share", "distance", "passed"), [(0.673368, 0.14995, True), (0.67348, 0.15005, False)]
)
def test_a_month_may_be_as_far_from_the_one_before_as_the_limit(
    share: float, distance: float, passed: bool
) -> None:
    moved = counted(zones=(round(1_000_000 * share), round(1_000_000 * (1 - share))))
    judged = drift_from_month_before(MONTH, moved, {MONTH - 1: counted()})
    assert judged.metadata["pickup_zones"].value == pytest.approx(distance, abs=2e-6)
    assert judged.passed == passed


def test_what_is_too_far_is_named() -> None:
    shifted = counted(hours=(0, 0, 500, 500))
    judged = drift_from_month_before(MONTH, shifted, {MONTH - 1: counted()})
    assert not judged.passed
    assert str(judged.description) == (
        "Distance from 2023-02: pickup zones 0.000 (up to 0.15), dropoff zones 0.000 (up to 0.15), "
        "hours 1.000 (up to 0.08), durations 0.000 (up to 0.15); too far: hours"
    )


def test_a_year_moves_a_month_further_than_a_month_does() -> None:
    moved = counted(zones=(800, 200))
    earlier = {MONTH - 13: moved, MONTH - 12: counted(), MONTH - 11: moved, MONTH - 1: counted()}
    by_month = drift_from_month_before(MONTH, moved, earlier)
    by_year = drift_from_year_before(MONTH, moved, earlier)
    for judged in (by_month, by_year):
        assert judged.metadata["pickup_zones"].value == pytest.approx(0.2704, abs=1e-4)
    assert (by_month.passed, by_year.passed) == (False, True)
    assert not drift_from_year_before(MONTH, counted((0, 0, 9)), earlier).passed
    for judge, other in ((drift_from_month_before, 12), (drift_from_year_before, 1)):
        nothing = judge(MONTH, moved, {MONTH - other: counted()})
        assert (nothing.passed, "is not stored" in str(nothing.description)) == (True, True)


def test_profiles_are_noted_beside_the_trips_and_damaged_ones_passed_over(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    reported: list[str] = []
    for back in (0, 1, 2, 11, 12, 13):
        note_profile(storage, GREEN, MONTH - back, counted((back, 1)))
    assert earlier_profiles(storage, GREEN, MONTH, reported.append) == {
        MONTH - back: counted((back, 1)) for back in (1, 12)
    }
    assert reported == []
    other_zones = counted() | {"hours": [1] * 25}
    with pytest.raises(ValueError, match="it has other categories"):
        parse_profile(other_zones)
    note_profile(storage, GREEN, MONTH - 1, other_zones)
    (tmp_path / "green/cleaned_trips/2022-03.profile.json").write_text("{}")
    assert earlier_profiles(storage, GREEN, MONTH, reported.append) == {}
    assert [line.split(":")[0] for line in reported] == [
        "the profile of 2023-02 is passed over",
        "the profile of 2022-03 is passed over",
    ]


@pytest.mark.after_three_months
def test_a_run_compares_each_month_with_the_one_before(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    key = dg.AssetCheckKey(dg.AssetKey(["green", "cleaned_trips"]), "drift_from_month_before")
    (last,) = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
    february, march = (
        profile(pd.read_parquet(Path(settings.storage) / f"green/cleaned_trips/{month}.parquet"))
        for month in ("2023-02", "2023-03")
    )
    assert last.evaluation is not None
    assert last.evaluation.partition == "2023-03-01"
    measured = {name: last.evaluation.metadata[name].value for name in LENGTHS}
    # Dagster's pages show three digits.
    assert measured == pytest.approx(distances(february, march), abs=5e-4)


def real(month: str) -> pd.DataFrame:
    path = REAL_FILES / f"green_tripdata_{month}.parquet"
    return clean_trips(open_parquet(path), GREEN, Month.parse(month)).trips


def renumbered(trips: pd.DataFrame) -> pd.DataFrame:
    """The same trips, with TLC's zones in another order."""
    others = np.random.default_rng(1).permutation(np.arange(1, 266)).astype(str)
    zones = {
        name: trips[name].cat.rename_categories(lambda zone: others[int(zone) - 1])
        for name in ("PULocationID", "DOLocationID")
    }
    return trips.assign(**zones)


def without_half_of_the_boroughs(trips: pd.DataFrame) -> pd.DataFrame:
    """The trips from Manhattan, Brooklyn and Staten Island."""
    boroughs = trips["PULocationID"].astype(int).map(lambda zone: zone_of(zone).borough)
    return trips[~boroughs.isin(["Queens", "Bronx"])]


@pytest.mark.real_files
@pytest.mark.parametrize(
    ("before", "month", "judge"),
    [
        ("2021-01", "2021-02", drift_from_month_before),
        ("2022-01", "2022-02", drift_from_month_before),
        ("2023-01", "2023-02", drift_from_month_before),
        ("2021-02", "2022-02", drift_from_year_before),
        ("2022-01", "2023-01", drift_from_year_before),
    ],
)
def test_real_months_pass_and_damaged_ones_do_not(
    before: str, month: str, judge: Callable[..., dg.AssetCheckResult]
) -> None:
    trips = real(month)
    earlier = {Month.parse(before): profile(real(before))}

    def passes(changed: pd.DataFrame) -> bool:
        return judge(Month.parse(month), profile(changed), earlier).passed

    assert passes(trips)
    hours, minutes = trips["pickup_hour"].astype(int), trips["duration"]
    assert not passes(renumbered(trips))
    assert not passes(trips.assign(pickup_hour=(hours + 4) % 168))
    assert not passes(trips.assign(duration=minutes / 2))
    if judge is drift_from_month_before:
        assert not passes(without_half_of_the_boroughs(trips))
        assert not passes(trips.assign(pickup_hour=(hours + 1) % 168))
        assert not passes(trips.assign(duration=np.clip(minutes * 1.3, 1, 60)))
