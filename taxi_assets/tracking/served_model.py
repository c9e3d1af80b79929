"""The model that MLflow serves: zones and, if one likes, a time; minutes and an interval.

Logged as code, after the text of ``taxi_assets.durations.inference``, with the arrays of one fitted
model. It checks what it is asked itself: any schema that MLflow could check by either takes 132.5
for 132, or refuses what CSV makes of a number.
"""

import hashlib
import io
import re
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

from taxi_assets.durations.inference import (
    BANDS,
    Boosted,
    BoostedPairs,
    Encoding,
    Interval,
    Linear,
    answer,
    band_of,
    number,
    part,
)

ZONE_COLUMNS = ("PULocationID", "DOLocationID")
TIME_COLUMN = "pickup_datetime"
COLUMNS = (*ZONE_COLUMNS, TIME_COLUMN)
OTHER_TIME = re.compile(r"at|[tl]pep_.*", re.DOTALL | re.IGNORECASE)
LAST_ZONE = 265

WHOLE = re.compile(r"\s*[+]?([0-9]{1,9})(?:\.0*)?\s*", re.ASCII)
ISO = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?"


class TripDuration(mlflow.pyfunc.PythonModel):  # type: ignore[name-defined,misc]
    """How long a taxi trip takes, by its zones and the time at which it begins."""

    # MLflow would warn that the input has no types, which this model checks itself.
    _skip_type_hint_validation = True

    def load_context(self, context: Any) -> None:
        """Read the model's arrays, which are those that were logged, or nothing.

        Raises:
            ValueError: the file is damaged.
        """
        content = Path(context.artifacts["model"]).read_bytes()
        if hashlib.sha256(content).hexdigest() != context.model_config["model_sha256"]:
            raise ValueError("model.npz is not the file that was logged: it is damaged.")
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            arrays = dict(archive)
        self.interval = Interval(part(arrays, "interval"))
        if linear := part(arrays, "linear"):
            self.model: Linear | Boosted = Linear(linear)
            self._answer_pairs = self.answer_cells
            return
        encoding, trees = Encoding(part(arrays, "encoding")), part(arrays, "boosted")
        self.model = Boosted(encoding, trees)
        pairs, interval = BoostedPairs(encoding, trees), Interval(part(arrays, "pair_interval"))
        self._answer_pairs = partial(answer, pairs, interval)

    def predict(  # type: ignore[no-untyped-def]
        self, context, model_input, params=None
    ):
        """Minutes, and the bounds that eight trips of ten lie between.

        Args:
            context: not used.
            model_input: a table with ``PULocationID`` and ``DOLocationID`` and, where the hour is
                known, ``pickup_datetime``, on New York's clock.
            params: not used.

        Raises:
            MlflowException: a value cannot be meant; the message names its row and column.
        """
        table = as_table(model_input)
        pickup, dropoff = (read_zones(table, column) for column in ZONE_COLUMNS)
        bands, known = read_bands(table)
        names = ("minutes", "minutes_p10", "minutes_p90")
        answers = self.answer(number(pickup, dropoff, bands), known)
        return pd.DataFrame(dict(zip(names, answers, strict=True)))

    def answer_cells(self, cells: Any) -> Any:
        """Minutes, lower and upper bounds of cells whose hours are known."""
        return answer(self.model, self.interval, cells)

    def answer(self, cells: Any, known: Any) -> Any:
        """Minutes, lower and upper bounds, shape (3, len(cells)).

        Args:
            cells: their numbers, see ``answers.number``.
            known: whether the hour is known; where it is not, the answer is for the pair's trips at
                all hours, whatever the cell's band is.
        """
        pairs = cells - cells % BANDS
        distinct, places = np.unique(np.where(known, cells, -1 - pairs), return_inverse=True)
        columns = np.empty((3, len(distinct)))
        timed = distinct >= 0
        if timed.any():
            columns[:, timed] = self.answer_cells(distinct[timed])
        if not timed.all():
            columns[:, ~timed] = self._answer_pairs(-1 - distinct[~timed])
        return columns[:, places]


def as_table(request: Any) -> pd.DataFrame:
    """The columns that count, of what any of MLflow's ways to ask gives."""
    if isinstance(request, pd.DataFrame):
        return request[columns_of(request)].reset_index(drop=True)
    try:
        if isinstance(request, Mapping):
            return pd.DataFrame({name: np.ravel(request[name]) for name in columns_of(request)})
        # MLflow makes arrays without an axis of the values in `inputs`.
        records = [
            {name: np.asarray(row[name]).item() for name in columns_of(row)} for row in request
        ]
        return pd.DataFrame.from_records(records)
    except (TypeError, ValueError, AttributeError) as error:
        raise refusal(f"This is no table of questions ({error}). {HOW}") from None


