"""The documents: their commands run, and what they name exists.

Command blocks of the README and of the guide begin with ``sh``: these run in a folder with three
months of green taxis; so do ``sh slow``, but among the drills. Those that begin with ``sh
checkout`` run in a copy of the checkout, as a new user has it. ``sh not-run`` are those that stay,
or that need the network.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from taxi_assets.assets.graph import GRAPH
from taxi_assets.settings import Settings
from taxi_assets_tests.conftest import copy_made
from taxi_assets_tests.services import PROGRAMS, PROJECT

README, GUIDE = PROJECT / "README.md", PROJECT / "docs/guide.md"
TRIED = (README, GUIDE, PROJECT / "docs/serving.md")
DOCUMENTS = [README, PROJECT / "CHANGELOG.md", *sorted((PROJECT / "docs").glob("*.md"))]
NAMES = [str(path.relative_to(PROJECT)) for path in DOCUMENTS]
FENCE = re.compile(r"^```(?P<kind>[^\n]*)\n(?P<content>.*?)^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"```.*?```|`[^`\n]+`|^ {4}[^\n]+", re.MULTILINE | re.DOTALL)
FILE = re.compile(
    r"(?<![\w./…-])(?:"
    r"(?:[\w.-]+/)*[\w.-]+\.(?:py|md|ipynb|toml|yaml|lock|png|html|example)(?!\w)|(?:[\w-]+/)+(?![\w{*<]))"
)
"""Names of files by their endings, and of folders."""

ROOTS = ("", "taxi_assets", "taxi_assets_tests", "taxi_assets/tlc", "docs", "deploy")
MADE = ("data/", "mlruns/", "plots/", "dist/", "home/", "report.html")
"""Files and folders that commands make."""


def blocks(path: Path, kind: str) -> list[str]:
    return [found["content"] for found in FENCE.finditer(path.read_text()) if found["kind"] == kind]


def code(path: Path) -> str:
    """What a document has in blocks and between backticks."""
    return "\n".join(CODE.findall(path.read_text()))


@cache
def anchors(path: Path) -> set[str]:
    """Where links into a document may lead, as GitHub derives it from its headings."""
    text = FENCE.sub("", path.read_text())
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(path: Path) -> Iterator[str]:
    yield from re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", path.read_text()))


def run(block: str, folder: Path, **variables: str) -> str:
    """Run a block as a person's shell does, up to the first command that fails."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    quiet = {"DAGSTER_DISABLE_TELEMETRY": "1", "MLFLOW_DISABLE_TELEMETRY": "1"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        cwd=folder,
        env=kept | quiet | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{block}\n{done.stdout}"
    return done.stdout


def named(blocks: Sequence[str], *marks: pytest.MarkDecorator) -> list[Any]:
    """Blocks as parameters, called by what they begin with."""
    return [
        pytest.param(block, id=re.sub(r"\W+", "-", block)[:50], marks=marks) for block in blocks
    ]


@pytest.fixture
def green_folder(three_months: Path, tmp_path: Path) -> Path:
    """Where three months of green taxis have been made, with the programs."""
    folder = copy_made(three_months, tmp_path / "green")
    (folder / ".venv").symlink_to(PROGRAMS.parent)
    return folder


@pytest.mark.parametrize(
    "block",
    [
        *named([block for path in TRIED for block in blocks(path, "sh")]),
        *named([block for path in TRIED for block in blocks(path, "sh slow")], pytest.mark.drill),
    ],
)
def test_a_command_block_runs(block: str, green_folder: Path) -> None:
    run(block, green_folder, TAXI_FLEET="green")


@pytest.mark.parametrize("block", named(blocks(GUIDE, "python")))
def test_a_block_of_python_runs(block: str, green_folder: Path) -> None:
    # The documents speak of the months of the demo.
    program = block.replace('["synthetic"', '["green"')
    run(f".venv/bin/python - <<'END'\n{program}\nEND", green_folder, TAXI_FLEET="green")


@pytest.mark.drill
@pytest.mark.parametrize("document", [README, GUIDE], ids=lambda path: path.stem)
def test_the_commands_of_a_checkout_run_one_after_the_other(document: Path, tmp_path: Path) -> None:
    listed = subprocess.run(
        ["git", "-C", PROJECT, "ls-files"], capture_output=True, text=True, check=True
    )
    for name in listed.stdout.splitlines():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        # With its time: `make` installs again what is newer than the installation.
        shutil.copy2(PROJECT / name, tmp_path / name)
    (tmp_path / ".venv").symlink_to(PROGRAMS.parent)
    run("make install", tmp_path)
    printed = [
        run(block, tmp_path, TAXI_SYNTHETIC_TRIPS="20000")
        for block in blocks(document, "sh checkout")
    ]
    if document == README:
        demo, look, _ = printed
        assert "make dev" in demo
        assert re.search(
            r"JFK Airport to Times Sq/Theatre District, Friday 17:00: \d\d minutes, eight trips ",
            look,
        )
        assert "report.html: 2 months\n" in look
    months = sorted(path.stem for path in (tmp_path / "data/synthetic/metrics").iterdir())
    made = {README: (3, 4, 5), GUIDE: (1, 2, 3)}[document]
    assert months == [f"2023-{month:02}" for month in made]


