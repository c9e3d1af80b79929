"""Which version of a fleet's model serves: the one that MLflow's alias ``champion`` points to.

Whoever moves the alias decides: a month, a person on MLflow's pages, the command. Two tags of the
registered model go with it: ``pinned``, by which a person keeps months from moving the alias, and
``judged_through``, the newest month whose decision the aliases have followed.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from taxi_assets.durations.promotion import (
    Decision,
    Metrics,
    Standing,
    Version,
    begin,
    decide,
)
from taxi_assets.tracking.registry import CHAMPION, PINNED, PREVIOUS, find_model, registered_name
from taxi_assets.tracking.server import TrackingError, TrackingServer
from taxi_assets.tracking.versions import UnusableVersionError, load_version, registered_versions

if TYPE_CHECKING:
    from taxi_assets.durations.backtest import HeldOutTrips
    from taxi_assets.tracking.served_model import TripDuration

JUDGED_THROUGH, FOLLOWED = "judged_through", "followed"

CHOSEN, PROMOTED = "chosen", "promoted"
"""Tags: what a person chose last and why (of the model); which month promoted it (of a version)."""

OLD_RECORD, OLD_PIN = "champion", '"pinned": true'
"""Tag of the registered model in which earlier releases have kept who serves, as JSON."""


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
    versions = {each.number: each for each in registered_versions(server, fleet)}
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
    return Serving(versions[chosen], model)


class Champions:
    """The aliases of a fleet's champions."""

    def __init__(self, server: TrackingServer, fleet: str) -> None:
        self._server = server
        self._fleet = fleet
        self._name = registered_name(fleet)

    def standing(self) -> Standing:
        """How things stand, as one read has them; all None where no version is registered.

        Raises:
            TrackingError: MLflow does not do its part.
        """
        with self._server.explained():
            model = find_model(self._server.client, self._fleet)
        if model is None:
            return Standing()
        old = re.search(r'"judged_through": "([0-9-]+)"', model.tags.get(OLD_RECORD, ""))
        return Standing(
            _number(model.aliases.get(CHAMPION)),
            _number(model.aliases.get(PREVIOUS)),
            model.tags.get(PINNED),
            model.tags.get(JUDGED_THROUGH, old[1] if old else ""),
            _number(model.tags.get(FOLLOWED)),
            model.tags.get(CHOSEN, ""),
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
            trips: of the month.

        Raises:
            TrackingError: MLflow does not do its part, or is not the one that knew the fleet.
        """
        month, versions = str(backtest["month"]), registered_versions(self._server, self._fleet)
        scored = {of["mlflow_run_id"] for of in backtest["models"].values()} - {None}
        is_known = not scored.isdisjoint(each.run_id for each in versions)
        is_new = seen.champion is None and not seen.judged_through
        named = [
            stored
            for at, of in decided.items()
            # Where the versions are lost, the months are made again, from the first on.
            if not is_known or (is_new and at < month)
            for stored in (of["before"], of["champion"])
            if stored
        ]
        if named and not any(each.stands_for(stored) for each in versions for stored in named):
            raise TrackingError(
                f"MLflow at {self._server.shown} knows no version that stored months of "
                f"{self._fleet} name, such as version {named[-1]['version']}. The "
                f"registered model {self._name} was renamed or deleted, or MLFLOW_TRACKING_URI "
                "leads to another database. The stored champions and predictions stay. Mend that; "
                "where the versions are lost, make all months again, from the first on."
            )
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

    def follow(self, seen: Standing, decision: Decision) -> list[str]:
        """Have the aliases follow a month whose decision is stored; return what is to be said.

        ``judged_through`` is written last: without it the aliases have not followed the month.

        Args:
            seen: how things stood before the month was judged.
            decision: the month's.
        """
        client, month, best = self._server.client, decision.month, decision.champion
        with self._server.turn():
            now, notes = self.standing(), list[str]()
            if seen.judged_through > month:
                return notes
            if now.judged_through != seen.judged_through:
                other = now.judged_through or "another month"
                again = "make champion and predictions again, in the order of the months"
                return [f"{other} was judged meanwhile: {again}"]
            if now.pinned is not None and now.champion is None:
                self.pin(None)
                notes.append(f"the pinned version was deleted, and its pin ({now.pinned}) with it")
                now = now._replace(pinned=None)
            if best is not None and best.number != now.champion:
                if now.pinned is None and decision.may_move and now.champion == seen.champion:
                    if best.since == month:
                        why = f"{month}: {decision.decision}"[:1000]
                        client.set_model_version_tag(self._name, str(best.number), PROMOTED, why)
                    judged = decision.before and decision.before.number
                    before = now.champion if judged == best.number else judged or now.champion
                    self._move(now, before, best.number)
                else:
                    by = "somebody has chosen" if now.pinned is None else "is pinned"
                    notes.append(f"the alias stays at version {now.champion}, which {by}")
            model = find_model(client, self._fleet)
            if model is None:
                return notes
            if JUDGED_THROUGH not in model.tags and OLD_PIN in model.tags.get(OLD_RECORD, ""):
                again = f"again: taxi-assets champion --fleet {self._fleet} --pin"
                notes.append(f"the pin of an earlier release does not hold any more; {again}")
            if best is not None and best.number != now.followed:
                self._tag(FOLLOWED, str(best.number))
            self._tag(JUDGED_THROUGH, month)
        return notes

    def choose(self, number: int, why: str) -> None:
        """Have a version serve that a person has chosen."""
        with self._server.turn():
            now = self.standing()
            if now.champion is None:
                # A pin was of a version that is gone.
                self.pin(None)
            if now.champion != number:
                self._move(now, now.champion, number)
            self._tag(CHOSEN, f"version {number}: {why}")

    def pin(self, why: str | None) -> None:
        """Keep months from moving the alias, for a reason; None lets them again."""
        with self._server.turn():
            if why is None:
                self._server.client.delete_registered_model_tag(self._name, PINNED)
            else:
                self._tag(PINNED, why)

    def _move(self, now: Standing, before: int | None, number: int) -> None:
        """Move both aliases, the champion's last: whoever dies in between has not moved it."""
        client = self._server.client
        if before is not None:
            client.set_registered_model_alias(self._name, PREVIOUS, str(before))
        elif now.previous == number:
            client.delete_registered_model_alias(self._name, PREVIOUS)
        client.set_registered_model_alias(self._name, CHAMPION, str(number))

    def _tag(self, name: str, value: str) -> None:
        self._server.client.set_registered_model_tag(self._name, name, value)


def _number(text: object) -> int | None:
    """The number of a version, as an alias or a tag has it."""
    return int(str(text)) if str(text).isdecimal() else None
