"""Requests are taken strictly, and refused with FastAPI's own answer, without their content."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

BODIES_AT_A_TIME = 2

SENDING = 5
"""Seconds in which a body must arrive: no other list is read meanwhile."""

JSON_TYPE = "application/json"

SHOWN_PROBLEMS, SHOWN_CHARACTERS = 10, 40
"""Problems of a request that are told, and characters of each name in them."""


class StrictRequest(Request):
    """A request whose JSON has each field once."""

    async def json(self) -> Any:
        """The body.

        Raises:
            json.JSONDecodeError: it is not JSON, or a field is repeated.
        """
        try:
            return json.loads(await self.body(), object_pairs_hook=_unique)
        except (ValueError, RecursionError) as error:
            raise json.JSONDecodeError(str(error), "", 0) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a field is repeated")
    return fields


class StrictRoute(APIRoute):
    """An address that takes each parameter once, no others, and two bodies at a time at most."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler behind these rules."""
        handle = super().get_route_handler()
        turns = asyncio.Semaphore(BODIES_AT_A_TIME)

        async def handle_strictly(request: Request) -> Response:
            given = Counter(name for name, _ in request.query_params.multi_items())
            wrong = [
                _problem("repeated", name, "The parameter is repeated")
                for name in given
                if given[name] > 1
            ]
            if not self.dependant.query_params:
                # FastAPI would pass over them.
                wrong += [
                    _problem("extra_forbidden", name, "Extra inputs are not permitted")
                    for name in given
                ]
            if wrong:
                raise RequestValidationError(wrong)
            if self.body_field is None:
                return await handle(request)
            if turns.locked():
                busy = {"detail": "Two lists are being answered. Try again in a second."}
                return respond(busy, 503, {"Retry-After": "1"})
            if request.headers.get("content-type", "").partition(";")[0].strip() != JSON_TYPE:
                return respond({"detail": f"The Content-Type must be {JSON_TYPE}."}, 415)
            strict = StrictRequest(request.scope, request.receive)
            async with turns:
                try:
                    async with asyncio.timeout(SENDING):
                        await strict.body()
                except TimeoutError:
                    return respond({"detail": f"The body took more than {SENDING} s."}, 408)
                return await handle(strict)

        return handle_strictly


def _problem(kind: str, name: str, message: str) -> dict[str, Any]:
    return {"type": kind, "loc": ("query", name), "msg": message}


async def refuse(_: Request, error: Exception) -> Response:
    """FastAPI's answer to a request that is not valid, without the input."""
    assert isinstance(error, RequestValidationError)
    problems = []
    for problem in error.errors()[:SHOWN_PROBLEMS]:
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "json_invalid":
            message = f"{message}: {problem['ctx']['error']}"
        names = [
            part if isinstance(part, int) else part[:SHOWN_CHARACTERS] for part in problem["loc"]
        ]
        problems.append({"type": problem["type"], "loc": names, "msg": message})
    return respond({"detail": problems}, 422)


def respond(content: Any, status: int, headers: dict[str, str] | None = None) -> Response:
    """Anything as JSON in ASCII: names in requests may have characters that no encoding takes."""
    return Response(json.dumps(content), status, headers, JSON_TYPE)
