"""What must not be read by whoever reads logs: passwords and tokens, in URLs and beside names."""

import re
from collections.abc import Callable

_END = r"(?=[\"'>)\]}]*[.,;:!]?(?:\s|$))"
"""Where a word ends, without the quotes, brackets and stops around it."""


def _without_login(address: re.Match[str]) -> str:
    scheme, _, rest = address[0].partition("://")
    _, at, place = rest.rpartition("@")
    return f"{scheme}://***@{place}" if at else address[0]


_SECRETS: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    # user:password@ after a scheme; passwords hold all kinds of characters, escaped or not.
    (re.compile(r"(?<!\S)\S*://\S*"), _without_login),
    # The same without a scheme; an image's digest is no password.
    (re.compile(r"(?<!\S)(?!\S*://)(?!sha\d+:)[^\s:]+:\S+(?=@)"), "***"),
    # ?signature=…&expires=…, but neither <?xml …?> nor the end of a question.
    (re.compile(rf"(?<=[^\s<\"'?]\?)(?![\s>)\"'.,;:!])\S+?{_END}"), "***"),
    # password=…, "token": "…", and whatever such names begin or end with.
    (
        re.compile(
            r"(?i)\b([\w-]{0,40}(?:password|passwd|pwd|secret|token|api_?key|access_?key)[\w-]{0,40}"
            rf"(?:\s?=\s?|[\"']\s?:\s?))(?:\"[^\"]*\"|'[^']*'|\S+?{_END})"
        ),
        r"\1***",
    ),
)


def mask(text: str) -> str:
    """The text with ``***`` for user names, passwords, tokens and the query strings of URLs in it.

    In doubt more is masked than need be.
    """
    for secret, stars in _SECRETS:
        text = secret.sub(stars, text)
    return text
