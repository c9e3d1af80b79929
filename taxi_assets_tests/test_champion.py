"""Which model serves: the promotion rule, MLflow's alias, people's say, and the graph."""

import itertools
import json
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import mlflow
import numpy as np
import pandas as pd
import pytest

from taxi_assets.checks import model as model_checks
from taxi_assets.durations.promotion import Decision, Version, decide, objection
from taxi_assets.durations.window import cells_of
from taxi_assets.settings import Settings
from taxi_assets.tlc.months import Month
from taxi_assets.tracking import champions
from taxi_assets.tracking.registry import Registry
from taxi_assets.tracking.server import TrackingError, TrackingServer, UnreachableTrackingError
from taxi_assets.tracking.versions import UnusableVersionError, load_version, registered_versions
from taxi_assets_tests.conftest import (
    latest_record,
    read_json,
    step_failures,
    taxi_assets,
    write_json,
)

Materialize = Callable[..., dg.ExecuteInProcessResult]
NAME = "nyc-taxi-trip-duration-green"


def version(number: int, of: int, family: str = "boosted") -> Version:
    return Version(number, Month(2023, of), family, f"run{number}", 0.0)


def scored(rmse: float, of: int = 0, coverage: float = 0.8, **segments: Any) -> dict[str, Any]:
    """Metrics of the model of a run on a month."""
    metrics = {"rmse": rmse, "interval_coverage": coverage, "mlflow_run_id": f"run{of}"}
    return metrics | {"segments": segments}


def judged(of: int, lookup: float = 9.0, failed: str = "", **models: Any) -> dict[str, Any]:
    """A month's backtest."""
    reference = {"lookup": {"rmse": lookup, "mlflow_run_id": None}} if models else {}
    return {
        "month": f"2023-0{of}",
        "trips": 100_000,
        "models": models | reference,
        "failed_checks": failed.split(),
    }


def part(rmse: float, trips: int = 50_000, error: float = 0.0) -> dict[str, float]:
    return {"rmse": rmse, "trips": trips, "rmse_standard_error": error}


# ---- The rule

BEFORE = scored(6.0, night=part(5.0))
COVERAGE_OFF = scored(6.0, coverage=0.7)
OLD_FIGURES = {"rmse": 5.3, "trips": 50_000}
TWO_PARTS = {"airport": part(5.0), "night": part(5.0)}


@pytest.mark.parametrize(
    ("challenger", "reason", "more"),
    [
        (scored(5.97), "", {}),
        (scored(5.9701), "has RMSE 5.970, 0.5% less; 0.5% are asked", {}),
        (scored(5.994), "has RMSE 5.994, 0.1% less; 0.5% are asked", {}),
        (scored(6.6), "has RMSE 6.600, 10.0% more", {}),
        (scored(6.6), "has RMSE 6.600, ", {"champion": scored(0.0)}),
        (scored(5.0, coverage=0.84), "", {}),
        (scored(5.0, coverage=0.8401), "has a coverage of 84.0%", {}),
        (scored(5.0, coverage=0.76), "", {}),
        (scored(5.0, coverage=0.7599), "has a coverage of 76.0%", {}),
        # A coverage that is nearer to 80 % than the champion's is no objection.
        (scored(5.0, coverage=0.71), "", {"champion": COVERAGE_OFF}),
        (scored(5.0, coverage=0.90), "has a coverage of 90.0%", {"champion": COVERAGE_OFF}),
        (scored(5.0, night=part(5.25)), "", {}),
        (scored(5.0, night=part(5.2501)), "is worse in night, RMSE 5.250 instead of 5.000", {}),
        # A segment counts from 2,000 trips and one in a hundred on, and hides none after it.
        (scored(5.0, night=part(9.0, 2_000)), "", {}),
        (scored(5.0, night=part(9.0, 2_001)), "is worse in night", {}),
        (scored(5.0, night=part(9.0, 3_000)), "", {"trips": 300_000}),
        (scored(5.0, night=part(9.0, 3_000)), "is worse in night", {"trips": 299_999}),
        (
            scored(5.0, airport=part(9.0, 2_000), night=part(9.0)),
            "is worse in night",
            {"champion": scored(6.0, **TWO_PARTS)},
        ),
        # Within two standard errors nothing is worse; earlier releases have stored none.
        (scored(5.0, night=part(5.5, error=0.25)), "", {}),
        (scored(5.0, night=part(5.6, error=0.3001)), "", {}),
        (scored(5.0, night=part(5.6, error=0.2999)), "is worse in night", {}),
        (scored(5.0, night=OLD_FIGURES), "is worse in night, RMSE 5.300 instead of 5.000", {}),
    ],
)
def test_a_challenger_takes_over_within_the_limits_and_not_beyond(
    challenger: dict[str, Any], reason: str, more: dict[str, Any]
) -> None:
    given = {"trips": 100_000, "champion": BEFORE, "challenger": challenger} | more
    objected = objection(**given)
    assert (objected or "").startswith(reason)
    assert (objected is None) == (reason == "")