@pytest.mark.parametrize("document", TRIED, ids=lambda path: path.stem)
def test_every_block_says_what_it_is(document: Path) -> None:
    kinds = {found["kind"] for found in FENCE.finditer(document.read_text())}
    assert kinds <= {"sh", "sh slow", "sh checkout", "sh not-run", "python"}
    # Of what is indented, nothing is a command.
    indented = re.findall(
        r"^ {4}(?:\.venv|make|dagster|dg) .*", FENCE.sub("", document.read_text())
    )
    assert indented == []


@pytest.mark.parametrize("name", NAMES)
def test_every_link_leads_somewhere(name: str) -> None:
    document = PROJECT / name
    broken = []
    for link in links(document):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = (document.parent / path).resolve() if path else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_every_document_is_in_the_table_of_the_readme() -> None:
    linked = {(PROJECT / link).resolve() for link in links(README) if not link.startswith("http")}
    assert {*DOCUMENTS} - {README} <= linked


@pytest.mark.parametrize("name", NAMES)
def test_every_file_that_is_named_exists(name: str) -> None:
    spans = re.sub(r"\w+://\S+", "", code(PROJECT / name))
    files = {found for found in FILE.findall(spans) if not found.startswith(MADE)}
    absent = {file for file in files if not any((PROJECT / root / file).exists() for root in ROOTS)}
    assert absent == set()


@pytest.mark.parametrize("name", NAMES)
def test_every_module_and_every_target_that_is_named_exists(name: str) -> None:
    text = code(PROJECT / name)
    modules = set(re.findall(r"-m (taxi_assets[\w.]*)", text))
    assert {module for module in modules if find_spec(module) is None} == set()
    makefile = (PROJECT / "Makefile").read_text()
    targets = set(re.findall(r"^([\w.%/-]+):", makefile, re.MULTILINE))
    named = " ".join(re.findall(r"\bmake((?: +[a-z.][\w./-]*)+)", text)).split()
    known = {re.sub(r"^\.venv/with-[\w-]+$", ".venv/with-%", target) for target in named}
    assert known <= targets


@pytest.mark.parametrize("name", NAMES)
def test_every_variable_that_is_named_is_one(name: str) -> None:
    named = set(
        re.findall(r"\b(?:TAXI|DAGSTER|MLFLOW|AWS)_[A-Z_]+\b", (PROJECT / name).read_text())
    )
    read = {str(field.alias) for field in Settings.model_fields.values()}
    chosen = set(re.findall(r"^(\w+) \?=", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    composed = set(re.findall(r"\$\{(\w+)", (PROJECT / "deploy/compose.yaml").read_text()))
    # Read by Dagster, and by the client of object stores.
    assert named <= read | chosen | composed | {"DAGSTER_HOME", "AWS_ENDPOINT_URL"}


def first_column(path: Path, heading: str) -> list[str]:
    """The names in the first column of the table that begins with a heading."""
    table = path.read_text().partition(f"| {heading} |")[2].partition("\n\n")[0]
    return re.findall(r"^\| `([\w/]+)` \|", table, re.MULTILINE)


def test_tables_have_every_asset_check_and_variable() -> None:
    assert first_column(README, "asset") == [
        *("raw_trips", "cleaned_trips", "zone_pairs", "vectorizer", "model", "metrics"),
        *("hourly_pairs", "boosted_model", "boosted_metrics"),
        *("backtest", "champion", "predictions"),
    ]
    table = GUIDE.read_text().partition("| asset | check |")[2].partition("\n\n")[0]
    checks = re.findall(r"^\| (?:`(\w+)`)? ?\| `(\w+)` \|", table, re.MULTILINE)
    documented, asset = [], ""
    for named, check in checks:
        asset = named or asset
        documented.append((asset, check))
    assert documented == [(asset.name, check.name) for asset in GRAPH for check in asset.checks]
    read = [str(field.alias) for field in Settings.model_fields.values()]
    assert sorted(first_column(GUIDE, "variable")) == sorted([*read, "DAGSTER_HOME"])


def test_screenshots_are_small() -> None:
    screenshots = sorted((PROJECT / "docs").glob("*.png"))
    assert [path.name for path in screenshots] == ["mlflow.png", "month.png", "serve.png"]
    assert all(path.stat().st_size < 200_000 for path in screenshots)
