"""How Dagster stores the assets: one file a month, under ``<fleet>/<asset>/``."""

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg

from taxi_assets.durations import cleaning, predictions, regression, sums
from taxi_assets.errors import (
    MonthError,
    NotStoredError,
    UnusableValueError,
    command,
    is_memory_error,
    mask,
)
from taxi_assets.storage.files import Storage
from taxi_assets.storage.formats import (
    Arrays,
    Format,
    Json,
    MonthFile,
    ParquetFrame,
    Skops,
    UnreadableFileError,
)
from taxi_assets.storage.layout import stored_file
from taxi_assets.storage.origins import announce_origin, is_altered, note_version
from taxi_assets.tlc.fetch import FetchedMonth
from taxi_assets.tlc.fleets import Fleet
from taxi_assets.tlc.months import Month

if TYPE_CHECKING:
    import pandas as pd

PREVIEW_ROWS = 5


class MonthlyIOManager(dg.IOManager):
    """Keeps each month of an asset in a file of its own.

    ``yellow/model``, March 2023, is stored as ``yellow/model/2023-03.skops``.
    """

    def __init__(self, storage: Storage) -> None:
        """Keep assets in the storage, each in its format."""
        self._storage = storage

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Store a value in the place of the month's older one."""
        month = Month.parse(context.asset_partition_key)
        context.add_output_metadata(self.store(context.asset_key, month, obj))

    def load_input(self, context: dg.InputContext) -> Any:
        """Load a month's value; of several months, a dict of values by partition key."""
        keys = context.asset_partition_keys
        values = {key: self.load(context.asset_key, Month.parse(key)) for key in keys}
        return values if len(keys) > 1 else values[keys[0]]

    def store(self, asset_key: dg.AssetKey, month: Month, value: Any) -> dict[str, Any]:
        """Store a month's value in the place of an older one, and return metadata about it.

        Raises:
            StorageError: the value cannot be stored.
        """
        fleet, asset = asset_key.path
        path = stored_file(fleet, asset, month)
        with self._storage.replacing(path) as temporary:
            FORMATS[asset].dump(value, temporary)
            stored_bytes = temporary.stat().st_size
        return {
            "path": dg.MetadataValue.path(self._storage.shown_path(path)),
            "stored_bytes": stored_bytes,
        }

    def load(self, asset_key: dg.AssetKey, month: Month) -> Any:
        """Load a month's value.

        Raises:
            NotStoredError: it is not there; the message says how to make it.
            UnusableValueError: it is not readable; likewise.
            ServiceError: the storage does not answer.
        """
        fleet, asset = asset_key.path
        making = command([f"{fleet}/{asset}"], month.partition_key)
        try:
            return self._read(asset, stored_file(fleet, asset, month))
        except FileNotFoundError:
            raise NotStoredError(
                f"{asset} {month} is needed, and is not stored. Materialize it first: {making}"
            ) from None
        except Exception as error:
            # A file that anybody could have written can fail in any way.
            if isinstance(error, MonthError) or is_memory_error(error):
                raise
            why = mask(str(error)) or type(error).__name__
            raise UnusableValueError(
                f"{asset} {month} is stored, and cannot be read: {why}. Make it anew: {making}"
            ) from None

    def _read(self, asset: str, path: str) -> Any:
        return FORMATS[asset].load(self._storage.open(path))


class MonthFileIOManager(MonthlyIOManager):
    """Keeps fetched month files, and beside each the file's origin."""

    def store(self, asset_key: dg.AssetKey, month: Month, value: FetchedMonth) -> dict[str, Any]:
        """Put a fetched file in its place; one that is unchanged at its source lies there."""
        fleet, asset = asset_key.path
        path = stored_file(fleet, asset, month)
        if value.path is not None:
            try:
                announce_origin(self._storage, path, value.origin)
                super().store(asset_key, month, value.path)
                version = self._storage.version(path)
                note_version(self._storage, path, version, value.origin.sha256)
            finally:
                value.path.unlink(missing_ok=True)
        return {
            "path": dg.MetadataValue.path(self._storage.shown_path(path)),
            "stored_bytes": value.origin.size,
        }

    def _read(self, asset: str, path: str) -> Any:
        if is_altered(self._storage, path):
            raise UnreadableFileError(
                "its bytes are not those that were fetched, or the note of its origin is damaged "
                "or has no checksum"
            )
        return super()._read(asset, path)


class FrameIOManager(MonthlyIOManager):
    """Keeps DataFrames, and shows their first rows on Dagster's pages."""

    def store(self, asset_key: dg.AssetKey, month: Month, value: "pd.DataFrame") -> dict[str, Any]:
        """Store the frame; the metadata have its length, under Dagster's name, and a preview."""
        first = value.head(PREVIEW_ROWS).astype(object)
        shown = first.map(lambda cell: round(cell, 3) if isinstance(cell, float) else cell)
        shown = shown.astype(object)
        # Dagster's page leaves out rows with NaN, which JSON does not have.
        rows = shown.where(shown.notna(), None).to_dict(orient="records")
        return super().store(asset_key, month, value) | {
            "dagster/row_count": len(value),
            "preview": dg.MetadataValue.table([dg.TableRecord(row) for row in rows]),
        }


FORMATS: Mapping[str, Format] = {
    "raw_trips": MonthFile(),
    "cleaned_trips": ParquetFrame(cleaning.COLUMNS),
    "zone_pairs": ParquetFrame(sums.ZONE_PAIRS),
    "hourly_pairs": ParquetFrame(sums.HOURLY_PAIRS),
    "predictions": ParquetFrame(predictions.COLUMNS),
    "vectorizer": Skops("DictVectorizer"),
    "model": Skops(
        {
            "model": regression.MODEL_TYPE,
            "vocabulary": "str",
            "interval": "dict",
            "mlflow_run_id": "str",
        }
    ),
    "boosted_model": Arrays(),
    **dict.fromkeys(("metrics", "boosted_metrics", "backtest", "champion"), Json()),
}
"""How each asset is kept, by its name."""


def io_managers() -> dict[str, dg.IOManagerDefinition]:
    """The IO managers by the keys under which assets name them; all take ``storage``."""
    kinds = {"month_files": MonthFileIOManager, "frames": FrameIOManager}
    keys = (*kinds, "estimators", "arrays", "metrics")
    return {key: _in_storage(kinds.get(key, MonthlyIOManager)) for key in keys}


def _in_storage(kind: type[MonthlyIOManager]) -> dg.IOManagerDefinition:
    """An IO manager that asks for the resource, and does not hold one: a run may change it."""
    return dg.IOManagerDefinition(
        lambda context: kind(context.resources.storage),
        required_resource_keys={"storage"},
        description=inspect.getdoc(kind),
    )


def load_stored(storage: Storage, fleet: Fleet, asset: str, month: Month) -> Any:
    """What is stored of an asset's month, for what is no asset itself.

    Raises:
        NotStoredError, UnusableValueError, ServiceError: as ``MonthlyIOManager.load``.
    """
    return MonthlyIOManager(storage).load(dg.AssetKey([fleet.name, asset]), month)