ONE, TWO, OLD, AGAIN = version(1, 1), version(2, 2), version(3, 1, "linear"), version(9, 2)
NIGHT_OFF = "the month's trips are not to be trusted (share_kept)"


@pytest.mark.parametrize(
    ("before", "backtest", "best", "reason"),
    [
        (None, judged(1), None, "no champion: no earlier model has been scored"),
        (None, judged(2, boosted=scored(6.0, 8)), None,
         "no champion: no scored model is registered"),
        # No model is judged by a month that it has seen.
        (None, judged(2, boosted=scored(1.0, 2)), None,
         "no champion: no scored model is registered"),
        (TWO, judged(2, boosted=scored(1.0, 1)), TWO,
         "kept boosted 2023-02, which has seen the month"),
        # The first champion is the best that beats the lookup table.
        (None, judged(2, boosted=scored(6.0, 1), linear=scored(5.9, 3)), OLD,
         "the first champion is linear 2023-01, RMSE 5.900 minutes, coverage 80.0%"),
        (None, judged(2, boosted=scored(6.0, 1), lookup=6.001), ONE,
         "the first champion is boosted 2023-01, RMSE 6.000 minutes, coverage 80.0%"),
        (None, judged(2, boosted=scored(6.0, 1), lookup=6.0), None,
         "no champion: boosted 2023-01, RMSE 6.000 minutes, is no better than a lookup table, "
         "6.000"),
        # A month whose trips are not right promotes nobody.
        (None, judged(3, boosted=scored(5.0, 2), failed="share_kept"), None,
         f"no champion: {NIGHT_OFF}"),
        (ONE, judged(3, boosted=scored(5.0, 2), failed="share_kept"), ONE,
         f"kept boosted 2023-01, RMSE 5.600 minutes; {NIGHT_OFF}"),
        (ONE, judged(2, boosted=scored(5.6, 1)), ONE,
         "kept boosted 2023-01, RMSE 5.600 minutes; nobody challenges it"),
        (ONE, judged(3, boosted=scored(5.59, 2), linear=scored(6.16, 3)), ONE,
         "kept boosted 2023-01, RMSE 5.600 minutes; boosted 2023-02 has RMSE 5.590, 0.2% less; "
         "0.5% are asked; linear 2023-01 has RMSE 6.160, 10.0% more"),
        (ONE, judged(3, boosted=scored(5.0, 2), linear=scored(4.9, 3)), OLD,
         "linear 2023-01 takes over from boosted 2023-01: RMSE 4.900 instead of 5.600 minutes, "
         "12.5% less, coverage 80.0%"),
        (ONE, judged(3, boosted=scored(5.0, 2), linear=scored(4.9, 3, 0.9)), TWO,
         "boosted 2023-02 takes over from boosted 2023-01: RMSE 5.000 instead of 5.600 minutes, "
         "10.7% less, coverage 80.0%"),
    ],
)  # fmt: skip
def test_a_month_decides(
    before: Version | None, backtest: dict[str, Any], best: Version | None, reason: str
) -> None:
    unseen = None if before is None or str(before.month) >= backtest["month"] else scored(5.6)
    decision = decide(Decision("", before=before), backtest, [ONE, TWO, OLD], unseen)
    assert (decision.before, decision.champion, decision.decision) == (before, best, reason)


def test_the_newest_of_its_month_and_family_challenges_and_never_an_older_one() -> None:
    begun, versions = Decision("2023-03", before=ONE), [ONE, TWO, OLD, AGAIN]
    for run, best in ((2, AGAIN), (9, AGAIN)):
        backtest = judged(3, boosted=scored(5.0, run))
        assert decide(begun, backtest, versions, BEFORE).champion == best
    gone = decide(begun, judged(3, boosted=scored(5.0, 9)), [ONE, TWO, OLD], BEFORE)
    assert gone.decision.endswith("nobody challenges it")


