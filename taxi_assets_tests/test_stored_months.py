"""What a month is compared with: months before it, never itself, and no further back than said."""

from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from taxi_assets.storage.files import Storage
from taxi_assets.storage.formats import Json
from taxi_assets.storage.io_managers import load_stored
from taxi_assets.storage.stored_months import (
    Training,
    earlier_rmses,
    neighbouring_trips,
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


def test_a_model_of_three_months_is_trained_on_two_before_its_own() -> None:
    assert window_before(GREEN, MARCH, Training(3)) == [MARCH - 2, MARCH - 1]
    assert window_before(GREEN, MARCH, Training(1)) == []
    assert window_before(GREEN, GREEN.first_month + 1, Training(12)) == [GREEN.first_month]
