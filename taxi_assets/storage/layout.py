"""Where everything lies in the storage: the only place that makes paths or reads names there.

All paths are relative to the storage. What is stored of an asset's month is called by the month:
``yellow/model/2023-03.skops``.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress

from taxi_assets.tlc.fleets import Fleet
from taxi_assets.tlc.months import Month

MONTH = r"(\d{4}-(?:0[1-9]|1[0-2]))"
NOTE = r"(?:{}|\.source\.[0-9a-f]{{16}}\.json|\.(?:profile|trained)\.json)"
"""Patterns of the names of an asset's files and of notes beside them, with the extension to fill
in."""

PICTURES = "pictures"
"""The folder of a fleet's pictures, by month."""


def stored_value(asset_key: Sequence[str], month: Month, extension: str) -> str:
    """A month of an asset, by the asset's key: ``yellow/model/2023-03.skops``."""
    return "/".join([*asset_key, f"{month}{extension}"])


def month_file(fleet: Fleet, month: Month) -> str:
    """The month's file, as it was fetched."""
    return stored_value([fleet.name, "raw_trips"], month, ".parquet")


def model_file(fleet: Fleet, month: Month) -> str:
    """The month's model."""
    return stored_value([fleet.name, "model"], month, ".skops")


def boosted_file(fleet: Fleet, month: Month) -> str:
    """The month's boosted model."""
    return stored_value([fleet.name, "boosted_model"], month, ".npz")


def hourly_file(fleet: Fleet, month: Month) -> str:
    """The month's sums by zone pair and hour of the week."""
    return stored_value([fleet.name, "hourly_pairs"], month, ".parquet")


def figures_file(fleet: Fleet, asset: str, month: Month) -> str:
    """The figures of ``metrics``, ``boosted_metrics`` or ``backtest``."""
    return stored_value([fleet.name, asset], month, ".json")


def folder(path: str) -> str:
    """The folder that a path is in."""
    return path.rpartition("/")[0]


def months_among(names: Iterable[str], like: str) -> list[Month]:
    """The months that a folder has files of, in order, by the names with the ending of a path."""
    ending = like.rpartition("/")[2][len("2023-03") :]
    months = []
    for name in names:
        with suppress(ValueError):
            months.append(Month.parse(name.removesuffix(ending)))
    return sorted(months)


def origin_note(path: str, sha256: str) -> str:
    """The note of where a file of these bytes came from, beside the file."""
    return f"{_origin_notes(path)}{sha256[:16]}.json"


def origin_notes(path: str, names: Iterable[str]) -> list[str]:
    """Those names in a file's folder that are of notes of its origin."""
    return [name for name in names if name.startswith(_origin_notes(path).rpartition("/")[2])]


def _origin_notes(path: str) -> str:
    return f"{path.rpartition('.')[0]}.source."


def profile_note(fleet: Fleet, month: Month) -> str:
    """The note of what kind of month it is, beside the month's cleaned trips."""
    return stored_value([fleet.name, "cleaned_trips"], month, ".profile.json")


def picture_file(fleet: Fleet, month: Month, name: str) -> str:
    """A picture of the month."""
    return f"{fleet.name}/{PICTURES}/{month}/{name}.png"


def own_files(
    names: Callable[[str], Iterable[str]],
    fleet: Fleet,
    extensions: Mapping[str, str],
    pictures: Collection[str],
    month: Month | None,
) -> tuple[list[str], list[str]]:
    """What lies in a fleet's folder: what has been written here, and what somebody else keeps.

    Args:
        names: what is in a folder.
        fleet: whose folder.
        extensions: of each asset's files.
        pictures: names of a month's pictures.
        month: of which is asked; None for all.
    """
    written, others = [], []
    for asset in names(fleet.name):
        inside = f"{fleet.name}/{asset}"
        if asset == PICTURES:
            found = [(f"{each}/{name}", each if name.removesuffix(".png") in pictures else "")
                     for each in names(inside) for name in names(f"{inside}/{each}")]  # fmt: skip
            pattern = MONTH
        elif asset in extensions:
            found = [(name, name) for name in names(inside)]
            pattern = MONTH + NOTE.format(re.escape(extensions[asset]))
        else:
            others.append(inside)
            continue
        for name, told in found:
            match = re.fullmatch(pattern, told, re.ASCII)
            if match is None:
                others.append(f"{inside}/{name}")
            elif month is None or match[1] == str(month):
                written.append(f"{inside}/{name}")
    return written, others
