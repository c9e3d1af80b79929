"""Drift: how far apart two months are, and from where on a check says so."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from taxi_assets.checks.drift import drift_from_month_before, drift_from_year_before
from taxi_assets.durations.cleaning import clean_trips
from taxi_assets.durations.profiles import LENGTHS, Profile, chance, distances, profile
from taxi_assets.settings import Settings
from taxi_assets.storage.files import Storage
from taxi_assets.storage.stored_months import earlier_profiles, note_profile
from taxi_assets.tlc.fleets import FLEETS
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.parquet import open_parquet
from taxi_assets_tests.conftest import REAL_FILES, write_json

GREEN = FLEETS["green"]
MONTH = Month(2023, 3)


def counted(
    zones: Sequence[int] = (500_000, 500_000),
    hours: Sequence[int] = (500_000, 500_000),
    minutes: float = 10.05,
) -> Profile:
    """A month with trips in the first zones and hours, all of one duration."""

    def padded(counts: Sequence[int], name: str) -> list[int]:
        return [*counts, *[0] * (LENGTHS[name] - len(counts))]

    durations = [0] * LENGTHS["durations"]
    durations[int(minutes * 10)] = sum(hours)
    return Profile(
        padded(zones, "pickup_zones"), padded(zones, "dropoff_zones"), padded(hours, "hours"),
        durations,
    )  # fmt: skip


def test_a_profile_counts_zones_hours_of_the_day_and_tenths_of_minutes() -> None:
    trips = pd.DataFrame(
        {
            "PULocationID": pd.Categorical(["132", "132", "266", "1"]),
            "DOLocationID": pd.Categorical(["1", "2", "2", "265"]),
            "duration": [1.0, 10.55, 59.99, 60.0],
            "pickup_hour": np.array([0, 24, 167, 143], np.uint8),
        }
    )
    found = profile(trips)
    assert {zone: n for zone, n in enumerate(found.pickup_zones) if n} == {0: 1, 1: 1, 132: 2}
    assert {zone: n for zone, n in enumerate(found.dropoff_zones) if n} == {1: 1, 2: 2, 265: 1}
    assert {hour: n for hour, n in enumerate(found.hours) if n} == {0: 2, 23: 2}
    assert {at: n for at, n in enumerate(found.durations) if n} == {10: 1, 105: 1, 599: 1, 600: 1}
    assert found.trips == 4


def test_a_profile_of_one_trip_has_all_categories() -> None:
    zones = pd.Categorical(["132"])
    monday = pd.DataFrame({"PULocationID": zones, "DOLocationID": zones, "duration": [1.0]})
    found = profile(monday.assign(pickup_hour=np.array([5], np.uint8)))
    assert found.hours == [0, 0, 0, 0, 0, 1, *[0] * 18]
    assert Profile.from_json(found.to_json()) == found
    lengths = {name: len(counts) for name, counts in found.to_json().items()}
    assert lengths == {"pickup_zones": 266, "dropoff_zones": 266, "hours": 24, "durations": 601}


def test_a_stored_profile_of_other_categories_is_none() -> None:
    stored = counted().to_json()
    assert Profile.from_json(stored) == counted()
    with pytest.raises(ValueError, match="it has other categories"):
        Profile.from_json(stored | {"hours": [*stored["hours"], 0]})


def test_chance_is_that_of_the_categories_that_were_met_and_of_one_trip_at_least() -> None:
    """Two hours and a million trips on either side: the root of 1 / (8 ln 2) * 2e-6."""
    assert chance(counted(), counted())["hours"] == pytest.approx(6.0056e-4, rel=1e-4)
    other_hour = counted(hours=(500_000, 0, 500_000))
    assert chance(counted(), other_hour)["hours"] == pytest.approx(8.4932e-4, rel=1e-4)
    nothing, one = counted(zones=(0,), hours=(0,)), counted(zones=(1,), hours=(1,))
    assert chance(counted(), one)["hours"] == pytest.approx(0.42466, rel=1e-4)
    assert chance(counted(), nothing)["hours"] == chance(counted(), one)["hours"]


def test_chance_of_durations_is_their_deviation_in_means_by_the_numbers_of_trips() -> None:
    """Half of a million trips take five minutes, half fifteen: half a mean, on either side."""
    durations = [0] * LENGTHS["durations"]
    durations[50] = durations[150] = 500_000
    month = replace(counted(), durations=durations)
    assert chance(month, month)["durations"] == pytest.approx(0.5 * (2e-6) ** 0.5, rel=1e-9)


def test_distances_are_none_between_equal_months_and_one_between_months_that_share_nothing() -> (
    None
):
    month = counted()
    same = distances(month, counted(zones=(1000, 1000), hours=(1000, 1000)))
    assert same == pytest.approx(dict.fromkeys(same, 0.0), abs=1e-7)
    apart = distances(month, counted(zones=(0, 0, 7), hours=(0, 0, 7), minutes=20.05))
    assert apart == pytest.approx(
        {"pickup_zones": 1, "dropoff_zones": 1, "hours": 1, "durations": 10 / 10.05}
    )


def test_small_months_differ_by_chance_as_much_as_is_said() -> None:
    """Samples of 5,000 trips of one and the same month, spread over 260 zones."""
    random = np.random.default_rng(1)
    shares = random.dirichlet(np.full(LENGTHS["pickup_zones"], 0.7))

    def sample() -> Profile:
        zones, others = (random.multinomial(5_000, shares).tolist() for _ in range(2))
        hours = random.multinomial(5_000, np.full(24, 1 / 24)).tolist()
        minutes = np.clip(random.gamma(2, 7, 5_000), 1, 60)
        durations = np.bincount((minutes * 10).astype(int), minlength=LENGTHS["durations"])
        return Profile(zones, others, hours, durations.tolist())

    pairs = [(sample(), sample()) for _ in range(20)]
    found = pd.DataFrame([distances(*pair) for pair in pairs]).mean()
    said = pd.DataFrame([chance(*pair) for pair in pairs]).mean()
    assert 0.1 < found["pickup_zones"] < 0.15
    assert found["pickup_zones"] == pytest.approx(said["pickup_zones"], rel=0.15)
    assert found["hours"] == pytest.approx(said["hours"], rel=0.15)
    assert found["durations"] < 2 * said["durations"]


@pytest.mark.parametrize(
    ("share", "distance", "passed"), [(0.673368, 0.14995, True), (0.67348, 0.15005, False)]
)
def test_a_month_may_be_as_far_from_the_one_before_as_the_limit(
    share: float, distance: float, passed: bool
) -> None:
    """With a million trips chance has hardly a share in it."""
    before = counted()
    moved = counted(zones=(round(1_000_000 * share), round(1_000_000 * (1 - share))))
    assert distances(before, moved)["pickup_zones"] == pytest.approx(distance, abs=2e-6)
    assert drift_from_month_before(MONTH, moved, {MONTH - 1: before}).passed == passed


def test_what_is_too_far_is_named() -> None:
    shifted = counted(hours=(0, 0, 500_000, 500_000))
    judged = drift_from_month_before(MONTH, shifted, {MONTH - 1: counted()})
    assert not judged.passed
    assert judged.description is not None
    assert judged.description.startswith("Distance from 2023-02: pickup zones 0.000 (up to 0.150)")
    assert judged.description.endswith("; too far: hours")
    assert judged.metadata["hours"].value == pytest.approx(1)


def test_few_trips_raise_the_limit() -> None:
    """So that a month of some trips is not told apart by chance alone."""
    zones = tuple([10] * 260)
    before, now = counted(zones=zones, hours=(1300, 1300)), counted(zones, hours=(1300, 1300))
    moved = replace(now, pickup_zones=[*[14, 6] * 130, *[0] * 6])
    judged = drift_from_month_before(MONTH, moved, {MONTH - 1: before})
    assert distances(before, moved)["pickup_zones"] > 0.15
    assert judged.passed
    many = [
        Profile(*([100 * n for n in getattr(p, name)] for name in LENGTHS)) for p in (before, moved)
    ]
    assert not drift_from_month_before(MONTH, many[1], {MONTH - 1: many[0]}).passed


def history(months: int, wiggle: float = 0.01) -> dict[Month, Profile]:
    """Months that differ by a little, all of them before March 2023."""
    random = np.random.default_rng(3)
    shares = 0.5 + random.uniform(-wiggle, wiggle, months)
    return {
        MONTH - back: counted(zones=(round(1_000_000 * s), round(1_000_000 * (1 - s))))
        for back, s in zip(range(months, 0, -1), shares, strict=True)
    }


def test_of_24_months_their_own_spread_says_what_is_usual() -> None:
    moved = counted(zones=(560_000, 440_000))
    assert drift_from_month_before(MONTH, moved, history(23)).passed
    assert not drift_from_month_before(MONTH, moved, history(24)).passed
    assert drift_from_month_before(MONTH, counted(zones=(505_000, 495_000)), history(24)).passed


@pytest.mark.parametrize(("share", "passed"), [(0.91, True), (0.92, False)])
def test_usual_is_up_to_five_deviations_above_the_median(share: float, passed: bool) -> None:
    """Months last 10.05, 11.05 and 13.05 minutes in turn: 0.0995, 0.1810 and 0.2299 apart.

    The median is 0.1810, the median deviation from it 0.0489; 0.1810 + 5 * 0.0489 / 0.6745 is
    0.5434. The month before lasts 13.05 minutes: a longer one by 7.09 is that far from it.
    """
    in_turn = (10.05, 11.05, 13.05)
    earlier = {MONTH - 24 + at: counted(minutes=in_turn[at % 3]) for at in range(24)}
    durations = [0] * LENGTHS["durations"]
    durations[200], durations[201] = round(1e6 * (1 - share)), round(1e6 * share)
    judged = drift_from_month_before(MONTH, replace(counted(), durations=durations), earlier)
    assert judged.metadata["durations"].value == pytest.approx((7 + share / 10) / 13.05)
    assert "(up to 0.543)" in str(judged.description)
    assert judged.passed == passed


def test_a_year_is_twelve_months() -> None:
    """All trips begin in another zone than a year ago, and as they did a month before that."""
    elsewhere = counted(zones=(0, 0, 1_000_000))
    others = {MONTH - 13: counted(), MONTH - 12: elsewhere, MONTH - 11: counted()}
    judged = drift_from_year_before(MONTH, counted(), others)
    assert judged.metadata["pickup_zones"].value == pytest.approx(1)


def test_a_year_before_is_a_figure_first_and_a_check_once_24_months_are_stored() -> None:
    moved = counted(zones=(900_000, 100_000))
    few = drift_from_year_before(MONTH, moved, history(23))
    assert few.passed
    assert few.metadata["pickup_zones"].value > 0.15
    assert not drift_from_year_before(MONTH, moved, history(24)).passed


def test_without_the_other_month_there_is_nothing_to_compare_with() -> None:
    assert drift_from_month_before(MONTH, counted(), {MONTH - 2: counted()}).passed
    assert drift_from_year_before(MONTH, counted(), {MONTH - 1: counted()}).passed


def test_profiles_are_noted_beside_the_trips_and_damaged_ones_passed_over(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    for back in (1, 2, 3):
        note_profile(storage, GREEN, MONTH - back, counted())
    note_profile(storage, GREEN, MONTH, counted())
    folder = tmp_path / "green/cleaned_trips"
    (folder / "2023-01.profile.json").write_text("{}")
    write_json(folder / "2022-12.profile.json", {"hours": "many"})
    reported: list[str] = []
    assert earlier_profiles(storage, GREEN, MONTH, reported.append) == {MONTH - 1: counted()}
    assert [line.split(":")[0] for line in reported] == [
        "the profile of 2022-12 is passed over",
        "the profile of 2023-01 is passed over",
    ]


def test_a_month_is_compared_with_the_one_before_and_with_the_same_of_last_year(
    settings: Settings, materialize: Callable[..., dg.ExecuteInProcessResult]
) -> None:
    """Both are as the month itself here, and so at no distance."""

    def found() -> dict[str, dg.AssetCheckEvaluation]:
        made = materialize("2023-01", "raw_trips", "cleaned_trips")
        return {each.check_name: each for each in made.get_asset_check_evaluations()}

    assert "not stored" in str(found()["drift_from_month_before"].description)
    note = Path(settings.storage) / "green/cleaned_trips/2023-01.profile.json"
    for before in ("2022-01", "2022-12"):
        shutil.copy(note, note.with_name(f"{before}.profile.json"))
    again = found()
    for name in ("drift_from_month_before", "drift_from_year_before"):
        assert again[name].metadata["pickup_zones"].value == 0


@pytest.mark.real_files
@pytest.mark.parametrize(
    ("before", "month"),
    [
        ("2021-01", "2021-02"),
        ("2021-02", "2021-03"),
        ("2022-01", "2022-02"),
        ("2023-01", "2023-02"),
    ],
)
def test_real_neighbours_are_near_and_damaged_ones_are_not(before: str, month: str) -> None:
    one, other = (real(name) for name in (before, month))
    found = distances(profile(one), profile(other))
    assert max(found["pickup_zones"], found["dropoff_zones"]) < 0.07
    assert found["hours"] < 0.03
    earlier = {Month.parse(before): profile(one)}

    def judge(trips: pd.DataFrame) -> bool:
        return drift_from_month_before(Month.parse(month), profile(trips), earlier).passed

    assert judge(other)
    exchanged = other.rename(
        columns={"PULocationID": "DOLocationID", "DOLocationID": "PULocationID"}
    )
    assert not judge(exchanged)
    assert not judge(other.assign(pickup_hour=(other["pickup_hour"] + 5) % 168))
    assert not judge(other.assign(duration=np.clip(other["duration"] * 1.3, 1, 60)))


def real(month: str) -> pd.DataFrame:
    path = REAL_FILES / f"green_tripdata_{month}.parquet"
    return clean_trips(open_parquet(path), GREEN, Month.parse(month)).trips
