"""Where stored assets live, and how a file there is replaced: all at once or not at all."""

import glob
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast
from uuid import uuid4

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem


class Storage:
    """A local folder, or a prefix of any file system that fsspec knows.

    Paths are relative to it: ``yellow/model/2023-03.skops``.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    @cached_property
    def _place(self) -> "tuple[AbstractFileSystem, str]":
        import fsspec

        return cast("tuple[AbstractFileSystem, str]", fsspec.url_to_fs(self.url))

    @property
    def is_local(self) -> bool:
        """Whether files are on a disk of this machine."""
        from fsspec.implementations.local import LocalFileSystem

        return isinstance(self._place[0], LocalFileSystem)

    def full_path(self, path: str) -> str:
        """The file's path in its file system."""
        return f"{self._place[1]}/{path}"

    def exists(self, path: str) -> bool:
        """Whether the file is there."""
        return bool(self._place[0].exists(self.full_path(path)))

    def open(self, path: str) -> BinaryIO:
        """Open a stored file for reading.

        Raises:
            FileNotFoundError: it is not there.
        """
        return cast("BinaryIO", self._place[0].open(self.full_path(path), "rb"))

    @contextmanager
    def replacing(self, path: str) -> Iterator[Path]:
        """Give a temporary file to write; leaving the block puts it in the place of ``path``.

        If the block raises, the old file stays and the temporary one goes. Readers see the old
        file or the new one: a local file is renamed within its folder, an object store shows an
        object only once it is complete.
        """
        temporary = self.temporary_file(path.rpartition("/")[0])
        target = self.full_path(path)
        try:
            yield temporary
            if self.is_local:
                _flush_to_disk(temporary)
                temporary.replace(target)
                _flush_to_disk(temporary.parent)
            else:
                self._place[0].put_file(str(temporary), target)
        finally:
            temporary.unlink(missing_ok=True)

    def temporary_file(self, folder: str) -> Path:
        """A local path, nothing there yet, for a file that shall become one of ``folder``'s.

        It lies where becoming one costs least: for local storage in the folder itself. What
        processes that were killed have left there is removed.
        """
        local_folder = Path(tempfile.gettempdir())
        if self.is_local:
            local_folder = Path(self.full_path(folder))
            local_folder.mkdir(parents=True, exist_ok=True)
        _remove_litter(local_folder)
        return local_folder / f".{socket.gethostname()}.{os.getpid()}.{uuid4().hex}.tmp"


def _remove_litter(folder: Path) -> None:
    """Remove the temporary files of processes that no longer run on this machine."""
    import psutil

    host = socket.gethostname()
    for path in folder.glob(f".{glob.escape(host)}.*.tmp"):
        pid = path.name.removeprefix(f".{host}.").partition(".")[0]
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):
            path.unlink(missing_ok=True)


def _flush_to_disk(path: Path) -> None:
    """Have the operating system write what it holds back, so that a power cut loses nothing."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