def test_a_champion_keeps_since_when_and_how_it_did_beside_the_lookup_table() -> None:
    backtest = judged(3, boosted=scored(4.5, 2))
    chosen, promoted = ONE, replace(ONE, since="2023-02", ratio=0.5)
    for before, ratio in ((chosen, 6.0 / 9.0), (promoted, 0.5)):
        decision = decide(Decision("2023-03", before=before), backtest, [ONE, TWO], BEFORE)
        stored = decision.to_json()
        assert stored["relative_rmse"] == 6.0 / 9.0
        assert stored["before"] == {
            "version": 1, "month": "2023-01", "family": "boosted", "mlflow_run_id": "run1",
            "since": before.since, "ratio": ratio}  # fmt: skip
        assert stored["champion"] | {"since": "2023-03", "ratio": 0.5} == stored["champion"]


def of_month(ratio: float | None, of: Version | None = ONE) -> dict[str, Any]:
    return {"before": of and replace(of, ratio=0.5).to_json(), "relative_rmse": ratio}


@pytest.mark.parametrize(
    ("ratios", "passed"),
    [((1.0, 1.0, 1.11), True), ((1.0, 1.1001, 1.1001), False), ((1.11, 1.0, 1.11), False),
     ((1.11, 1.0999, 1.0999), True), ((1.11, 1.0, 1.0, 1.11), True),
     ((1.1, 1.1, 1.1), True)],
)  # fmt: skip
def test_a_model_decays_in_two_of_three_months(ratios: tuple[float, ...], passed: bool) -> None:
    now, *earlier = [of_month(0.5 * ratio) for ratio in reversed(ratios)]
    assert model_checks.model_decays(now, earlier).passed == passed


def test_only_months_that_judged_the_champion_speak_of_its_decay() -> None:
    others = [of_month(5.0, TWO), of_month(None, None)]
    assert model_checks.model_decays(of_month(0.5), others).passed
    for nobody in (of_month(None), of_month(0.5, None)):
        assert model_checks.model_decays(nobody, others).metadata["judged"].value is False


# ---- MLflow's alias: months in any order, deaths between any two writes, people

RMSES = {1: 6.0, 2: 5.9, 3: 5.89, 4: 5.5, 5: 7.0, 6: 5.88}
"""RMSE of each version on whatever month; version 1 is trained on January, 6 by a test."""

IN_ORDER = {1: None, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4}
"""Who serves from each month on, where the months are made in order."""


TRIPS = SimpleNamespace(
    ask=lambda _run, answer: answer(None), score=lambda number, _bounds: scored(RMSES[number])
)
"""A month's trips: who is asked says its number, which has a score."""


