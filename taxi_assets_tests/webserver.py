"""Dagster's web server, asked as its pages ask it: over GraphQL."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from taxi_assets.assets.graph import GRAPH

ASSETS = tuple(asset.name for asset in GRAPH)


def ask(url: str, query: str, **variables: object) -> dict[str, Any]:
    """The data that answers a query.

    A page that fails, as one does whose connection to Postgres was cut, is asked for once more, as
    a person would, and that is told.
    """
    request = urllib.request.Request(
        f"{url}/graphql",
        json.dumps({"query": query, "variables": variables}).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        content = _answer(request)
    except urllib.error.HTTPError as error:
        if error.code != HTTPStatus.INTERNAL_SERVER_ERROR:
            raise
        print(f"asked again after {error}: {error.read()[-2000:]!r}")
        time.sleep(5)
        content = _answer(request)
    if "errors" in content:
        raise RuntimeError(content["errors"])
    return dict(content["data"])


def _answer(request: urllib.request.Request) -> dict[str, Any]:
    with urllib.request.urlopen(request, timeout=60) as answer:
        return dict(json.load(answer))


def has_assets(url: str) -> bool:
    """Whether a web server shows assets: it answers also before it has reached the code."""
    try:
        return bool(ask(url, "{ assetNodes { id } }")["assetNodes"])
    except (OSError, RuntimeError):
        return False


def launch_backfill(
    url: str, fleet: str, months: Sequence[str], assets: Sequence[str] = ASSETS
) -> str:
    """Launch a backfill, as the dialog does; return its id."""
    launched = ask(
        url,
        """mutation($params: LaunchBackfillParams!) {
             launchPartitionBackfill(backfillParams: $params) {
               __typename ... on LaunchBackfillSuccess { backfillId }
               ... on PythonError { message } } }""",
        params={
            "assetSelection": [{"path": [fleet, name]} for name in assets],
            "partitionNames": list(months),
        },
    )["launchPartitionBackfill"]
    if "backfillId" not in launched:
        raise RuntimeError(launched)
    return str(launched["backfillId"])


def runs_of(url: str, **which: object) -> list[dict[str, Any]]:
    """The runs of a filter: id, status, start, end and tags of each."""
    runs = ask(
        url,
        """query($which: RunsFilter!) { runsOrError(filter: $which) { ... on Runs { results {
             runId status startTime endTime tags { key value } } } } }""",
        which=which,
    )["runsOrError"]["results"]
    return [run | {"tags": {tag["key"]: tag["value"] for tag in run["tags"]}} for run in runs]


def backfill_state(url: str, backfill: str) -> tuple[str, list[dict[str, Any]]]:
    """A backfill's status, and its runs."""
    state = ask(
        url,
        """query($id: String!) {
             partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status } } }""",
        id=backfill,
    )["partitionBackfillOrError"]
    return state["status"], runs_of(url, tags=[{"key": "dagster/backfill", "value": backfill}])


def wait_for_backfill(url: str, backfill: str, seconds: float) -> list[dict[str, Any]]:
    """Wait until a backfill has ended; return its runs.

    Where Dagster overlooked that it was to launch a run again, what ``docs/team.md`` says is done,
    and told; the runs that are launched then are returned with the others.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        status, runs = backfill_state(url, backfill)
        ended = status.startswith(("COMPLETED", "FAILED", "CANCELED"))
        overlooked = overlooked_runs(runs)
        if ended and not overlooked:
            return runs
        if overlooked and (ended or have_ended(runs, before=time.time() - 60)):
            print(f"Dagster did not launch again {overlooked}", flush=True)
            if not ended:
                cancel_backfill(url, backfill)
            again = [reexecute_from_failure(url, run) for run in overlooked]
            while time.monotonic() < deadline:
                further = runs_of(url, runIds=again)
                if have_ended(further, before=time.time()):
                    return runs + further
                time.sleep(1)
        time.sleep(1)
    raise TimeoutError(f"the backfill has not ended: {backfill_state(url, backfill)}")


def overlooked_runs(runs: Sequence[dict[str, Any]]) -> list[str]:
    """Those that failed and were not launched again, or not yet.

    Dagster forgets a run whose code server does not answer when the run is to be launched again.
    """
    launched_again = "dagster/auto_retry_run_id"
    return [
        r["runId"] for r in runs if r["status"] == "FAILURE" and launched_again not in r["tags"]
    ]


def have_ended(runs: Sequence[dict[str, Any]], *, before: float) -> bool:
    """Whether all runs have ended before a moment."""
    return all(run["endTime"] and run["endTime"] < before for run in runs)


def failure_of(url: str, run: dict[str, Any]) -> tuple[str, list[str]]:
    """Which run failed, and what its log says of it."""
    logs = ask(
        url,
        """query($run: ID!) { logsForRun(runId: $run) { ... on EventConnection { events {
             __typename ... on MessageEvent { message level timestamp } } } } }""",
        run=run["runId"],
    )["logsForRun"]
    told = [event for event in logs["events"] if event.get("level") in ("ERROR", "WARNING")]
    return run["runId"], [f"{event['timestamp']} {event['message']}" for event in told]


def cancel_backfill(url: str, backfill: str) -> None:
    """Cancel a backfill, as its page does."""
    ask(
        url,
        "mutation($id: String!) { cancelPartitionBackfill(backfillId: $id) { __typename } }",
        id=backfill,
    )


def reexecute_from_failure(url: str, run: str) -> str:
    """Launch a run again from where it stopped, as its page does; return the new run's id."""
    launched = ask(
        url,
        """mutation($run: String!) {
             launchRunReexecution(reexecutionParams: {parentRunId: $run, strategy: FROM_FAILURE}) {
               __typename ... on LaunchRunSuccess { run { runId } }
               ... on PythonError { message } } }""",
        run=run,
    )["launchRunReexecution"]
    if "run" not in launched:
        raise RuntimeError(launched)
    return str(launched["run"]["runId"])
