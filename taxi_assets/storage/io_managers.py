"""How Dagster stores the assets: one file a month, under ``<fleet>/<asset>/``."""

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import dagster as dg

from taxi_assets.durations import cleaning, regression, zone_pairs
from taxi_assets.errors import MonthError, explain, is_memory_error
from taxi_assets.failures import explained_failures
from taxi_assets.masking import mask
from taxi_assets.partitions import commands
from taxi_assets.storage.estimators import Skops
from taxi_assets.storage.files import Storage
from taxi_assets.storage.formats import Format, Json, MonthFile, ParquetFrame, UnreadableFileError
from taxi_assets.storage.origins import announce_origin, is_altered
from taxi_assets.tlc.fetch import FetchedMonth
from taxi_assets.tlc.months import Month

if TYPE_CHECKING:
    import pandas as pd

PREVIEW_ROWS = 5


@runtime_checkable
class MonthByMonth(Protocol):
    """An output of several months, which has them stored when it sees fit."""

    def store_each(self, store: Callable[[Month, Any], Mapping[str, Any]]) -> None:
        """Call ``store`` with each month and its value; it returns metadata on what it stored."""


class StoredMonths(Mapping[Month, Any]):
    """Several months of an asset, each loaded when it is asked for, and not kept."""

    def __init__(self, months: Sequence[Month], load: Callable[[Month], Any]) -> None:
        self._months = months
        self._load = load

    def __getitem__(self, month: Month) -> Any:
        if month not in self._months:
            raise KeyError(month)
        return self._load(month)

    def __iter__(self) -> Iterator[Month]:
        return iter(self._months)

    def __len__(self) -> int:
        return len(self._months)


class MonthlyIOManager(dg.IOManager):
    """Keeps each month of an asset in a file of its own.

    ``yellow/model``, March 2023, is stored as ``yellow/model/2023-03.skops``. A run of one month
    gives and takes plain values; in a run of several an output is ``MonthByMonth``, and an input a
    mapping of months.
    """

    def __init__(self, storage: Storage, formats: Mapping[str, Format]) -> None:
        """Keep assets in the storage, each in the format that is given by its name."""
        self._storage = storage
        self._formats = formats

    def path(self, asset_key: dg.AssetKey, month: Month) -> str:
        """Where a month is kept, relative to the storage."""
        return "/".join([*asset_key.path, f"{month}{self._format(asset_key).extension}"])

    def _format(self, asset_key: dg.AssetKey) -> Format:
        return self._formats[asset_key.path[-1]]

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Store the run's months."""
        if isinstance(obj, MonthByMonth):
            obj.store_each(lambda month, value: self.store(context.asset_key, month, value))
        else:
            month = Month.parse(context.asset_partition_key)
            with explained_failures(context.asset_key.path[-1], month):
                metadata = self.store(context.asset_key, month, obj)
            context.log.info(
                f"stored {self._storage.shown_path(self.path(context.asset_key, month))}"
            )
            context.add_output_metadata(metadata)

    def load_input(self, context: dg.InputContext) -> Any:
        """Load the month that a step, or ``load_asset_value``, asks for."""
        # In Python 3.13, Dagster's steps leave cycles of references to what they had loaded, which
        # may be as long as what is loaded now. The oldest objects, mostly of libraries, are not
        # searched for them.
        gc.collect(1)
        months = [Month.parse(key) for key in context.asset_partition_keys]
        if len(months) == 1:
            return self.load(context.asset_key, months[0])
        return StoredMonths(months, lambda month: self.load(context.asset_key, month))

    def store(self, asset_key: dg.AssetKey, month: Month, value: Any) -> dict[str, Any]:
        """Store a month's value in the place of an older one, and return metadata about it."""
        path = self.path(asset_key, month)
        with self._storage.replacing(path) as temporary:
            self._format(asset_key).dump(value, temporary)
            stored_bytes = temporary.stat().st_size
        return {
            "path": dg.MetadataValue.path(self._storage.shown_path(path)),
            "stored_bytes": stored_bytes,
        }

    def load(self, asset_key: dg.AssetKey, month: Month) -> Any:
        """Load a month's value.

        Raises:
            dagster.Failure: the month is not stored, or not readable; the message says how to
                make it.
        """
        (command,) = commands([asset_key], [month])
        name = f"{asset_key.path[-1]} {month}"
        try:
            return self._read(asset_key, month)
        except FileNotFoundError:
            reason = f"{name} is needed, and is not stored. Materialize it first: {command}"
        except Exception as error:
            # A file that anybody could have written can fail in any way.
            why = mask(str(error)) or type(error).__name__
            reason = f"{name} is stored, and cannot be read: {why}. Make it anew: {command}"
            if isinstance(error, MonthError) or is_memory_error(error):
                reason = f"{name} cannot be read. {explain(error)}"
        raise dg.Failure(reason, allow_retries=False)

    def _read(self, asset_key: dg.AssetKey, month: Month) -> Any:
        file = self._storage.open(self.path(asset_key, month))
        return self._format(asset_key).load(file)


class MonthFileIOManager(MonthlyIOManager):
    """Keeps fetched month files, and beside each the file's origin."""

    def store(self, asset_key: dg.AssetKey, month: Month, value: FetchedMonth) -> dict[str, Any]:
        """Put a fetched file in its place; one that is unchanged at its source lies there."""
        path = self.path(asset_key, month)
        if value.path is not None:
            announce_origin(self._storage, path, value.origin)
            super().store(asset_key, month, value.path)
        return {
            "path": dg.MetadataValue.path(self._storage.shown_path(path)),
            "stored_bytes": value.origin.size,
        }

    def _read(self, asset_key: dg.AssetKey, month: Month) -> Any:
        if is_altered(self._storage, self.path(asset_key, month)):
            raise UnreadableFileError("its bytes are not those that were fetched")
        return super()._read(asset_key, month)


class FrameIOManager(MonthlyIOManager):
    """Keeps DataFrames, and shows their first rows on Dagster's pages."""

    def store(self, asset_key: dg.AssetKey, month: Month, value: "pd.DataFrame") -> dict[str, Any]:
        """Store the frame; the metadata have its length, under Dagster's name, and a preview."""
        rows = value.head(PREVIEW_ROWS).astype(object).to_dict(orient="records")
        return super().store(asset_key, month, value) | {
            "dagster/row_count": len(value),
            "preview": dg.MetadataValue.table([dg.TableRecord(row) for row in rows]),
        }


def io_managers(storage: Storage) -> dict[str, MonthlyIOManager]:
    """The IO managers by the keys under which assets name them."""
    return {
        "month_files": MonthFileIOManager(storage, {"raw_trips": MonthFile()}),
        "frames": FrameIOManager(
            storage,
            {
                "cleaned_trips": ParquetFrame(cleaning.COLUMNS),
                "zone_pairs": ParquetFrame(zone_pairs.COLUMNS),
            },
        ),
        "estimators": MonthlyIOManager(
            storage,
            {
                "vectorizer": Skops("DictVectorizer"),
                "model": Skops({"model": regression.MODEL_TYPE, "mlflow_run_id": "str"}),
            },
        ),
        "figures": MonthlyIOManager(storage, {"metrics": Json(), "backtest": Json()}),
    }
