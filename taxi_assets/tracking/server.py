"""MLflow's database or server: reaching it, sharing it, and saying so when it fails."""

import logging
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from taxi_assets.errors import OutageError, ServiceError, first_line, mask

if TYPE_CHECKING:
    from filelock import BaseFileLock
    from mlflow import MlflowClient


LONGEST_TURN = 300
"""Seconds to wait for other processes; a turn takes one or two."""


OUTDATED = "out-of-date database schema"
"""What MLflow says of a database that an older MLflow has made."""

OUTAGES = {"INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED"}
"""MLflow's codes for errors that may pass."""


class TrackingError(ServiceError):
    """MLflow refuses, or cannot be used as it is."""


class UnreachableTrackingError(TrackingError, OutageError):
    """MLflow does not answer."""


def try_mlflow_briefly() -> None:
    """Have MLflow not try for minutes a server that is away, nor draw bars of its progress."""
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
        """MLflow's client of it; making the first one also makes the database."""
        from taxi_assets.tracking.client import SharingClient

        # That it makes tables is no news, and what fails is explained without its traceback.
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
        with self.alone():
            client = SharingClient(self.uri)
            client.search_experiments(max_results=1)
            return client

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes of this project away from an SQLite database for a block.

        MLflow makes and migrates its database without a thought to processes that do the same,
        and SQLite turns away who waits too long to write. A server looks after itself.
        """
        with self._lock:
            yield

    @cached_property
    def _lock(self) -> "BaseFileLock | threading.RLock":
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
        with self.explained(), self.alone():
            yield

    def artifact_folder(self, experiment_name: str) -> str | None:
        """Where an SQLite database's artifacts lie: beside it; a server has a place of its own."""
        database = self.database
        if database is None:
            return None
        return str(Path(database).parent / "mlruns" / re.sub(r"[^\w.-]", "_", experiment_name))

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
                raise TrackingError(self._other_version(reason)) from None
            code = getattr(error, "error_code", "INTERNAL_ERROR")
            passing = code in OUTAGES and not isinstance(error, ImportError)
            raise (UnreachableTrackingError if passing else TrackingError)(
                f"MLflow at {self.shown} fails ({reason}). What was stored before stays. Check "
                "MLFLOW_TRACKING_URI and the server, then try again."
            ) from None

    def _other_version(self, reason: str) -> str:
        """What to do about a database of another MLflow, by the revision that MLflow has found."""
        import mlflow

        revisions = Path(mlflow.__file__).parent / "store/db_migrations/versions"
        found = re.search(r"found version (\w+)", reason)
        if found and not any(revisions.glob(f"{found[1]}_*.py")):
            return (
                f"The database of MLflow at {self.shown} was made by a newer MLflow than "
                f"{mlflow.__version__}. Install that one, or set MLFLOW_TRACKING_URI to another "
                "database."
            )
        return (
            f"The database of MLflow at {self.shown} was made by an older MLflow. Back it up, then "
            f"bring it up to date: mlflow db upgrade {self.shown}"
        )
