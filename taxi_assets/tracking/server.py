"""MLflow's database or server: reaching it, sharing it, and saying so when it fails."""

import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypeVar

from taxi_assets.errors import OutageError, ServiceError, first_line, mask

if TYPE_CHECKING:
    from filelock import BaseFileLock
    from mlflow import MlflowClient

T = TypeVar("T")

LONGEST_TURN = 300
"""Seconds to wait for other processes; a turn takes one or two."""

OUTDATED = "out-of-date database schema"
"""What MLflow says of a database that another version of MLflow has made."""

OUTAGES = {
    *("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED"),
    # Another machine has made the same a moment before.
    "RESOURCE_ALREADY_EXISTS",
}
"""MLflow's codes for errors that may pass."""

COLLISION = re.compile("unique constraint|duplicate key|duplicate entry", re.IGNORECASE)
"""What Postgres, SQLite, SQL Server and MySQL say of a tag or alias that another process has
written at the same moment. MLflow updates it when it is written once more."""


class TrackingError(ServiceError):
    """MLflow refuses, or cannot be used as it is."""


class UnreachableTrackingError(TrackingError, OutageError):
    """MLflow does not answer."""


def try_mlflow_briefly() -> None:
    """Have MLflow not try for minutes a server that is away, and keep its news off the log.

    MLflow tells that it makes tables, and each month that a model has no input example. What fails
    is raised and explained. It reads the level when it is imported.
    """
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "CRITICAL")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")


@dataclass(frozen=True)
class TrackingServer:
    """Where MLflow keeps its runs.

    Attributes:
        uri: a database such as ``sqlite:////home/me/mlflow.db``, or a server's URL. It may
            contain a password, so it is never shown; ``shown`` is.
        locks: whether an SQLite database is locked while it is used; not by who only reads.
    """

    uri: str
    locks: bool = True

    @property
    def shown(self) -> str:
        """The URI without user, password and query."""
        return mask(self.uri).replace("***@", "").removesuffix("?***")

    @property
    def pages(self) -> str | None:
        """The address of MLflow's pages, if a server has them."""
        return self.shown.rstrip("/") if self.uri.startswith(("http://", "https://")) else None

    @cached_property
    def client(self) -> "MlflowClient":
        """MLflow's client of it; making the first one also makes an SQLite database."""
        from mlflow import MlflowClient

        path = Path(self.database or "")
        with self._lock:
            if self.database and not path.exists():
                # Linked when it is whole: MLflow cannot go on with one of which it made a part.
                with TemporaryDirectory(prefix=f"{path.name}-", dir=path.parent) as folder:
                    made = Path(folder) / path.name
                    MlflowClient(f"sqlite:///{made}").search_experiments(max_results=1)
                    path.hardlink_to(made)
            client = MlflowClient(self.uri)
            client.search_experiments(max_results=1)
            return client

    @cached_property
    def _lock(self) -> "BaseFileLock | threading.RLock":
        """Keeps other processes of this project away from an SQLite database.

        MLflow makes its database without a thought to processes that do the same, and SQLite turns
        away who waits too long to write. A server looks after itself.
        """
        from filelock import FileLock

        path = self.database
        return FileLock(f"{path}.lock", LONGEST_TURN) if path and self.locks else threading.RLock()

    @property
    def database(self) -> str | None:
        """The path of an SQLite database; None for any other database, and for a server."""
        return self.uri.partition("sqlite:///")[2].partition("?")[0] or None

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Use MLflow for a block: alone, and with errors that explain themselves.

        Raises:
            TrackingError: MLflow does not do its part.
        """
        with self.explained(), self._lock:
            yield

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn what MLflow raises in a block into a sentence.

        Raises:
            TrackingError: instead.
        """
        import requests
        import sqlalchemy.exc
        from mlflow.exceptions import MlflowException

        try:
            yield
        except (
            MlflowException,
            requests.RequestException,
            sqlalchemy.exc.SQLAlchemyError,
            # Of SQLite's folder and of local artifacts; of a database whose driver is missing.
            OSError,
            ImportError,
        ) as error:
            reason = mask(first_line(error).replace(self.uri, self.shown))
            if OUTDATED in reason:
                raise TrackingError(
                    f"The database of MLflow at {self.shown} was made by another MLflow. If that "
                    "was older, back the database up, then bring it up to date: mlflow db upgrade "
                    f"{self.shown}. If it was newer, install that one, or set MLFLOW_TRACKING_URI "
                    "to another database."
                ) from None
            code = getattr(error, "error_code", "INTERNAL_ERROR")
            may_pass = code in OUTAGES or COLLISION.search(reason)
            passing = may_pass and not isinstance(error, ImportError)
            raise (UnreachableTrackingError if passing else TrackingError)(
                f"MLflow at {self.shown} fails ({reason}). What was stored before stays. Check "
                "MLFLOW_TRACKING_URI and the server, then try again."
            ) from None


def unless_gone(call: Callable[..., T], *arguments: str) -> T | None:
    """What a call to MLflow gives; None where somebody has removed what it is about."""
    from mlflow.exceptions import MlflowException

    try:
        return call(*arguments)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
