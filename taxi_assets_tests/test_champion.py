"""Which model serves: the promotion rule, MLflow's alias, people's say, and the graph."""

import itertools
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import mlflow
import numpy as np
import pandas as pd
import pytest

from taxi_assets import champion
from taxi_assets.checks import model as model_checks
from taxi_assets.durations.promotion import Champion, Incumbent, Version, decide, objection
from taxi_assets.durations.window import cells_of
from taxi_assets.settings import Settings
from taxi_assets.tlc.months import Month
from taxi_assets.tracking import champions
from taxi_assets.tracking.client import SharingClient
from taxi_assets.tracking.registry import Registry
from taxi_assets.tracking.servers import TrackingError, TrackingServer, UnreachableTrackingError
from taxi_assets.tracking.versions import (
    UnusableVersionError,
    load_version,
    registered_versions,
)
from taxi_assets_tests.conftest import latest_record, step_failures

Materialize = Callable[..., dg.ExecuteInProcessResult]
NAME = "nyc-taxi-trip-duration-green"


def version(number: int, of: int, family: str = "boosted") -> Version:
    return Version(number, Month(2023, of), family, f"run{number}", 0.0)


def figures(rmse: float, of: Version, coverage: float = 0.8, **segments: Any) -> dict[str, Any]:
    return {
        "rmse": rmse,
        "interval_coverage": coverage,
        "mlflow_run_id": of.run_id,
        "segments": segments,
    }


def judged(
    of: int, *models: dict[str, Any], lookup: float = 9.0, failed: tuple[str, ...] = ()
) -> dict[str, Any]:
    """A month's backtest, with models of the families boosted and, if there are two, linear."""
    named = dict(zip(("boosted", "linear"), models, strict=False))
    reference = {"lookup": {"rmse": lookup, "mlflow_run_id": None}}
    scored = named | reference if models else {}
    return {"month": f"2023-0{of}", "trips": 100_000, "models": scored, "failed_checks": failed}


def segment(rmse: float, trips: int = 50_000, error: float = 0.0) -> dict[str, float]:
    return {"rmse": rmse, "trips": trips, "rmse_standard_error": error}


CHAMPION = figures(6.0, version(1, 1), night=segment(5.0))


@pytest.mark.parametrize(
    ("rmse", "coverage", "night", "takes_over"),
    [
        (5.97, 0.80, segment(5.0), True),
        (5.9701, 0.80, segment(5.0), False),
        (5.0, 0.84, segment(5.0), True),
        (5.0, 0.8401, segment(5.0), False),
        (5.0, 0.76, segment(5.0), True),
        (5.0, 0.7599, segment(5.0), False),
        (5.0, 0.80, segment(5.25), True),
        (5.0, 0.80, segment(5.2501), False),
        (5.0, 0.80, segment(9.0, trips=2_000), True),
        (5.0, 0.80, segment(9.0, trips=2_001), False),
        (5.0, 0.80, segment(5.5, error=0.25), True),
        (5.0, 0.80, segment(5.6, error=0.3001), True),
        (5.0, 0.80, segment(5.6, error=0.2999), False),
    ],
)
def test_a_challenger_takes_over_within_the_limits_and_not_beyond(
    rmse: float, coverage: float, night: dict[str, float], takes_over: bool
) -> None:
    challenger = figures(rmse, version(2, 2), coverage, night=night)
    assert (objection(100_000, CHAMPION, challenger) is None) == takes_over


def test_a_segment_counts_from_one_trip_in_a_hundred_on() -> None:
    worse = figures(5.0, version(2, 2), night=segment(9.0, trips=3_000))
    assert objection(300_000, CHAMPION, worse) is None
    assert objection(299_999, CHAMPION, worse) is not None


def test_a_segment_that_does_not_count_hides_none_after_it() -> None:
    champion = figures(6.0, version(1, 1), airports=segment(5.0), night=segment(5.0))
    worse = figures(5.0, version(2, 2), airports=segment(9.0, trips=2_000), night=segment(9.0))
    assert objection(100_000, champion, worse) == "is worse in night, RMSE 9.000 instead of 5.000"


def test_a_segment_without_a_standard_error_counts_by_its_rmse_alone() -> None:
    before, now = ({"rmse": rmse, "trips": 50_000} for rmse in (5.0, 5.3))
    champion = figures(6.0, version(1, 1), night=before)
    assert objection(100_000, champion, figures(5.0, version(2, 2), night=now)) == (
        "is worse in night, RMSE 5.300 instead of 5.000"
    )


def test_an_objection_says_how_far_a_challenger_is_from_what_is_asked() -> None:
    less, more = (figures(rmse, version(2, 2)) for rmse in (5.994, 6.6))
    assert objection(100_000, CHAMPION, less) == "has RMSE 5.994, 0.1% less; 0.5% are asked"
    assert objection(100_000, CHAMPION, more) == "has RMSE 6.600, 10.0% more"
    perfect = figures(0.0, version(1, 1))
    assert "less" not in str(objection(100_000, perfect, more))


