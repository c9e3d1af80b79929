"""What must not be read by whoever reads logs: passwords and tokens in URLs."""

import re

_SECRETS = (
    re.compile(r"(?<=://)[^/\s'\"?#]*(?=@)"),  # user:password@
    re.compile(r"(?<=\?)[^\s'\"<>()\[\]]*=[^\s'\"<>()\[\]]*"),  # ?signature=…&expires=…
)


def mask(text: str) -> str:
    """The text with ``***`` for user names, passwords and query strings in the URLs in it."""
    for secret in _SECRETS:
        text = secret.sub("***", text)
    return text
