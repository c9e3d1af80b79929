"""What a file is that is no month file, and what to do about it.

Servers answer with pages of error, repositories with pointers, people with CSV. A few hundred bytes
at the beginning, or the names of the columns, tell which it is.
"""

import gzip
import re
import zlib
from collections.abc import Collection, Sequence

from taxi_assets.tlc.fleets import FLEETS, Fleet

BEGINNING = 4096
"""Bytes that are looked at."""

MAX_QUOTED = 80
"""Characters that a message quotes."""

SHOWN_COLUMNS = 4

CONVERT = "taxi-assets convert FILE FOLDER makes month files of it."

AGAIN = "Run the month again; if it stays so, check TAXI_TRIP_SOURCE."

ELSEWHERE = "Check TAXI_TRIP_SOURCE."

COORDINATES = {"pickup_longitude", "start_lon"}
"""Columns of TLC's files before zones, in small letters: 2010 and, last, 2009."""

HIRED = {
    "hvfhs_license_num": "Uber's and Lyft's (fhvhv_tripdata)",
    "dispatching_base_num": "other hired cars' (fhv_tripdata)",
}
"""Columns that only files of fleets have which are no taxis."""


def describe_file(beginning: bytes, size: int) -> str:  # noqa: PLR0911 - one for each kind
    """Say what a file is that cannot be opened as Parquet, and the next step.

    Args:
        beginning: its first bytes, ``BEGINNING`` at most.
        size: of all of it, in bytes.
    """
    if size == 0:
        return f"is empty. {AGAIN}"
    if beginning.startswith(b"PAR1"):
        return (
            f"is not a complete Parquet file: it begins like one, and its {size:,} bytes end "
            f"without a footer that can be read. {AGAIN}"
        )
    if beginning.startswith(b"PARE"):
        return "is encrypted Parquet. Decrypt it first."
    if beginning.startswith(b"\x1f\x8b"):
        inside = _decompressed(beginning)
        if inside.startswith(b"PAR1"):
            return "is compressed by gzip. Decompress it: the month file is inside."
        if _is_csv(inside):
            return f"is CSV, compressed by gzip. {CONVERT}"
        return "is compressed by gzip, and no month file. Look at what is inside."
    if beginning.startswith(b"PK"):
        return "is a ZIP archive. Extract the month file from it."
    if b"\0" in beginning or _control_characters(beginning):
        return f"is not a Parquet file, but {size:,} bytes of something unknown. {ELSEWHERE}"
    return _describe_text(beginning.decode(errors="replace").strip(), size)


def _describe_text(text: str, size: int) -> str:  # noqa: PLR0911 - one for each kind
    lower = text.lower()
    if lower.startswith("version https://git-lfs"):
        return (
            "is a pointer of Git LFS, not the file that it points to. In its repository, "
            "`git lfs pull` fetches that."
        )
    if "annex/objects" in lower[:200]:
        return "is a pointer of git-annex, not the file. In its repository, `git annex get` it."
    if lower.startswith(("<?xml", "<error")) and "<code>" in lower:
        code, message = (_between(text, tag) for tag in ("Code", "Message"))
        advice = (
            "Perhaps the month is not published there, or not for everybody."
            if code in ("AccessDenied", "NoSuchKey")
            else "Try again later."
        )
        return f"is an object store's page of error: {code}, {message!r}. {advice}"
    if lower.startswith(("<!doctype html", "<html")) or "<html" in lower[:500]:
        says = _between(text, "title") or re.sub(r"<[^>]*>", " ", text)
        return (
            f"is a web page that says {_quote(says)}, not a file. Find the address of the file "
            "itself: a page that shows a file, or asks for a password, has another."
        )
    if lower.startswith("<"):
        return f"is XML, and no month file: {_quote(text)}. {ELSEWHERE}"
    if lower.startswith(("{", "[")):
        return f"is JSON, and no month file: {_quote(text)}. {ELSEWHERE}"
    if _is_csv(text.encode()):
        return f"is CSV. {CONVERT}"
    return f"is text of {size:,} bytes, and no month file: {_quote(text)}. {ELSEWHERE}"


def describe_columns(  # noqa: PLR0911 - one for each kind
    names: Sequence[str], fleet: Fleet
) -> str:
    """Say what a file is that lacks columns of a fleet, by the columns that it has."""
    present = {name.strip().lower() for name in names}
    if "id" in present and "trip_duration" in present:
        return (
            "These are Kaggle's columns: coordinates in place of zones, and trips of all months "
            "mixed. Take TLC's own file of the month."
        )
    if present & COORDINATES:
        year = "2009" if "start_lon" in present else "2010 to 2016, as first published"
        return (
            f"It has coordinates in place of zone ids, as TLC's files of {year}. "
            f"{fleet.name.title()} months with zones start in {fleet.first_month}."
        )
    for column, hired in HIRED.items():
        if column in present:
            return f"It is a file of {hired}, not of {fleet.name} taxis."
    for other in FLEETS.values():
        times = {other.pickup_time, other.dropoff_time}
        if times <= present and other.pickup_time != fleet.pickup_time:
            return f"It is a file of {other.name} taxis, not of {fleet.name} ones."
    doubled = sorted({name for name in fleet.needed_columns if names.count(name) > 1})
    if doubled:
        return f"It has two columns named {' and '.join(doubled)}. Leave one."
    spelled = _spelled_otherwise(names, fleet.needed_columns)
    if spelled:
        pairs = ", ".join(f"{theirs} is to be {ours}" for theirs, ours in spelled)
        return f"It spells them otherwise. Rename: {pairs}."
    if not names:
        return "It has no columns at all."
    shown = ", ".join(_quote(name) for name in names[:SHOWN_COLUMNS])
    more = f" and {len(names) - SHOWN_COLUMNS} more" if len(names) > SHOWN_COLUMNS else ""
    return f"What it has is {shown}{more}."


def _spelled_otherwise(names: Sequence[str], needed: Collection[str]) -> list[tuple[str, str]]:
    """Columns that differ from needed ones in capitals, blanks and underscores only."""

    def bare(name: str) -> str:
        return re.sub(r"[\s_]", "", name).lower()

    wanted = {bare(name): name for name in needed if name not in names}
    return [(repr(name), wanted[bare(name)]) for name in names if bare(name) in wanted]


def _decompressed(beginning: bytes) -> bytes:
    try:
        # A part of a file has no end that could be checked.
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(beginning, BEGINNING)
    except (zlib.error, gzip.BadGzipFile):
        return b""


def _is_csv(beginning: bytes) -> bool:
    """Whether the first line may be a header of many columns."""
    header, *_ = beginning.decode(errors="replace").lstrip("\ufeff").splitlines() or [""]
    return bool(re.fullmatch(r'("?[\w ./-]{0,40}"?[,;\t]){3,}"?[\w ./-]{0,40}"?\s*', header))


def _control_characters(beginning: bytes) -> bool:
    return bool(re.search(rb"[\x00-\x08\x0e-\x1f]", beginning))


def _between(text: str, tag: str) -> str:
    found = re.search(rf"<{tag}[^>]*>(.*?)</{tag}>", text, re.IGNORECASE | re.DOTALL)
    return " ".join(found[1].split())[:MAX_QUOTED] if found else ""


def _quote(text: str) -> str:
    line = " ".join(text.split())
    return repr(line if len(line) <= MAX_QUOTED else f"{line[:MAX_QUOTED]}…")
