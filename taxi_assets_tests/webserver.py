"""Dagster's web server, asked as its pages ask it: over GraphQL."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from taxi_assets.graph import GRAPH

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


def launch_backfill(url: str, fleet: str, months: Sequence[str]) -> str:
    """Launch a backfill of all assets, as the dialog does; return its id."""
    launched = ask(
        url,
        """mutation($params: LaunchBackfillParams!) {
             launchPartitionBackfill(backfillParams: $params) {
               __typename ... on LaunchBackfillSuccess { backfillId }
               ... on PythonError { message } } }""",
        params={
            "assetSelection": [{"path": [fleet, name]} for name in ASSETS],
            "partitionNames": list(months),
        },
    )["launchPartitionBackfill"]
    if "backfillId" not in launched:
        raise RuntimeError(launched)
    return str(launched["backfillId"])


def backfill_state(url: str, backfill: str) -> tuple[str, list[dict[str, Any]]]:
    """A backfill's status, and its runs: id, status, start, end and partition of each."""
    state = ask(
        url,
        """query($id: String!) {
             runsOrError(filter: {tags: [{key: "dagster/backfill", value: $id}]}) {
               ... on Runs { results { runId status startTime endTime tags { key value } } } }
             partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status } } }""",
        id=backfill,
    )
    runs = [
        run | {"tags": {tag["key"]: tag["value"] for tag in run["tags"]}}
        for run in state["runsOrError"]["results"]
    ]
    return str(state["partitionBackfillOrError"]["status"]), runs


def wait_for_backfill(url: str, backfill: str, seconds: float) -> list[dict[str, Any]]:
    """Wait until a backfill has ended; return its runs."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        status, runs = backfill_state(url, backfill)
        if status.startswith(("COMPLETED", "FAILED", "CANCELED")):
            return runs
        time.sleep(1)
    raise TimeoutError(f"the backfill has not ended: {backfill_state(url, backfill)}")
