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
"""Seconds in which a body must have come: nobody else's is read meanwhile."""

JSON_TYPE = "application/json"

SHOWN_PROBLEMS, SHOWN_CHARACTERS = 10, 40
"""Problems of a request that are told, and characters of each name in them."""

REFUSALS = {
    "repeated": "The parameter is repeated",
    "extra_forbidden": "Extra inputs are not permitted",
}
"""What is told of parameters that FastAPI would pass over."""


class StrictRequest(Request):
    """A request whose JSON has each field once, and no ``NaN``."""

    async def json(self) -> Any:
        """The body.

        Raises:
            json.JSONDecodeError: it is not JSON, or not strictly so.
        """
        try:
            return json.loads(
                await self.body(), object_pairs_hook=_unique, parse_constant=_no_constant
            )
        except json.JSONDecodeError:
            raise
        except UnicodeDecodeError:
            raise json.JSONDecodeError("it is not text in UTF-8", "", 0) from None
        except RecursionError:
            raise json.JSONDecodeError("it is too deep", "", 0) from None
        except ValueError:
            raise json.JSONDecodeError("a number is too long", "", 0) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise json.JSONDecodeError("a field is given twice", "", 0)
    return fields


def _no_constant(name: str) -> None:
    raise json.JSONDecodeError(f"{name} is not JSON", "", 0)


class StrictRoute(APIRoute):
    """An address that takes each parameter once, no others, and two bodies at a time at most."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler behind these two rules."""
        handle = super().get_route_handler()
        turns = asyncio.Semaphore(BODIES_AT_A_TIME)

        async def handle_strictly(request: Request) -> Response:
            given = Counter(name for name, _ in request.query_params.multi_items())
            wrong = [
                {"type": kind, "loc": ("query", name), "msg": REFUSALS[kind]}
                for name, times in given.items()
                for kind in ("repeated", "extra_forbidden")
                if (times > 1 if kind == "repeated" else not self.dependant.query_params)
            ]
            if wrong:
                raise RequestValidationError(wrong)
            if self.body_field is None:
                return await handle(request)
            if turns.locked():
                busy = {"detail": "Two lists are being answered. Try again in a second."}
                return respond(busy, 503, {"Retry-After": "1"})
            strict = StrictRequest(request.scope, request.receive)
            if request.headers.get("content-type", "").partition(";")[0].strip() != JSON_TYPE:
                return respond({"detail": f"The Content-Type must be {JSON_TYPE}."}, 415)
            async with turns:
                try:
                    async with asyncio.timeout(SENDING):
                        await strict.body()
                except TimeoutError:
                    return respond({"detail": f"The body took more than {SENDING} s."}, 408)
                return await handle(strict)

        return handle_strictly


async def refuse(_: Request, error: Exception) -> Response:
    """FastAPI's answer to a request that is not valid, without the input."""
    assert isinstance(error, RequestValidationError)
    problems = [
        {
            "type": problem["type"],
            "loc": [
                part if isinstance(part, int) else part[:SHOWN_CHARACTERS]
                for part in problem["loc"]
            ],
            "msg": _message(problem),
        }
        for problem in error.errors()[:SHOWN_PROBLEMS]
    ]
    return respond({"detail": problems}, 422)


def _message(problem: Any) -> str:
    message = str(problem["msg"]).removeprefix("Value error, ")
    return f"{message}: {problem['ctx']['error']}" if problem["type"] == "json_invalid" else message


def respond(content: Any, status: int, headers: dict[str, str] | None = None) -> Response:
    """Anything as JSON in ASCII: names in requests may have characters that no encoding takes."""
    return Response(json.dumps(content), status, headers, "application/json")