class Year:
    """Months judged with a real registry; each is scored by a table, not by trips.

    ``play("make 1 2; move 5; make 3")`` calls the methods by their names, one after the other.
    """

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.patch = folder, patch
        self.server = TrackingServer(f"sqlite:///{folder}/mlflow.db")
        self.client, self.champions = self.server.client, champions.Champions(self.server, "green")
        self.files: dict[int, dict[str, Any]] = {}
        self.begun: list[Any] = []
        self.notes: list[str] = []
        self.shown: list[str] = []
        self.written: list[tuple[str, ...]] = []
        self.unreadable: set[int] = set()
        found = self.client.search_model_versions(f"name = '{NAME}'")
        self.runs = {int(each.version): str(each.run_id) for each in found}
        # What people do on MLflow's pages.
        self.move = partial(self.client.set_registered_model_alias, NAME, "champion")
        self.drop = partial(self.client.delete_registered_model_alias, NAME, "champion")
        self.back_to = partial(self.client.set_registered_model_alias, NAME, "previous_champion")
        self.delete = partial(self.client.delete_model_version, NAME)
        self.rename = partial(self.client.rename_registered_model, NAME, "renamed")

    def play(self, steps: str) -> None:
        for step in steps.split("; "):
            name, *of = step.split()
            getattr(self, name)(*(int(each) if each.isdigit() else each for each in of))

    def load(self, _server: object, _fleet: str, number: int) -> Any:
        if number in self.unreadable:
            raise UnusableVersionError(f"green {number} cannot be read.")
        return SimpleNamespace(answer_cells=lambda _: (number, None, None))

    def train(self, *months: int) -> None:
        for month in months:
            self.runs[month] = self.client.create_run("0").info.run_id
            self.register(month)

    def register(self, month: int) -> None:
        model = self.client.create_logged_model("0").model_id
        registry = Registry(self.client, "green")
        registry.add(self.runs[month], model, Month(2023, month), "boosted", 1.0)

    def begin(self, *months: int) -> None:
        """Judge a month and store its file; what is left is for the aliases to follow."""
        for month in months:
            seen, last = self.champions.standing(), month - 1
            run = {"mlflow_run_id": self.runs.get(last)}
            backtest = judged(month, **({"boosted": scored(RMSES[last]) | run} if last else {}))
            decided = {f"2023-0{at}": of for at, of in sorted(self.files.items()) if at <= month}
            decision = self.champions.judge(seen, backtest, decided, TRIPS)  # type: ignore[arg-type]
            self.files[month] = json.loads(json.dumps(decision.to_json()))
            self.begun.append((seen, decision))

    def follow(self) -> None:
        self.notes = self.champions.follow(*self.begun.pop(0))

    def make(self, *months: int) -> None:
        for month in months:
            self.begun = []
            self.begin(month)
            self.follow()

    def die(self, write: str, step: str, *of: int) -> None:
        """Do a step that dies before a write, such as that of the alias ``champion``."""

        def dying(real: Callable[..., None]) -> Callable[..., None]:
            def call(client: mlflow.MlflowClient, *given: str) -> None:
                if write in given:
                    raise KeyboardInterrupt
                self.written.append(given[-2:])
                real(client, *given)

            return call

        with self.patch.context() as patched, suppress(KeyboardInterrupt):
            for name in ("registered_model_alias", "registered_model_tag", "model_version_tag"):
                real = getattr(mlflow.MlflowClient, f"set_{name}")
                patched.setattr(mlflow.MlflowClient, f"set_{name}", dying(real))
            getattr(self, step)(*of)

    def command(self, *options: object) -> int:
        """The command; returns its exit code, and keeps what it shows."""
        for month, of in self.files.items():
            write_json(self.folder / f"green/champion/2023-0{month}.json", of)
        self.patch.setenv("TAXI_STORAGE", str(self.folder))
        self.patch.setenv("MLFLOW_TRACKING_URI", self.server.uri)
        done = taxi_assets("champion", "--fleet", "green", *options)
        self.shown = done.output.removeprefix("Error: ").splitlines()
        return done.exit_code

    @property
    def serving(self) -> dict[int, int | None]:
        """Who serves from each month on, as its file says."""
        return {month: (of["champion"] or {}).get("version") for month, of in self.files.items()}

    @property
    def aliases(self) -> str:
        """Numbers of the champion and of the previous one, and whether it is pinned."""
        now = self.champions.standing()
        return f"{now.champion} {now.previous}{' pinned' if now.pinned is not None else ''}"

    @property
    def newest(self) -> str:
        """What the newest month's file says: whom it judged, who serves from it on."""
        of = self.files[max(self.files)]
        notes = [note for note in ("chosen", "pinned") if of[note]]
        numbers = [of[name] and of[name]["version"] for name in ("before", "champion")]
        return " ".join(map(str, [*numbers, *notes]))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, mlflow_database: Path) -> Path:
    """A database with the five versions; a test's year is a copy of it."""
    folder = tmp_path_factory.mktemp("trained")
    shutil.copy(mlflow_database, folder)
    with pytest.MonkeyPatch.context() as patch:
        Year(folder, patch).train(1, 2, 3, 4, 5)
    return folder / "mlflow.db"


@pytest.fixture
def year(tmp_path: Path, trained: Path, monkeypatch: pytest.MonkeyPatch) -> Year:
    shutil.copy(trained, tmp_path)
    year = Year(tmp_path, monkeypatch)
    monkeypatch.setattr(champions, "load_version", year.load)
    return year


LEFT = "the alias stays at version {}, which somebody has chosen"
DELETED = "the pinned version was deleted, and its pin (by hand) with it"
PIN, UNPIN = "command --pin", "command --unpin"
PINNED = f"make 1 2; {PIN}; train 1; make 3"
TWIN = "make 1 2; train 1; make 3"
SHUFFLED = "make 6 5 4 3 2 1"


