"""The promotion rule: which version serves from a month on, by what the month's trips say.

A month's trips judge models of earlier months. The champion stays until a challenger is clearly
better. Nothing here knows MLflow: the versions and where the alias points are given.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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

Figures = Mapping[str, Any]
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
    """

    number: int
    month: Month | None
    family: str | None
    run_id: str | None
    created: float

    def __str__(self) -> str:
        return f"version {self.number}" if self.month is None else f"{self.family} {self.month}"

    def is_twin(self, other: "Version") -> bool:
        """Whether both are of the same month and family, or the same version."""
        kind, other_kind = ((each.month, each.family) for each in (self, other))
        return self == other if self.month is None else kind == other_kind


class Champion(NamedTuple):
    """A version that serves.

    Attributes:
        version: the version.
        since: the month that promoted it; None if a person chose it.
        ratio: its RMSE beside that of the lookup table when it was promoted, or on the first month
            that judged it.
    """

    version: Version
    since: str | None = None
    ratio: float | None = None

    def to_json(self) -> dict[str, Any]:
        """As ``champion`` stores it."""
        return {
            "version": self.version.number,
            "month": self.version.month and str(self.version.month),
            "family": self.version.family,
            "mlflow_run_id": self.version.run_id,
            "since": self.since,
            "ratio": self.ratio,
        }


class Standing(NamedTuple):
    """What one read of the registered model says.

    Attributes:
        champion: the number of the version that the alias ``champion`` points to.
        previous: likewise of ``previous_champion``.
        pinned: why a person has pinned the champion; None if nobody has.
        judged_through: the newest month whose decision the aliases have followed.
        followed: the number of the version that served then.
        chosen: the version that a person chose last by the command, and why.
    """

    champion: int | None = None
    previous: int | None = None
    pinned: str | None = None
    judged_through: str | None = None
    followed: int | None = None
    chosen: str | None = None


class Incumbent(NamedTuple):
    """Who serves when a month is judged.

    Attributes:
        champion: whom the challengers have to beat; None if there is no champion.
        chosen: whether a person chose it since the month before was judged.
        pinned: why no challenger may take over; None if one may.
        is_unmoved: whether the alias is where the months so far have left it.
    """

    champion: Champion | None
    chosen: bool = False
    pinned: str | None = None
    is_unmoved: bool = True


class Decision(NamedTuple):
    """How a month has decided.

    Attributes:
        month: the month.
        incumbent: with whom it began.
        before: who was judged; None if there was no champion, or it cannot be read.
        champion: who serves from the month on.
        sentence: what was decided, and why.
        relative_rmse: RMSE of ``before`` on the month, beside that of the lookup table.
    """

    month: str
    incumbent: Incumbent
    before: Champion | None
    champion: Champion | None
    sentence: str
    relative_rmse: float | None = None

    def to_json(self) -> dict[str, Any]:
        """As ``champion`` stores it."""
        return {
            "month": self.month,
            "champion": self.champion and self.champion.to_json(),
            "before": self.before and self.before.to_json(),
            "chosen": self.incumbent.chosen,
            "pinned": self.incumbent.pinned,
            "decision": self.sentence,
            "relative_rmse": self.relative_rmse,
        }


def find_incumbent(
    month: str, standing: Standing, versions: Sequence[Version], decided: Mapping[str, Figures]
) -> Incumbent:
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
    alias = next((each for each in versions if each.number == standing.champion), None)
    now = None if alias is None else Champion(alias)

    def recall(of: Figures, entry: str) -> Champion | None:
        return recall_champion(of.get(entry), versions, alias)

    earlier = [name for name in decided if name < month]
    left = recall(decided[earlier[-1]], "champion") if earlier else None
    through = standing.judged_through or ""
    followed = [of for name, of in decided.items() if name <= through]
    waiting = [of for name, of in decided.items() if name > through]
    places = [recall(of, "champion") for of in (*followed[-1:], *waiting)]
    places += [recall(of, "before") for of in waiting]
    is_followed = alias is not None and alias.number == standing.followed
    is_unmoved = now is None or is_followed or any(_is_same(now, place) for place in places)
    if month in decided or month <= through:
        own = decided.get(month, {})
        # Earlier releases have stored whether it was pinned, and no reason.
        pinned = own.get("pinned") or None
        pinned = "by hand" if pinned is True else pinned
        before = recall(own, "before")
        chosen = bool(own.get("chosen")) and not _is_same(before, left)
        return Incumbent(before if chosen else left, chosen, pinned, is_unmoved)
    pinned = standing.pinned if now else None
    # A month died before it moved the alias: a new one, or the newest when it was made again.
    died = any(_is_same(now, recall(of, "before")) for of in waiting)
    died = died or (is_followed and earlier[-1:] == [through])
    if (died and left) or _is_same(now, left):
        return Incumbent(left, False, pinned)
    return Incumbent(now, not is_unmoved, pinned)


def recall_champion(
    stored: Any, versions: Sequence[Version], alias: Version | None = None
) -> Champion | None:
    """A stored champion, if its version is still there, or one that was made in its place."""
    if not isinstance(stored, Mapping):
        return None
    number, run_id = stored.get("version"), stored.get("mlflow_run_id")
    same = [each for each in versions if (each.number, each.run_id) == (number, run_id)]
    kind = (stored.get("month"), stored.get("family"))
    twins = [each for each in versions if each.month and (str(each.month), each.family) == kind]
    later = [each for each in twins if isinstance(number, int) and each.number > number]
    found = [alias] if alias in same + later else same or later
    return Champion(found[-1], stored.get("since"), stored.get("ratio")) if found else None


