"""Dagster's web server, asked as its pages ask it: over GraphQL."""

import json
import time
import urllib.request
from collections.abc import Sequence
from typing import Any

from taxi_assets.graph import GRAPH

ASSETS = tuple(asset.name for asset in GRAPH)


def ask(url: str, query: str, **variables: object) -> dict[str, Any]:
    """The data that answers a query."""
    request = urllib.request.Request(
        f"{url}/graphql",
        json.dumps({"query": query, "variables": variables}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        content = json.load(answer)
    if "errors" in content:
        raise RuntimeError(content["errors"])
    return dict(content["data"])


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
