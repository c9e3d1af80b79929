"""The promotion rule: which version serves from a month on, by what the month's trips say.

A month's trips judge models of earlier months. The champion stays until a challenger is clearly
better. Nothing here knows MLflow: the versions and where the alias points are given.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from math import hypot
from typing import Any, NamedTuple

from taxi_assets.tlc.months import Month

REFERENCE = "lookup"
"""The baseline that a first champion has to beat, and that decay is measured by."""

FAMILIES = ("linear", "boosted")
"""The families whose models may serve."""

MIN_GAIN = 0.005
"""How far a challenger's RMSE must be below the champion's."""

COVERAGE, COVERAGE_TOLERANCE = 0.80, 0.04
"""Share of trips within the interval, and how far off it may be."""

SEGMENT_SHARE, SEGMENT_TRIPS = 0.01, 2_000
"""A segment counts that has more than both: a share of the month's trips, and so many."""

SEGMENT_LOSS, STANDARD_ERRORS = 0.05, 2.0
"""How far the RMSE of a segment may rise; nor does it count within these standard errors."""

Metrics = Mapping[str, Any]
"""What ``backtest`` stores of a model or of a month, or what ``champion`` stores of a month."""


@dataclass(frozen=True)
class Version:
    """A version of a fleet's registered model.

    Attributes:
        number: of the version.
        month: the last that it was trained on; None if somebody else has registered it.
        family: ``linear`` or ``boosted``; None likewise.
        run_id: of the MLflow run that trained it.
        created: seconds since 1970.
        since: of a champion, the month that promoted it; None if a person chose it.
        ratio: of a champion, its RMSE beside that of the lookup table when it was promoted, or on
            the first month that judged it.
    """

    number: int
    month: Month | None
    family: str | None
    run_id: str | None
    created: float
    since: str | None = field(default=None, compare=False)
    ratio: float | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return f"version {self.number}" if self.month is None else f"{self.family} {self.month}"

    def to_json(self) -> dict[str, Any]:
        """As ``champion`` stores it."""
        return {
            "version": self.number,
            "month": self.month and str(self.month),
            "family": self.family,
            "mlflow_run_id": self.run_id,
            "since": self.since,
            "ratio": self.ratio,
        }

    def stands_for(self, stored: Metrics | None) -> bool:
        """Whether it is the version that is stored, or a newer one of its month and family."""
        if stored is None:
            return False
        is_same = (stored["version"], stored["mlflow_run_id"]) == (self.number, self.run_id)
        kind = stored["month"], stored["family"]
        is_twin = self.month is not None and kind == (str(self.month), self.family)
        return is_same or (is_twin and bool(self.number > stored["version"]))


class Standing(NamedTuple):
    """What one read of the registered model says.

    Attributes:
        champion: the number of the version that the alias ``champion`` points to.
        previous: likewise of ``previous_champion``.
        pinned: why a person has pinned the champion; None if nobody has.
        judged_through: the newest month whose decision the aliases have followed, if any.
        followed: the number of the version that this decision names.
        chosen: the version that a person chose last by the command, and why.
    """

    champion: int | None = None
    previous: int | None = None
    pinned: str | None = None
    judged_through: str = ""
    followed: int | None = None
    chosen: str = ""


class Decision(NamedTuple):
    """How a month decides: ``begin`` gives what it begins with, ``decide`` the rest.

    Attributes:
        month: the month.
        champion: who serves from the month on.
        before: whom the challengers have to beat; None if no champion is there and can be read.
        chosen: whether a person chose it since the month before was judged.
        pinned: why no challenger may take over; None if one may.
        decision: what was decided, and why.
        relative_rmse: RMSE of ``before`` on the month, beside that of the lookup table.
        may_move: whether the alias may follow: no person has moved it since the month was judged.
    """

    month: str
    champion: Version | None = None
    before: Version | None = None
    chosen: bool = False
    pinned: str | None = None
    decision: str = ""
    relative_rmse: float | None = None
    may_move: bool = True

    def to_json(self) -> dict[str, Any]:
        """As ``champion`` stores it."""
        stored = self._asdict()
        del stored["may_move"]
        versions = {"champion": self.champion, "before": self.before}
        return stored | {name: of and of.to_json() for name, of in versions.items()}