@pytest.mark.parametrize(
    ("steps", "aliases", "newest", "message"),
    [
        # Months in order move both aliases, and made again they say the same.
        ("make 1", "None None", "None None", ""),
        ("make 1 2", "1 None", "None 1", ""),
        ("make 1 2 3 4 5 6", "4 2", "4 4", ""),
        ("make 1 2 3; make 2 1 3", "2 1", "1 2", ""),
        # A person's choice: only the next month judges it, then it is contested like any other.
        ("make 1 2 3; move 1; make 3 1 2 3", "1 1", "1 2", LEFT.format(1)),
        ("make 1 2 3; move 1; make 4", "3 1", "1 3 chosen", ""),
        ("make 1 2 3; move 1; make 4 4 3 4", "3 1", "1 3 chosen", ""),
        ("make 1 2; begin 3; move 5; follow", "5 None", "1 2", LEFT.format(5)),
        ("make 1 2; begin 3; move 5; follow; make 4", "5 None", "5 5 chosen", ""),
        # A pin bars months, and versions made anew, until it is removed.
        (PINNED, "1 None pinned", "1 1 pinned", ""),
        (f"{PINNED}; make 3; {UNPIN}; make 3", "1 None", "1 1 pinned", ""),
        (f"{PINNED}; {UNPIN}; make 4", "3 1", "1 3", ""),
        (f"{PINNED}; command --set 2", "2 1 pinned", "1 1 pinned", ""),
        (f"make 1 2; begin 3; {PIN}; follow", "1 None pinned", "1 2",
         "the alias stays at version 1, which is pinned"),
        # A pin goes with its version, whoever is the next champion.
        (f"make 1 2 3; {PIN}; delete 2; make 4", "3 1", "None 3", DELETED),
        (f"make 1 2 3; {PIN}; drop; command --set 3", "3 1", "1 2", ""),
        (f"make 1 2 3; {PIN}; drop; {UNPIN}", "None 1", "1 2", ""),
        # A deleted champion is followed by another, which never is its own predecessor.
        ("make 1 2 3; delete 2; make 3", "1 None", "1 1", ""),
        ("make 1 2 3; delete 2; make 4", "3 1", "None 3", ""),
        ("make 1 2; delete 1; make 3", "2 None", "None 2", ""),
        ("make 1 2; drop; back_to 1; command --set 1", "1 None",
         "None 1", ""),
        # A version made anew takes the champion's place, and the months' files know it there.
        ("make 1 2 3; train 2; make 3 2", "6 1", "1 6", ""),
        ("make 1 2 3; train 2; make 4", "6 1", "6 6", ""),
        ("make 1 2; die champion train 1; register 1", "6 None", "None 1", ""),
        ("make 1 2; train 1; move 1; register 1", "1 None", "None 1", ""),
        # Whoever goes back to the older version of the same month has chosen.
        (f"{TWIN}; move 1; make 3", "1 None", "1 2", LEFT.format(1)),
        (f"{TWIN}; move 1; make 4", "3 1", "1 3 chosen", ""),
        # A month that died is followed by the next, wherever it died.
        ("begin 1; begin 2; make 3", "2 1", "1 2", ""),
        ("make 1; die judged_through make 2; die champion make 3; make 4", "2 1", "2 2", ""),
        ("make 1; die judged_through make 2; die champion make 3; make 3", "2 1", "1 2", ""),
        ("make 1 2; begin 3; delete 2; make 4", "3 1", "1 3", ""),
        ("make 1 2; begin 3; delete 1; make 4", "2 None", "2 2", ""),
        # So is the newest month that died when it was made again; then people may choose again.
        (f"{SHUFFLED}; make 1 2 3 4 5; begin 6", "5 None", "4 4", ""),
        (f"{SHUFFLED}; make 1 2 3 4 5; begin 6; make 6", "4 5", "4 4", ""),
        (f"{SHUFFLED}; make 1 2 3 4 5; begin 6; make 7", "4 5", "4 4", ""),
        (f"{SHUFFLED}; make 1 2 3 4 5 6; move 5; make 6", "5 5", "4 4", LEFT.format(5)),
        # People go back and back; from a move on MLflow's page to whom the last month names.
        ("make 1 2 3 4 5 6; command --set 5", "5 4", "4 4", ""),
        ("make 1 2 3 4 5 6; command --set 5; command --back", "4 5", "4 4", ""),
        ("make 1 2 3 4 5 6; command --set 5; command --back; command --back", "5 4", "4 4", ""),
        ("make 1 2 3 4 5 6; command --set 2; command --set 5; command --back; train 2; delete 2",
         "6 5", "4 4", ""),
        ("make 1 2; move 5; command --back", "1 5", "None 1", ""),
        ("make 1 2 3; move 5; command --back", "1 5", "1 2", ""),
        ("make 1 2 3 4; move 5; command --back", "2 5", "2 2", ""),
        (f"{TWIN}; move 1; command --back", "6 1", "6 6", ""),
    ],
)  # fmt: skip
def test_what_months_and_people_leave(
    year: Year, steps: str, aliases: str, newest: str, message: str
) -> None:
    year.play(steps)
    assert (year.aliases, year.newest) == (aliases, newest)
    assert year.notes == ([message] if message else [])


