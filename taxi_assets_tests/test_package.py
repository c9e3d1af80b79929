"""The package: what it needs is declared, and its wheel is complete without a checkout."""

import ast
import json
import re
import subprocess
import sys
import tomllib
import urllib.request
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from taxi_assets_tests.services import PROGRAMS, PROJECT

UV = PROGRAMS / "uv"


@pytest.mark.drill
def test_the_wheel_makes_and_serves_months_in_an_empty_folder(tmp_path: Path) -> None:
    subprocess.run(
        [UV, "build", "--quiet", "--wheel", "--out-dir", tmp_path / "dist", PROJECT], check=True
    )
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {str(path.relative_to(PROJECT)) for path in (PROJECT / "taxi_assets").rglob("*.py")}
    data = {"py.typed", "dagster.yaml", "reports/report.html.jinja", "serving/page.html"}
    assert modules | {f"taxi_assets/{name}" for name in data} <= names
    assert not [name for name in names if name.startswith("taxi_assets_tests")]

    target = tmp_path / "site"
    installing = [UV, "pip", "install", "--quiet", "--no-deps", "--target", target]
    subprocess.run([*installing, "--python", sys.executable, wheel], check=True)
    folder = tmp_path / "empty"
    folder.mkdir()
    command = [sys.executable, "-m", "taxi_assets"]
    environment = {"PYTHONPATH": str(target)}
    making = [*command, "materialize", "synthetic", "2023-03...2023-04"]
    made = subprocess.run(
        making, cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    assert (
        f"Dagster's history is kept in {folder}/.dagster_home, assets in {folder}/data, runs and "
        f"models in MLflow at sqlite:///{folder}/mlflow.db.\n"
    ) in made.stderr
    assert made.stderr.count("history is kept") == 1
    assert sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock")) == [
        ".dagster_home", "data", "mlflow.db", "mlruns",
    ]  # fmt: skip
    asked = [*command, "predict", "--from", "132", "--to", "230", "--fleet", "synthetic"]
    done = subprocess.run(
        asked, cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("JFK Airport to Times Sq/Theatre District, trips at all hours: ")
    serving = [*command, "serve", "--fleet", "synthetic", "--port", "0"]
    with subprocess.Popen(
        serving, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        url = server.stdout.readline().split(": ")[1].split()[0]
        with urllib.request.urlopen(f"{url}/duration?from=132&to=230") as answer:
            assert 1 <= json.load(answer)["minutes"] <= 60
        server.terminate()


def test_every_import_is_a_declared_dependency() -> None:
    packages = {
        module: {name.lower().replace("_", "-") for name in names}
        for module, names in packages_distributions().items()
    }
    imported = set()
    for path in (PROJECT / "taxi_assets").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {name.name.partition(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(str(node.module).partition(".")[0])
    outside = imported - set(sys.stdlib_module_names) - {"taxi_assets"}
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    # Only `taxi-assets tune` imports what is in this extra.
    declared = [*project["dependencies"], *project["optional-dependencies"]["tuning"]]
    names = {re.split(r"[^\w-]", one)[0] for one in declared}
    undeclared = {module for module in outside if not names & packages[module]}
    assert undeclared == set()
    # The web server is a command that people start.
    used = {name for module in outside for name in packages[module]}
    assert names - used == {"dagster-webserver"}


def test_the_image_has_a_part_of_the_lock_without_tests_and_notebooks() -> None:
    def locked(path: str) -> set[str]:
        return set(re.findall(r"^[\w.-]+==[^ ;\\]+", (PROJECT / path).read_text(), re.MULTILINE))

    image = locked("deploy/requirements.lock")
    assert image < locked("requirements.lock")
    names = {one.partition("==")[0] for one in image}
    assert names >= {"dagster", "mlflow", "ray", "s3fs", "psycopg2-binary"}
    assert not names & {"pytest", "jupyterlab", "playwright", "moto", "mypy", "ruff"}