def begin(
    month: str, standing: Standing, versions: Sequence[Version], decided: Mapping[str, Metrics]
) -> Decision:
    """Find whom a month's challengers have to beat.

    A month that was judged before begins as it did then. A new month begins with the version that
    the alias points to, unless the months before died before they moved the alias: then with
    whom these have left. A person has chosen where no month has left the alias.

    Args:
        month: the month.
        standing: what MLflow says.
        versions: all that are registered, in order of their numbers.
        decided: what ``champion`` has stored of this month and of earlier ones, in order of months.
    """
    through = standing.judged_through
    alias = next((each for each in versions if each.number == standing.champion), None)
    recall = partial(_recall, versions, alias)
    earlier = [of for name, of in decided.items() if name < month]
    left = recall(earlier[-1]["champion"]) if earlier else None
    followed = [of for name, of in decided.items() if name <= through][-1:]
    waiting = [of for name, of in decided.items() if name > through]
    places = [of["champion"] for of in followed + waiting] + [of["before"] for of in waiting]
    is_followed = alias is not None and alias.number == standing.followed
    is_unmoved = alias is None or is_followed or any(map(alias.stands_for, places))
    is_new = month > through and month not in decided
    if is_new:
        # A month died before it moved the alias: a new one, or the newest when it was made again.
        begun = [of["before"] for of in waiting]
        died = not waiting and is_followed and through in decided
        died |= any(map(alias.stands_for, begun)) if alias else not all(map(recall, begun))
        before = left if left is not None and (died or left == alias) else alias
        chosen, pinned = not is_unmoved, standing.pinned if alias else None
    else:
        stored = decided.get(month, {})
        before = recall(stored.get("before"))
        chosen = bool(stored.get("chosen")) and before != left
        before = before if chosen else left
        # Earlier releases have stored false where nothing was pinned.
        pinned = stored.get("pinned") or None
    return Decision(
        month, before=before, chosen=chosen, pinned=pinned, may_move=is_new or is_unmoved
    )


def _recall(
    versions: Sequence[Version], alias: Version | None, stored: Metrics | None
) -> Version | None:
    """A stored champion, if its version is still there, or one that was made in its place."""
    still_there = [each for each in versions if each.stands_for(stored)]
    if stored is None or not still_there:
        return None
    same = [each for each in still_there if each.number == stored["version"]]
    best = alias if alias in still_there else (same or still_there)[-1]
    return best and replace(best, since=stored["since"], ratio=stored.get("ratio"))


def find_previous(
    standing: Standing, versions: Mapping[int, Version], decided: Mapping[str, Metrics]
) -> int | None:
    """Find the number of the version that served before the champion.

    That is where the alias ``previous_champion`` points to, unless somebody has moved the alias
    ``champion`` alone, on MLflow's pages: then it is whom the last month names.

    Args:
        standing: what MLflow says.
        versions: all that are registered, by their numbers.
        decided: what ``champion`` has stored, in order of months.
    """
    now, last = versions.get(standing.champion or 0), list(decided.values())[-1:]
    if now is None or standing.chosen.startswith(f"version {now.number}:"):
        return standing.previous
    if any(now.stands_for(of["champion"]) for of in last):
        return standing.previous
    named = [of[entry]["version"] for of in last for entry in ("before", "champion") if of[entry]]
    others = [number for number in named if number in versions and number != now.number]
    return others[0] if others else standing.previous


def decide(
    begun: Decision,
    backtest: Metrics,
    versions: Sequence[Version],
    metrics: Metrics | None,
    unreadable: str = "",
) -> Decision:
    """Hold a month's contest.

    Args:
        begun: what the month begins with.
        backtest: what ``backtest`` stores of the month.
        versions: all that are registered, in order of their numbers.
        metrics: the champion's on the month; None if it was trained on the month.
        unreadable: why the champion cannot be read, if it cannot.
    """
    champion, ratio = None if unreadable else begun.before, None
    chosen = f"a person chose {begun.before}" if begun.before and begun.chosen else ""
    failed = ", ".join(backtest.get("failed_checks", ()))
    distrust = f"the month's trips are not to be trusted ({failed})" if failed else ""
    challengers = [each for each in _challengers(backtest, versions) if each[0] != champion]
    if champion is None:
        best, outcome = _first(backtest, challengers, distrust)
    elif metrics is None:
        best, outcome = champion, f"kept {champion}, which has seen the month"
    else:
        ratio = relative_rmse(metrics, backtest["models"])
        champion = replace(champion, ratio=ratio if champion.ratio is None else champion.ratio)
        pinned = "" if begun.pinned is None else f"it is pinned ({begun.pinned})"
        best, outcome = _contest(champion, metrics, backtest, challengers, pinned or distrust)
    outcome = "; ".join(filter(None, (chosen, unreadable, outcome)))
    return begun._replace(champion=best, before=champion, decision=outcome, relative_rmse=ratio)


