"""The pages, which load nothing from anywhere else."""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response

from taxi_assets.serving.parsing import SPELLINGS
from taxi_assets.tlc.fleets import FLEETS
from taxi_assets.tlc.zones import MAP_SIZE, ZONES


def map_page(fleet: str) -> str:
    """The text of the page on which people ask, with the zones' names and shapes in it."""
    data = json.dumps(
        {
            "fleet": fleet,
            "invented": FLEETS[fleet].invented,
            "size": MAP_SIZE,
            "spellings": SPELLINGS,
            "zones": [{"id": number, **zone._asdict()} for number, zone in ZONES.items()],
        },
        separators=(",", ":"),
    )
    text = files("taxi_assets.serving").joinpath("page.html").read_text("utf-8")
    return text.replace("DATA", data.replace("<", r"\u003c"), 1)


def page(text: str) -> Callable[[Request], Response]:
    """What answers with a page, and a policy that allows what is written in it and nothing else.

    The browser is told the digests of its script and style, and to ask no other host.
    """
    policy = {
        "default-src": "'none'",
        "connect-src": "'self'",
        "img-src": "'self' data:",
        "script-src": f"'self' {_digests(text, 'script')}",
        "style-src": f"'self' {_digests(text, 'style')}",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    headers = {
        "Content-Security-Policy": "; ".join(f"{what} {who}" for what, who in policy.items()),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }
    return lambda _: Response(text, headers=headers, media_type="text/html")


def _digests(text: str, element: str) -> str:
    texts = re.findall(rf"<{element}>(.*?)</{element}>", text, re.DOTALL)
    digests = (base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in texts)
    return " ".join(f"'sha256-{digest}'" for digest in digests)
