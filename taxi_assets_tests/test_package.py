"""The wheel: complete, and usable where there is no checkout."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from taxi_assets_tests.services import PROGRAMS, PROJECT

UV = PROGRAMS / "uv"


@pytest.mark.drill
def test_the_wheel_loads_in_an_empty_folder(tmp_path: Path) -> None:
    subprocess.run(
        [UV, "build", "--quiet", "--wheel", "--out-dir", tmp_path / "dist", PROJECT], check=True
    )
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {str(path.relative_to(PROJECT)) for path in (PROJECT / "taxi_assets").rglob("*.py")}
    assert modules | {"taxi_assets/py.typed"} <= names
    assert not [name for name in names if name.startswith("taxi_assets_tests")]

    target = tmp_path / "site"
    installing = [UV, "pip", "install", "--quiet", "--no-deps", "--target", target]
    subprocess.run([*installing, "--python", sys.executable, wheel], check=True)
    (tmp_path / "empty").mkdir()
    loading = "import taxi_assets.definitions as loaded; print(loaded.__file__, loaded.defs)"
    done = subprocess.run(
        [sys.executable, "-c", loading],
        cwd=tmp_path / "empty",
        env={"PYTHONPATH": str(target), "TAXI_TRIP_SOURCE": "synthetic"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(str(target))
    assert list((tmp_path / "empty").iterdir()) == []
