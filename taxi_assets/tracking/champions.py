"""Which version of a fleet's model serves: the one that MLflow's alias ``champion`` points to.

Whoever moves the alias decides: a month, a person on MLflow's pages, the command. Two tags of the
registered model go with it: ``pinned``, by which a person keeps months from moving the alias, and
``judged_through``, the newest month whose decision the aliases have followed.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from taxi_assets.durations.promotion import Decision, Metrics, Standing, Version, begin, decide
from taxi_assets.tracking.registry import CHAMPION, PINNED, PREVIOUS, find_model, registered_name
from taxi_assets.tracking.server import TrackingError, TrackingServer
from taxi_assets.tracking.versions import UnusableVersionError, load_version, registered_versions

if TYPE_CHECKING:
    from taxi_assets.durations.backtest import HeldOutTrips
    from taxi_assets.tracking.served_model import TripDuration

JUDGED_THROUGH, CHOSEN = "judged_through", "chosen"
"""Tags of the registered model; the second has the version that a person chose last, and why."""


class Serving(NamedTuple):
    """A version that answers.

    Attributes:
        version: its number, month and family.
        model: the model; ``answer(cells, known)`` and ``answer_cells(cells)`` answer.
    """

    version: Version
    model: "TripDuration"


def load_serving(server: TrackingServer, fleet: str, number: int | None = None) -> Serving:
    """The champion, or another version.

    Raises:
        UnusableVersionError: there is none, or it cannot be read.
        TrackingError: MLflow does not do its part.
    """
    chosen = Champions(server, fleet).standing().champion if number is None else number
    found = {each.number: each for each in registered_versions(server, fleet)}
    try:
        if chosen is None:
            raise UnusableVersionError(f"No model of {fleet} taxis serves.")
        model = load_version(server, fleet, chosen)
    except UnusableVersionError as error:
        ways = (
            f" Make two months that follow each other, with all assets of {fleet}; or choose a "
            f"version for good: taxi-assets champion --fleet {fleet} --set VERSION; or "
            "for this time: --model VERSION."
        )
        raise UnusableVersionError(f"{error}{ways if number is None else ''}") from None
    return Serving(found[chosen], model)


class Champions:
    """The aliases of a fleet's champions."""

    def __init__(self, server: TrackingServer, fleet: str) -> None:
        self._server = server
        self._fleet = fleet
        self._name = registered_name(fleet)

    def standing(self) -> Standing:
        """What one read of the registered model says; nothing where no version is registered.

        Raises:
            TrackingError: MLflow does not do its part.
        """
        with self._server.explained():
            model = find_model(self._server.client, self._fleet)
        if model is None:
            return Standing()
        numbers = {alias: int(version) for alias, version in model.aliases.items()}
        return Standing(
            numbers.get(CHAMPION),
            numbers.get(PREVIOUS),
            model.tags.get(PINNED),
            model.tags.get(JUDGED_THROUGH, ""),
        )

    def judge(
        self,
        seen: Standing,
        backtest: Metrics,
        decided: Mapping[str, Metrics],
        trips: "HeldOutTrips",
    ) -> Decision:
        """Find who serves from a month on.

        Args:
            seen: how things stand.
            backtest: what ``backtest`` stores of the month.
            decided: what ``champion`` has stored of it and of earlier ones, in order of months.
            trips: the month's.

        Raises:
            TrackingError: MLflow does not do its part, or is not the one that knew the fleet.
        """
        month, versions = str(backtest["month"]), registered_versions(self._server, self._fleet)
        self._check_registry(versions, backtest, decided)
        begun = begin(month, seen, versions, decided)
        metrics, unreadable = None, ""
        if (champion := begun.before) is not None:
            try:
                served = load_version(self._server, self._fleet, champion.number)
                if champion.month is None or str(champion.month) < month:
                    minutes, low, high = trips.ask(str(champion.run_id), served.answer_cells)
                    metrics = trips.score(minutes, (low, high))
            except UnusableVersionError as error:
                unreadable = f"the champion cannot be read ({str(error).rstrip('.')})"
        return decide(begun, backtest, versions, metrics, unreadable)

    def _check_registry(
        self, versions: Sequence[Version], backtest: Metrics, decided: Mapping[str, Metrics]
    ) -> None:
        """Make sure that the registry is the one in which earlier months have found a champion."""
        scored = {model["mlflow_run_id"] for model in backtest["models"].values()} - {None}
        named = [
            stored
            for decision in decided.values()
            for stored in (decision["before"], decision["champion"])
            if stored
        ]
        is_known = any(
            version.run_id in scored or any(map(version.stands_for, named)) for version in versions
        )
        if named and not is_known:
            raise TrackingError(
                f"MLflow at {self._server.shown} knows no version that stored months of "
                f"{self._fleet} name, such as version {named[-1]['version']}. The registered model "
                f"{self._name} was renamed or deleted, or MLFLOW_TRACKING_URI leads to another "
                "database. The stored champions and predictions stay. Restore the registered model "
                "or the address; if the versions are lost, make all months again, in order."
            )

    def follow(self, seen: Standing, decision: Decision) -> str:
        """Have the aliases follow a month whose decision is stored; say so if they do not.

        ``judged_through`` is written last: without it the aliases have not followed the month.

        Args:
            seen: how things stood before the month was judged.
            decision: the month's.
        """
        month, best, told = decision.month, decision.champion, ""
        with self._server.turn():
            now = self.standing()
            if now.judged_through != seen.judged_through:
                return (
                    f"{now.judged_through or 'another month'} was judged meanwhile: make champion "
                    "and predictions again, in the order of the months"
                )
            if now.judged_through > month:
                return ""
            if best is not None and best.number != now.champion:
                if now.pinned is None and decision.may_move and now.champion == seen.champion:
                    self._move(now.champion, best.number)
                else:
                    by = "somebody has chosen" if now.pinned is None else "is pinned"
                    told = f"the alias stays at version {now.champion}, which {by}"
            if find_model(self._server.client, self._fleet) is not None:
                self._tag(JUDGED_THROUGH, month)
        return told

    def choose(self, number: int, why: str) -> None:
        """Have a version serve that a person has chosen."""
        with self._server.turn():
            now = self.standing().champion
            if now != number:
                self._move(now, number)
            self._tag(CHOSEN, f"version {number}: {why}")

    def pin(self, why: str | None) -> None:
        """Keep months from moving the alias, for a reason; None lets them again."""
        with self._server.turn():
            if why is None:
                self._server.client.delete_registered_model_tag(self._name, PINNED)
            else:
                self._tag(PINNED, why)

    def _move(self, before: int | None, number: int) -> None:
        """Move both aliases, the champion's last: whoever dies in between has not moved it."""
        if before is not None:
            self._server.client.set_registered_model_alias(self._name, PREVIOUS, str(before))
        self._server.client.set_registered_model_alias(self._name, CHAMPION, str(number))

    def _tag(self, name: str, value: str) -> None:
        self._server.client.set_registered_model_tag(self._name, name, value)