def test_a_coverage_that_is_nearer_to_eighty_than_the_champions_is_no_objection() -> None:
    off = figures(6.0, version(1, 1), coverage=0.70)
    assert objection(100_000, off, figures(5.0, version(2, 2), coverage=0.71)) is None
    assert objection(100_000, off, figures(5.0, version(2, 2), coverage=0.90)) is not None


ONE, TWO, OLD = version(1, 1), version(2, 2), version(3, 1, "linear")
ALL = [ONE, TWO, OLD]
NOBODY = Incumbent(None)


def test_a_first_month_has_no_champion_and_a_second_its_first() -> None:
    first = decide(judged(1), ALL, NOBODY, None)
    assert (first.before, first.champion) == (None, None)
    assert first.sentence == "no champion: no earlier model has been scored"
    strange = decide(judged(2, figures(6.0, version(8, 1))), ALL, NOBODY, None)
    assert strange.sentence == "no champion: no scored model is registered"
    second = decide(judged(2, figures(6.0, ONE), figures(5.9, OLD)), ALL, NOBODY, None)
    assert second.champion == Champion(OLD, "2023-02", 5.9 / 9.0)
    assert second.before is None
    assert second.sentence == (
        "the first champion is linear 2023-01, RMSE 5.900 minutes, coverage 80.0%"
    )


@pytest.mark.parametrize(("lookup", "found"), [(6.001, True), (6.0, False)])
def test_a_first_champion_beats_the_lookup_table(lookup: float, found: bool) -> None:
    decision = decide(judged(2, figures(6.0, ONE), lookup=lookup), ALL, NOBODY, None)
    assert (decision.champion is not None) == found


def test_months_whose_trips_are_not_right_promote_nobody() -> None:
    bad = judged(3, figures(5.0, TWO), failed=("share_kept",))
    assert decide(bad, ALL, NOBODY, None).champion is None
    kept = decide(bad, ALL, Incumbent(Champion(ONE)), figures(6.0, ONE))
    assert kept.champion == Champion(ONE, None, 6.0 / 9.0)
    assert kept.sentence.endswith("; the month's trips are not to be trusted (share_kept)")


def test_the_best_challenger_takes_over_or_the_champion_is_kept() -> None:
    incumbent = Incumbent(Champion(ONE, "2023-02", 0.7))
    kept = decide(judged(3, figures(5.99, TWO)), ALL, incumbent, figures(6.0, ONE))
    assert kept.champion == kept.before == incumbent.champion
    assert kept.sentence == (
        "kept boosted 2023-01, RMSE 6.000 minutes; boosted 2023-02 has RMSE 5.990, 0.2% less; 0.5% "
        "are asked"
    )
    both = judged(3, figures(5.0, TWO), figures(4.9, OLD))
    taken = decide(both, ALL, incumbent, figures(5.6, ONE))
    assert taken.champion == Champion(OLD, "2023-03", 4.9 / 9.0)
    assert taken.relative_rmse == 5.6 / 9.0
    assert taken.sentence == (
        "linear 2023-01 takes over from boosted 2023-01: RMSE 4.900 instead of 5.600 minutes, "
        "12.5% less, coverage 80.0%"
    )
    alone = decide(judged(2, figures(6.0, ONE)), ALL, incumbent, figures(6.0, ONE))
    assert alone.sentence == "kept boosted 2023-01, RMSE 6.000 minutes; nobody challenges it"


def test_no_model_is_judged_by_a_month_that_it_has_seen() -> None:
    assert decide(judged(2, figures(1.0, TWO)), ALL, NOBODY, None).champion is None
    kept = decide(judged(2, figures(1.0, ONE)), ALL, Incumbent(Champion(TWO)), None)
    assert kept.sentence == "kept boosted 2023-02, which has seen the month"


def test_the_newest_of_its_month_and_family_challenges_and_never_an_older_one() -> None:
    again, incumbent = version(9, 2), Incumbent(Champion(ONE))
    taken = decide(judged(3, figures(5.0, TWO)), [*ALL, again], incumbent, figures(6.0, ONE))
    assert taken.champion is not None
    assert taken.champion.version == again
    gone = decide(judged(3, figures(5.0, again)), ALL, incumbent, figures(6.0, ONE))
    assert gone.sentence.endswith("nobody challenges it")


def of_month(ratio: float | None, of: Version | None = ONE) -> dict[str, Any]:
    return {"before": of and Champion(of, None, 0.5).to_json(), "relative_rmse": ratio}


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

RMSES = {1: 6.0, 2: 5.9, 3: 5.89, 4: 5.5, 5: 7.0}
"""RMSE of each version on whatever month; version 1 is trained on January, and so on."""

IN_ORDER = {1: None, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4}
"""Who serves from each month on, where the months are made in order."""


