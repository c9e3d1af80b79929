"""From TLC's trip records to clean trips: the exercise's rules, each in one place."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from taxi_assets.errors import MonthError
from taxi_assets.tlc.fleets import DISTANCE, DROPOFF_ZONE, PICKUP_ZONE, Fleet
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.parquet import ParquetError, decoded_batches
from taxi_assets.tlc.sniffing import describe_columns

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq
    from numpy.typing import NDArray

    from taxi_assets.durations.columns import Unreadable

MIN_DURATION = 1.0
"""Shortest trip that is kept, in minutes, itself included."""

MAX_DURATION = 60.0
"""Longest trip that is kept, in minutes, itself included."""

TEST_SIZE = 0.2
"""Share of the kept trips that validate the model."""

RANDOM_STATE = 42
"""Seed of the split; with the trips in file order it fixes which trips validate."""

DURATION, HOUR, VALIDATES = "duration", "pickup_hour", "validates"
PICKUP_TIME = "pickup_time"

FEATURES = [PICKUP_ZONE, DROPOFF_ZONE]
"""The categories from which a trip's duration is predicted."""

COLUMNS = {
    **dict.fromkeys(FEATURES, "category"),
    DURATION: "float64",
    HOUR: "uint8",
    DISTANCE: "float32",
    VALIDATES: "bool",
}
"""The columns of cleaned trips and their pandas types."""

LONGEST_COUNTED = 90
"""Minutes; longer trips are counted together."""

MAX_ZONES = 1_000
"""TLC has 265; with many more, one-hot columns would not fit into memory."""

MIN_TRIPS = 2
"""A split needs a trip on either side."""


class UnusableTripsError(MonthError):
    """A month's trips cannot give a model; the message says why."""


@dataclass(frozen=True)
class CleanedTrips:
    """The trips of a month that a model can learn from.

    Attributes:
        trips: ``PULocationID`` and ``DOLocationID`` (categories such as ``"132"``) and
            ``duration`` (minutes, float64), one row a trip, in file order; ``pickup_hour`` (of the
            week, 0 is Monday midnight, uint8) and ``trip_distance`` (miles, float32, not a number
            where it is unknown); and ``validates``, whether the split holds the trip out of
            training.
        loaded: number of trips in the file.
        null_zones: trips without a pick-up or drop-off zone, which are left out.
        null_times: trips without a pick-up or drop-off time, which are left out.
        unreadable: values that cannot be read, which count as missing.
        durations: number of trips that last less than no time, then up to each full minute up to
            90, then longer; kept or not.
    """

    trips: "pd.DataFrame"
    loaded: int
    null_zones: int
    null_times: int
    unreadable: "Unreadable"
    durations: "NDArray[np.int64]"

    @property
    def share_kept(self) -> float:
        """Kept trips as a share of those loaded, from 0 to 1."""
        return len(self.trips) / self.loaded


def clean_trips(month_file: "pq.ParquetFile", fleet: Fleet, month: Month) -> CleanedTrips:
    """Keep the trips of 1 to 60 minutes that have both zones, with their durations.

    Only the needed columns are decoded, a batch at a time.

    Raises:
        UnusableTripsError: a needed column is missing, damaged, or has no value that can be read;
            no trip is of the month; or too few trips are left to split.
    """
    import numpy as np
    import pyarrow.compute as pc

    # Before the trips are in memory: a library that finds no room may wait for ever.
    import sklearn.model_selection  # noqa: F401

    from taxi_assets.durations.columns import Unreadable, read
    from taxi_assets.tlc.raw_summary import times_within

    schema = month_file.schema_arrow
    if problem := describe_columns(schema.names, fleet):
        raise UnusableTripsError(f"The file {problem}")
    names = fleet.needed_columns
    if schema.names.count(fleet.distance) == 1:
        names = [*names, fleet.distance]
    loaded = month_file.metadata.num_rows
    batches, null_zones, null_times, near, decoded = [], 0, 0, 0, 0
    durations = np.zeros(LONGEST_COUNTED + 2, np.int64)
    unreadable = Unreadable()
    try:
        for batch in decoded_batches(month_file, names):
            decoded += len(batch)
            if decoded > loaded:
                break
            trips = read(batch, fleet, unreadable)
            _check_number_of_zones(trips)
            null_times += trips[DURATION].null_count
            near += times_within(trips[PICKUP_TIME], month - 12, month + 13)
            durations += _count_by_minute(trips[DURATION])
            zoned = pc.and_(trips[PICKUP_ZONE].is_valid(), trips[DROPOFF_ZONE].is_valid())
            null_zones += pc.sum(pc.invert(zoned)).as_py() or 0
            lasting = pc.and_(
                pc.greater_equal(trips[DURATION], MIN_DURATION),
                pc.less_equal(trips[DURATION], MAX_DURATION),
            )
            kept_columns = trips.drop_columns(PICKUP_TIME)
            batches.append(kept_columns.filter(pc.and_(zoned, lasting)))
    except ParquetError as error:
        raise UnusableTripsError(
            f"The file's data cannot be read ({error}). Have raw_trips fetch it again."
        ) from None
    kept = sum(map(len, batches))
    if decoded != loaded:
        raise UnusableTripsError(f"The file's footer announces {loaded:,} trips; it has others.")
    _check_readable(unreadable, schema)
    if kept < MIN_TRIPS:
        raise UnusableTripsError(
            f"{kept:,} of its {loaded:,} trips have both zones and last between "
            f"{MIN_DURATION:g} and {MAX_DURATION:g} minutes: too few to train and to validate. "
            f"{null_zones:,} have no zone in {PICKUP_ZONE} or {DROPOFF_ZONE}, {null_times:,} no "
            f"time in {fleet.pickup_time} or {fleet.dropoff_time}."
        )
    if not near:
        raise UnusableTripsError(
            f"None of its {loaded:,} trips was picked up within a year of {month}, by "
            f"{fleet.pickup_time}: the dates are wrong, or it is another month's file."
        )
    trips = _to_pandas(batches)
    return CleanedTrips(trips, loaded, null_zones, null_times, unreadable, durations)


