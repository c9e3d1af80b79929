"""Tests that run in a forked process, where a mutant is imported in its module's place."""

import contextlib
import importlib.machinery
import importlib.util
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType

import pytest

from taxi_assets_tests.mutants.faults import PACKAGE, Mutant

TESTS = Path(__file__).parents[1]

NOTICED: Counter[str] = Counter()
"""How many faults each test has noticed."""


class MutantLoader(importlib.machinery.SourceFileLoader):
    """Loads a mutant, which is nowhere on disk. It is its own finder."""

    def __init__(self, mutant: Mutant) -> None:
        name = ".".join(["taxi_assets", *Path(mutant.module).with_suffix("").parts])
        super().__init__(name, str(PACKAGE / mutant.module))
        self.mutant = mutant

    def find_spec(self, name: str, *_: object) -> importlib.machinery.ModuleSpec | None:
        if name != self.name:
            return None
        return importlib.util.spec_from_file_location(name, self.path, loader=self)

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.mutant.code, self.path, "exec")


@dataclass(frozen=True)
class Tests:
    """Tests that are near a module.

    Attributes:
        names: as pytest knows them, of files or of single tests.
        with_runs: whether those that materialize or track something belong to them.
        blind: those that do not, as they start processes, in which there is no fault.
    """

    names: tuple[str, ...]
    with_runs: bool
    blind: tuple[str, ...]

    @property
    def texts(self) -> list[str]:
        return [(TESTS / name.partition("::")[0]).read_text() for name in self.names]

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave out what does not belong, and begin with what has noticed most so far."""
        items[:] = sorted(
            (item for item in items if self.with_runs or "mlflow_database" not in fixtures(item)),
            key=lambda item: -NOTICED[item.nodeid],
        )


def fixtures(item: pytest.Item) -> Sequence[str]:
    return getattr(item, "fixturenames", ())


class Trial:
    """Tests that run, with a mutant or without.

    Attributes:
        mutant: None for the package as it is.
        pid: id of the process, and of its group.
        begun: when, in ``time.monotonic`` seconds.
    """

    def __init__(self, tests: Tests, seconds: float, mutant: Mutant | None = None) -> None:
        """Start tests, which are ended after these seconds."""
        self.mutant = mutant
        self.begun = time.monotonic()
        # No TemporaryDirectory: processes that tests fork would remove it at their end.
        self._folder = Path(tempfile.mkdtemp(prefix="mutant-"))
        self._output = self._folder / "output.txt"
        self.pid = os.fork() or self._run(tests, seconds)

    def _run(self, tests: Tests, seconds: float) -> int:
        """Run the tests in the forked process, and end it."""
        os.setsid()
        signal.setitimer(signal.ITIMER_REAL, seconds)
        output = os.open(self._output, os.O_CREAT | os.O_WRONLY)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = f"{self._folder}/hypothesis"
        if self.mutant:
            sys.meta_path.insert(0, MutantLoader(self.mutant))
        chosen = "not drill and not cluster and not browser and not real_files"
        blind = [f"--deselect={TESTS.name}/{test}" for test in tests.blind]
        options = ["-x", "--hypothesis-seed=0", f"--basetemp={self._folder}/tests"]
        names = [str(TESTS / name) for name in tests.names]
        code = pytest.main([*options, *blind, "-m", chosen, *names], [tests])
        sys.stdout.flush()
        os._exit(code)

    def end(self, status: int) -> str:
        """Clear up; return what noticed the fault, empty if nothing did.

        Args:
            status: the process's, as ``os.wait`` gives it.
        """
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)  # Servers and the like that a test left.
        lines = self._output.read_text(errors="replace").splitlines()
        shutil.rmtree(self._folder, ignore_errors=True)
        if os.WIFSIGNALED(status):
            return f"signal {os.WTERMSIG(status)}"
        if code := os.waitstatus_to_exitcode(status):
            told = [line for line in lines if line.startswith(("FAILED ", "ERROR "))]
            NOTICED.update(line.partition(" ")[2].partition(" - ")[0] for line in told)
            return "".join(told[:1]) or f"exit code {code}"
        return ""


def seconds_of(tests: Tests) -> float:
    """How long tests take on the package as it is.

    Raises:
        RuntimeError: one fails, so that it could notice nothing.
    """
    trial = Trial(tests, seconds=3_600)
    _, status = os.waitpid(trial.pid, 0)
    if told := trial.end(status):
        raise RuntimeError(f"Without a fault, {told}. Mend this first.")
    return time.monotonic() - trial.begun
