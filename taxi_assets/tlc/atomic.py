"""How a file is written: beside its place, which it takes when it is complete."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary file to write; leaving the block puts it in the place of ``path``.

    If the block raises, the old file stays and the temporary one goes. After a power cut either
    the old file or the new one is there, whole.
    """
    with temporary_file(path.parent) as temporary:
        yield temporary
        _flush_to_disk(temporary)
        temporary.replace(path)
        _flush_to_disk(path.parent)


@contextmanager
def temporary_file(folder: Path) -> Iterator[Path]:
    """Give a file in a folder, nothing there yet; leaving the block removes what is there."""
    path = folder / temporary_name()
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def temporary_name() -> str:
    """The name of a file that this process writes, which no other file has."""
    return f".taxi_assets-{socket.gethostname()}-{os.getpid()}-{uuid4().hex}.tmp"


def _flush_to_disk(path: Path) -> None:
    """Have the operating system write what it holds back."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