class Year:
    """Months judged with a real registry; each is scored by a table, not by trips."""

    def __init__(self, database: Path) -> None:
        self.server = TrackingServer(f"sqlite:///{database}")
        self.client = self.server.client
        self.champions = champions.Champions(self.server, "green")
        self.files: dict[int, dict[str, Any]] = {}
        self.rmses = dict(RMSES)
        self.unreadable: set[int] = set()
        found = self.client.search_model_versions(f"name = '{NAME}'")
        self.runs = {int(each.version): str(each.run_id) for each in found}

    def load(self, _server: object, _fleet: str, number: int) -> Any:
        if number in self.unreadable:
            raise UnusableVersionError(f"green {number} cannot be read.")
        return SimpleNamespace(answer_cells=lambda _: (number, None, None))

    def ask(self, _run: str, answer: Callable[[object], Any]) -> Any:
        return answer(None)

    def score(self, number: int, _bounds: object) -> dict[str, Any]:
        return {"rmse": self.rmses[number], "interval_coverage": 0.8}

    def train(self, month: int, rmse: float | None = None) -> int:
        """Register a version of a month's boosted model; return its number."""
        self.runs[month] = self.client.create_run("0").info.run_id
        model = self.client.create_logged_model("0").model_id
        number = int(Registry(self.client, "green").add(
            self.runs[month], model, Month(2023, month), "boosted", 1.0))  # fmt: skip
        self.rmses.setdefault(number, rmse or self.rmses.get(month, 6.0))
        return number

    def begin(self, month: int) -> Any:
        """Judge a month and store its file; what is left is for the aliases to follow."""
        seen = self.champions.standing()
        number = month - 1
        models = judged(month, {
            "rmse": self.rmses[number], "interval_coverage": 0.8,
            "mlflow_run_id": self.runs[number]}) if number else judged(month)  # fmt: skip
        decided = {f"2023-0{at}": of for at, of in sorted(self.files.items()) if at <= month}
        decision = self.champions.judge(seen, models, decided, self)  # type: ignore[arg-type]
        self.files[month] = json.loads(json.dumps(decision.to_json()))
        return seen, decision

    def make(self, *months: int) -> list[str]:
        return [line for month in months for line in self.champions.follow(*self.begin(month))]

    def move(self, number: int, alias: str = "champion") -> None:
        """As a person does on MLflow's pages."""
        self.client.set_registered_model_alias(NAME, alias, str(number))

    @property
    def serving(self) -> dict[int, int | None]:
        """Who serves from each month on, as its file says."""
        return {month: (of["champion"] or {}).get("version") for month, of in self.files.items()}

    @property
    def aliases(self) -> tuple[int | None, int | None]:
        return self.champions.standing()[:2]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, mlflow_database: Path) -> Path:
    """A database with the five versions; a test's year is a copy of it."""
    path = Path(shutil.copy(mlflow_database, tmp_path_factory.mktemp("trained")))
    year = Year(path)
    for month in RMSES:
        year.train(month)
    return path


@pytest.fixture
def year(tmp_path: Path, trained: Path, monkeypatch: pytest.MonkeyPatch) -> Year:
    year = Year(Path(shutil.copy(trained, tmp_path)))
    monkeypatch.setattr(champions, "load_version", year.load)
    return year


def test_months_in_order_move_both_aliases(year: Year) -> None:
    assert year.make(*IN_ORDER) == []
    assert year.serving == IN_ORDER
    assert year.champions.standing()[:4] == (4, 2, None, "2023-06")
    assert not any(of["chosen"] for of in year.files.values())
    tags = year.client.get_model_version(NAME, "4").tags
    assert tags["promoted"] == f"2023-05: {year.files[5]['decision']}"
    assert "promoted" not in year.client.get_model_version(NAME, "3").tags


@pytest.mark.parametrize("order", [(5, 2, 6, 1, 4, 3), (6, 5, 4, 3, 2, 1), (2, 1, 3, 5, 4, 6)])
def test_months_in_any_order_and_once_more_in_order_are_those_in_order(
    year: Year, order: tuple[int, ...]
) -> None:
    year.make(*order)
    year.make(*IN_ORDER)
    shuffled, year.files = dict(sorted(year.files.items())), {}
    assert {month: of["champion"] and of["champion"]["version"] for month, of in shuffled.items()
            } == IN_ORDER  # fmt: skip
    assert not any(of["chosen"] for of in shuffled.values())
    assert year.aliases[0] == 4


@pytest.mark.parametrize("order", itertools.permutations((3, 4, 5)))
def test_months_judged_side_by_side_say_so_and_once_more_in_order_are_those_in_order(
    year: Year, order: tuple[int, ...]
) -> None:
    year.make(1, 2)
    begun = [year.begin(month) for month in order]
    told = [year.champions.follow(*each) for each in begun]
    assert told[0] == []
    assert "was judged meanwhile: make champion and predictions again" in told[1][0]
    year.make(6)
    year.make(*IN_ORDER)
    assert year.serving == {**dict.fromkeys(order), **IN_ORDER}
    assert not any(of["chosen"] for of in year.files.values())
    assert year.aliases[0] == 4


