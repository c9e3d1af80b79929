"""Which model serves: the rule, its replay in any order, MLflow's record, and people's say."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import mlflow
import numpy as np
import pandas as pd
import pytest

from taxi_assets import champion
from taxi_assets.championship import Championship
from taxi_assets.checks import model as model_checks
from taxi_assets.durations.contest import objection
from taxi_assets.durations.reigns import Decision, JudgedMonth, Reign, Verdict, Version
from taxi_assets.durations.replay import replay
from taxi_assets.durations.window import cells_of
from taxi_assets.settings import Settings
from taxi_assets.storage.files import Storage
from taxi_assets.tlc.fleets import FLEETS
from taxi_assets.tlc.months import Month
from taxi_assets.tracking.champion_record import ChampionRecord
from taxi_assets.tracking.client import SharingClient
from taxi_assets.tracking.servers import TrackingError, TrackingServer, UnreachableTrackingError
from taxi_assets.tracking.versions import (
    UnusableVersionError,
    load_version,
    registered_versions,
)
from taxi_assets_tests.conftest import latest_record, step_failures

Materialize = Callable[..., dg.ExecuteInProcessResult]
NAME = "nyc-taxi-trip-duration-green"


def month(number: int) -> Month:
    return Month(2023, number)


def version(number: int, of: int, family: str = "boosted", created: float = 0.0) -> Version:
    return Version(number, month(of), family, f"run{number}", created)


def figures(rmse: float, of: Version, coverage: float = 0.8, **segments: Any) -> dict[str, Any]:
    return {
        "rmse": rmse,
        "interval_coverage": coverage,
        "mlflow_run_id": of.run_id,
        "trained_through": str(of.month),
        "segments": segments,
    }


def judged(
    of: int, *models: dict[str, Any], lookup: float = 9.0, failed: tuple[str, ...] = ()
) -> Any:
    """A month's backtest, with models of the families boosted and, if there are two, linear."""
    named = dict(zip(("boosted", "linear"), models, strict=False))
    reference = {"lookup": {"rmse": lookup, "mlflow_run_id": None, "trained_through": "2023-01"}}
    return JudgedMonth(month(of), 100_000, named | reference, failed)


def unscored(_judged: JudgedMonth, _version: Version) -> None:
    return None


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


def test_a_first_month_has_no_champion_and_a_second_its_first() -> None:
    one, two = version(1, 1), version(2, 1, "linear")
    months = [
        JudgedMonth(month(1), 100, {}),
        judged(2, figures(6.0, one), figures(8.0, two)),
    ]
    first, second = replay(months, [], [one, two], unscored)
    assert first.champion is None
    assert first.sentence == "no champion: no earlier model has been scored"
    assert second.champion == Reign(one, month(2), ratio=6.0 / 9.0)
    assert second.before is None
    assert second.sentence == (
        "the first champion is boosted 2023-01, RMSE 6.000 minutes, coverage 80.0%"
    )


@pytest.mark.parametrize(("lookup", "found"), [(6.001, True), (6.0, False)])
def test_a_first_champion_beats_the_lookup_table(lookup: float, found: bool) -> None:
    one = version(1, 1)
    (verdict,) = replay([judged(2, figures(6.0, one), lookup=lookup)], [], [one], unscored)
    assert (verdict.champion is not None) == found


def test_months_with_trips_that_are_not_right_promote_nobody() -> None:
    one, two = version(1, 1), version(2, 2)
    months = [
        judged(2, figures(6.0, one), failed=("share_kept",)),
        judged(3, figures(6.0, one)),
        judged(4, figures(5.0, two), failed=("pickups_in_month",)),
    ]
    scored = {("2023-04", 1): figures(6.1, one)}
    verdicts = list(replay(months, [], [one, two], scores(scored)))
    assert [v.champion and v.champion.version.number for v in verdicts] == [None, 1, 1]
    assert "pickups_in_month" in verdicts[2].sentence


def scores(known: dict[tuple[str, int], dict[str, Any]]) -> Any:
    return lambda judged, version: known.get((str(judged.month), version.number))


