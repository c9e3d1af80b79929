"""Months that never happened, in TLC's format: for demos, tests and benchmarks without a network.

A synthetic month depends on the fleet, the month and the number of trips, and on nothing else.
It has the quirks of the published files: pick-ups outside the month, trips of zero, negative and
day-long duration, unknown zones, missing passenger counts, the column types of its era.

``taxi-assets synthetic`` writes a folder of them that serves as ``TAXI_TRIP_SOURCE``.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from taxi_assets.tlc.fleets import DROPOFF_ZONE, FLEETS, PICKUP_ZONE, Fleet
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.schema import month_schema
from taxi_assets.tlc.synthetic_city import HOURLY_DEMAND, HOURLY_SPEED, City, build_city

ROW_GROUP_TRIPS = 500_000
"""Trips that are made, held in memory and written at a time."""

GENERATOR_VERSION = "1"
"""Changes with every change to the trips that are made."""

DAY = 24 * 60 * 60

# Shares of trips with a quirk, of the order seen in TLC's files of 2022 and 2023.
OUT_OF_MONTH = 2e-4
ZERO_DURATION = 4e-3
NEGATIVE_DURATION = 2e-4
DAY_LONG = 1.2e-3
NO_PASSENGER_COUNT = 0.025


def write_month(path: Path, fleet: Fleet, month: Month, trips: int) -> None:
    """Write a month of ``trips`` trips as one Parquet file, replacing ``path``."""
    schema = month_schema(fleet, month)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for table in make_month(fleet, month, trips):
            writer.write_table(table)


def make_month(fleet: Fleet, month: Month, trips: int) -> Iterator[pa.Table]:
    """A month's trips in order of pick-up, in tables of at most ``ROW_GROUP_TRIPS`` rows."""
    seed = [list(FLEETS).index(fleet.name), month.year, month.month, trips]
    random = np.random.default_rng(seed)
    city = build_city(fleet)
    pickup_times = _pickup_times(random, month, trips)
    schema = month_schema(fleet, month)
    for start in range(0, trips, ROW_GROUP_TRIPS):
        times = pickup_times[start : start + ROW_GROUP_TRIPS]
        columns = _trips(random, city, fleet, times)
        yield pa.table([_column(columns, field) for field in schema], schema=schema)


def _pickup_times(random: np.random.Generator, month: Month, trips: int) -> NDArray[np.int64]:
    """Sorted seconds since 1970, a few of them in the months around."""
    begin, end = (int(np.datetime64(m.first_day, "s").astype(np.int64)) for m in (month, month + 1))
    demand = np.asarray(HOURLY_DEMAND) / sum(HOURLY_DEMAND)
    day = random.integers(0, (end - begin) // DAY, trips)
    hour = random.choice(24, trips, p=demand)
    times = begin + day * DAY + hour * 3600 + random.integers(0, 3600, trips)
    times.sort()
    strays = random.random(trips) < OUT_OF_MONTH
    times[strays] += random.choice([-1, 1], strays.sum()) * (end - begin)
    return np.asarray(times)


def _trips(
    random: np.random.Generator,
    city: City,
    fleet: Fleet,
    pickup: NDArray[np.int64],
) -> dict[str, Any]:
    trips = len(pickup)
    pair = np.searchsorted(city.cumulative_share, random.random(trips), side="right")
    distance = city.distance[pair] * random.uniform(0.95, 1.25, trips)
    speed = np.asarray(HOURLY_SPEED)[pickup % DAY // 3600] + 0.9 * city.distance[pair]
    minutes = (2 + 60 * distance / speed) * city.slowness[pair] * random.lognormal(0, 0.25, trips)
    seconds = 60 * minutes

    kind = random.random(trips)
    seconds[kind < ZERO_DURATION] = 0
    kind -= ZERO_DURATION
    negative = (kind >= 0) & (kind < NEGATIVE_DURATION)
    seconds[negative] *= -1
    kind -= NEGATIVE_DURATION
    # A meter that was left running until the end of the next shift.
    day_long = (kind >= 0) & (kind < DAY_LONG)
    seconds[day_long] = DAY - seconds[day_long] % 1800

    fare = np.round(3 + 0.7 * np.floor(distance * 5) / 1.4, 2)
    tip = np.round(fare * random.choice([0, 0, 0.15, 0.2, 0.25], trips), 2)
    anonymous = random.random(trips) < NO_PASSENGER_COUNT

    def nullable(values: Any) -> np.ma.MaskedArray[Any, Any]:
        return np.ma.masked_array(values, mask=anonymous)

    return {
        "VendorID": random.integers(1, 3, trips),
        fleet.pickup_time: pickup * 1_000_000,
        fleet.dropoff_time: (pickup + seconds.astype(np.int64)) * 1_000_000,
        PICKUP_ZONE: city.pickup[pair],
        DROPOFF_ZONE: city.dropoff[pair],
        "passenger_count": nullable(random.choice([1, 1, 1, 1, 2, 3], trips)),
        fleet.distance: np.round(distance, 2),
        "RatecodeID": nullable(np.ones(trips)),
        "store_and_fwd_flag": nullable(np.full(trips, "N")),
        "payment_type": random.integers(1, 3, trips),
        "fare_amount": fare,
        "tip_amount": tip,
        "mta_tax": np.full(trips, 0.5),
        "improvement_surcharge": np.full(trips, 0.3),
        "total_amount": np.round(fare + tip + 0.8, 2),
        "trip_type": nullable(np.ones(trips)),
        "congestion_surcharge": nullable(np.full(trips, 2.5)),
        "cbd_congestion_fee": np.full(trips, 0.75),
        "hvfhs_license_num": np.full(trips, "HV0003"),
        "request_datetime": (pickup - 300) * 1_000_000,
        "on_scene_datetime": nullable((pickup - 60) * 1_000_000),
        "trip_time": seconds,
        "base_passenger_fare": fare,
        "tips": tip,
        "driver_pay": np.round(0.8 * fare, 2),
    }


def _column(columns: dict[str, Any], field: pa.Field) -> pa.Array:
    """One column in its era's type; what is not modelled is zero, or ``N`` in columns of text."""
    trips = len(columns["VendorID"])
    if pa.types.is_null(field.type):
        return pa.nulls(trips)
    values = columns.get(field.name)
    if values is None:
        is_text = pa.types.is_string(field.type) or pa.types.is_large_string(field.type)
        values = np.full(trips, "N" if is_text else 0)
    return pa.array(values).cast(field.type, safe=False)
