"""What is stored of each month, as far as it can be read, for the report."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from taxi_assets.durations.profiles import Profile, distances
from taxi_assets.storage.files import Storage
from taxi_assets.storage.formats import Json
from taxi_assets.storage.layout import figures_file, folder, months_among, profile_note
from taxi_assets.tlc.fleets import Fleet
from taxi_assets.tlc.months import Month


@dataclass(frozen=True)
class StoredMonth:
    """What is stored of a month.

    Attributes:
        month: the month.
        figures: of ``metrics`` by their names, of ``boosted_metrics`` as ``own_boosted_rmse``, of
            ``backtest`` as ``boosted_rmse``, ``linear_rmse``, ``boosted_interval_coverage``.
        drift: distances from the month before, by measure; empty where that is not stored.
        failed_checks: those that bear on whether the trips are right.
        runs: ids of MLflow runs of the scored models, by family.
        champion: what ``champion`` says: who serves, and why.
    """

    month: Month
    figures: Mapping[str, Any]
    drift: Mapping[str, float] = field(default_factory=dict)
    failed_checks: tuple[str, ...] = ()
    runs: Mapping[str, str] = field(default_factory=dict)
    champion: Mapping[str, Any] = field(default_factory=dict)

    def number(self, name: str) -> float | None:
        """A figure, if it is a number."""
        value = self.figures.get(name)
        return float(value) if isinstance(value, int | float) else None


def stored_months(storage: Storage, fleet: Fleet) -> list[StoredMonth]:
    """The months that have readable metrics, in order."""
    first = figures_file(fleet, "metrics", fleet.first_month)
    months = []
    before: tuple[Month, Profile] | None = None
    for month in months_among(storage.names(folder(first)), first):
        metrics = _read(storage, figures_file(fleet, "metrics", month))
        profile = _profile(storage, fleet, month)
        drift: dict[str, float] = {}
        if before and profile and before[0] == month - 1:
            drift = distances(before[1], profile)
        before = (month, profile) if profile else None
        if metrics:
            months.append(_gather(storage, fleet, month, metrics, drift))
    return months


def _gather(
    storage: Storage,
    fleet: Fleet,
    month: Month,
    metrics: Mapping[str, Any],
    drift: Mapping[str, float],
) -> StoredMonth:
    own = _read(storage, figures_file(fleet, "boosted_metrics", month))
    backtest = _read(storage, figures_file(fleet, "backtest", month))
    models = backtest.get("models")
    scored = {
        name: model
        for name, model in (models if isinstance(models, dict) else {}).items()
        if isinstance(model, dict)
    }
    figures: dict[str, Any] = {
        f"{name}_{key}": value for name, of in scored.items() for key, value in of.items()
    }
    failed = backtest.get("failed_checks")
    return StoredMonth(
        month,
        {**figures, **{f"own_boosted_{name}": value for name, value in own.items()}, **metrics},
        drift,
        tuple(map(str, failed)) if isinstance(failed, list) else (),
        {
            name: str(model["mlflow_run_id"])
            for name, model in scored.items()
            if model.get("mlflow_run_id")
        },
        _read(storage, figures_file(fleet, "champion", month)),
    )


def _read(storage: Storage, path: str) -> dict[str, Any]:
    try:
        return Json().load(storage.open(path))
    except (OSError, ValueError, RecursionError):
        return {}


def _profile(storage: Storage, fleet: Fleet, month: Month) -> Profile | None:
    try:
        return Profile.from_json(_read(storage, profile_note(fleet, month)))
    except (ValueError, KeyError, TypeError):
        return None
