"""The promotion rule: which version serves from a month on, by what the month's trips say.

A month's trips judge models of earlier months. The champion stays until a challenger is clearly
better. Nothing here knows MLflow: the versions and where the alias points are given.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
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

SEGMENT_LOSS = 0.05
"""How far the RMSE of a segment may rise."""

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
    """

    champion: int | None = None
    previous: int | None = None
    pinned: str | None = None
    judged_through: str = ""


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

    A new month begins with whom the month before left, if the alias is where months have put it,
    and with the alias if a person has moved it. A month that is made again begins as it did then.

    Args:
        month: the month.
        standing: what MLflow says.
        versions: all that are registered, in order of their numbers.
        decided: what ``champion`` has stored of this month and of earlier ones, in order of months.
    """
    alias = next((each for each in versions if each.number == standing.champion), None)
    earlier = [stored["champion"] for name, stored in decided.items() if name < month]
    left = _recall(versions, alias, earlier[-1] if earlier else None)
    # Months that died before or after they moved the alias are not in ``judged_through`` yet.
    followed = [stored for name, stored in decided.items() if name <= standing.judged_through]
    waiting = [stored for name, stored in decided.items() if name > standing.judged_through]
    places = [stored["champion"] for stored in followed[-1:] + waiting]
    places += [stored["before"] for stored in waiting]
    is_unmoved = alias is None or any(map(alias.stands_for, places))
    if month in decided or month <= standing.judged_through:
        stored = decided.get(month, {})
        chosen = bool(stored.get("chosen"))
        before = _recall(versions, alias, stored["before"]) if chosen else left
        # Earlier releases have stored false where nothing was pinned.
        pinned = stored.get("pinned") or None
        return Decision(month, None, before, chosen, pinned, may_move=is_unmoved)
    before = left if is_unmoved and left is not None else alias
    return Decision(month, None, before, not is_unmoved, standing.pinned)


def _recall(
    versions: Sequence[Version], alias: Version | None, stored: Metrics | None
) -> Version | None:
    """A stored champion, if its version is still there, or the newest made in its place."""
    standing = [each for each in versions if each.stands_for(stored)]
    if stored is None or not standing:
        return None
    version = alias if alias is not None and alias in standing else standing[-1]
    return replace(version, since=stored["since"], ratio=stored.get("ratio"))


def decide(
    begun: Decision,
    backtest: Metrics,
    versions: Sequence[Version],
    metrics: Metrics | None,
    unreadable: str = "",
) -> Decision:
    """Compare the champion with its challengers.

    Args:
        begun: what the month begins with.
        backtest: what ``backtest`` stores of the month.
        versions: all that are registered, in order of their numbers.
        metrics: the champion's on the month; None if it was trained on the month.
        unreadable: why the champion cannot be read, if it cannot.
    """
    champion, ratio = None if unreadable else begun.before, None
    chosen = f"a person chose {begun.before}" if begun.before and begun.chosen else ""
    barred = f"the alias is pinned ({begun.pinned})" if begun.pinned is not None else ""
    if failed := ", ".join(backtest.get("failed_checks", ())):
        barred = barred or f"the month's trips failed checks ({failed})"
    challengers = [each for each in _challengers(backtest, versions) if each[0] != champion]
    if champion is None:
        best, sentence = _first(backtest, challengers, barred)
        # Where nobody follows one that cannot be read, the alias stays.
        best = best or begun.before
    elif metrics is None:
        best, sentence = champion, f"{champion} stays: it was trained on this month"
    else:
        ratio = relative_rmse(metrics, backtest["models"])
        champion = replace(champion, ratio=ratio if champion.ratio is None else champion.ratio)
        best, sentence = _contest(champion, metrics, backtest, challengers, barred)
    sentence = "; ".join(filter(None, (chosen, unreadable, sentence)))
    return begun._replace(champion=best, before=champion, decision=sentence, relative_rmse=ratio)


def _first(
    backtest: Metrics, challengers: Sequence[tuple[Version, Metrics]], barred: str
) -> tuple[Version | None, str]:
    """The first champion, where there is none, and why."""
    if barred or not challengers:
        return (
            None,
            f"no champion: {barred or 'no registered model of an earlier month was scored'}",
        )
    best, metrics = challengers[0]
    described = f"{best}, RMSE {metrics['rmse']:.3f} minutes"
    if best.ratio is not None and best.ratio >= 1:
        lookup = backtest["models"][REFERENCE]["rmse"]
        return None, f"no champion: {described}, is no better than the lookup table, {lookup:.3f}"
    coverage = metrics["interval_coverage"]
    return best, f"the first champion is {described}, coverage {coverage:.1%}"


def _contest(
    champion: Version,
    metrics: Metrics,
    backtest: Metrics,
    challengers: Sequence[tuple[Version, Metrics]],
    barred: str,
) -> tuple[Version, str]:
    """Who serves after a champion was challenged, and why."""
    stays = f"{champion} stays, RMSE {metrics['rmse']:.3f} minutes"
    if barred or not challengers:
        return champion, f"{stays}; {barred or 'there is no challenger'}"
    for version, scored in challengers:
        reason = objection(backtest["trips"], metrics, scored)
        if reason is None:
            return version, (
                f"{version} takes over from {champion}: RMSE {scored['rmse']:.3f} instead of "
                f"{metrics['rmse']:.3f} minutes, {1 - scored['rmse'] / metrics['rmse']:.1%} less, "
                f"coverage {scored['interval_coverage']:.1%}"
            )
        stays += f"; {version} {reason}"
    return champion, stays


def objection(trips: int, champion: Metrics, challenger: Metrics) -> str | None:
    """Why a challenger may not take over, by metrics on so many trips; None if it may."""
    if challenger["rmse"] > (1 - MIN_GAIN) * champion["rmse"]:
        return f"has RMSE {challenger['rmse']:.3f}, not {MIN_GAIN:.1%} less"
    off, of_champion = (
        # Rounded, as a subtraction adds something in the sixteenth digit.
        round(abs(metrics["interval_coverage"] - COVERAGE), 9)
        for metrics in (challenger, champion)
    )
    if off > COVERAGE_TOLERANCE and off >= of_champion:
        return f"has a coverage of {challenger['interval_coverage']:.1%}"
    for name, segment in challenger.get("segments", {}).items():
        before = champion["segments"].get(name)
        if before is None or segment["trips"] <= max(SEGMENT_TRIPS, SEGMENT_SHARE * trips):
            continue
        if segment["rmse"] - before["rmse"] > SEGMENT_LOSS * before["rmse"]:
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
    trained = {each.run_id: each for each in versions if each.month is not None}
    for metrics in (models[family] for family in FAMILIES if family in models):
        scored = trained.get(metrics["mlflow_run_id"])
        if scored is not None and str(scored.month) < month:
            version = newest[scored.month, scored.family]
            ratio = relative_rmse(metrics, models)
            challengers.append((replace(version, since=month, ratio=ratio), metrics))
    return sorted(challengers, key=lambda one: float(one[1]["rmse"]))
