"""Tell MLflow's SQLite database that the folder with its artifacts has moved.

MLflow notes the absolute path of each artifact. In the folder's new place::

    python -m taxi_assets.tracking.relocate /where/it/was
"""

import argparse
import sqlite3
from pathlib import Path

from taxi_assets.settings import Settings, SettingsError

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


def main() -> None:
    """Replace the folder given by the current one, and print how many paths changed."""
    parser = argparse.ArgumentParser(
        prog="python -m taxi_assets.tracking.relocate",
        description="Tell MLflow's SQLite database that this folder has moved.",
    )
    parser.add_argument("old", type=Path, help="the absolute path that the folder had")
    old = parser.parse_args().old
    try:
        scheme, _, path = Settings.from_environment().tracking_uri.partition(":///")
    except SettingsError as error:
        parser.error(error.message)
    if scheme != "sqlite" or not Path(path).is_file():
        parser.error("MLFLOW_TRACKING_URI is not an SQLite database that exists here.")
    print(f"{relocate(Path(path), old, Path.cwd())} paths changed")


if __name__ == "__main__":
    main()