@pytest.mark.parametrize(
    "order",
    ["make 5 2 6 1 4 3", SHUFFLED, "make 2 1 3 5 4 6"]
    + [f"make 1 2; begin {' '.join(three)}; follow; follow; follow; make 6"
       for three in itertools.permutations("345")],
)  # fmt: skip
def test_months_in_any_order_and_side_by_side_are_made_right_by_one_go_in_order(
    year: Year, order: str
) -> None:
    year.play(order.removesuffix("; make 6"))
    if "follow" in order:
        again = "make champion and predictions again, in the order of the months"
        assert year.notes[0].endswith(f" was judged meanwhile: {again}")
    year.play("make 6")
    year.play("make 1 2 3 4 5 6")
    assert dict(sorted(year.serving.items())) == IN_ORDER
    assert not any(of["chosen"] for of in year.files.values())
    assert year.aliases.startswith("4 ")


@pytest.mark.parametrize(
    "write", ["promoted", "previous_champion", "champion", "followed", "judged_through"]
)
@pytest.mark.parametrize("then", ["make 2 3 4", "make 3 4", "make 4"])
def test_months_that_die_before_a_write_are_finished_by_themselves_or_by_the_next(
    year: Year, write: str, then: str
) -> None:
    """Two months that follow each other, both of which move the alias."""
    year.play(f"make 1; die {write} make 2; die {write} make 3; {then}")
    is_first_lost = (write, then) == ("promoted", "make 4")
    assert (year.newest, year.aliases) == ("2 2", "2 None" if is_first_lost else "2 1")
    files = dict(year.files)
    year.play("make 1 2 3 4")
    assert year.files == files


@pytest.mark.parametrize(
    ("steps", "month"), [("die nothing make 3", 3), ("begin 3; die nothing make 4", 4)]
)
def test_tags_and_aliases_are_written_in_this_order(year: Year, steps: str, month: int) -> None:
    """The version is tagged by the month that promotes it, not by one that goes on from a death."""
    year.play(f"make 1 2; {steps}")
    promoted = [("promoted", f"2023-03: {year.files[3]['decision']}")] if month == 3 else []
    assert year.written == [
        *promoted, ("previous_champion", "1"), ("champion", "2"), ("followed", "2"),
        ("judged_through", f"2023-0{month}"),
    ]  # fmt: skip


def test_a_pin_and_a_champion_that_cannot_be_read_are_said(year: Year) -> None:
    year.play("make 1 2 3")
    year.unreadable = {2}
    year.play("make 4")
    assert year.files[4]["before"] is None
    assert year.files[4]["decision"] == (
        "the champion cannot be read (green 2 cannot be read); the first champion is boosted "
        "2023-03, RMSE 5.890 minutes, coverage 80.0%"
    )
    assert year.aliases == "3 2"
    year.play("command --pin --why audit; make 5")
    assert (year.files[5]["pinned"], year.aliases) == ("audit", "3 2 pinned")
    assert year.files[5]["decision"].endswith("; it is pinned (audit)")


@pytest.mark.parametrize("months", ["2 3 4", "3", "5 6"])
@pytest.mark.parametrize("steps", ["rename", "rename; train 5; move 1"])
def test_a_strange_registry_is_an_error_in_whatever_order_months_are_made_again(
    year: Year, months: str, steps: str
) -> None:
    year.play("make 1 2 3 4")
    files, runs = dict(year.files), dict(year.runs)
    year.play(steps)
    year.runs = runs
    for month in months.split():
        with pytest.raises(TrackingError, match=r"knows no version .*, such as version [12]\. The"):
            year.play(f"make {month}")
    assert year.files == files


def test_where_the_versions_are_lost_all_months_are_made_again(year: Year) -> None:
    year.play("make 1 2 3; rename; train 4")
    with pytest.raises(TrackingError, match="was renamed or deleted, or MLFLOW_TRACKING_URI leads"):
        year.make(5)
    year.play("train 1; make 1; train 2; make 2; train 3; make 3")
    assert year.files[3]["champion"]["month"] == "2023-01"


def test_somebody_elses_version_serves_if_it_is_chosen_and_is_left_as_it_is(year: Year) -> None:
    year.make(1, 2)
    year.client.create_model_version(NAME, "somewhere", run_id=year.runs[2])
    year.patch.setitem(RMSES, 6, 5.95)
    year.play("move 6; make 3")
    assert year.files[3]["decision"].startswith(
        "a person chose version 6; boosted 2023-02 takes over from version 6: RMSE 5.900 instead of"
    )
    assert (year.newest, year.aliases) == ("6 2 chosen", "2 6")
    # The run is registered by somebody else, and not yet by us.
    year.runs[7] = year.client.create_run("0").info.run_id
    theirs = year.client.create_model_version(NAME, "elsewhere", run_id=year.runs[7])
    year.register(7)
    assert year.client.get_model_version(NAME, theirs.version).tags == {}


