"""What a file is that is no month file, and what to do about it."""

import re
from collections.abc import Sequence

from taxi_assets.tlc.fleets import Fleet
from taxi_assets.tlc.schema import CONGESTION_PRICING, month_schema

BEGINNING = 4096
"""Bytes that are looked at."""

MAX_QUOTED = 80
"""Characters that a message quotes."""

OTHER_FILES = {
    "hvfhs_license_num": "a file of Uber's and Lyft's trips (fhvhv_tripdata)",
    "dispatching_base_num": "a file of other hired cars' trips (fhv_tripdata)",
    "start_lon": "a file of 2009, with coordinates in place of zone ids",
    "pickup_longitude": "a file of 2010 to 2016, with coordinates in place of zone ids",
    "tpep_pickup_datetime": "a file of yellow taxis",
    "lpep_pickup_datetime": "a file of green taxis",
}
"""Columns in small letters, and what only such files are that have them."""


def describe_file(beginning: bytes, size: int) -> str:
    """Say what a file is that cannot be opened as Parquet, and the next step.

    Args:
        beginning: its first bytes, ``BEGINNING`` at most.
        size: of all of it, in bytes.
    """
    if beginning.startswith(b"PAR1"):
        return (
            f"is not a complete Parquet file: it begins like one, and its {size:,} bytes end "
            "without a footer that can be read. Run the month again; if it stays so, check "
            "TAXI_TRIP_SOURCE."
        )
    text = beginning.decode("utf-8-sig", errors="ignore").lstrip()
    if text.startswith("version https://git-lfs"):
        return (
            "is a pointer of Git LFS, not the file that it points to. In its repository, "
            "`git lfs pull` fetches that."
        )
    if text.startswith("<"):
        words = _quote(re.sub("<[^>]*>", " ", text))
        return (
            f"is a web page that says {words}, not a file. Find the address of the file itself: a "
            "page that shows a file, or asks for a password, has another."
        )
    if re.match(r'("?[\w ./-]{0,40}"?[,;\t|]){3,}"?[\w ./-]{0,40}"?\s*$', text, re.MULTILINE):
        return "is CSV. `taxi-assets convert FILE FOLDER` makes month files of it."
    return (
        f"is not a Parquet file. Its {size:,} bytes begin with {_quote(text)}. "
        "Check TAXI_TRIP_SOURCE."
    )


def describe_columns(names: Sequence[str], fleet: Fleet) -> str:
    """Say which of a fleet's columns a file lacks, and what it is; nothing if it lacks none."""
    missing = [name for name in fleet.needed_columns if names.count(name) != 1]
    return f"has no column {' or '.join(missing)}. {_explain(names, fleet)}" if missing else ""


def _explain(names: Sequence[str], fleet: Fleet) -> str:
    usual = month_schema(fleet, CONGESTION_PRICING).names
    present = {name.strip().lower() for name in names} - {*usual}
    others = [what for column, what in OTHER_FILES.items() if column in present]
    if others:
        return (
            f"It is {others[0]}. {fleet.name.title()} months with zones start in "
            f"{fleet.first_month}."
        )
    doubled = sorted({name for name in fleet.needed_columns if names.count(name) > 1})
    if doubled:
        return f"It has two columns named {' and '.join(doubled)}. Leave one."
    pairs = zip(names, standard_names(names, fleet), strict=True)
    renamed = [f"{theirs!r} is to be {ours}" for theirs, ours in pairs if theirs != ours]
    if renamed:
        return f"It spells them otherwise. Rename: {', '.join(renamed)}."
    return f"Its columns are {_quote(', '.join(names))}."


def standard_names(names: Sequence[str], fleet: Fleet) -> list[str]:
    """Names of columns, with TLC's present ones for needed columns that are spelled otherwise.

    Over the years, and in other tools, capitals, blanks and underscores have changed.
    """

    def bare(name: str) -> str:
        return re.sub(r"[\s_]", "", name).lower()

    spellings = {bare(name): name for name in fleet.needed_columns if name not in names}
    return [spellings.get(bare(name), name) for name in names]


def _quote(text: str) -> str:
    line = "".join(letter for letter in " ".join(text.split()) if letter.isprintable())
    return repr(line if len(line) <= MAX_QUOTED else f"{line[:MAX_QUOTED]}…")
