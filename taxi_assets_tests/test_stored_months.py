"""What a month is compared with: months before it, never itself, and no further back than said."""

from functools import partial
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from taxi_assets.storage.files import Storage
from taxi_assets.storage.formats import Json
from taxi_assets.storage.io_managers import MonthlyIOManager, load_stored
from taxi_assets.storage.stored_months import (
    Training,
    earlier_rmses,
    later_windows,
    neighbouring_trips,
    training_months,
    window_before,
)
from taxi_assets.tlc.fleets import FLEETS
from taxi_assets.tlc.months import Month

GREEN = FLEETS["green"]
MARCH = Month(2023, 3)


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path))


def test_neighbours_are_the_months_before_and_after(storage: Storage) -> None:
    for trips, month in enumerate(MARCH + ahead for ahead in range(-2, 3)):
        with storage.replacing(f"green/raw_trips/{month}.parquet") as temporary:
            pd.DataFrame({"trip": range(trips)}).to_parquet(temporary)
    assert neighbouring_trips(storage, GREEN, MARCH) == {MARCH - 1: 1, MARCH + 1: 3}


def test_of_neighbours_that_are_missing_or_damaged_nothing_is_said(storage: Storage) -> None:
    with storage.replacing(f"green/raw_trips/{MARCH + 1}.parquet") as temporary:
        temporary.write_bytes(b"PAR1 damaged")
    assert neighbouring_trips(storage, GREEN, MARCH) == {}


def test_earlier_metrics_are_those_of_the_half_year_before(storage: Storage) -> None:
    for back in range(-1, 9):
        with storage.replacing(f"green/metrics/{MARCH - back}.json") as temporary:
            Json().dump({"rmse": 5.0 + back}, temporary)
    storage.remove(f"green/metrics/{MARCH - 4}.json")
    (Path(storage.url) / f"green/metrics/{MARCH - 3}.json").write_text('{"rmse": 8.0}')
    reported: list[str] = []
    found = earlier_rmses(MARCH, partial(load_stored, storage, GREEN), reported.append)
    assert found == {MARCH - back: 5.0 + back for back in (6, 5, 2, 1)}
    assert reported == [
        "metrics 2022-12 is passed over: metrics 2022-12 is stored, and cannot be read: it has "
        "no checksum, as an earlier version wrote it. Make it anew: dagster asset materialize -m "
        "taxi_assets.definitions --select 'green/metrics' --partition 2022-12-01",
    ]


def test_a_window_begins_with_the_fleets_first_month() -> None:
    assert window_before(GREEN, MARCH, Training(3)) == [MARCH - back for back in (12, 11, 10, 2, 1)]
    assert window_before(GREEN, GREEN.first_month + 1, Training(12)) == [GREEN.first_month]


def test_months_of_a_year_before_are_taken_where_they_are_stored_and_missed_by_nobody(
    storage: Storage,
) -> None:
    """The last months are missed; a later month is never taken."""
    rows = {
        "split": pd.Categorical(["train", "validation"], ["train", "validation"]),
        **dict.fromkeys(("PULocationID", "DOLocationID"), pd.Categorical(["132", "4"])),
        "pickup_hour": np.array([8, 9], np.uint8),
        **dict.fromkeys(("trips", "distance_trips"), np.array([10, 20], np.int32)),
        **dict.fromkeys(
            ("duration_sum", "duration_sum_of_squares", "distance_sum"), np.array([100.0, 900.0])
        ),
    }
    stored = [MARCH - 13, MARCH - 12, MARCH - 10, MARCH - 2, MARCH + 1]
    frames = MonthlyIOManager(storage)
    for month in stored:
        frames.store(dg.AssetKey(["green", "hourly_pairs"]), month, pd.DataFrame(rows))
    frames.store(dg.AssetKey(["green", "hourly_pairs"]), MARCH, pd.DataFrame(rows))
    load = partial(load_stored, storage, GREEN)
    trained = training_months(storage, GREEN, MARCH, load, Training(3), lambda: pd.DataFrame(rows))
    assert list(trained.versions) == ["2022-03", "2022-05", "2023-01", "2023-03"]
    assert (trained.missing, trained.alone) == ([MARCH - 1], False)
    first = training_months(
        storage, GREEN, stored[0] + 1, load, Training(3), lambda: pd.DataFrame(rows)
    )
    assert (first.missing, first.alone) == ([], False)
    assert trained.window.sums["trips"].sum() == pytest.approx(30 * (0.3 * 2 + 0.95**2) + 10)


@pytest.mark.parametrize(
    ("month", "judged"), [("2022-04", True), ("2022-02", False), ("2023-02", True)]
)
def test_a_month_of_a_year_before_that_is_stored_later_concerns_the_model(
    storage: Storage, month: str, judged: bool
) -> None:
    """The model of March 2023 was trained on itself; only one of its last months is missing."""
    for name in ("boosted_model/2023-03.npz", *map("hourly_pairs/{}.parquet".format, STORED)):
        with storage.replacing(f"green/{name}") as temporary:
            temporary.write_bytes(b"any")
    model = {"training_months": ["2023-03"], "training_versions": ["any"]}
    later = later_windows(storage, GREEN, Month.parse(month), lambda *_: model, Training(3))
    expected = (MARCH, ["2023-03"], [MARCH - 2], [MARCH - 11, MARCH - 1])
    assert [tuple(each) for each in later] == [expected] * judged


STORED = ("2022-02", "2022-04", "2023-02", "2023-03")