def validation_mask(trips: int) -> "NDArray[np.bool_]":
    """Which of ``trips`` rows validate, shape (trips,).

    They are those that scikit-learn's ``train_test_split`` holds out with the same arguments: it
    takes the first split of a ShuffleSplit.
    """
    import numpy as np
    from sklearn.model_selection import ShuffleSplit

    shuffle = ShuffleSplit(1, test_size=TEST_SIZE, random_state=RANDOM_STATE)
    mask = np.zeros(trips, dtype=np.bool_)
    _, held_out = next(shuffle.split(mask))
    mask[held_out] = True
    return mask


def validation_trips(cleaned_trips: "pd.DataFrame") -> "pd.DataFrame":
    """The cleaned trips that the split holds out of training."""
    return cleaned_trips[cleaned_trips[VALIDATES]]


def _to_pandas(batches: "list[pa.Table]") -> "pd.DataFrame":
    """The kept trips of all batches in one frame, with their split; the list is emptied.

    Raises:
        UnusableTripsError: there are too many zones.
    """
    import pandas as pd
    import pyarrow as pa

    # Each batch has a dictionary of its zones; pandas needs the categories of all.
    table = pa.concat_tables(batches).unify_dictionaries()
    batches.clear()
    _check_number_of_zones(table)
    table = table.append_column(VALIDATES, pa.array(validation_mask(len(table))))
    # A column at a time, each given back when pandas has it.
    kept_values = {}
    for name in table.column_names:
        kept_values[name] = table[name].to_pandas()
        table = table.drop_columns(name)
        pa.default_memory_pool().release_unused()
    return pd.DataFrame(kept_values, copy=False)


def _check_number_of_zones(trips: "pa.Table") -> None:
    """Make sure that zones are few enough for a model.

    Raises:
        UnusableTripsError: names the column.
    """
    for feature in FEATURES:
        values = max(len(chunk.dictionary) for chunk in trips[feature].chunks)
        if values > MAX_ZONES:
            raise UnusableTripsError(
                f"Column {feature} has {values:,} different values, too many to be TLC's zones."
            )


def _check_readable(unreadable: "Unreadable", schema: "pa.Schema") -> None:
    """Make sure that something can be read of each column that has values.

    Raises:
        UnusableTripsError: names the column, its first value, and what would be understood.
    """
    from taxi_assets.tlc.coercion import TIMES, ZONE_IDS

    for name, example in unreadable.examples.items():
        if not unreadable.read[name]:
            understood = ZONE_IDS if name in (PICKUP_ZONE, DROPOFF_ZONE) else TIMES
            raise UnusableTripsError(
                f"None of the {unreadable.counts[name]:,} values in column {name} can be read. "
                f"The first is {example}, of type {schema.field(name).type}. Understood are "
                f"{understood}."
            )


def _count_by_minute(durations: "pa.ChunkedArray") -> "NDArray[np.int64]":
    """Numbers of trips by duration, as in ``CleanedTrips``."""
    import numpy as np

    minutes = durations.drop_null().to_numpy()
    longest_kept = np.count_nonzero(minutes == MAX_DURATION)
    full = np.clip(np.floor(minutes), -1, LONGEST_COUNTED).astype(np.int64)
    counts = np.bincount(full + 1, minlength=LONGEST_COUNTED + 2)
    # The longest trips that are kept belong with the minute before.
    counts[int(MAX_DURATION)] += longest_kept
    counts[int(MAX_DURATION) + 1] -= longest_kept
    return counts
