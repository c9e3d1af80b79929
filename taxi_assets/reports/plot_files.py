"""The plots of the stored months: ``<fleet>/plots/2023-03/durations.png``."""

import base64
import io
from collections.abc import Mapping
from typing import BinaryIO

import dagster as dg

from taxi_assets.storage.files import Storage
from taxi_assets.storage.layout import plot_file
from taxi_assets.tlc.fleets import Fleet
from taxi_assets.tlc.months import Month


def store_plots(
    storage: Storage, fleet: Fleet, month: Month, plots: Mapping[str, bytes]
) -> dict[str, dg.MetadataValue]:
    """Store plots (PNG) by name; return metadata that shows them on Dagster's pages."""
    for name, plot in plots.items():
        with storage.replacing(plot_file(fleet.name, month, name)) as temporary:
            temporary.write_bytes(plot)
    return {name: dg.MetadataValue.md(f"![{name}]({inline(plot)})") for name, plot in plots.items()}


PNG_END = b"IEND\xaeB`\x82"
"""The last chunk of every PNG; source: RFC 2083."""


def inline(plot: bytes) -> str:
    """A plot as a URL that contains it."""
    return f"data:image/png;base64,{base64.b64encode(plot).decode()}"


def read_plot(file: BinaryIO) -> bytes:
    """A stored plot (PNG).

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not a PNG, or it is damaged.
    """
    from matplotlib.image import imread

    plot = file.read()
    try:
        imread(io.BytesIO(plot), format="png")
        is_whole = plot.endswith(PNG_END)
    except Exception:
        # The reader of pictures raises what it likes.
        is_whole = False
    if not is_whole:
        raise ValueError("it is not a PNG, or it is damaged")
    return plot
