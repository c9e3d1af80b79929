"""Tells MLflow's SQLite database that the folder with its artifacts has moved.

MLflow notes the absolute path of each artifact.
"""

import sqlite3
from pathlib import Path

from taxi_assets.errors import MonthError

PLACES = [
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
    ("model_versions", "source"),
]
"""Tables and columns in which MLflow 3 keeps paths of artifacts."""


def relocate(database: Path, old: Path, new: Path) -> int:
    """Replace the folder ``old`` by ``new`` in all paths; return how many there were.

    Raises:
        MonthError: nothing that was in ``old`` is in ``new``.
    """
    replaced = 0
    with sqlite3.connect(database) as connection:
        noted = {
            str(path)
            for table, column in PLACES
            for (path,) in connection.execute(f"select {column} from {table}")
        }
        moved = [path.removeprefix(f"{old}/") for path in noted if path.startswith(f"{old}/")]
        if old == new or not any((new / path).exists() for path in moved):
            # Not of experiments: MLflow's own first one is where its first process was.
            of_runs = [path for path in noted if path.endswith("/artifacts")]
            folders = {path.rpartition("/mlruns/")[0] for path in of_runs if "/mlruns/" in path}
            raise MonthError(
                f"No artifact of MLflow was moved from {old} to {new}; the artifacts are noted in "
                f"{', '.join(sorted(folders)) or 'no folder mlruns'}. Nothing has been changed. "
                "Run the command where the folder is now, and name where it was."
            )
        for table, column in PLACES:
            replaced += connection.execute(
                f"update {table} set {column} = :new || substr({column}, length(:old) + 1) "
                f"where substr({column}, 1, length(:old)) = :old",
                {"old": f"{old}/", "new": f"{new}/"},
            ).rowcount
    return replaced