def test_an_earlier_releases_record_is_followed_and_its_pin_named_once(year: Year) -> None:
    year.play("make 1 2 3 4 5 6")
    year.client.delete_registered_model_tag(NAME, "judged_through")
    old = {"version": 4, "judged_through": "2023-06", "pinned": True}
    year.client.set_registered_model_tag(NAME, "champion", json.dumps(old))
    year.files = {month: of | {"pinned": False} for month, of in year.files.items()}
    year.play("make 1 2 3 4 5")
    assert year.notes == []
    year.play("make 6")
    assert year.notes[0].endswith("again: taxi-assets champion --fleet green --pin")
    year.play("make 6")
    assert (year.notes, year.serving, year.aliases) == ([], IN_ORDER, "4 2")


# ---- The command


def test_the_command_shows_who_serves_why_it_is_pinned_and_the_last_decisions(year: Year) -> None:
    assert (year.command(), year.shown) == (0, ["champion  none", "previous  none"])
    year.play("make 1 2 3 4 5 6; command --pin")
    decisions = [f"  2023-0{month}  {of['decision']}" for month, of in year.files.items()]
    shown = ["champion  version 4, boosted 2023-04", "previous  version 2, boosted 2023-02"]
    assert year.shown == [*shown, "pinned    by hand", *decisions]
    year.play("command --set 5 --why trial")
    assert year.client.get_registered_model(NAME).tags["chosen"] == "version 5: trial"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("--set 99", "The green model has no version 99; there are: 1, 2, 3, 4, 5."),
        ("--back", "No version of green has served before this one."),
        ("--pin", "No version of green serves, so there is none to pin."),
        ("--unpin", "No version of green serves, so there is none to pin."),
    ],
)
def test_what_cannot_be_meant_is_refused_and_changes_nothing(
    year: Year, options: str, reason: str
) -> None:
    before = year.champions.standing()
    assert (year.command(*options.split()), year.shown) == (1, [reason])
    assert year.champions.standing() == before


# ---- In the graph


def stored(settings: Settings, month: int, asset: str = "champion") -> dict[str, Any]:
    return read_json(Path(settings.storage) / f"green/{asset}/2023-0{month}.json")


def written(settings: Settings) -> tuple[Any, ...]:
    """The files of all months, and the aliases of their champions."""
    aliases = mlflow.MlflowClient(settings.tracking_uri).get_registered_model(NAME).aliases
    predicted = Path(settings.storage).glob("green/predictions/*.parquet")
    files = [stored(settings, month) for month in (1, 2, 3)]
    return files, {path.name: path.read_bytes() for path in predicted}, aliases


