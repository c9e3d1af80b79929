"""Which version of a fleet's model serves: the one that MLflow's alias ``champion`` points to.

Whoever moves the alias decides: a month, a person on MLflow's pages, the command. Two tags of the
registered model go with it: ``pinned``, by which a person keeps months from moving the alias, and
``judged_through``, the newest month whose decision the aliases have followed.
"""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from taxi_assets.durations.promotion import (
    Decision,
    Figures,
    Standing,
    Version,
    decide,
    find_incumbent,
    recall_champion,
)
from taxi_assets.tracking.registry import CHAMPION, PINNED, PREVIOUS, find_model, registered_name
from taxi_assets.tracking.servers import TrackingError, TrackingServer
from taxi_assets.tracking.versions import UnusableVersionError, load_version, registered_versions

if TYPE_CHECKING:
    from taxi_assets.durations.backtest import HeldOutTrips
    from taxi_assets.tracking.served import TripDuration

JUDGED_THROUGH, FOLLOWED = "judged_through", "followed"

CHOSEN, PROMOTED = "chosen", "promoted"
"""Tags: what a person chose last and why (of the model); which month promoted it (of a version)."""

OLD_RECORD = "champion"
"""Tag of the registered model in which earlier releases kept who serves, as JSON."""


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
        """How things stand, as one read has them; all None where no version is registered.

        Raises:
            TrackingError: MLflow does not do its part.
        """
        with self._server.explained():
            model = find_model(self._server.client, self._fleet)
        if model is None:
            return Standing()
        numbers = (model.aliases.get(alias) for alias in (CHAMPION, PREVIOUS))
        champion, previous = (None if number is None else int(number) for number in numbers)
        pinned, through, followed, chosen = (
            model.tags.get(tag) for tag in (PINNED, JUDGED_THROUGH, FOLLOWED, CHOSEN)
        )
        number = int(followed) if followed and followed.isdecimal() else None
        return Standing(champion, previous, pinned, through, number, chosen)

    def judge(
        self,
        seen: Standing,
        backtest: Figures,
        decided: Mapping[str, Figures],
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
        self._refuse_strange_registry(seen, backtest, decided, versions)
        incumbent = find_incumbent(month, seen, versions, decided)
        figures, unreadable = None, None
        if incumbent.champion is not None:
            version = incumbent.champion.version
            try:
                served = load_version(self._server, self._fleet, version.number)
                if version.month is None or str(version.month) < month:
                    minutes, low, high = trips.ask(str(version.run_id), served.answer_cells)
                    figures = trips.score(minutes, (low, high))
            except UnusableVersionError as error:
                unreadable = f"the champion cannot be read ({str(error).rstrip('.')})"
        return decide(backtest, versions, incumbent, figures, unreadable)

    def _refuse_strange_registry(
        self,
        seen: Standing,
        backtest: Figures,
        decided: Mapping[str, Figures],
        versions: Sequence[Version],
    ) -> None:
        """Make sure that MLflow is the one that knew the fleet.

        Raises:
            TrackingError: stored months name versions, and neither these are registered nor the
                models that the month has scored.
        """
        month = str(backtest["month"])
        entries = [
            (at, of[name])
            for at, of in decided.items()
            for name in ("before", "champion")
            if of.get(name)
        ]
        scored = {of["mlflow_run_id"] for of in backtest["models"].values()} - {None}
        is_new = seen.champion is None and seen.judged_through is None
        if scored & {each.run_id for each in versions}:
            entries = [(at, of) for at, of in entries if at < month and is_new]
        if entries and not any(recall_champion(of, versions) for _, of in entries):
            raise TrackingError(
                f"MLflow at {self._server.shown} knows no version that stored months of "
                f"{self._fleet} name, such as version {entries[-1][1].get('version')}. The "
                f"registered model {self._name} was renamed or deleted, or MLFLOW_TRACKING_URI "
                "leads to another database. The stored champions and predictions stay. Mend that; "
                "where the versions are lost, make all months again, from the first on."
            )

    def follow(self, seen: Standing, decision: Decision) -> list[str]:
        """Have the aliases follow a month whose decision is stored; return what is to be said.

        ``judged_through`` is written last: without it the aliases have not followed the month.

        Args:
            seen: how things stood before the month was judged.
            decision: the month's.
        """
        client, month, best = self._server.client, decision.month, decision.champion
        with self._server.turn():
            now, told = self.standing(), list[str]()
            if (seen.judged_through or "") > month:
                return told
            if now.judged_through != seen.judged_through:
                again = "make champion and predictions again, in the order of the months"
                return [*told, f"{now.judged_through} was judged meanwhile: {again}"]
            if now.pinned is not None and now.champion is None:
                client.delete_registered_model_tag(self._name, PINNED)
                told.append(f"the pinned version was deleted, and its pin ({now.pinned}) with it")
                now = now._replace(pinned=None)
            if best is not None and (number := best.version.number) != now.champion:
                is_unmoved = decision.incumbent.is_unmoved and now.champion == seen.champion
                if now.pinned is None and is_unmoved:
                    if best.since == month:
                        why = f"{month}: {decision.sentence}"[:1000]
                        client.set_model_version_tag(self._name, str(number), PROMOTED, why)
                    served = decision.before and decision.before.version.number
                    self._move(served if served not in (None, number) else now.champion, number)
                else:
                    by = "somebody has chosen" if now.pinned is None else "is pinned"
                    told.append(f"the alias stays at version {now.champion}, which {by}")
            if find_model(client, self._fleet) is not None:
                if best is not None and best.version.number != now.followed:
                    self._tag(FOLLOWED, str(best.version.number))
                self._tag(JUDGED_THROUGH, month)
        return told

    def choose(self, number: int, why: str) -> None:
        """Have a version serve that a person has chosen."""
        with self._server.turn():
            now = self.standing()
            if now.champion is None and now.pinned is not None:
                # It was pinned for a version that is gone.
                self._server.client.delete_registered_model_tag(self._name, PINNED)
            if now.champion != number:
                self._move(now.champion, number)
            self._tag(CHOSEN, f"version {number}: {why}")

    def pin(self, why: str | None) -> None:
        """Keep months from moving the alias, for a reason; None lets them again."""
        with self._server.turn():
            if why is None:
                self._server.client.delete_registered_model_tag(self._name, PINNED)
            else:
                self._tag(PINNED, why)

    def take_over_old_record(self) -> list[str]:
        """Go on from what an earlier release has recorded; say once if it had pinned a version."""
        with self._server.turn():
            model = find_model(self._server.client, self._fleet)
            if model is None or OLD_RECORD not in model.tags:
                return []
            found = re.search(r'"judged_through": "([0-9-]+)"', model.tags[OLD_RECORD])
            if found and JUDGED_THROUGH not in model.tags:
                self._tag(JUDGED_THROUGH, found[1])
            self._server.client.delete_registered_model_tag(self._name, OLD_RECORD)
        again = f"taxi-assets champion --fleet {self._fleet} --pin"
        told = f"the pin that an earlier release has set does not hold any more; again: {again}"
        return [told] if '"pinned": true' in model.tags[OLD_RECORD] else []

    def _move(self, before: int | None, number: int) -> None:
        """Move both aliases, the champion's last: whoever dies in between has not moved it."""
        if before is not None:
            self._server.client.set_registered_model_alias(self._name, PREVIOUS, str(before))
        elif self.standing().previous == number:
            self._server.client.delete_registered_model_alias(self._name, PREVIOUS)
        self._server.client.set_registered_model_alias(self._name, CHAMPION, str(number))

    def _tag(self, name: str, value: str) -> None:
        self._server.client.set_registered_model_tag(self._name, name, value)
