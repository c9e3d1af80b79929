"""Where everything lies in the storage: the only place that makes paths or reads names there.

All paths are relative to the storage. What is stored of an asset's month is called by the month:
``yellow/model/2023-03.skops``.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping

from taxi_assets.tlc.months import Month

EXTENSIONS: Mapping[str, str] = {
    **dict.fromkeys(("raw_trips", "cleaned_trips", "zone_pairs", "hourly_pairs"), ".parquet"),
    **dict.fromkeys(("metrics", "boosted_metrics", "backtest", "champion"), ".json"),
    **dict.fromkeys(("vectorizer", "model"), ".skops"),
    "boosted_model": ".npz",
    "predictions": ".parquet",
}
"""Of each asset's files, by the asset's name."""

MONTH = r"(\d{4}-(?:0[1-9]|1[0-2]))"
NOTE = r"\.(?:source\.[0-9a-f]{16}|stored|profile|trained)\.json"
"""Patterns of a month in names, and of the endings of notes beside a month's file."""

PLOTS = "plots"
"""The folder of a fleet's plots, by month."""


def stored_file(fleet: str, asset: str, month: Month) -> str:
    """The file of an asset's month, by the names of fleet and asset."""
    return f"{fleet}/{asset}/{month}{EXTENSIONS[asset]}"


def note(path: str, name: str) -> str:
    """A note beside the file of a month: ``green/raw_trips/2023-03.stored.json``."""
    return f"{path.rpartition('.')[0]}.{name}.json"


def plot_file(fleet: str, month: Month, name: str) -> str:
    """A plot of the month."""
    return f"{fleet}/{PLOTS}/{month}/{name}.png"


def months_among(names: Iterable[str], asset: str) -> list[Month]:
    """The months that an asset's folder has files of, in order, by the names in it."""
    pattern = re.compile(MONTH + re.escape(EXTENSIONS[asset]), re.ASCII)
    return sorted(Month.parse(match[1]) for match in map(pattern.fullmatch, names) if match)


def own_files(
    names: Callable[[str], Iterable[str]],
    fleet: str,
    plots: Collection[str],
    month: Month | None,
) -> tuple[list[str], list[str]]:
    """What lies in a fleet's folder: what has been written here, and what somebody else keeps.

    Args:
        names: what is in a folder.
        fleet: whose folder, by name.
        plots: names of a month's plots.
        month: whose files are given; None for all.
    """
    written, others = [], []
    for asset in names(fleet):
        inside = f"{fleet}/{asset}"
        if asset == PLOTS:
            files = [f"{of}/{name}" for of in names(inside) for name in names(f"{inside}/{of}")]
            pattern = rf"{MONTH}/(?:{'|'.join(map(re.escape, plots))})\.png"
        elif asset in EXTENSIONS:
            files = list(names(inside))
            pattern = rf"{MONTH}(?:{re.escape(EXTENSIONS[asset])}|{NOTE})"
        else:
            others.append(inside)
            continue
        for name in files:
            match = re.fullmatch(pattern, name, re.ASCII)
            if match is None:
                others.append(f"{inside}/{name}")
            elif month is None or match[1] == str(month):
                written.append(f"{inside}/{name}")
    return written, others
