"""The unit of everything here: a calendar month, as TLC publishes its trip records."""

import re
from dataclasses import dataclass
from datetime import date
from typing import Self


@dataclass(frozen=True, order=True)
class Month:
    """A calendar month. ``str(month)`` is ``2023-03``, as in TLC's file names."""

    year: int
    month: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``2023-03`` or Dagster's partition key ``2023-03-01``.

        Raises:
            ValueError: if the text is neither, for example a path or a day within a month.
        """
        match = re.fullmatch(r"(\d{4})-(0[1-9]|1[0-2])(-01)?", text, flags=re.ASCII)
        if match is None:
            raise ValueError(f"{text!r} is not a month: write it as 2023-03.")
        return cls(int(match[1]), int(match[2]))

    @property
    def partition_key(self) -> str:
        """Dagster's key of the month: its first day, ``2023-03-01``."""
        return f"{self}-01"

    @property
    def first_day(self) -> date:
        """The month's first day; the next month's is its (exclusive) end."""
        return date(self.year, self.month, 1)

    def __add__(self, months: int) -> "Month":
        index = self.year * 12 + (self.month - 1) + months
        return Month(index // 12, index % 12 + 1)

    def __sub__(self, months: int) -> "Month":
        return self + -months

    def __str__(self) -> str:
        return f"{self.year:04d}-{self.month:02d}"


def months_of(span: str) -> list[Month]:
    """The months of a span, in order: ``2023-01...2023-12``, ``2023-01:2023-12`` or ``2023-03``.

    Raises:
        ValueError: it is none, or it ends before it begins.
    """
    first, _, last = span.replace("...", ":").partition(":")
    month, end = Month.parse(first), Month.parse(last or first)
    if end < month:
        raise ValueError(f"{span!r} ends before it begins.")
    months = []
    while month <= end:
        months.append(month)
        month += 1
    return months
