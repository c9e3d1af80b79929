"""Which version of a fleet's registered model serves: one record, and aliases that follow it.

MLflow cannot move two aliases at once, and remembers no moves. So the record, a tag of the
registered model that is written in one call, is the truth. Each decision of a person is a tag of
its own, which nobody writes over.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from taxi_assets.durations.reigns import Decision, Verdict
from taxi_assets.tlc.months import Month
from taxi_assets.tracking.registry import registered_name
from taxi_assets.tracking.servers import TrackingServer

if TYPE_CHECKING:
    from mlflow.entities.model_registry import RegisteredModel

RECORD = "champion"
"""Tag of the registered model: who serves."""

DECISION = "champion_decision_"
"""Beginning of the names of tags that each have a person's decision."""

VERDICT = "champion_"
"""Beginning of the names of a version's tags that say how a month has judged it."""

ALIASES = {"previous_champion": "previous", "champion": "version"}
"""The aliases, and the entries of the record that they follow, in the order of their moves."""


class ChampionRecord:
    """The record of a fleet's champion, in MLflow's registry."""

    def __init__(self, server: TrackingServer, fleet: str) -> None:
        self._server = server
        self._name = registered_name(fleet)

    def decisions(self) -> list[Decision]:
        """What people have decided, in order of time."""
        model = self._model()
        tags = {} if model is None else model.tags
        found = [_decision(value) for name, value in tags.items() if name.startswith(DECISION)]
        return sorted((one for one in found if one is not None), key=lambda one: one.at)

    def add_decision(self, decision: Decision) -> None:
        """Record what a person has decided."""
        text = asdict(decision) | {"after": decision.after and str(decision.after)}
        with self._server.turn():
            self._server.client.set_registered_model_tag(
                self._name, f"{DECISION}{decision.at:.6f}", json.dumps(text)
            )

    def standing(self) -> Mapping[str, Any]:
        """What the record says; nothing where there is none, or somebody has damaged it."""
        model = self._model()
        return {} if model is None else _record(model)

    def write(self, verdict: Verdict) -> list[str]:
        """Record how things stand, and have the aliases follow; return what was put right.

        Raises:
            TrackingError: MLflow does not do its part. Whoever writes next puts it right.
        """
        with self._server.turn():
            model = self._model()
            if model is None:
                return []
            before = _record(model)
            after = _as_record(verdict)
            put_right = [
                f"the alias {alias} was {_at(now)}, and is {_at(after[entry])} again"
                for alias, entry in ALIASES.items()
                for now in [_number(model.aliases.get(alias))]
                if before and now not in (before.get(entry), after[entry])
            ]
            if before != after:
                self._server.client.set_registered_model_tag(self._name, RECORD, json.dumps(after))
            for alias, entry in ALIASES.items():
                self._point(model, alias, after[entry])
            return put_right

    def annotate(self, verdicts: Iterable[Verdict]) -> None:
        """Tag versions with how each month has judged them, where they are not yet."""
        with self._server.turn():
            for verdict in (each for each in verdicts if each.decision is None):
                name = f"{VERDICT}{verdict.month}"
                for version in verdict.candidates:
                    if version.tags.get(name) != verdict.sentence:
                        self._server.client.set_model_version_tag(
                            self._name, str(version.number), name, verdict.sentence
                        )

    def _point(self, model: "RegisteredModel", alias: str, version: int | None) -> None:
        if _number(model.aliases.get(alias)) == version:
            return
        if version is None:
            self._server.client.delete_registered_model_alias(self._name, alias)
        else:
            self._server.client.set_registered_model_alias(self._name, alias, str(version))

    def _model(self) -> "RegisteredModel | None":
        from mlflow.exceptions import MlflowException

        with self._server.explained():
            try:
                return self._server.client.get_registered_model(self._name)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                return None


def _as_record(verdict: Verdict) -> dict[str, Any]:
    champion = verdict.champion
    return {
        "version": champion and champion.version.number,
        "month": champion and str(champion.version.month),
        "family": champion and champion.version.family,
        "previous": verdict.previous and verdict.previous.number,
        "since": champion and champion.since and str(champion.since),
        "judged_through": verdict.month and str(verdict.month),
        "pinned": verdict.pinned,
        "why": verdict.sentence[:1000],
    }


def _record(model: "RegisteredModel") -> dict[str, Any]:
    try:
        record = json.loads(model.tags.get(RECORD, "{}"))
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def _decision(text: str) -> Decision | None:
    """A decision from its tag; None if somebody has damaged it."""
    try:
        read = json.loads(text)
        after = read["after"] and Month.parse(read["after"])
        version = None if read["version"] is None else int(read["version"])
        return Decision(float(read["at"]), after, str(read["why"]), version, read["pinned"])
    except (ValueError, KeyError, TypeError):
        return None


def _number(version: object) -> int | None:
    return None if version is None else int(str(version))


def _at(version: object) -> str:
    return "at no version" if version is None else f"at version {version}"