@pytest.mark.after_three_months
def test_a_range_finds_its_champion_and_the_one_before_each_month_predicts_it(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    first, second, third = (stored(settings, month) for month in (1, 2, 3))
    assert (first["champion"], second["before"]) == (None, None)
    assert third["before"] == second["champion"]
    assert second["champion"]["month"] == "2023-01"
    # The served version is asked, and answers as the stored model that the backtest asked.
    models = stored(settings, 2, "backtest")["models"]
    ratio = models["boosted"]["rmse"] / models["lookup"]["rmse"]
    assert (second["champion"]["ratio"], third["relative_rmse"] > 0.5) == (ratio, True)
    client = mlflow.MlflowClient(settings.tracking_uri)
    serving = client.get_model_version_by_alias(NAME, "champion")
    assert int(serving.version) == third["champion"]["version"]
    record = latest_record(instance, "champion", "2023-03")
    assert record is not None
    assert record.metadata["summary"].value == third["decision"]
    # Predictions are as many as trips, in their order; none where there was no champion.
    data = Path(settings.storage) / "green"
    empty, found = (
        pd.read_parquet(data / f"predictions/2023-0{month}.parquet") for month in (2, 3)
    )
    trips = pd.read_parquet(data / "cleaned_trips/2023-03.parquet")
    assert list(found) == ["minutes", "minutes_p10", "minutes_p90", "model_version"]
    assert [str(kind) for kind in found.dtypes] == ["float32"] * 3 + ["category"]
    assert empty.isna().all().all()
    number = third["before"]["version"]
    assert set(found["model_version"]) == {str(number)}
    model = load_version(TrackingServer(settings.tracking_uri), "green", number)
    answers = np.float32(model.answer_cells(cells_of(trips)))
    np.testing.assert_array_equal(found.iloc[:, :3].to_numpy().T, answers)


@pytest.mark.after_three_months
def test_a_month_whose_trips_are_not_right_judges_nobody(
    materialize: Materialize, own_source: Settings
) -> None:
    """Half of March's trips take no time: a check of the run says so, and is heeded."""
    path = Path(own_source.trip_source) / "green_tripdata_2023-03.parquet"
    trips = pd.read_parquet(path)
    trips.loc[::2, "lpep_dropoff_datetime"] = trips["lpep_pickup_datetime"]
    trips.to_parquet(path)
    made = ("raw_trips", "cleaned_trips", "backtest", "champion")
    assert materialize("2023-03", *made, settings=own_source).success
    assert stored(own_source, 3, "backtest")["failed_checks"] == ["share_kept"]
    february, march = (stored(own_source, month) for month in (2, 3))
    assert march["champion"]["version"] == february["champion"]["version"]
    assert NIGHT_OFF in march["decision"]


@pytest.mark.after_three_months
def test_months_made_again_and_a_retry_after_an_outage_end_alike(
    materialize: Materialize, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, real, reads = written(settings), champions.Champions.standing, []

    def away(self: champions.Champions) -> Any:
        reads.append(1)
        if len(reads) in (2, 3):
            raise UnreachableTrackingError("MLflow is away")
        return real(self)

    monkeypatch.setattr(champions.Champions, "standing", away)
    assert materialize("2023-01:2023-03", "champion", "predictions").success
    assert written(settings) == before


@pytest.mark.after_three_months
def test_a_strange_registry_and_a_version_that_is_gone_leave_what_is_stored(
    materialize: Materialize, settings: Settings
) -> None:
    (files, predictions, _), client = written(settings), mlflow.MlflowClient(settings.tracking_uri)
    number = files[2]["before"]["version"]
    client.delete_model_version(NAME, str(number))
    (message,) = step_failures(materialize("2023-03", "predictions"))
    assert f"{NAME} has no version {number}" in message
    assert "--select 'green/champion,green/predictions'" in message
    client.rename_registered_model(NAME, "renamed")
    (message,) = step_failures(materialize("2023-03"))
    assert message.startswith("champion 2023-03: MLflow at sqlite:///")
    assert written(settings)[:2] == (files, predictions)


@pytest.mark.after_three_months
def test_versions_come_in_the_order_of_their_numbers_and_reading_one_leaves_no_copy_behind(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server = TrackingServer(settings.tracking_uri)
    server.client.set_model_version_tag(NAME, "1", "note", "MLflow lists what changed last first")
    found = registered_versions(server, "green")
    assert [version.number for version in found] == [1, 2, 3, 4, 5, 6]
    assert 1_700_000_000 < found[0].created < 5_000_000_000  # Seconds since 1970.
    (place := tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    assert load_version(server, "green", 1) is not None
    assert list(place.iterdir()) == []


def test_a_version_whose_place_does_not_answer_is_an_outage_and_one_without_files_unusable(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("MAX_RETRIES", "BACKOFF_FACTOR"):
        monkeypatch.setenv(f"MLFLOW_HTTP_REQUEST_{name}", "0")
    client = mlflow.MlflowClient(settings.tracking_uri)
    client.create_registered_model(NAME)
    (tmp_path / "empty").mkdir()
    gone = "nothing is there, the folder was moved or removed. .*: taxi-assets relocate /where/it"
    for source in ("mlflow-artifacts://127.0.0.1:9/1", (tmp_path / "empty").as_uri(),
                   (tmp_path / "gone").as_uri(), str(tmp_path / "gone")):  # fmt: skip
        client.create_model_version(NAME, source)
    for uri, number, error, message in (
        (settings.tracking_uri, 1, UnreachableTrackingError, "MLflow at sqlite"),
        (settings.tracking_uri, 2, UnusableVersionError, "cannot be read .*nothing is there.$"),
        *((settings.tracking_uri, number, UnusableVersionError, gone) for number in (3, 4)),
        (settings.tracking_uri, 5, UnusableVersionError, "has no version 5"),
        ("http://127.0.0.1:9", 1, UnreachableTrackingError, "MLflow at http"),
    ):
        with pytest.raises(error, match=message):
            load_version(TrackingServer(uri), "green", number)
