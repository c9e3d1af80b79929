"""How Dagster stores the assets: one file a month, under ``<fleet>/<asset>/``."""

from typing import TYPE_CHECKING, Any

import dagster as dg

from taxi_assets.storage.files import Storage
from taxi_assets.storage.formats import Format, Json, MonthFile, ParquetFrame, Skops
from taxi_assets.tlc.months import Month

if TYPE_CHECKING:
    import pandas as pd

PREVIEW_ROWS = 5


class MonthlyIOManager(dg.IOManager):
    """Keeps each month of an asset in a file of its own.

    ``yellow/model``, March 2023, is stored as ``yellow/model/2023-03.skops``.
    """

    def __init__(self, storage: Storage, file_format: Format) -> None:
        self._storage = storage
        self._format = file_format

    def path(self, asset_key: dg.AssetKey, month: Month) -> str:
        """Where a month is kept, relative to the storage."""
        return "/".join([*asset_key.path, f"{month}{self._format.extension}"])

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Store the run's month."""
        path = self.path(context.asset_key, Month.parse(context.asset_partition_key))
        with self._storage.replacing(path) as temporary:
            self._format.dump(obj, temporary)
            stored_bytes = temporary.stat().st_size
        context.log.info(f"stored {self._storage.full_path(path)}, {stored_bytes:,} bytes")
        context.add_output_metadata(
            {
                "path": dg.MetadataValue.path(self._storage.full_path(path)),
                "stored_bytes": stored_bytes,
                **self.get_metadata(obj),
            }
        )

    def get_metadata(self, obj: Any) -> dict[str, dg.MetadataValue[Any]]:
        """What the value itself has to show on Dagster's pages."""
        return {}

    def load_input(self, context: dg.InputContext) -> Any:
        """Load the month that a step, or ``load_asset_value``, asks for."""
        key, month = context.asset_key, Month.parse(context.asset_partition_key)
        try:
            return self._format.load(self._storage.open(self.path(key, month)))
        except FileNotFoundError:
            raise dg.Failure(
                f"{key.path[-1]} {month} is needed, and is not stored. Materialize it first: "
                f"dagster asset materialize -m taxi_assets.definitions "
                f"--select {key.to_user_string()} --partition {month.partition_key}",
                allow_retries=False,
            ) from None


class FrameIOManager(MonthlyIOManager):
    """Shows the first rows of each stored DataFrame."""

    def get_metadata(self, obj: "pd.DataFrame") -> dict[str, dg.MetadataValue[Any]]:
        """The number of rows, under Dagster's own name for it, and a preview."""
        rows = obj.head(PREVIEW_ROWS).astype(object).to_dict(orient="records")
        return {
            "dagster/row_count": dg.MetadataValue.int(len(obj)),
            "preview": dg.MetadataValue.table([dg.TableRecord(row) for row in rows]),
        }


def io_managers(storage: Storage) -> dict[str, MonthlyIOManager]:
    """The IO managers by the keys under which assets name them."""
    return {
        "month_files": MonthlyIOManager(storage, MonthFile()),
        "frames": FrameIOManager(storage, ParquetFrame()),
        "estimators": MonthlyIOManager(storage, Skops()),
        "figures": MonthlyIOManager(storage, Json()),
    }
