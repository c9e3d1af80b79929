"""Which version of a fleet's model serves, and people's say in it.

``python -m taxi_assets.champion --fleet yellow`` shows the champion, the one before, and the last
decisions. ``--set`` and ``--back`` choose another, ``--pin`` keeps challengers out.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from taxi_assets.championship import Championship
from taxi_assets.durations.reigns import Decision, Verdict
from taxi_assets.errors import MonthError
from taxi_assets.run_process import try_mlflow_briefly
from taxi_assets.settings import Settings, SettingsError
from taxi_assets.storage.files import Storage
from taxi_assets.tlc.fleets import FLEETS
from taxi_assets.tracking.servers import TrackingServer
from taxi_assets.tracking.versions import registered_versions

SHOWN = 10
"""Decisions that are shown."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do as the command line says; return the exit code."""
    parser = _parser()
    asked = parser.parse_args(arguments)
    if (asked.set is not None or asked.back) and not asked.why:
        parser.error("say why: --why '…' stands beside the decision from then on")
    try_mlflow_briefly()
    try:
        settings = Settings.from_environment()
    except SettingsError as error:
        parser.error(error.message)
    fleet = FLEETS[asked.fleet]
    server = TrackingServer(settings.tracking_uri)
    championship = Championship(Storage(settings.storage), server, fleet, _warn)
    try:
        if asked.set is not None or asked.back or asked.pin or asked.unpin:
            _decide(championship, server, asked)
        verdicts, put_right = championship.settle()
    except MonthError as error:
        print(error, file=sys.stderr)
        return 1
    for line in put_right:
        print(f"put right: {line}")
    print("\n".join(_shown(fleet.name, verdicts)))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m taxi_assets.champion", description=__doc__)
    parser.add_argument("--fleet", choices=FLEETS, required=True)
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--set", type=int, metavar="VERSION", help="have this version serve")
    chosen.add_argument("--back", action="store_true", help="have the previous champion serve")
    pinned = parser.add_mutually_exclusive_group()
    pinned.add_argument("--pin", action="store_true", help="let no challenger in")
    pinned.add_argument("--unpin", action="store_true", help="let challengers in again")
    parser.add_argument("--why", default="", help="the reason, which is kept")
    return parser


def _decide(championship: Championship, server: TrackingServer, asked: argparse.Namespace) -> None:
    """Record a person's decision.

    Raises:
        MonthError: it cannot be meant; nothing is recorded.
    """
    verdicts = championship.verdicts()
    now = verdicts[-1] if verdicts else Verdict(month=None)
    version = asked.set
    if asked.back:
        if now.previous is None:
            raise MonthError(f"No version of {asked.fleet} has served before this one.")
        version = now.previous.number
    if version is None:
        if now.champion is None:
            raise MonthError(f"No version of {asked.fleet} serves yet, so there is none to pin.")
        if asked.pin:
            # This version from now on, and nothing that is made in its place.
            version = now.champion.version.number
    numbers = [each.number for each in registered_versions(server, asked.fleet)]
    if version is not None and version not in numbers:
        there = ", ".join(map(str, numbers)) or "none"
        raise MonthError(f"The {asked.fleet} model has no version {version}; there are: {there}.")
    pinned = True if asked.pin else False if asked.unpin else None
    championship.record.add_decision(
        Decision(time.time(), now.month, asked.why, version=version, pinned=pinned)
    )


def _shown(fleet: str, verdicts: Sequence[Verdict]) -> list[str]:
    """How things stand, and how they came to."""
    if not verdicts:
        return [f"No month of {fleet} has been judged yet."]
    now = verdicts[-1]
    champion, previous = now.champion, now.previous
    lines = ["champion  none"]
    if champion is not None:
        since = "" if champion.since is None else f", since {champion.since}"
        pinned = ", pinned" if now.pinned else ""
        number = champion.version.number
        lines = [f"champion  version {number}, {champion.version}{since}{pinned}"]
    lines.append(
        "previous  none" if previous is None else f"previous  version {previous.number}, {previous}"
    )
    lines.append("decisions")
    return lines + [f"  {_when(verdict)}  {verdict.sentence}" for verdict in verdicts[-SHOWN:]]


def _when(verdict: Verdict) -> str:
    if verdict.decision is None:
        return f"{verdict.month}   "
    return datetime.fromtimestamp(verdict.decision.at, UTC).date().isoformat()


def _warn(line: str) -> None:
    print(line, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
