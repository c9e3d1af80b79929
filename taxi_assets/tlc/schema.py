"""The columns of TLC's month files, era by era.

Source: the published files and TLC's data dictionaries. Two dates matter: with February 2023
TLC changed its writer (narrower integers, ``large_string``, ``Airport_fee`` with a capital), and
with January 2025 New York's congestion pricing added a column.
"""

from typing import TYPE_CHECKING

from taxi_assets.tlc.fleets import Fleet
from taxi_assets.tlc.months import Month

if TYPE_CHECKING:
    import pyarrow as pa

NEW_WRITER = Month(2023, 2)
CONGESTION_PRICING = Month(2025, 1)

TYPES = {
    "time": ("timestamp[us]", "timestamp[us]", "timestamp[us]"),
    "integer": ("int64", "int32", "int32"),
    "long": ("int64", "int64", "int64"),
    "code": ("double", "int64", "int64"),
    "text": ("string", "large_string", "large_string"),
    "amount": ("double", "double", "double"),
    "e-hail": ("null", "double", "double"),
    "first era": ("double", "", ""),
    "second era": ("", "double", "double"),
    "third era": ("", "", "double"),
}
"""Arrow's types before February 2023, from then on, and from 2025 on; empty without the column."""

_FARES = dict.fromkeys(("fare_amount", "extra", "mta_tax", "tip_amount", "tolls_amount"), "amount")

COLUMNS = {
    "yellow": {
        "VendorID": "integer",
        "tpep_pickup_datetime": "time",
        "tpep_dropoff_datetime": "time",
        "passenger_count": "code",
        "trip_distance": "amount",
        "RatecodeID": "code",
        "store_and_fwd_flag": "text",
        "PULocationID": "integer",
        "DOLocationID": "integer",
        "payment_type": "long",
        **_FARES,
        "improvement_surcharge": "amount",
        "total_amount": "amount",
        "congestion_surcharge": "amount",
        "airport_fee": "first era",
        "Airport_fee": "second era",
        "cbd_congestion_fee": "third era",
    },
    "green": {
        "VendorID": "integer",
        "lpep_pickup_datetime": "time",
        "lpep_dropoff_datetime": "time",
        "store_and_fwd_flag": "text",
        "RatecodeID": "code",
        "PULocationID": "integer",
        "DOLocationID": "integer",
        "passenger_count": "code",
        "trip_distance": "amount",
        **_FARES,
        "ehail_fee": "e-hail",
        "improvement_surcharge": "amount",
        "total_amount": "amount",
        "payment_type": "code",
        "trip_type": "code",
        "congestion_surcharge": "amount",
        "cbd_congestion_fee": "third era",
    },
    "fhvhv": {
        "hvfhs_license_num": "text",
        "dispatching_base_num": "text",
        "originating_base_num": "text",
        "request_datetime": "time",
        "on_scene_datetime": "time",
        "pickup_datetime": "time",
        "dropoff_datetime": "time",
        "PULocationID": "integer",
        "DOLocationID": "integer",
        "trip_miles": "amount",
        "trip_time": "long",
        "base_passenger_fare": "amount",
        "tolls": "amount",
        "bcf": "amount",
        "sales_tax": "amount",
        "congestion_surcharge": "amount",
        "airport_fee": "amount",
        "tips": "amount",
        "driver_pay": "amount",
        "shared_request_flag": "text",
        "shared_match_flag": "text",
        "access_a_ride_flag": "text",
        "wav_request_flag": "text",
        "wav_match_flag": "text",
        "cbd_congestion_fee": "third era",
    },
}
"""By fleet, the kinds of its columns in TLC's order; synthetic months have yellow cabs'."""


def month_schema(fleet: Fleet, month: Month) -> "pa.Schema":
    """The schema of the fleet's file of a month, columns in TLC's order."""
    import pyarrow as pa

    era = (month >= NEW_WRITER) + (month >= CONGESTION_PRICING)
    columns = COLUMNS["yellow" if fleet.invented else fleet.name]
    types = {name: TYPES[kind][era] for name, kind in columns.items()}
    return pa.schema([(name, pa.type_for_alias(kind)) for name, kind in types.items() if kind])
