"""The fleets whose months can be modelled, and what TLC calls their files and columns.

One of them never drove: the months of ``synthetic`` are invented, with yellow cabs' columns.
"""

from dataclasses import dataclass

from taxi_assets.tlc.months import Month

PICKUP_ZONE = "PULocationID"
DROPOFF_ZONE = "DOLocationID"
DISTANCE = "trip_distance"


@dataclass(frozen=True)
class Fleet:
    """One kind of New York taxi.

    Attributes:
        name: as in TLC's file names.
        pickup_time: column with the local time at which the trip began.
        dropoff_time: column with the local time at which the trip ended.
        first_month: the first month whose file has zone ids. Yellow files of 2009 and 2010
            carry coordinates instead; green taxis started in August 2013, and TLC publishes
            their files from January 2014. Uber and Lyft, ``fhvhv``, report from February 2019.
            Invented months begin in 2022, so that Dagster's plots over the months are short.
        distance: column with the miles of the trip; some files have none.
        invented: whether nobody has published the months, and nobody will.
    """

    name: str
    pickup_time: str
    dropoff_time: str
    first_month: Month
    distance: str = DISTANCE
    invented: bool = False

    @property
    def needed_columns(self) -> list[str]:
        """The four columns without which there is no model."""
        return [self.pickup_time, self.dropoff_time, PICKUP_ZONE, DROPOFF_ZONE]

    def file_name(self, month: Month) -> str:
        """The month's file, as TLC names it."""
        return f"{self.name}_tripdata_{month}.parquet"


_YELLOW_TIMES = "tpep_pickup_datetime", "tpep_dropoff_datetime"
_GREEN_TIMES = "lpep_pickup_datetime", "lpep_dropoff_datetime"

FLEETS = {
    fleet.name: fleet
    for fleet in (
        Fleet("yellow", *_YELLOW_TIMES, Month(2011, 1)),
        Fleet("green", *_GREEN_TIMES, Month(2014, 1)),
        Fleet("synthetic", *_YELLOW_TIMES, Month(2022, 1), invented=True),
        Fleet("fhvhv", "pickup_datetime", "dropoff_datetime", Month(2019, 2), "trip_miles"),
    )
}