def test_the_champion_is_scored_where_it_is_no_longer_the_newest() -> None:
    """Candidates are it, the newest linear model and the newest boosted one."""
    one, two, three = version(1, 1), version(2, 2), version(3, 3)
    months = [
        judged(2, figures(6.0, one)),
        judged(3, figures(5.99, two)),
        judged(4, figures(5.0, three)),
    ]
    known = {("2023-03", 1): figures(6.0, one), ("2023-04", 1): figures(5.6, one)}
    *_, kept, taken = replay(months, [], [one, two, three], scores(known))
    assert kept.champion is not None
    assert kept.champion.version == one
    assert kept.sentence == (
        "kept boosted 2023-01, RMSE 6.000 minutes; boosted 2023-02 has RMSE 5.990, 0.2% less; 0.5% "
        "are asked"
    )
    assert taken.champion is not None
    assert taken.champion.version == three
    assert taken.previous == one
    assert taken.sentence == (
        "boosted 2023-03 takes over from boosted 2023-01: RMSE 5.000 instead of 5.600 minutes, "
        "10.7% less, coverage 80.0%"
    )
    assert set(taken.figures) == {"run1", "run3"}


def test_no_model_is_judged_by_a_month_that_it_has_seen() -> None:
    late = version(1, 3)
    months = [judged(3, figures(1.0, late))]
    (verdict,) = replay(months, [], [late], unscored)
    assert verdict.champion is None
    by_hand = [Decision(5.0, None, "try it", version=1)]
    _, verdict = replay(months, by_hand, [late], unscored)
    assert verdict.sentence == "kept boosted 2023-03, which has seen the month"


def test_a_version_made_again_takes_the_champions_place_without_a_contest() -> None:
    one, soon, again = version(1, 1), version(3, 1, created=4.0), version(5, 1, created=9.0)
    months = [judged(2, figures(6.0, one)), judged(3, figures(6.0, one))]
    *_, last = replay(months, [], [one, soon, again], unscored)
    assert last.champion is not None
    assert last.champion.version == again
    assert last.sentence == "kept boosted 2023-01, RMSE 6.000 minutes; nobody challenges it"


def test_the_newest_of_its_month_and_family_stands_for_a_version_that_is_gone() -> None:
    gone, *others = (version(number, 1) for number in (1, 2, 3, 4))
    (verdict,) = replay([judged(2, figures(6.0, gone))], [], others, unscored)
    assert verdict.champion is not None
    assert verdict.champion.version.number == 4


def test_decay_is_measured_by_the_month_that_promoted_or_else_by_the_first_that_judged() -> None:
    """Beside a lookup table of 9 minutes; a person has chosen the second champion."""
    one, two = version(1, 1), version(2, 2)
    months = [
        *(judged(2, figures(4.5, one)), judged(3, figures(9.0, one))),
        *(judged(4, figures(2.25, two)), judged(5, figures(18.0, two))),
    ]
    chosen = [Decision(5.0, month(3), "", version=2)]
    verdicts = list(replay(months, chosen, [one, two], unscored))
    assert [v.champion and v.champion.ratio for v in verdicts] == [0.5, 0.5, None, 0.25, 0.25]
    assert [v.ratio for v in verdicts] == [None, 1.0, None, 0.25, 2.0]
    assert verdicts[2].sentence == "boosted 2023-02 was chosen by hand"
    assert verdicts[2].candidates == (two,)


def test_one_that_a_person_chose_gives_way_only_to_what_is_made_later() -> None:
    one, again, later = version(1, 1), version(2, 1, created=1.0), version(3, 1, created=8.0)
    chosen = [Decision(5.0, month(2), "the older one", version=1)]
    months = [judged(2, figures(6.0, again))]
    *_, before = replay(months, chosen, [one, again], unscored)
    *_, after = replay(months, chosen, [one, again, later], unscored)
    at_once = replace(again, number=3, created=5.0)
    *_, still = replay(months, chosen, [one, again, at_once], unscored)
    pinned = [replace(chosen[0], pinned=True)]
    *_, held = replay(months, pinned, [one, again, later], unscored)
    numbers = [v.champion and v.champion.version.number for v in (before, after, still, held)]
    assert numbers == [1, 3, 1, 1]