def columns_of(given: Any) -> list[str]:
    """Those of the columns given that count; a time under another name is refused."""
    for name in given:
        if isinstance(name, str) and OTHER_TIME.fullmatch(name):
            raise refusal(f"Column {name[:40]} is a time under another name. {HOW}")
    return [name for name in COLUMNS if name in given]


HOW = (
    "A question has PULocationID and DOLocationID, TLC's zones from 1 to 265, and may have "
    "pickup_datetime, such as 2023-03-01 08:15:00."
)


def read_zones(table: pd.DataFrame, column: str) -> Any:
    """A column of zone ids as whole numbers from 1 to 265."""
    if column not in table:
        raise refusal(f"Column {column} is missing. {HOW}")
    values = table[column]
    if pd.api.types.is_bool_dtype(values.dtype):
        raise refuse(values, 0, "is no zone")
    if isinstance(values.dtype, np.dtype) and values.dtype.kind in "iuf":
        numbers = values.to_numpy(np.float64)
        numbers = np.where(numbers == np.floor(numbers), numbers, 0)
    else:
        numbers = np.array([whole_number(value) for value in values.astype(object)])
    wrong = np.flatnonzero(~((numbers >= 1) & (numbers <= LAST_ZONE)))
    if len(wrong):
        raise refuse(values, wrong[0], "is no zone: a whole number from 1 to 265")
    return numbers.astype(np.int64)


def whole_number(value: Any) -> float:
    """A value that reads as a whole number; 0 for any other."""
    if isinstance(value, bool | np.bool_):
        return 0
    if isinstance(value, str | bytes):
        text = value.decode(errors="replace") if isinstance(value, bytes) else value
        match = WHOLE.fullmatch(text)
        return float(match[1]) if match else 0
    try:
        number_of = float(value)
    except (TypeError, ValueError, OverflowError):
        return 0
    return number_of if number_of == np.floor(number_of) else 0


def read_bands(table: pd.DataFrame) -> Any:
    """The band of the week of each row, and whether the row has a time."""
    unknown = np.zeros(len(table), np.int64), np.zeros(len(table), bool)
    if TIME_COLUMN not in table:
        return unknown
    values = table[TIME_COLUMN]
    given = values.notna().to_numpy()
    if not pd.api.types.is_datetime64_any_dtype(values.dtype):
        given &= np.array([not (isinstance(one, str) and not one.strip()) for one in values], bool)
    if not given.any():
        return unknown
    if pd.api.types.is_datetime64_dtype(values.dtype):
        times = values
    else:
        times = read_times(values)
        wrong = np.flatnonzero(given & times.isna().to_numpy())
        if len(wrong):
            raise refuse(
                values, wrong[0], "is no time on New York's clock, such as 2023-03-01 08:15:00"
            )
    hours = (times.dt.dayofweek * 24 + times.dt.hour).fillna(0).to_numpy(np.int64)
    return band_of(hours), given


def read_times(values: pd.Series) -> pd.Series:
    """Times without a zone, from ISO text and from timestamps; none from anything else."""
    objects = values.astype(object)
    is_text = np.array([isinstance(value, str) for value in objects], bool)
    written = objects.where(is_text, "").astype(str).str.strip()
    # Half-read text, or a day that the calendar does not have, is no time.
    iso = written.str.fullmatch(ISO, flags=re.ASCII)
    times = pd.to_datetime(written.where(iso), format="ISO8601", errors="coerce")
    others = [
        pd.Timestamp(value) if isinstance(value, datetime) and value.tzinfo is None else pd.NaT
        for value in objects[~is_text]
    ]
    times[~is_text] = pd.Series(others, objects.index[~is_text], "datetime64[ns]")
    return times


def refuse(values: pd.Series, row: int, why: str) -> MlflowException:
    """What to say of a value that cannot be meant."""
    value = values.iloc[row]
    shown = repr(value.item() if isinstance(value, np.generic) else value)[:40]
    return refusal(f"Row {row}, column {values.name}: {shown} {why}.")


def refusal(message: str) -> MlflowException:
    """An error that MLflow's server answers with status 400."""
    return MlflowException(message, error_code=INVALID_PARAMETER_VALUE)


mlflow.models.set_model(TripDuration())
