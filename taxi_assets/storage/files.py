"""Where stored assets live, and how a file there is replaced: all at once or not at all."""

import atexit
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from taxi_assets.errors import StorageError, UnreachableStorageError, mask, writing_to
from taxi_assets.storage.processes import Process
from taxi_assets.tlc.atomic import replacing, temporary_file, temporary_name
from taxi_assets.tlc.source import file_version

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem


OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "oci"}
"""Where an object shows only when it is complete; elsewhere it is renamed when it is."""

TEMPORARY = re.compile(r"\.taxi_assets-(?P<host>.+)-(?P<pid>\d+)-[0-9a-f]{32}\.tmp", re.ASCII)
"""Names of files that are being written, and of no others."""


class Storage:
    """A local folder, or a prefix of any file system that fsspec knows.

    Paths are relative to it: ``yellow/model/2023-03.skops``.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    @cached_property
    def _place(self) -> "tuple[AbstractFileSystem, str]":
        import fsspec

        try:
            # Without its cache of listings, which other machines' files would be missing from.
            place = fsspec.url_to_fs(self.url, use_listings_cache=False)
            return cast("tuple[AbstractFileSystem, str]", place)
        except Exception as error:
            # Every file system has a library of its own, which raises what it likes.
            raise StorageError(
                f"TAXI_STORAGE {mask(self.url)} cannot be reached ({type(error).__name__}: "
                f"{mask(str(error))}). Set it to a folder or to a URL that fsspec knows."
            ) from None

    @property
    def is_local(self) -> bool:
        """Whether files are on a disk of this machine."""
        from fsspec.implementations.local import LocalFileSystem

        return isinstance(self._place[0], LocalFileSystem)

    @property
    def shown(self) -> str:
        """Where it is, for people to read."""
        return mask(self._place[1])

    def full_path(self, path: str) -> str:
        """The file's path in its file system."""
        return f"{self._place[1]}/{path}"

    def shown_path(self, path: str) -> str:
        """The file's path in its file system, for people to read."""
        return mask(self.full_path(path))

    @contextmanager
    def _reached(self, path: str) -> Iterator[None]:
        """Explain what keeps a file system on other machines from answering.

        Raises:
            FileNotFoundError: there is no such file.
            UnreachableStorageError: anything else.
        """
        try:
            yield
        except Exception as error:
            # Every file system has a library of its own, which raises what it likes.
            if self.is_local or isinstance(error, (FileNotFoundError, StorageError)):
                raise
            raise UnreachableStorageError(
                f"{self.shown_path(path)} cannot be reached ({type(error).__name__}: "
                f"{mask(str(error))}). What was there before stays. Check TAXI_STORAGE, its "
                "credentials and the network, then run the month again."
            ) from None

    def exists(self, path: str) -> bool:
        """Whether the file is there."""
        return self.version(path) is not None

    def version(self, path: str) -> str | None:
        """What changes whenever the file does, see ``file_version``; None if there is no file."""
        try:
            with self._reached(path):
                info = self._place[0].info(self.full_path(path))
        except OSError:
            return None
        return file_version(info) if info.get("type") == "file" else None

    def open(self, path: str) -> BinaryIO:
        """Open a stored file for reading.

        Raises:
            FileNotFoundError: it is not there.
            OSError: it cannot be opened.
            UnreachableStorageError: a file system on other machines does not answer.
        """
        with self._reached(path):
            return cast("BinaryIO", self._place[0].open(self.full_path(path), "rb"))

    def names(self, folder: str) -> list[str]:
        """Names in a folder but for hidden files, in order; none if there is no folder."""
        try:
            with self._reached(folder):
                paths = self._place[0].ls(self.full_path(folder), detail=False)
        except FileNotFoundError:
            return []
        names = sorted(str(path).rpartition("/")[2] for path in paths)
        return [name for name in names if not name.startswith(".")]

    def remove(self, path: str) -> None:
        """Remove a file, or a folder with all that is in it.

        Raises:
            OSError, UnreachableStorageError: it stays, or a part of it.
        """
        with self._reached(path):
            self._place[0].rm(self.full_path(path), recursive=True)

    def remove_empty(self, folder: str) -> None:
        """Remove a folder, and the one that it is in, if nothing is left there."""
        for path in (folder, folder.rpartition("/")[0]):
            with suppress(OSError, ValueError):
                self._place[0].rmdir(self.full_path(path))

    @contextmanager
    def replacing(self, path: str) -> Iterator[Path]:
        """Give a temporary file to write; leaving the block puts it in the place of ``path``.

        If the block raises, the old file stays and the temporary one goes. Readers see the old
        file or the new one: a local file is renamed within its folder, an object store shows an
        object only once it is complete.

        Raises:
            StorageError: the file cannot be written.
        """
        with writing_to(self.shown_path(path)):
            folder = self._local_folder(path.rpartition("/")[0])
            if self.is_local:
                with replacing(Path(self.full_path(path))) as temporary:
                    yield temporary
            else:
                with temporary_file(folder) as temporary:
                    yield temporary
                    self._upload(temporary, path)

    def _upload(self, file: Path, path: str) -> None:
        file_system, target = self._place[0], self.full_path(path)
        protocols = file_system.protocol
        whole = {protocols} if isinstance(protocols, str) else set(protocols)
        with self._reached(path):
            if whole & OBJECT_STORES:
                file_system.put_file(str(file), target)
            else:
                halfway = f"{target.rpartition('/')[0]}/{file.name}"
                file_system.makedirs(halfway.rpartition("/")[0], exist_ok=True)
                file_system.put_file(str(file), halfway)
                file_system.mv(halfway, target)

    def temporary_file(self, folder: str) -> Path:
        """A local path, nothing there yet, for a file that shall become one of ``folder``'s.

        It lies where becoming one costs least: for local storage in the folder itself.

        Raises:
            StorageError: the folder cannot be made or read.
        """
        with writing_to(self.shown_path(folder)):
            return self._local_folder(folder) / temporary_name()

    def _local_folder(self, folder: str) -> Path:
        """The folder of temporary files, without what processes that were killed have left there.

        Raises:
            OSError: the folder cannot be made or read.
        """
        if not self.is_local:
            return _private_folder()
        path = Path(self.full_path(folder))
        path.mkdir(parents=True, exist_ok=True)
        _remove_litter(path)
        return path


@cache
def _private_folder() -> Path:
    """A folder of this process, in which nobody else can replace a file before it is uploaded."""
    folder = tempfile.mkdtemp(prefix="taxi_assets-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def _remove_litter(folder: Path) -> None:
    """Remove the temporary files of processes that are gone."""
    for path in folder.glob(".taxi_assets-*.tmp"):
        # Somebody else may remove it first, or have put something else there.
        with suppress(OSError):
            name = TEMPORARY.fullmatch(path.name)
            if name and Process(name["host"], int(name["pid"]), path.stat().st_mtime).is_gone:
                path.unlink()