WRITES = ("promoted", "previous_champion", "champion", "judged_through")


@pytest.mark.parametrize("dies_at", WRITES)
@pytest.mark.parametrize("then", ["again", "next"])
def test_a_month_that_dies_before_any_write_is_finished_by_itself_or_by_the_next(
    year: Year, monkeypatch: pytest.MonkeyPatch, dies_at: str, then: str
) -> None:
    """Two months that follow each other, both of them; each would have moved the alias."""
    year.rmses |= {3: 5.0, 4: 4.5}
    year.make(*IN_ORDER)
    expected, aliases = dict(year.files), year.aliases
    for alias in ("champion", "previous_champion"):
        year.client.delete_registered_model_alias(NAME, alias)
    year.client.delete_registered_model_tag(NAME, "judged_through")
    year.files = {}
    year.make(1, 2)
    with monkeypatch.context() as patched:
        for call in ("set_registered_model_alias", "set_registered_model_tag",
                     "set_model_version_tag"):  # fmt: skip
            patched.setattr(SharingClient, call, dying(getattr(SharingClient, call), dies_at))
        for month in (3, 4):
            with pytest.raises(KeyboardInterrupt):
                year.make(month)
    year.make(*((4, 5, 6) if then == "again" else (5, 6)))
    assert year.files == expected
    assert year.aliases == aliases


def dying(write: Callable[..., None], dies_at: str) -> Callable[..., None]:
    def died(self: SharingClient, name: str, *of: str) -> None:
        if dies_at in of:
            raise KeyboardInterrupt
        write(self, name, *of)

    return died


def test_a_persons_choice_is_judged_by_the_next_month_and_by_no_other(year: Year) -> None:
    year.make(1, 2, 3)
    march = dict(year.files)
    year.move(1)
    year.make(3, 1, 2)
    assert (year.files, year.aliases) == (march, (1, 1))
    year.make(4)
    april = year.files[4]
    assert (april["before"]["version"], april["chosen"]) == (1, True)
    assert april["decision"].startswith("a person chose boosted 2023-01; boosted 2023-03 takes ov")
    assert year.aliases == (3, 1)
    year.make(4, 3, 4)
    assert (year.files[4], year.aliases) == (april, (3, 1))


def test_who_is_moved_while_a_month_is_judged_stays_and_is_judged_by_the_next(year: Year) -> None:
    year.make(1, 2)
    begun = year.begin(3)
    year.move(5)
    said = ["the alias stays at version 5, which somebody has chosen"]
    assert year.champions.follow(*begun) == said
    year.make(4)
    assert (year.files[4]["before"]["version"], year.files[4]["chosen"]) == (5, True)


@pytest.mark.parametrize("again", [True, False])
def test_a_pin_bars_months_and_versions_made_anew_until_it_is_removed(
    year: Year, again: bool
) -> None:
    year.make(1, 2)
    year.champions.pin("an audit")
    assert year.train(1) == 6
    year.make(3, *([3] if again else []))
    assert year.files[3]["decision"].endswith("; it is pinned (an audit)")
    assert (year.files[3]["pinned"], year.aliases) == ("an audit", (1, None))
    year.champions.pin(None)
    year.make(3)
    assert (year.files[3]["pinned"], year.aliases) == ("an audit", (1, None))
    year.make(4)
    assert year.aliases == (3, 1)


def test_a_pin_set_while_a_month_is_judged_holds(year: Year) -> None:
    year.make(1, 2)
    begun = year.begin(3)
    year.champions.pin("wait")
    said = ["the alias stays at version 1, which is pinned"]
    assert year.champions.follow(*begun) == said


def test_a_pin_goes_with_the_version_and_the_next_month_says_so(year: Year) -> None:
    year.make(1, 2, 3)
    year.champions.pin("an audit")
    year.client.delete_model_version(NAME, "2")
    said = ["the pinned version was deleted, and its pin (an audit) with it"]
    assert year.make(4) == said
    assert year.files[4]["decision"].startswith("the first champion is boosted 2023-03")
    assert year.champions.standing()[:4] == (3, 1, None, "2023-04")


@pytest.mark.parametrize("month", [3, 4])
def test_a_deleted_champion_is_followed_by_another(year: Year, month: int) -> None:
    """If its month is made again, or by the next."""
    year.make(1, 2, 3)
    year.client.delete_model_version(NAME, "2")
    year.make(month)
    assert year.aliases[0] == {3: 1, 4: 3}[month]


