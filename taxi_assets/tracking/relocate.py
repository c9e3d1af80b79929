"""Tells MLflow's SQLite database that the folder with its artifacts has moved.

MLflow notes the absolute path of each artifact.
"""

import sqlite3
from pathlib import Path

PLACES = [
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
    ("model_versions", "source"),
]
"""Tables and columns in which MLflow 3 keeps paths of artifacts."""


def relocate(database: Path, old: Path, new: Path) -> int:
    """Replace the folder ``old`` by ``new`` in all paths; return how many there were."""
    replaced = 0
    with sqlite3.connect(database) as connection:
        for table, column in PLACES:
            replaced += connection.execute(
                f"update {table} set {column} = :new || substr({column}, length(:old) + 1) "
                f"where substr({column}, 1, length(:old)) = :old",
                {"old": f"{old}/", "new": f"{new}/"},
            ).rowcount
    return replaced
