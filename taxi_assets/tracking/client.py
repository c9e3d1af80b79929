"""MLflow's client, for several that write the same tag or alias at the same moment.

MLflow looks whether a tag is there, and then inserts or updates it. Where two insert it at once the
database refuses the later; asked once more, MLflow finds it there, and updates it.
"""

import re
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

P = ParamSpec("P")
T = TypeVar("T")

COLLISION = re.compile("unique constraint|duplicate key|duplicate entry", re.IGNORECASE)
"""What Postgres, SQLite, SQL Server and MySQL say of what is there already."""


def once_more_where_it_collides(write: Callable[P, T]) -> Callable[P, T]:
    """Write again where somebody else has written the same at the same moment."""

    @wraps(write)
    def write_twice(*arguments: P.args, **more: P.kwargs) -> T:
        try:
            return write(*arguments, **more)
        except MlflowException as error:
            if not COLLISION.search(str(error)):
                raise
            return write(*arguments, **more)

    return write_twice


class SharingClient(MlflowClient):
    """A client whose tags and aliases others may write at the same moment."""

    set_tag = once_more_where_it_collides(MlflowClient.set_tag)
    set_registered_model_tag = once_more_where_it_collides(MlflowClient.set_registered_model_tag)
    set_model_version_tag = once_more_where_it_collides(MlflowClient.set_model_version_tag)
    set_registered_model_alias = once_more_where_it_collides(
        MlflowClient.set_registered_model_alias
    )
