"""What is said of champions: versions, judged months, people's decisions, and how things stand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from taxi_assets.durations.contest import Figures
from taxi_assets.tlc.months import Month

REFERENCE = "lookup"
"""The baseline that a first champion has to beat, and that decay is measured by."""

FAMILIES = ("linear", "boosted")
"""The families whose models may serve."""


@dataclass(frozen=True)
class Version:
    """A registered version of a fleet's model.

    Attributes:
        number: of the version.
        month: the last that it was trained on.
        family: ``linear`` or ``boosted``.
        run_id: of the MLflow run that trained it.
        created: seconds since 1970.
        tags: all that it is tagged with.
    """

    number: int
    month: Month
    family: str
    run_id: str
    created: float
    tags: Mapping[str, str] = field(default_factory=dict, compare=False)

    def __str__(self) -> str:
        return f"{self.family} {self.month}"


@dataclass(frozen=True)
class Decision:
    """What a person has decided.

    Attributes:
        at: when, seconds since 1970.
        after: the newest month that had been judged; None if none had.
        why: the person's reason.
        version: the version that serves from then on; None leaves it.
        pinned: whether no challenger is let in from then on; None leaves it.
    """

    at: float
    after: Month | None
    why: str
    version: int | None = None
    pinned: bool | None = None


@dataclass(frozen=True)
class JudgedMonth:
    """A month that has scored models of earlier months.

    Attributes:
        month: the month.
        trips: their number.
        models: figures by family, as ``backtest`` stores them.
        failed_checks: those of the month's trips that bear on whether they are right.
    """

    month: Month
    trips: int
    models: Mapping[str, Figures]
    failed_checks: Sequence[str] = ()

    @property
    def reference_rmse(self) -> float | None:
        """The RMSE (minutes) of the lookup table."""
        figures = self.models.get(REFERENCE)
        return None if figures is None else float(figures["rmse"])


@dataclass(frozen=True)
class Reign:
    """A champion, and since when.

    Attributes:
        version: the version that serves.
        since: the month that promoted it; for one that a person chose, the last judged before.
        chosen: when a person chose this version; None if a month did.
        ratio: its RMSE beside that of the lookup table when it was promoted, or on the first month
            that judged it.
    """

    version: Version
    since: Month | None
    chosen: float | None = None
    ratio: float | None = None


@dataclass(frozen=True)
class Verdict:
    """How things stand after a month, or a person's decision.

    Attributes:
        month: the month; None before the first.
        champion: who serves from now on.
        before: who did until now.
        previous: who did before the champion.
        pinned: whether a person has barred challengers.
        sentence: what was decided and why, with figures.
        candidates: versions that it was decided about.
        figures: of the champion before and of the challengers on the month's trips, by the id of
            the run that trained them.
        ratio: RMSE of the champion before beside that of the lookup table, on the month.
        decision: the person's, if it is one.
    """

    month: Month | None
    champion: Reign | None = None
    before: Reign | None = None
    previous: Version | None = None
    pinned: bool = False
    sentence: str = ""
    candidates: tuple[Version, ...] = ()
    figures: Mapping[str, Figures] = field(default_factory=dict)
    ratio: float | None = None
    decision: Decision | None = None