def _is_same(one: Champion | None, other: Champion | None) -> bool:
    """Whether both are nobody, or the first has the other's version, or one made in its place."""
    if one is None or other is None:
        return one is other
    newer = one.version.number >= other.version.number
    return newer and one.version.is_twin(other.version)


def decide(
    backtest: Figures,
    versions: Sequence[Version],
    incumbent: Incumbent,
    figures: Figures | None,
    unreadable: str | None = None,
) -> Decision:
    """Hold a month's contest.

    Args:
        backtest: what ``backtest`` stores of the month.
        versions: all that are registered, in order of their numbers.
        incumbent: who serves.
        figures: the champion's on the month; None if it was trained on the month.
        unreadable: why the champion cannot be read, if it cannot.
    """
    month, models, champion = str(backtest["month"]), backtest["models"], incumbent.champion
    failed = ", ".join(backtest.get("failed_checks", ()))
    distrust = f"the month's trips are not to be trusted ({failed})" if failed else ""
    challengers = _challengers(backtest, versions)
    notes = [f"a person chose {champion.version}"] if champion and incumbent.chosen else []
    if champion is None or unreadable is not None:
        first, sentence = _first(month, models, challengers, distrust)
        notes += [] if unreadable is None else [unreadable]
        return Decision(month, incumbent, None, first, "; ".join([*notes, sentence]))
    if figures is None:
        notes.append(f"kept {champion.version}, which has seen the month")
        return Decision(month, incumbent, champion, champion, "; ".join(notes))
    ratio = relative_rmse(figures, models)
    champion = champion if champion.ratio is not None else champion._replace(ratio=ratio)
    others = [each for each in challengers if each[0] != champion.version]
    pinned = "" if incumbent.pinned is None else f"it is pinned ({incumbent.pinned})"
    barred = pinned or distrust or ("" if others else "nobody challenges it")
    reasons = [barred or objection(backtest["trips"], figures, scored) for _, scored in others]
    if None in reasons:
        version, scored = others[reasons.index(None)]
        sentence = (
            f"{version} takes over from {champion.version}: RMSE {scored['rmse']:.3f} instead of "
            f"{figures['rmse']:.3f} minutes, {1 - scored['rmse'] / figures['rmse']:.1%} less"
            f"{_coverage(scored)}"
        )
        best = Champion(version, month, relative_rmse(scored, models))
        return Decision(month, incumbent, champion, best, "; ".join([*notes, sentence]), ratio)
    kept = f"kept {champion.version}, RMSE {figures['rmse']:.3f} minutes"
    why = [f"{version} {reason}" for (version, _), reason in zip(others, reasons, strict=True)]
    sentence = "; ".join([*notes, kept, *([barred] if barred else why)])
    return Decision(month, incumbent, champion, champion, sentence, ratio)


def objection(trips: int, champion: Figures, challenger: Figures) -> str | None:
    """Why a challenger may not take over, by figures on so many trips; None if it may."""
    if challenger["rmse"] > (1 - MIN_GAIN) * champion["rmse"]:
        gain = 1 - challenger["rmse"] / champion["rmse"] if champion["rmse"] else 0.0
        said = f"{gain:.1%} less; {MIN_GAIN:.1%} are asked" if gain > 0 else f"{-gain:.1%} more"
        return f"has RMSE {challenger['rmse']:.3f}, {said}"
    off, of_champion = (_off_coverage(figures) for figures in (challenger, champion))
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


def relative_rmse(figures: Figures, models: Figures) -> float | None:
    """An RMSE beside that of the lookup table."""
    reference = models.get(REFERENCE, {}).get("rmse")
    return figures["rmse"] / reference if reference else None


def _challengers(backtest: Figures, versions: Sequence[Version]) -> list[tuple[Version, Figures]]:
    """The versions of the models that the month has scored, and their figures, the best first.

    A newer version of the same month and family takes a scored one's place, an older one never.
    """
    found = []
    for family in FAMILIES:
        figures = backtest["models"].get(family)
        run_id = figures and figures["mlflow_run_id"]
        scored = [each for each in versions if each.month and each.run_id == run_id]
        newest = [each for each in versions if scored and each.is_twin(scored[-1])][-1:]
        found += [(each, figures) for each in newest if str(each.month) < backtest["month"]]
    return sorted(found, key=lambda one: float(one[1]["rmse"]))


def _first(
    month: str,
    models: Figures,
    challengers: Sequence[tuple[Version, Figures]],
    distrust: str,
) -> tuple[Champion | None, str]:
    """The first champion, where there is none, and what to say of it."""
    if not challengers:
        scored = any(family in models for family in FAMILIES)
        why = "no scored model is registered" if scored else "no earlier model has been scored"
        return None, f"no champion: {why}"
    if distrust:
        return None, f"no champion: {distrust}"
    best, figures = challengers[0]
    ratio = relative_rmse(figures, models)
    said = f"{best}, RMSE {figures['rmse']:.3f} minutes"
    if ratio is not None and ratio >= 1:
        reference = models[REFERENCE]["rmse"]
        return None, f"no champion: {said}, is no better than a lookup table, {reference:.3f}"
    return Champion(best, month, ratio), f"the first champion is {said}{_coverage(figures)}"


def _off_coverage(figures: Figures) -> float:
    """How far a coverage is off; one without an interval is as far as can be."""
    coverage = figures.get("interval_coverage")
    return 1.0 if coverage is None else round(abs(float(coverage) - COVERAGE), 9)


def _coverage(figures: Figures) -> str:
    """The end of a sentence about a model with an interval."""
    coverage = figures.get("interval_coverage")
    return "" if coverage is None else f", coverage {coverage:.1%}"
