"""Which model serves: a rule, replayed over all months that have been judged.

Each month's trips are the judges of models that have not seen them. The reigning champion stays
until a challenger is clearly better, or a person decides otherwise. Nothing is carried from one
time to the next but the judged months and people's decisions, so that whoever replays them, in
whatever order they came to be, finds the same champion.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from taxi_assets.durations.contest import Figures, objection, said_coverage
from taxi_assets.durations.reigns import (
    FAMILIES,
    Decision,
    JudgedMonth,
    Reign,
    Verdict,
    Version,
)
from taxi_assets.tlc.months import Month

Score = Callable[[JudgedMonth, Version], Figures | None]
"""Scores a version on a month's trips, where ``backtest`` has not; None if it cannot be read."""


def replay(
    months: Sequence[JudgedMonth],
    decisions: Sequence[Decision],
    versions: Sequence[Version],
    score: Score,
) -> Iterator[Verdict]:
    """Decide month by month, and put in what people decided where they did.

    Args:
        months: the judged months, in order.
        decisions: in order of time.
        versions: all that there are, in order of their numbers.
        score: for a champion that is no longer its family's newest.

    Yields:
        A verdict for each month, and for each decision.
    """
    registry = _Registry(versions)
    standing = Verdict(month=None)
    waiting = list(decisions)
    for judged in [None, *months]:
        if judged is not None:
            standing = registry.settle(_judge(judged, standing, registry, score))
            yield standing
        following = [
            month.month for month in months if judged is None or month.month > judged.month
        ]
        while waiting and _comes_before(waiting[0], following):
            standing = registry.settle(_follow(waiting.pop(0), standing, registry))
            yield standing


def _comes_before(decision: Decision, following: Sequence[Month]) -> bool:
    """Whether a decision comes before the months that follow."""
    return not following or decision.after is None or decision.after < following[0]


class _Registry:
    """Versions by what they are of; a later one of the same month and family takes its place."""

    def __init__(self, versions: Sequence[Version]) -> None:
        self._versions = versions

    def by_number(self, number: int | None) -> Version | None:
        return next((each for each in self._versions if each.number == number), None)

    def of_run(self, run_id: object) -> Version | None:
        return next((each for each in self._versions if each.run_id == run_id), None)

    def scored(self, figures: Figures, family: str) -> Version | None:
        """The version of the run that figures are of, or one that has taken its place."""
        kind = (figures["trained_through"], family)
        twins = [each for each in self._versions if (str(each.month), each.family) == kind]
        same = self.of_run(figures["mlflow_run_id"])
        return same or (twins[-1] if twins else None)

    def settle(self, verdict: Verdict) -> Verdict:
        """A verdict whose champion is the newest version of its month and family.

        One that a person chose gives way only to what was made after the choice, and one that is
        pinned to nothing.
        """
        reign = verdict.champion
        if reign is None or verdict.pinned:
            return verdict
        chosen = reign.chosen or 0.0
        later = [each for each in self.twins(reign.version) if each.created > chosen]
        heir = later[-1] if later else reign.version
        return replace(verdict, champion=replace(reign, version=heir))

    def twins(self, version: Version) -> list[Version]:
        """The versions of a version's month and family."""
        kind = (version.month, version.family)
        return [each for each in self._versions if (each.month, each.family) == kind]


def _follow(decision: Decision, standing: Verdict, registry: _Registry) -> Verdict:
    """Do what a person has decided."""
    champion, pinned = standing.champion, standing.pinned
    said = []
    previous = standing.previous
    if decision.version is not None:
        chosen = registry.by_number(decision.version)
        if chosen is None:
            said.append(f"version {decision.version} was chosen, and is there no more")
        elif champion is not None and champion.version == chosen:
            champion = replace(champion, chosen=decision.at)
            if decision.pinned is None:
                said.append(f"{chosen} was chosen")
        else:
            previous = previous if champion is None else champion.version
            champion = Reign(chosen, standing.month, chosen=decision.at)
            said.append(f"{chosen} was chosen")
    if decision.pinned is not None:
        pinned = decision.pinned
        said.append("pinned" if pinned else "no longer pinned")
    return replace(
        standing,
        champion=champion,
        before=standing.champion,
        previous=previous,
        pinned=pinned,
        sentence=f"{', '.join(said)} by hand" + (f": {decision.why}" if decision.why else ""),
        candidates=() if champion is None else (champion.version,),
        figures={},
        ratio=None,
        decision=decision,
    )