def test_one_that_a_person_chose_is_judged_by_its_own_figures_not_by_those_of_its_twin() -> None:
    one, twin = version(1, 1), version(2, 1, created=1.0)
    chosen = [Decision(5.0, None, "", version=1)]
    months = [judged(2, figures(4.0, twin))]
    own = scores({("2023-02", 1): figures(6.0, one)})
    *_, verdict = replay(months, chosen, [one, twin], own)
    assert verdict.figures["run1"]["rmse"] == 6.0
    assert verdict.champion is not None
    assert verdict.champion.version == twin
    assert verdict.sentence.startswith("boosted 2023-01 takes over from boosted 2023-01: RMSE 4")


def test_a_pinned_champion_is_kept_until_it_is_let_go() -> None:
    one, two = version(1, 1), version(2, 2)
    months = [
        judged(2, figures(6.0, one)),
        judged(3, figures(5.0, two)),
        judged(4, figures(5.0, two)),
    ]
    known = {("2023-03", 1): figures(6.0, one), ("2023-04", 1): figures(6.0, one)}
    decisions = [
        Decision(5.0, month(2), "", version=1, pinned=True),
        Decision(6.0, month(3), "", pinned=False),
    ]
    verdicts = list(replay(months, decisions, [one, two], scores(known)))
    assert [v.sentence for v in verdicts[1:4]] == [
        "pinned by hand",
        "kept boosted 2023-01, RMSE 6.000 minutes; it is pinned",
        "no longer pinned by hand",
    ]
    pinned = verdicts[1].champion
    assert pinned == replace(verdicts[0].champion, chosen=5.0)
    assert verdicts[-1].champion is not None
    assert verdicts[-1].champion.version == two


def test_a_deleted_version_is_nobody() -> None:
    one, two = version(1, 1), version(2, 1, "linear")
    months = [judged(2, figures(6.0, one), figures(7.0, two))]
    (verdict,) = replay(months, [], [two], unscored)
    assert verdict.champion is not None
    assert verdict.champion.version == two
    gone = [Decision(5.0, month(2), "better", version=1)]
    *_, last = replay(months, gone, [two], unscored)
    assert last.champion == verdict.champion
    assert last.sentence == "version 1 was chosen, and is there no more by hand: better"


def test_decisions_stand_after_the_month_that_was_the_newest_whatever_comes_later() -> None:
    one, two = version(1, 1), version(2, 2)
    decision = Decision(5.0, month(3), "back", version=1)
    months = [judged(2, figures(6.0, one)), judged(3, figures(5.0, two))]
    known = {("2023-03", 1): figures(6.0, one)}
    late = [*months, judged(4, figures(5.0, two))]
    known["2023-04", 1] = figures(6.0, one)
    verdicts = list(replay(late, [decision], [one, two], scores(known)))
    assert [v.champion and v.champion.version.number for v in verdicts] == [1, 2, 1, 2]


@pytest.mark.parametrize(
    ("ratios", "passed"),
    [((1.0, 1.0, 1.11), True), ((1.0, 1.1001, 1.1001), False), ((1.11, 1.0, 1.11), False),
     ((1.11, 1.0999, 1.0999), True), ((1.11, 1.0, 1.0, 1.11), True),
     ((1.1, 1.1, 1.1), True)],
)  # fmt: skip
def test_a_model_decays_in_two_of_three_months(ratios: tuple[float, ...], passed: bool) -> None:
    reign = Reign(version(1, 1), month(2), ratio=0.5)
    verdicts = [Verdict(month(3), reign, before=reign, ratio=0.5 * ratio) for ratio in ratios]
    assert model_checks.model_decays(verdicts).passed == passed


def test_only_months_that_judged_the_champion_speak_of_its_decay() -> None:
    reign, other = (Reign(version(each, 1), month(2), ratio=0.5) for each in (1, 2))
    of_another = Verdict(month(3), other, before=other, ratio=5.0)
    verdicts = [of_another, of_another, Verdict(month(3), reign, before=reign, ratio=0.5)]
    assert model_checks.model_decays(verdicts).passed
    unscored = Verdict(month(4), reign, before=reign)
    for months in ([Verdict(month(2))], [*verdicts, unscored]):
        nobody = model_checks.model_decays(months)
        assert nobody.passed
        assert nobody.metadata["judged"].value is False