def _first(
    backtest: Metrics, challengers: Sequence[tuple[Version, Metrics]], barred: str
) -> tuple[Version | None, str]:
    """The first champion, where there is none, and what to say of it."""
    models = backtest["models"]
    if not challengers:
        scored = any(family in models for family in FAMILIES)
        why = "no scored model is registered" if scored else "no earlier model has been scored"
        return None, f"no champion: {why}"
    best, metrics = challengers[0]
    summary = f"{best}, RMSE {metrics['rmse']:.3f} minutes"
    if not barred and best.ratio is not None and best.ratio >= 1:
        barred = f"{summary}, is no better than a lookup table, {models[REFERENCE]['rmse']:.3f}"
    if barred:
        return None, f"no champion: {barred}"
    return best, f"the first champion is {summary}, coverage {metrics['interval_coverage']:.1%}"


def _contest(
    champion: Version,
    metrics: Metrics,
    backtest: Metrics,
    challengers: Sequence[tuple[Version, Metrics]],
    barred: str,
) -> tuple[Version, str]:
    """Who serves after a champion was challenged, and what to say of it."""
    kept = f"kept {champion}, RMSE {metrics['rmse']:.3f} minutes"
    if barred or not challengers:
        return champion, f"{kept}; {barred or 'nobody challenges it'}"
    for version, scored in challengers:
        reason = objection(backtest["trips"], metrics, scored)
        if reason is None:
            return version, (
                f"{version} takes over from {champion}: RMSE {scored['rmse']:.3f} instead of "
                f"{metrics['rmse']:.3f} minutes, {1 - scored['rmse'] / metrics['rmse']:.1%} less, "
                f"coverage {scored['interval_coverage']:.1%}"
            )
        kept += f"; {version} {reason}"
    return champion, kept


def objection(trips: int, champion: Metrics, challenger: Metrics) -> str | None:
    """Why a challenger may not take over, by metrics on so many trips; None if it may."""
    if challenger["rmse"] > (1 - MIN_GAIN) * champion["rmse"]:
        gain = 1 - challenger["rmse"] / champion["rmse"] if champion["rmse"] else 0.0
        difference = (
            f"{gain:.1%} less; {MIN_GAIN:.1%} are asked" if gain > 0 else f"{-gain:.1%} more"
        )
        return f"has RMSE {challenger['rmse']:.3f}, {difference}"
    off, of_champion = (
        # Rounded, as a subtraction adds something in the sixteenth digit.
        round(abs(metrics["interval_coverage"] - COVERAGE), 9)
        for metrics in (challenger, champion)
    )
    if off > COVERAGE_TOLERANCE and off >= of_champion:
        return f"has a coverage of {challenger['interval_coverage']:.1%}"
    for name, segment in challenger.get("segments", {}).items():
        before = champion.get("segments", {}).get(name)
        if before is None or segment["trips"] <= max(SEGMENT_TRIPS, SEGMENT_SHARE * trips):
            continue
        loss = segment["rmse"] - before["rmse"]
        noise = hypot(*(each.get("rmse_standard_error", 0.0) for each in (segment, before)))
        if loss > SEGMENT_LOSS * before["rmse"] and loss > STANDARD_ERRORS * noise:
            return f"is worse in {name}, RMSE {segment['rmse']:.3f} instead of {before['rmse']:.3f}"
    return None


def relative_rmse(metrics: Metrics, models: Metrics) -> float | None:
    """An RMSE beside that of the lookup table."""
    reference = models.get(REFERENCE, {}).get("rmse")
    return metrics["rmse"] / reference if reference else None


def _challengers(backtest: Metrics, versions: Sequence[Version]) -> list[tuple[Version, Metrics]]:
    """The versions of the models that the month has scored, and their metrics, the best first.

    A newer version of the same month and family takes a scored one's place, an older one never.
    """
    month, models, challengers = str(backtest["month"]), backtest["models"], []
    newest = {(each.month, each.family): each for each in versions}
    by_run = {each.run_id: each for each in versions if each.month is not None}
    for metrics in (models[family] for family in FAMILIES if family in models):
        scored = by_run.get(metrics["mlflow_run_id"])
        if scored is not None and str(scored.month) < month:
            version = newest[scored.month, scored.family]
            ratio = relative_rmse(metrics, models)
            challengers.append((replace(version, since=month, ratio=ratio), metrics))
    return sorted(challengers, key=lambda one: float(one[1]["rmse"]))
