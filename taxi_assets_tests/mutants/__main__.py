"""Which small faults the tests notice: one is put in, the nearest tests run, then the next.

``python -m taxi_assets_tests.mutants durations/`` tries all of a folder, ``months.py tlc/ --sample
60 --seed 1`` sixty of a module and a folder together, ``--table`` none. ``nearest.toml`` says which
tests are near, and which faults change nothing that anybody could see.

Results are kept in ``.mutants``: a fault that was noticed is tried again when its module changes,
one that was not when its tests change, too.
"""

import argparse
import gc
import hashlib
import importlib
import json
import os
import random
import tomllib
from collections import Counter
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

from taxi_assets_tests.crash_drill import PRELOADED
from taxi_assets_tests.mutants.faults import Mutant, mutants
from taxi_assets_tests.mutants.trials import TESTS, Tests, Trial, seconds_of

RESULTS = TESTS.parent / ".mutants" / "results.jsonl"
CONFIGURATION = tomllib.loads(Path(__file__).with_name("nearest.toml").read_text())
NEAREST = {
    module: Tests(tuple(names), with_runs, tuple(CONFIGURATION["blind"]))
    for section, with_runs in (("without_runs", False), ("with_runs", True))
    for module, names in CONFIGURATION[section].items()
}
EQUIVALENT = {
    tuple(mutant) for group in CONFIGURATION.get("equivalent", []) for mutant in group["mutants"]
}

ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""A forked process must not find the threads of OpenMP, which do not come with it."""


def digest(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]


def tests_digest(module: str) -> str:
    return digest(*NEAREST[module].texts)


def results() -> dict[str, str]:
    """What noticed each mutant; empty where nothing did, with these tests."""
    lines = RESULTS.read_text().splitlines() if RESULTS.exists() else []
    now = {module: tests_digest(module) for module in NEAREST}
    return {
        result["key"]: result["by"]
        for result in map(json.loads, lines)
        if result["by"] or result["tests"] == now.get(result["module"])
    }


def key(mutant: Mutant) -> str:
    return digest(mutant.module, mutant.code)


def is_equivalent(mutant: Mutant) -> bool:
    return (mutant.module, mutant.was, mutant.now) in EQUIVALENT


def is_tried(mutant: Mutant) -> bool:
    return not mutant.was.startswith(tuple(CONFIGURATION["spared"]))


def try_all(module: str, pending: Iterable[Mutant], jobs: int) -> None:
    """Try mutants of a module, some at a time, and keep each result."""
    tests = NEAREST[module]
    common = {"module": module, "tests": tests_digest(module)}
    limit = 20 + 5 * jobs * seconds_of(tests)
    running: dict[int, Trial] = {}

    def settle() -> None:
        pid, status = os.wait()
        trial = running.pop(pid)
        assert trial.mutant
        by = trial.end(status)
        with RESULTS.open("a") as file:
            print(json.dumps({"key": key(trial.mutant), "by": by, **common}), file=file)
        if not by:
            print(trial.mutant, flush=True)

    for mutant in pending:
        if len(running) == jobs:
            settle()
        trial = Trial(tests, limit, mutant)
        running[trial.pid] = trial
    while running:
        settle()


def table(chosen: Iterable[Mutant]) -> None:
    """Print what became of the mutants that were tried, by module."""
    known = results()
    print(f"{'module':<32}{'tried':>8}{'noticed':>9}{'equivalent':>12}{'left':>6}")
    total: Counter[str] = Counter()
    for module, group in groupby(chosen, lambda mutant: mutant.module):
        counted: Counter[str] = Counter()
        for mutant in group:
            by = known.get(key(mutant))
            if is_equivalent(mutant):
                counted.update(["tried", "equivalent"])
            elif by is not None:
                counted.update(["tried", "noticed" if by else "left"])
        total += counted
        show(module, counted)
    show("all", total)


def show(name: str, counted: Counter[str]) -> None:
    judged = counted["tried"] - counted["equivalent"]
    share = f"{counted['noticed'] / judged:7.0%}" if judged else ""
    print(
        f"{name:<32}{counted['tried']:>8}{counted['noticed']:>9}{counted['equivalent']:>12}"
        f"{counted['left']:>6}{share}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Which small faults the tests notice.")
    parser.add_argument("parts", nargs="*", default=[""], help="durations/, months.py; else all")
    parser.add_argument("--sample", type=int, help="so many, drawn at random")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="tried at the same time")
    parser.add_argument("--table", action="store_true", help="only say what was tried")
    parser.add_argument("--left", action="store_true", help="the same, and what was not noticed")
    options = parser.parse_args()
    modules = [module for module in NEAREST if module.startswith(tuple(options.parts))]
    chosen = [each for module in modules for each in mutants(module) if is_tried(each)]
    if options.sample is not None:
        drawn = random.Random(options.seed).sample(range(len(chosen)), options.sample)
        chosen = [chosen[number] for number in sorted(drawn)]
    known = results()
    if options.left:
        left = (each for each in chosen if known.get(key(each)) == "" and not is_equivalent(each))
        print(*left, sep="\n")
    elif not options.table:
        RESULTS.parent.mkdir(exist_ok=True)
        os.environ |= dict.fromkeys(ONE_THREAD, "1")
        for name in (*PRELOADED, "hypothesis"):
            importlib.import_module(name)
        gc.freeze()  # Or each process would copy all that is imported, when it looks for garbage.
        pending = [each for each in chosen if key(each) not in known and not is_equivalent(each)]
        print(f"{len(chosen)} faults, {len(pending)} of them to be tried", flush=True)
        for module, group in groupby(pending, lambda mutant: mutant.module):
            try_all(module, group, options.jobs)
    table(chosen)


if __name__ == "__main__":
    main()