# ---- In the graph


def stored(settings: Settings, name: str) -> dict[str, Any]:
    read = json.loads((Path(settings.storage) / f"green/champion/{name}.json").read_text())
    assert isinstance(read, dict)
    return read


def standing(settings: Settings) -> tuple[dict[str, int], dict[str, Any]]:
    """The aliases of champions, and MLflow's record."""
    model = mlflow.MlflowClient(settings.tracking_uri).get_registered_model(NAME)
    aliases = {name: int(at) for name, at in model.aliases.items() if "champion" in name}
    return aliases, json.loads(model.tags["champion"])


def kinds(settings: Settings) -> dict[int, str]:
    """Month and family of each version."""
    found = mlflow.MlflowClient(settings.tracking_uri).search_model_versions(f"name = '{NAME}'")
    return {int(each.version): f"{each.tags['family']} {each.tags['month']}" for each in found}


@pytest.mark.after_three_months
def test_a_span_finds_its_champion_records_it_and_moves_the_aliases(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    first, second, third = (stored(settings, f"2023-0{number}") for number in (1, 2, 3))
    assert first["champion"] is None
    assert second["before"] is None
    assert second["champion"]["month"] == "2023-01"
    assert third["before"] == second["champion"]
    aliases, record = standing(settings)
    assert aliases["champion"] == record["version"] == third["champion"]["version"]
    assert record["why"] == third["decision"]
    assert record["judged_through"] == "2023-03"
    metadata = latest_record(instance, "champion", "2023-03")
    assert metadata is not None
    assert metadata.metadata["summary"].value == third["decision"]
    client = mlflow.MlflowClient(settings.tracking_uri)
    tags = client.get_model_version(NAME, str(second["champion"]["version"])).tags
    assert tags["champion_2023-02"] == second["decision"]


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
def test_aliases_that_somebody_moved_follow_the_record_again(
    materialize: Materialize, settings: Settings, instance: dg.DagsterInstance
) -> None:
    before, record = standing(settings)
    client = mlflow.MlflowClient(settings.tracking_uri)
    other = next(number for number in kinds(settings) if number not in before.values())
    client.set_registered_model_alias(NAME, "champion", str(other))
    client.set_registered_model_alias(NAME, "previous_champion", str(other))
    assert materialize("2023-03", "champion").success
    assert standing(settings) == (before, record)
    said = latest_record(instance, "champion", "2023-03")
    assert said is not None
    assert said.metadata["put_right"].value == (
        f"the alias previous_champion was at version {other}, and is {at(record['previous'])} "
        "again; "
        f"the alias champion was at version {other}, and is at version {record['version']} again"
    )
    client.delete_registered_model_alias(NAME, "champion")
    assert materialize("2023-03", "champion").success
    assert standing(settings) == (before, record)


def at(number: int | None) -> str:
    return "at no version" if number is None else f"at version {number}"


@pytest.mark.after_three_months
def test_a_deleted_champion_is_followed_by_the_next(settings: Settings) -> None:
    _, record = standing(settings)
    client = mlflow.MlflowClient(settings.tracking_uri)
    client.delete_model_version(NAME, str(record["version"]))
    championship(settings).settle()
    aliases, after = standing(settings)
    assert aliases["champion"] == after["version"] != record["version"]
    assert after["version"] in kinds(settings)


def championship(settings: Settings) -> Championship:
    server = TrackingServer(settings.tracking_uri)
    return Championship(Storage(settings.storage), server, FLEETS["green"], lambda _: None)


@pytest.mark.after_three_months
@pytest.mark.parametrize("alias", ["previous_champion", "champion"])
def test_an_outage_in_the_middle_leaves_nothing_half_moved(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, alias: str
) -> None:
    """The record is the truth from the moment it is written; the next run moves the aliases."""
    other = next(
        number for number in kinds(settings) if number not in standing(settings)[0].values()
    )
    move = SharingClient.set_registered_model_alias

    def away(self: SharingClient, name: str, moved: str, version: str) -> None:
        if moved == alias:
            raise mlflow.MlflowException("the server is away")
        move(self, name, moved, version)

    one = championship(settings)
    before, record = standing(settings)
    one.record.add_decision(Decision(5e9, month(3), "try it", version=other))
    with monkeypatch.context() as patched:
        patched.setattr(SharingClient, "set_registered_model_alias", away)
        with pytest.raises(TrackingError, match="the server is away"):
            one.settle()
    aliases, decided = standing(settings)
    assert (decided["version"], decided["previous"]) == (other, record["version"])
    assert aliases["champion"] == before["champion"]
    championship(settings).settle()
    assert standing(settings) == (
        {"champion": other, "previous_champion": record["version"]}, decided
    )  # fmt: skip


@pytest.mark.after_three_months
def test_whoever_writes_last_has_seen_what_others_have_judged(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A month that another run judges between the look and the writing counts."""
    _, expected = standing(settings)
    path = Path(settings.storage) / "green/backtest/2023-03.json"
    content = path.read_bytes()
    path.unlink()
    one = championship(settings)
    write = one.record.write

    def write_while_another_judges(verdict: Verdict) -> list[str]:
        found = write(verdict)
        path.write_bytes(content)
        return found

    monkeypatch.setattr(one.record, "write", write_while_another_judges)
    one.settle()
    assert standing(settings)[1] == expected


# ---- The command


@pytest.fixture
def command(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """The command; gives its exit code and all that it has said."""
    monkeypatch.setattr(champion.Settings, "from_environment", lambda: settings)

    def run(*arguments: str) -> tuple[int, str]:
        capsys.readouterr()
        try:
            code = champion.main(["--fleet", "green", *arguments])
        except SystemExit as end:
            code = int(str(end.code))
        said = capsys.readouterr()
        return code, said.out + said.err

    return run


@pytest.mark.after_three_months
def test_people_choose_go_back_pin_and_let_go(
    command: Callable[..., tuple[int, str]], settings: Settings, materialize: Materialize
) -> None:
    code, said = command()
    (_, record) = standing(settings)
    best, before = record["version"], record["previous"]
    assert code == 0
    assert f"champion  version {best}, {kinds(settings)[best]}, since {record['since']}" in said
    assert "  2023-02     the first champion is boosted 2023-01" in said
    other = next(number for number, kind in kinds(settings).items() if kind == "linear 2023-01")
    code, said = command("--set", str(other), "--why", "to try it")
    assert (code, standing(settings)[0]) == (0, {"champion": other, "previous_champion": best})
    assert "linear 2023-01 was chosen by hand: to try it" in said
    code, said = command("--back", "--why", "it is worse")
    assert (code, standing(settings)[0]) == (0, {"champion": best, "previous_champion": other})
    code, said = command("--pin")
    assert ", pinned" in said
    # This very version, whatever is made in its place.
    assert championship(settings).record.decisions()[-1].version == best
    assert materialize("2023-04").success
    assert stored(settings, "2023-04")["decision"].endswith("; it is pinned")
    code, said = command("--set", str(best), "--why", "it stays")
    assert ", pinned" in said
    assert f"{kinds(settings)[best]} was chosen by hand: it stays" in said
    code, said = command("--unpin")
    assert ", pinned" not in said
    assert standing(settings)[1]["pinned"] is False
    assert before in (None, *kinds(settings))


@pytest.mark.after_three_months
def test_a_versions_tags_say_how_months_judged_it_whatever_people_decide(
    command: Callable[..., tuple[int, str]], settings: Settings
) -> None:
    client = mlflow.MlflowClient(settings.tracking_uri)
    best = standing(settings)[1]["version"]
    before = client.get_model_version(NAME, str(best)).tags
    assert before["champion_2023-03"] == stored(settings, "2023-03")["decision"]
    for reason in ("it is good", "it is the best"):
        command("--set", str(best), "--why", reason)
        assert client.get_model_version(NAME, str(best)).tags == before


@pytest.mark.after_three_months
def test_what_a_month_decides_anew_takes_the_place_of_what_it_decided(settings: Settings) -> None:
    record = ChampionRecord(TrackingServer(settings.tracking_uri), "green")
    versions = registered_versions(TrackingServer(settings.tracking_uri), "green")
    judged_by_march = next(each for each in versions if "champion_2023-03" in each.tags)
    record.annotate([Verdict(month(3), sentence="kept another", candidates=(judged_by_march,))])
    number = str(judged_by_march.number)
    tags = mlflow.MlflowClient(settings.tracking_uri).get_model_version(NAME, number).tags
    assert tags["champion_2023-03"] == "kept another"


@pytest.mark.after_three_months
def test_a_change_of_champion_puts_nothing_right(settings: Settings) -> None:
    server = TrackingServer(settings.tracking_uri)
    versions = registered_versions(server, "green")
    now = standing(settings)[1]["version"]
    heir = next(version for version in versions if version.number != now)
    verdict = Verdict(month(3), champion=Reign(heir, month(3)), previous=versions[0])
    assert ChampionRecord(server, "green").write(verdict) == []
    assert standing(settings)[0]["champion"] == heir.number


@pytest.mark.after_three_months
def test_a_champion_without_a_predecessor_leaves_no_alias_of_one(settings: Settings) -> None:
    server = TrackingServer(settings.tracking_uri)
    first, second, *_ = registered_versions(server, "green")
    record = ChampionRecord(server, "green")
    record.write(Verdict(month(3), champion=Reign(second, month(3)), previous=first))
    assert standing(settings)[0] == {"champion": 2, "previous_champion": 1}
    record.write(Verdict(month(3), champion=Reign(first, month(3))))
    assert standing(settings)[0] == {"champion": 1}


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


@pytest.mark.parametrize("of_these_trips", [True, False])
@pytest.mark.after_three_months
def test_a_stored_score_counts_as_long_as_the_months_trips_are_the_same(
    settings: Settings, of_these_trips: bool
) -> None:
    """February's model of March's backtest is not the champion; January's was scored before."""
    old = next(number for number, kind in kinds(settings).items() if kind == "linear 2023-01")
    one = championship(settings)
    one.record.add_decision(Decision(5.0, month(2), "try it", version=old))
    run = mlflow.MlflowClient(settings.tracking_uri).get_model_version(NAME, str(old)).run_id
    path = Path(settings.storage) / "green/champion/2023-03.json"
    champion_of_march = json.loads(path.read_text())
    known = {"rmse": 1.25, "mlflow_run_id": run, "trained_through": "2023-01", "segments": {}}
    champion_of_march["scores"] = {run: known | {"interval_coverage": 0.8}}
    if not of_these_trips:
        champion_of_march["backtest"] = "0123"
    path.write_text(json.dumps(champion_of_march))
    (verdict,) = [v for v in one.verdicts() if v.month == month(3)]
    assert (verdict.figures[run]["rmse"] == 1.25) is of_these_trips


def test_the_command_shows_the_last_decisions() -> None:
    verdicts = [Verdict(month(1), sentence=f"decided {number}") for number in range(15)]
    lines = champion._shown("green", verdicts)
    assert lines[-1].endswith("decided 14")
    assert len([line for line in lines if "decided" in line]) == champion.SHOWN == 10


@pytest.mark.after_three_months
def test_what_cannot_be_meant_is_refused_and_changes_nothing(
    command: Callable[..., tuple[int, str]], settings: Settings
) -> None:
    before = standing(settings)
    assert command("--set", "99", "--why", "x") == (
        1,
        "The green model has no version 99; there are: 1, 2, 3, 4, 5, 6.\n",
    )
    code, said = command("--set", "1")
    assert code == 2
    assert "say why" in said
    assert standing(settings) == before


def test_before_any_month_there_is_nobody(
    command: Callable[..., tuple[int, str]],
) -> None:
    assert command() == (0, "No month of green has been judged yet.\n")
    nobody = "No version of green has served before this one.\n"
    assert command("--back", "--why", "x") == (1, nobody)
    for option in ("--pin", "--unpin"):
        said = "No version of green serves yet, so there is none to pin.\n"
        assert command(option) == (1, said)


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
