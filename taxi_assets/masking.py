"""What must not be read by whoever reads logs: passwords and tokens in URLs."""

import re

_SECRETS = (
    # user:password@ after a scheme; passwords hold all kinds of characters, escaped or not.
    (re.compile(r"(?<=://)\S*(?=@)"), "***"),
    # The same without a scheme.
    (re.compile(r"(?<!\S)(?!\S*://)[^\s:]+:\S+(?=@)"), "***"),
    # ?signature=…&expires=…
    (re.compile(r"(?<=\S\?)\S+"), "***"),
)


def mask(text: str) -> str:
    """The text with ``***`` for user names, passwords and query strings in the URLs in it.

    In doubt more is masked than need be.
    """
    for secret, stars in _SECRETS:
        text = secret.sub(stars, text)
    return text
