"""The columns of TLC's month files, era by era.

Source: the published files and TLC's data dictionaries. Two dates matter: with February 2023
TLC changed its writer (narrower integers, ``large_string``, ``Airport_fee`` with a capital), and
with January 2025 New York's congestion pricing added a column.
"""

from typing import TYPE_CHECKING

from taxi_assets.tlc.fleets import DROPOFF_ZONE, PICKUP_ZONE, Fleet
from taxi_assets.tlc.months import Month

if TYPE_CHECKING:
    import pyarrow as pa

NEW_WRITER = Month(2023, 2)
CONGESTION_PRICING = Month(2025, 1)


def month_schema(fleet: Fleet, month: Month) -> "pa.Schema":
    """The schema of the fleet's file of a month, columns in TLC's order."""
    import pyarrow as pa

    new = month >= NEW_WRITER
    integer = pa.int32() if new else pa.int64()
    code = pa.int64() if new else pa.float64()
    flag = pa.large_string() if new else pa.string()
    money, time = pa.float64(), pa.timestamp("us")
    fares = ["fare_amount", "extra", "mta_tax", "tip_amount", "tolls_amount"]

    columns: list[tuple[str, pa.DataType]] = [
        ("VendorID", integer),
        (fleet.pickup_time, time),
        (fleet.dropoff_time, time),
    ]
    if fleet.name != "green":
        columns += [
            ("passenger_count", code),
            ("trip_distance", money),
            ("RatecodeID", code),
            ("store_and_fwd_flag", flag),
            (PICKUP_ZONE, integer),
            (DROPOFF_ZONE, integer),
            ("payment_type", pa.int64()),
            *((fare, money) for fare in fares),
            ("improvement_surcharge", money),
            ("total_amount", money),
            ("congestion_surcharge", money),
            ("Airport_fee" if new else "airport_fee", money),
        ]
    else:
        columns += [
            ("store_and_fwd_flag", flag),
            ("RatecodeID", code),
            (PICKUP_ZONE, integer),
            (DROPOFF_ZONE, integer),
            ("passenger_count", code),
            ("trip_distance", money),
            *((fare, money) for fare in fares),
            ("ehail_fee", money if new else pa.null()),
            ("improvement_surcharge", money),
            ("total_amount", money),
            ("payment_type", code),
            ("trip_type", code),
            ("congestion_surcharge", money),
        ]
    if month >= CONGESTION_PRICING:
        columns.append(("cbd_congestion_fee", money))
    return pa.schema(columns)