def _judge(judged: JudgedMonth, standing: Verdict, registry: _Registry, score: Score) -> Verdict:
    """Hold a month's contest."""
    challengers = _challengers(judged, registry)
    reign = standing.champion
    kept = Verdict(
        month=judged.month,
        champion=reign,
        before=reign,
        previous=standing.previous,
        pinned=standing.pinned,
        candidates=tuple(challengers),
        figures={version.run_id: judged.models[version.family] for version in challengers},
    )
    if reign is None:
        return _first(judged, kept, challengers)
    champion = reign.version
    same = [champion] if reign.chosen else registry.twins(champion)
    challengers = [version for version in challengers if version not in same]
    kept = replace(kept, candidates=(champion, *challengers))
    if champion.month >= judged.month:
        return replace(kept, sentence=f"kept {champion}, which has seen the month")
    own = _known(judged, same) or score(judged, champion)
    if own is None:
        return replace(kept, sentence=f"kept {champion}, which cannot be scored")
    ratio = _ratio(own, judged)
    reign = reign if reign.ratio is not None else replace(reign, ratio=ratio)
    figures = {**kept.figures, champion.run_id: own}
    kept = replace(kept, champion=reign, before=reign, ratio=ratio, figures=figures)
    return _challenge(judged, kept, own, challengers)


def _challenge(
    judged: JudgedMonth, kept: Verdict, own: Figures, challengers: Sequence[Version]
) -> Verdict:
    """Promote the best challenger that may take over, or say why the champion is kept."""
    assert kept.champion is not None
    champion = kept.champion.version
    said = [f"kept {champion}, RMSE {own['rmse']:.3f} minutes"]
    if kept.pinned:
        said.append("it is pinned")
    elif judged.failed_checks:
        said.append(_distrust(judged))
    else:
        for version in sorted(challengers, key=lambda each: kept.figures[each.run_id]["rmse"]):
            its = kept.figures[version.run_id]
            reason = objection(judged.trips, own, its)
            if reason is None:
                return replace(
                    kept,
                    champion=Reign(version, judged.month, ratio=_ratio(its, judged)),
                    previous=champion,
                    sentence=f"{version} takes over from {champion}: RMSE {its['rmse']:.3f} "
                    f"instead of {own['rmse']:.3f} minutes, {1 - its['rmse'] / own['rmse']:.1%} "
                    f"less{said_coverage(its)}",
                )
            said.append(f"{version} {reason}")
        if not challengers:
            said.append("nobody challenges it")
    return replace(kept, sentence="; ".join(said))


def _challengers(judged: JudgedMonth, registry: _Registry) -> list[Version]:
    """The newest version of each family that the month has scored and has not been trained on."""
    found = []
    for family in FAMILIES:
        figures = judged.models.get(family)
        version = registry.scored(figures, family) if figures else None
        if version is not None and version.month < judged.month:
            found.append(version)
    return found


def _known(judged: JudgedMonth, versions: Sequence[Version]) -> Figures | None:
    """The month's figures of the newest of some versions that it has scored."""
    by_run = {figures["mlflow_run_id"]: figures for figures in judged.models.values()}
    known = (by_run[each.run_id] for each in reversed(versions) if each.run_id in by_run)
    return next(known, None)


def _first(judged: JudgedMonth, standing: Verdict, challengers: Sequence[Version]) -> Verdict:
    """Find a champion where there is none."""
    if not challengers:
        return replace(standing, sentence="no champion: no earlier model has been scored")
    if judged.failed_checks:
        return replace(standing, sentence=f"no champion: {_distrust(judged)}")
    best = min(challengers, key=lambda version: float(judged.models[version.family]["rmse"]))
    its, reference = judged.models[best.family], judged.reference_rmse
    said = f"{best}, RMSE {its['rmse']:.3f} minutes"
    if reference is not None and its["rmse"] >= reference:
        sentence = f"no champion: {said}, is no better than a lookup table, {reference:.3f}"
        return replace(standing, sentence=sentence)
    return replace(
        standing,
        champion=Reign(best, judged.month, ratio=_ratio(its, judged)),
        sentence=f"the first champion is {said}{said_coverage(its)}",
    )


def _distrust(judged: JudgedMonth) -> str:
    return f"the month's trips are not to be trusted ({', '.join(judged.failed_checks)})"


def _ratio(figures: Figures, judged: JudgedMonth) -> float | None:
    """An RMSE beside that of the lookup table."""
    reference = judged.reference_rmse
    return figures["rmse"] / reference if reference else None