def test_a_champion_that_cannot_be_read_is_none(year: Year) -> None:
    year.make(1, 2, 3)
    year.unreadable = {2}
    year.make(4)
    assert year.files[4]["before"] is None
    assert year.files[4]["decision"] == (
        "the champion cannot be read (green 2 cannot be read); the first champion is boosted "
        "2023-03, RMSE 5.890 minutes, coverage 80.0%"
    )
    assert year.aliases == (3, 2)


def test_a_registry_that_knows_nothing_of_the_stored_months_is_an_error(year: Year) -> None:
    year.make(1, 2, 3)
    before = dict(year.files)
    year.client.rename_registered_model(NAME, "renamed")
    year.train(4)
    for month in (4, 5):
        with pytest.raises(
            TrackingError, match=r"knows no version .*, such as version 2\. The reg"
        ):
            year.make(month)
    assert year.files == before
    # Where the versions are lost, the months are made again, from the first on.
    for month in (1, 2, 3):
        year.rmses[year.train(month)] = 5.0
        year.make(month)
    assert year.files[3]["champion"]["month"] == "2023-01"


def test_a_version_made_anew_takes_the_champions_place_and_stays_if_months_are_made_again(
    year: Year,
) -> None:
    year.make(1, 2, 3)
    assert year.train(2) == 6
    assert year.aliases == (6, 1)
    year.make(3, 2)
    assert year.aliases == (6, 1)
    year.make(4)
    assert (year.files[4]["before"]["version"], year.files[4]["chosen"]) == (6, False)


