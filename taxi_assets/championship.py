"""Who serves: the rule of ``durations.replay`` over what is stored, and MLflow's record of it."""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from taxi_assets.durations.contest import Figures
from taxi_assets.durations.reigns import Decision, JudgedMonth, Verdict, Version
from taxi_assets.durations.replay import replay
from taxi_assets.errors import NotStoredError, UnusableValueError
from taxi_assets.storage.files import Storage
from taxi_assets.storage.io_managers import load_stored
from taxi_assets.storage.layout import figures_file, folder, months_among
from taxi_assets.tlc.fleets import Fleet
from taxi_assets.tlc.months import Month
from taxi_assets.tracking.champion_record import ChampionRecord
from taxi_assets.tracking.servers import TrackingServer
from taxi_assets.tracking.versions import UnusableVersionError, load_version, registered_versions

if TYPE_CHECKING:
    from taxi_assets.durations.backtest import HeldOutTrips

Report = Callable[[str], None]


class _Given(NamedTuple):
    """What a replay takes."""

    months: list[JudgedMonth]
    decisions: list[Decision]
    versions: list[Version]


class Championship:
    """The champions of a fleet, month after month."""

    def __init__(
        self,
        storage: Storage,
        server: TrackingServer,
        fleet: Fleet,
        report: Report,
        trips: "Mapping[Month, HeldOutTrips] | None" = None,
        backtests: Mapping[Month, Mapping[str, Any]] | None = None,
    ) -> None:
        """Look at a fleet; trips and backtests of months that are in memory are not loaded."""
        self.record = ChampionRecord(server, fleet.name)
        self._storage = storage
        self._server = server
        self._fleet = fleet
        self._report = report
        self._trips = trips or {}
        self._backtests = backtests or {}
        self._digests: dict[Month, str] = {}
        self._scores: dict[tuple[str, str], Figures | None] = {}

    def verdicts(self) -> list[Verdict]:
        """How each judged month, and each decision of a person, has left things.

        Raises:
            ServiceError: the storage or MLflow does not answer.
        """
        return list(replay(*self._given(), self._score))

    def settle(self) -> tuple[list[Verdict], list[str]]:
        """Write how things stand into MLflow's record; return it, and what was put right there.

        Whoever writes looks again at what is stored: another run may have judged a month
        meanwhile, and whichever of them writes last has seen both.

        Raises:
            ServiceError: the storage or MLflow does not do its part.
        """
        given: _Given | None = None
        verdicts: list[Verdict] = []
        put_right: list[str] = []
        while given != (given := self._given()):
            verdicts = list(replay(*given, self._score))
            put_right += self.record.write(verdicts[-1] if verdicts else Verdict(month=None))
            self.record.annotate(verdicts)
        return verdicts, put_right

    def _given(self) -> "_Given":
        """All that decides."""
        stored = {*self._stored("backtest"), *self._backtests}
        months = [self._judged(month) for month in sorted(stored)]
        versions = registered_versions(self._server, self._fleet.name)
        return _Given([month for month in months if month], self.record.decisions(), versions)

    def _stored(self, asset: str) -> list[Month]:
        like = figures_file(self._fleet, asset, self._fleet.first_month)
        return months_among(self._storage.names(folder(like)), like)

    def _judged(self, month: Month) -> JudgedMonth | None:
        """What a month's backtest says; None if it cannot be read."""
        try:
            figures = self._backtests.get(month) or load_stored(
                self._storage, self._fleet, "backtest", month
            )
            self._digests[month] = digest(figures)
            return JudgedMonth(
                month,
                int(figures["trips"]),
                {name: {**model} for name, model in figures["models"].items()},
                tuple(figures.get("failed_checks", ())),
            )
        except (
            NotStoredError,
            UnusableValueError,
            AttributeError,
            KeyError,
            TypeError,
            ValueError,
        ) as error:
            self._report(f"the backtest of {month} is passed over: {error}")
            return None

    def _score(self, judged: JudgedMonth, version: Version) -> Figures | None:
        """The figures of a champion that is no longer its family's newest, on a month's trips."""
        key = self._digests[judged.month], version.run_id
        if key not in self._scores:
            stored = self._stored_scores(judged)
            found = stored.get(version.run_id)
            self._scores[key] = found or self._score_anew(judged.month, version)
        return self._scores[key]

    def _stored_scores(self, judged: JudgedMonth) -> Mapping[str, Figures]:
        """What ``champion`` has stored of the month, if the same backtest was before it."""
        try:
            figures = load_stored(self._storage, self._fleet, "champion", judged.month)
            scores: Mapping[str, Figures] = figures["scores"]
            return scores if figures["backtest"] == self._digests[judged.month] else {}
        except (NotStoredError, UnusableValueError, KeyError, TypeError):
            return {}

    def _score_anew(self, month: Month, version: Version) -> Figures | None:
        try:
            served = load_version(self._server, self._fleet.name, version.number)
            trips = self._held_out(month)
        except (UnusableVersionError, NotStoredError, UnusableValueError) as error:
            self._report(f"{version} is not scored on {month}: {error}")
            return None
        minutes, low, high = trips.ask(version.run_id, served.answer_cells)
        return {
            "trained_through": str(version.month),
            "mlflow_run_id": version.run_id,
            **trips.score(minutes, (low, high)),
        }

    def _held_out(self, month: Month) -> "HeldOutTrips":
        from taxi_assets.durations.backtest import HeldOutTrips

        if month in self._trips:
            return self._trips[month]
        return HeldOutTrips(load_stored(self._storage, self._fleet, "cleaned_trips", month))


def digest(backtest: Mapping[str, Any]) -> str:
    """Of a month's backtest, so that scores are known to be of the same trips."""
    return hashlib.sha256(json.dumps(backtest, sort_keys=True).encode()).hexdigest()
