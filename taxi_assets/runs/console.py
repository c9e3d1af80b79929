"""What a run shows on the console: Dagster's lines without its ids, failures without its frames.

Dagster's console logger can be replaced only by the run config of every single launch, so it is
the log records that learn to show themselves briefly. Dagster's event log stores their full
``msg``, as ever. Nor does any log record of the process show the secrets in a URL, such as those
that urllib3 warns of when it tries again.
"""

import logging
import re
from typing import Any

from taxi_assets.errors import mask

DAGSTER_METADATA = "dagster_meta"
"""Attribute in which Dagster keeps what a log record is about."""

_COLOUR = re.compile(r"\033\[[\d;]*m")


class BriefLogRecord(logging.LogRecord):
    """A log record that, where Dagster made it, shows its own message and nothing around it."""

    def getMessage(self) -> str:  # noqa: N802
        """The message; of a failure that explains itself, the explanation alone."""
        message = mask(super().getMessage())
        metadata = getattr(self, DAGSTER_METADATA, None)
        if metadata is None:
            return message
        brief = mask(_brief(metadata, message))
        colour = _COLOUR.match(message)
        return f"{colour[0]}{brief}\033[0m" if colour else brief


def _brief(metadata: dict[str, Any], message: str) -> str:
    # What a sensor logs is of no event.
    event = metadata.get("dagster_event")
    if event is not None and event.is_step_failure:
        explained = event.step_failure_data.user_failure_data
        return message if explained is None else str(explained.description)
    return str(metadata.get("orig_message", message))


def show_brief_lines() -> None:
    """Have the log records of this process show themselves briefly."""
    logging.setLogRecordFactory(BriefLogRecord)