def test_a_registration_that_died_takes_its_place_when_it_is_finished(
    year: Year, monkeypatch: pytest.MonkeyPatch
) -> None:
    year.make(1, 2)
    with monkeypatch.context() as patched:
        patched.setattr(Registry, "_succeed", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            year.train(1)
    registry, month = Registry(year.client, "green"), Month(2023, 1)
    assert registry.add(year.runs[1], "", month, "boosted", 5.0) == "6"
    assert year.aliases[0] == 6
    # Once more, after a person has gone back to the older one.
    year.move(1)
    registry.add(year.runs[1], "", month, "boosted", 4.0)
    assert year.aliases[0] == 1
    assert year.client.get_model_version(NAME, "6").tags["rmse"] == "4.000000"


def test_somebody_elses_version_serves_if_it_is_chosen_and_is_left_as_it_is(year: Year) -> None:
    year.make(1, 2)
    year.client.create_model_version(NAME, "somewhere", run_id=year.runs[2])
    year.rmses[6] = 5.95
    year.move(6)
    year.make(3, 4)
    assert year.files[3]["before"]["version"] == 6
    assert year.files[3]["decision"].startswith(
        "a person chose version 6; boosted 2023-02 takes over from version 6: RMSE 5.900 instead of"
    )
    assert year.serving[4] == 2
    assert year.aliases == (2, 6)
    # The run is registered by somebody else, and not yet by us.
    year.runs[7] = year.client.create_run("0").info.run_id
    theirs = year.client.create_model_version(NAME, "elsewhere", run_id=year.runs[7])
    model = year.client.create_logged_model("0").model_id
    Registry(year.client, "green").add(year.runs[7], model, Month(2023, 7), "boosted", 1.0)
    assert year.client.get_model_version(NAME, theirs.version).tags == {}


def test_an_earlier_releases_record_is_taken_over_and_its_pin_named_once(year: Year) -> None:
    year.make(*IN_ORDER)
    year.client.delete_registered_model_tag(NAME, "judged_through")
    old = {"version": 4, "judged_through": "2023-06", "pinned": True}
    year.client.set_registered_model_tag(NAME, "champion", json.dumps(old))
    year.files = {month: of | {"pinned": False} for month, of in year.files.items()}
    told = year.champions.take_over_old_record()
    assert told[0].endswith("again: python -m taxi_assets.champion --fleet green --pin")
    assert year.champions.take_over_old_record() == []
    assert year.make(*IN_ORDER) == []
    assert (year.serving, year.champions.standing()[:4]) == (IN_ORDER, (4, 2, None, "2023-06"))


# ---- The command


@pytest.fixture
def command(
    year: Year, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """The command; gives its exit code and all that it has said."""
    settings = Settings.from_environment(
        {"TAXI_STORAGE": str(tmp_path), "MLFLOW_TRACKING_URI": year.server.uri}
    )
    monkeypatch.setattr(champion.Settings, "from_environment", lambda: settings)

    def run(*arguments: str) -> tuple[int, str]:
        capsys.readouterr()
        (tmp_path / "green/champion").mkdir(parents=True, exist_ok=True)
        for month, of in year.files.items():
            (tmp_path / f"green/champion/2023-0{month}.json").write_text(json.dumps(of))
        code = champion.main(["--fleet", "green", *arguments])
        told = capsys.readouterr()
        return code, told.out + told.err

    return run


def test_the_command_shows_who_serves_and_the_last_decisions(
    command: Callable[..., tuple[int, str]], year: Year
) -> None:
    assert command() == (0, "champion  none\nprevious  none\n")
    year.make(*IN_ORDER)
    decisions = "".join(f"  2023-0{month}  {year.files[month]['decision']}\n" for month in IN_ORDER)
    shown = "champion  version 4, boosted 2023-04\nprevious  version 2, boosted 2023-02\n"
    assert command() == (0, shown + decisions)
    year.files = {month: of | {"decision": f"of {month}"} for month, of in year.files.items()}
    assert command()[1].endswith("of 5\n  2023-06  of 6\n")


def test_people_choose_and_go_back_and_back(
    command: Callable[..., tuple[int, str]], year: Year
) -> None:
    year.make(*IN_ORDER)
    assert command("--set", "5", "--why", "to try it")[0] == 0
    assert year.aliases == (5, 4)
    assert year.client.get_registered_model(NAME).tags["chosen"] == "version 5: to try it"
    for aliases in ((4, 5), (5, 4)):
        command("--back")
        assert year.aliases == aliases
    command("--set", "1")
    command("--back")
    assert year.aliases == (5, 1)


@pytest.mark.parametrize(
    ("last", "target"), [(3, 1), (4, 2), (2, 1)], ids=["promoted", "kept", "first"]
)
def test_going_back_from_a_move_on_mlflows_page_goes_to_whom_the_last_month_names(
    command: Callable[..., tuple[int, str]], year: Year, last: int, target: int
) -> None:
    year.make(*range(1, last + 1))
    left = year.aliases[0]
    year.move(5)
    assert f"previous  version {target}," in command()[1]
    command("--back")
    assert year.aliases == (target, 5)
    assert left in (1, 2)


def test_pins_and_unpins_need_no_reason(
    command: Callable[..., tuple[int, str]], year: Year
) -> None:
    year.make(1, 2)
    assert "\npinned    by hand\n" in command("--pin")[1]
    assert "\npinned    it is safe\n" in command("--pin", "--why", "it is safe")[1]
    assert command("--set", "3")[0] == 0
    assert year.champions.standing()[:4] == (3, 1, "it is safe", "2023-02")
    assert "pinned" not in command("--unpin")[1].partition("2023-01")[0]
    assert year.champions.standing().pinned is None


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--set", "99"], "The green model has no version 99; there are: 1, 2, 3, 4, 5.\n"),
        (["--back"], "No version of green has served before this one.\n"),
        (["--pin"], "No version of green serves, so there is none to pin.\n"),
        (["--unpin"], "No version of green serves, so there is none to pin.\n"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_changes_nothing(
    command: Callable[..., tuple[int, str]], year: Year, options: list[str], reason: str
) -> None:
    before = year.champions.standing()
    assert command(*options) == (1, reason)
    assert year.champions.standing() == before


@pytest.mark.parametrize("serves", [False, True])
@pytest.mark.parametrize("months", [(1, 2, 3, 4), (2, 3), (4,)])
def test_a_strange_registry_is_an_error_in_whatever_order_months_are_made_again(
    year: Year, months: tuple[int, ...], serves: bool
) -> None:
    year.make(1, 2, 3, 4)
    before, runs = dict(year.files), dict(year.runs)
    year.client.rename_registered_model(NAME, "renamed")
    if serves:
        year.move(year.train(5))
        year.runs = runs
    for month in months:
        if month == 1:
            year.make(month)
            continue
        with pytest.raises(TrackingError, match="knows no version"):
            year.make(month)
    assert {month: of["decision"] for month, of in year.files.items()} == {
        month: of["decision"] for month, of in before.items()
    }


def test_the_newest_month_made_again_that_dies_before_it_moves_the_alias_is_finished(
    year: Year,
) -> None:
    year.make(6, 5, 4, 3, 2, 1)
    assert year.aliases[0] == 5
    year.make(1, 2, 3, 4, 5)
    year.begin(6)
    assert (year.serving[6], year.aliases[0]) == (4, 5)
    assert year.make(6) == []
    assert year.aliases[0] == 4
    year.move(5)
    assert year.make(6) != []
    assert year.aliases[0] == 5


@pytest.mark.parametrize("finished", [True, False])
def test_months_that_die_at_different_writes_are_followed_by_the_next(
    year: Year, monkeypatch: pytest.MonkeyPatch, finished: bool
) -> None:
    year.rmses |= {3: 5.0, 4: 4.5}
    year.make(1, 2)
    for month, dies_at in ((3, "judged_through"), (4, "champion")):
        with monkeypatch.context() as patched:
            for call in ("set_registered_model_alias", "set_registered_model_tag"):
                patched.setattr(SharingClient, call, dying(getattr(SharingClient, call), dies_at))
            with pytest.raises(KeyboardInterrupt):
                year.make(month)
    year.make(*([4] if finished else []), 5)
    assert year.files[5]["before"]["version"] == 3
    assert year.files[5]["chosen"] is False


def test_a_first_champion_that_died_before_any_tag_is_followed_by_the_next(year: Year) -> None:
    year.make(1, 2)
    year.client.delete_registered_model_alias(NAME, "champion")
    for tag in ("judged_through", "followed"):
        year.client.delete_registered_model_tag(NAME, tag)
    year.make(3)
    assert year.files[3]["before"]["version"] == 1


def test_a_month_that_died_and_whose_verdict_is_deleted_leaves_the_alias(year: Year) -> None:
    year.make(1, 2)
    year.begin(3)
    year.client.delete_model_version(NAME, "2")
    year.make(4)
    assert year.files[4]["before"]["version"] == 1


@pytest.mark.parametrize("month", [3, 4])
def test_whoever_goes_back_to_an_older_version_of_the_same_month_has_chosen(
    year: Year, month: int
) -> None:
    year.make(1, 2)
    year.rmses[year.train(1)] = 5.88
    year.make(3)
    assert year.aliases[0] == 6
    year.move(1)
    told = year.make(month)
    if month == 3:
        assert year.aliases[0] == 1
        assert told == ["the alias stays at version 1, which somebody has chosen"]
    else:
        assert year.files[4]["chosen"] is True


def test_champion_and_previous_champion_are_never_the_same(
    year: Year, command: Callable[..., tuple[int, str]]
) -> None:
    year.make(1, 2, 3)
    year.client.delete_model_version(NAME, "2")
    year.make(3)
    assert year.aliases == (1, None)
    year.client.delete_registered_model_alias(NAME, "champion")
    year.move(1, "previous_champion")
    command("--set", "1")
    assert year.aliases == (1, None)


def test_the_way_back_is_the_commands_own_and_survives_a_deleted_version(
    year: Year, command: Callable[..., tuple[int, str]]
) -> None:
    year.make(*IN_ORDER)
    for number in ("2", "5", None):
        command(*(["--set", number] if number else ["--back"]))
    assert year.aliases == (2, 5)
    again = year.train(2)
    year.client.delete_model_version(NAME, "2")
    assert year.aliases[0] == again
    assert command()[0] == 0


def test_a_pin_of_a_deleted_version_does_not_stick_to_the_next(
    year: Year, command: Callable[..., tuple[int, str]]
) -> None:
    year.make(1, 2, 3)
    for options in (["--set", "3"], ["--unpin"]):
        year.champions.pin("audit of 2")
        champion_now = year.aliases[0]
        year.client.delete_registered_model_alias(NAME, "champion")
        assert command(*options)[0] == 0
        assert year.champions.standing().pinned is None
        year.move(champion_now or 2)


def test_an_old_pin_is_named_though_the_command_is_refused(
    year: Year, command: Callable[..., tuple[int, str]]
) -> None:
    year.make(1, 2)
    year.client.set_registered_model_tag(NAME, "champion", json.dumps({"pinned": True}))
    code, told = command("--set", "99")
    assert code == 1
    assert "again: python -m taxi_assets.champion --fleet green --pin" in told


# ---- In the graph


def stored(settings: Settings, name: str) -> dict[str, Any]:
    read = json.loads((Path(settings.storage) / f"green/champion/{name}.json").read_text())
    assert isinstance(read, dict)
    return read


def aliases(settings: Settings) -> dict[str, int]:
    model = mlflow.MlflowClient(settings.tracking_uri).get_registered_model(NAME)
    return {name: int(at) for name, at in model.aliases.items() if "champion" in name}


@pytest.mark.after_three_months
def test_a_range_finds_its_champion_and_moves_the_alias(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    first, second, third = (stored(settings, f"2023-0{number}") for number in (1, 2, 3))
    assert first["champion"] is None
    assert second["before"] is None
    assert second["champion"]["month"] == "2023-01"
    assert third["before"] == second["champion"]
    assert aliases(settings)["champion"] == third["champion"]["version"]
    record = latest_record(instance, "champion", "2023-03")
    assert record is not None
    assert record.metadata["summary"].value == third["decision"]


@pytest.mark.after_three_months
def test_a_champions_figures_are_those_of_the_backtest(settings: Settings) -> None:
    """The served version is asked, and answers as the stored model that the backtest asked."""
    third = stored(settings, "2023-03")
    path = Path(settings.storage) / "green/backtest/2023-02.json"
    scored = json.loads(path.read_text())["models"]
    assert stored(settings, "2023-02")["champion"]["ratio"] == (
        scored["boosted"]["rmse"] / scored["lookup"]["rmse"]
    )
    assert third["relative_rmse"] > 0.5


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
    backtest = Path(own_source.storage) / "green/backtest/2023-03.json"
    assert json.loads(backtest.read_text())["failed_checks"] == ["share_kept"]
    february, march = (stored(own_source, f"2023-0{number}") for number in (2, 3))
    assert march["champion"]["version"] == february["champion"]["version"]
    assert "the month's trips are not to be trusted (share_kept)" in march["decision"]


@pytest.mark.after_three_months
def test_months_made_again_and_a_retry_after_an_outage_end_alike(
    materialize: Materialize, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = [stored(settings, f"2023-0{number}") for number in (1, 2, 3)], aliases(settings)
    real, reads = champions.Champions.standing, []

    def away(self: champions.Champions) -> Any:
        reads.append(1)
        if len(reads) in (2, 3):
            raise UnreachableTrackingError("MLflow is away")
        return real(self)

    monkeypatch.setattr(champions.Champions, "standing", away)
    assert materialize("2023-01:2023-03", "champion", "predictions").success
    after = [stored(settings, f"2023-0{number}") for number in (1, 2, 3)], aliases(settings)
    assert after == before


@pytest.mark.after_three_months
def test_a_strange_registry_leaves_what_is_stored(
    materialize: Materialize, settings: Settings
) -> None:
    path = Path(settings.storage) / "green/predictions/2023-03.parquet"
    before = stored(settings, "2023-03"), path.read_bytes()
    client = mlflow.MlflowClient(settings.tracking_uri)
    client.rename_registered_model(NAME, "renamed")
    (message,) = step_failures(materialize("2023-03"))
    assert message.startswith("champion 2023-03: MLflow at sqlite:///")
    assert "was renamed or deleted" in message
    assert (stored(settings, "2023-03"), path.read_bytes()) == before


@pytest.mark.after_three_months
def test_versions_tell_when_they_were_made_and_come_in_the_order_of_their_numbers(
    settings: Settings,
) -> None:
    client = mlflow.MlflowClient(settings.tracking_uri)
    client.set_model_version_tag(NAME, "1", "note", "MLflow lists the last that changed first")
    found = registered_versions(TrackingServer(settings.tracking_uri), "green")
    assert [version.number for version in found] == [1, 2, 3, 4, 5, 6]
    assert 1_700_000_000 < found[0].created < 5_000_000_000  # Seconds since 1970.


def test_a_version_whose_place_does_not_answer_is_an_outage_and_one_without_files_unusable(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in (("MAX_RETRIES", "0"), ("BACKOFF_FACTOR", "0")):
        monkeypatch.setenv(f"MLFLOW_HTTP_REQUEST_{name}", value)
    client = mlflow.MlflowClient(settings.tracking_uri)
    client.create_registered_model(NAME)
    for source in ("mlflow-artifacts://127.0.0.1:9/1", (tmp_path / "gone").as_uri()):
        client.create_model_version(NAME, source)
    server = TrackingServer(settings.tracking_uri)
    with pytest.raises(UnreachableTrackingError, match="MLflow at sqlite"):
        load_version(server, "green", 1)
    with pytest.raises(UnusableVersionError, match=r"green 2 cannot be read from .*nothing is th"):
        load_version(server, "green", 2)
    with pytest.raises(UnusableVersionError, match="has no version 3"):
        load_version(server, "green", 3)
    with pytest.raises(UnreachableTrackingError):
        load_version(TrackingServer("http://127.0.0.1:9"), "green", 1)


@pytest.mark.after_three_months
def test_a_version_that_is_read_leaves_no_copy_behind(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    assert load_version(TrackingServer(settings.tracking_uri), "green", 1) is not None
    assert list(place.iterdir()) == []


@pytest.mark.after_three_months
def test_predictions_are_the_champions_before_the_month(settings: Settings) -> None:
    """As many as trips, in their order; none where there was no champion."""
    data = Path(settings.storage) / "green"
    for name, serving in (("2023-02", None), ("2023-03", stored(settings, "2023-02")["champion"])):
        trips = pd.read_parquet(data / f"cleaned_trips/{name}.parquet")
        found = pd.read_parquet(data / f"predictions/{name}.parquet")
        assert list(found) == ["minutes", "minutes_p10", "minutes_p90", "model_version"]
        assert [str(kind) for kind in found.dtypes] == ["float32"] * 3 + ["category"]
        assert len(found) == len(trips)
        if serving is None:
            assert found.isna().all().all()
            continue
        assert set(found["model_version"]) == {str(serving["version"])}
        server = TrackingServer(settings.tracking_uri)
        answers = load_version(server, "green", serving["version"]).answer_cells(cells_of(trips))
        np.testing.assert_array_equal(found.iloc[:, :3].to_numpy().T, np.float32(answers))


@pytest.mark.after_three_months
def test_a_version_that_is_gone_is_named(materialize: Materialize, settings: Settings) -> None:
    number = stored(settings, "2023-03")["before"]["version"]
    mlflow.MlflowClient(settings.tracking_uri).delete_model_version(NAME, str(number))
    (message,) = step_failures(materialize("2023-03", "predictions"))
    assert f"{NAME} has no version {number}" in message
    assert "--select 'green/champion,green/predictions'" in message
