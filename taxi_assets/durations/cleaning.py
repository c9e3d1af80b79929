"""From TLC's trip records to clean trips: the exercise's rules, each in one place."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from taxi_assets.errors import MonthError
from taxi_assets.tlc.fleets import DROPOFF_ZONE, PICKUP_ZONE, Fleet

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq
    from numpy.typing import NDArray

MIN_DURATION = 1.0
"""Shortest trip that is kept, in minutes, itself included."""

MAX_DURATION = 60.0
"""Longest trip that is kept, in minutes, itself included."""

TEST_SIZE = 0.2
"""Share of the kept trips that validate the model."""

RANDOM_STATE = 42
"""Seed of the split; with the trips in file order it fixes which trips validate."""

DURATION, VALIDATES = "duration", "validates"

MIN_TRIPS = 2
"""A split needs a trip on either side."""

BATCH_TRIPS = 1 << 19
"""Trips decoded at a time: enough to be fast, few enough to be small beside the interpreter."""


class UnusableTripsError(MonthError):
    """A month's trips cannot give a model; the message says why."""


@dataclass(frozen=True)
class CleanedTrips:
    """The trips of a month that a model can learn from.

    Attributes:
        trips: ``PULocationID`` and ``DOLocationID`` (categories such as ``"132"``) and
            ``duration`` (minutes, float64), one row a trip, in file order; and ``validates``,
            whether the split holds the trip out of training.
        loaded: number of trips in the file.
    """

    trips: "pd.DataFrame"
    loaded: int

    @property
    def share_kept(self) -> float:
        """Kept trips as a share of those loaded, from 0 to 1."""
        return len(self.trips) / self.loaded


def clean_trips(month_file: "pq.ParquetFile", fleet: Fleet) -> CleanedTrips:
    """Keep the trips of 1 to 60 minutes that have both zones, with their durations.

    Only the four needed columns are decoded, a batch at a time.

    Raises:
        UnusableTripsError: a needed column is missing, or too few trips are left to split.
    """
    import pyarrow as pa

    missing = sorted(set(fleet.needed_columns) - set(month_file.schema_arrow.names))
    if missing:
        raise UnusableTripsError(f"The file has no column {' or '.join(missing)}.")

    batches = month_file.iter_batches(BATCH_TRIPS, columns=fleet.needed_columns)
    cleaned = [_clean_batch(batch, fleet) for batch in batches]
    kept = sum(map(len, cleaned))
    if kept < MIN_TRIPS:
        raise UnusableTripsError(
            f"{kept} of its {month_file.metadata.num_rows:,} trips lasts between "
            f"{MIN_DURATION:g} and {MAX_DURATION:g} minutes: too few to train and to validate."
        )
    # Each batch met its own zones; pandas needs the categories of all.
    table = pa.concat_tables(cleaned).unify_dictionaries()
    table = table.append_column(VALIDATES, pa.array(validation_mask(kept)))
    return CleanedTrips(trips=table.to_pandas(), loaded=month_file.metadata.num_rows)


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


def _clean_batch(batch: "pa.RecordBatch", fleet: Fleet) -> "pa.Table":
    import pyarrow as pa
    import pyarrow.compute as pc

    elapsed = pc.subtract(
        batch[fleet.dropoff_time].cast(pa.timestamp("us")),
        batch[fleet.pickup_time].cast(pa.timestamp("us")),
    )
    seconds = pc.divide(elapsed.cast(pa.int64()).cast(pa.float64()), 1_000_000.0)
    minutes = pc.divide(seconds, 60.0)
    kept = pc.and_(pc.greater_equal(minutes, MIN_DURATION), pc.less_equal(minutes, MAX_DURATION))
    columns = {
        PICKUP_ZONE: _as_category(batch[PICKUP_ZONE]),
        DROPOFF_ZONE: _as_category(batch[DROPOFF_ZONE]),
        DURATION: minutes,
    }
    return pa.table(columns).filter(kept).drop_null()


def _as_category(zone_ids: "pa.Array") -> "pa.DictionaryArray":
    """Zone ids of any numeric type as strings without a decimal point: ``132``."""
    import pyarrow as pa

    encoded = zone_ids.cast(pa.int64()).dictionary_encode()
    names = encoded.dictionary.cast(pa.string())
    return pa.DictionaryArray.from_arrays(encoded.indices, names)
