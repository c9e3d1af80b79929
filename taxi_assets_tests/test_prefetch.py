"""The next month's file is fetched while this month is worked on."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from taxi_assets.tlc.months import Month
from taxi_assets.tlc.prefetch import Prefetch
from taxi_assets.tlc.source import Report, SourceError

JANUARY, FEBRUARY, MARCH = MONTHS = [Month(2023, number) for number in (1, 2, 3)]
Fetch = Callable[[Month, Path, Report], str]


class Source:
    """Gives months, of which some are bad, and remembers which it was asked for."""

    def __init__(self, *bad: Month) -> None:
        self.asked: list[Month] = []
        self.bad = bad

    def fetch(self, month: Month, path: Path, report: Report) -> str:
        self.asked.append(month)
        report(f"fetching {month}")
        if month in self.bad:
            raise SourceError(f"{month} is not there")
        path.write_text(str(month))
        return str(month)


@pytest.fixture
def ahead(tmp_path: Path) -> Callable[[Fetch], Prefetch[str]]:
    return lambda fetch: Prefetch(MONTHS, fetch, lambda month: tmp_path / str(month))


def test_one_month_is_fetched_ahead_and_no_more(
    ahead: Callable[[Fetch], Prefetch[str]], tmp_path: Path
) -> None:
    source = Source()
    months = ahead(source.fetch)
    lines: list[str] = []
    for number, month in enumerate(MONTHS):
        assert set(source.asked) <= set(MONTHS[: number + 1])
        assert months.take(month, lines.append) == str(month)
        assert (tmp_path / str(month)).read_text() == str(month)
    months.close()
    assert source.asked == MONTHS
    assert lines == [f"fetching {month}" for month in MONTHS]


def test_the_next_month_is_fetched_without_being_asked_for(
    ahead: Callable[[Fetch], Prefetch[str]],
) -> None:
    source, begun = Source(), threading.Event()

    def fetch(month: Month, path: Path, report: Report) -> str:
        if month == FEBRUARY:
            begun.set()
        return source.fetch(month, path, report)

    ahead(fetch).take(JANUARY, lambda _: None)
    assert begun.wait(10)


def test_a_month_that_cannot_be_fetched_fails_when_it_is_taken(
    ahead: Callable[[Fetch], Prefetch[str]],
) -> None:
    months = ahead(Source(FEBRUARY).fetch)
    lines: list[str] = []
    months.take(JANUARY, lines.append)
    with pytest.raises(SourceError, match="2023-02 is not there"):
        months.take(FEBRUARY, lines.append)
    assert months.take(MARCH, lines.append) == "2023-03"
    assert lines == ["fetching 2023-01", "fetching 2023-02", "fetching 2023-03"]


def test_a_month_out_of_turn_is_fetched_too(ahead: Callable[[Fetch], Prefetch[str]]) -> None:
    months = ahead(Source().fetch)
    assert months.take(MARCH, lambda _: None) == "2023-03"
    assert months.take(JANUARY, lambda _: None) == "2023-01"


def test_what_nobody_takes_is_removed(
    ahead: Callable[[Fetch], Prefetch[str]], tmp_path: Path
) -> None:
    """A file that is there already, and one in the middle of its fetch, which ends."""
    written, closing, ended = threading.Event(), threading.Event(), []

    def fetch(month: Month, path: Path, report: Report) -> str:
        path.write_text("half")
        written.set()
        closing.wait(10)
        try:
            report("half-way")
        except BaseException as error:
            ended.append(type(error).__name__)
            raise
        return str(month)

    complete = ahead(Source().fetch)
    complete.take(JANUARY, lambda _: None)
    complete.close()
    under_way = Prefetch([MARCH], fetch, lambda _: tmp_path / "under way")
    written.wait(10)
    threading.Timer(0.05, closing.set).start()
    under_way.close()
    assert ended == ["CancelledError"]
    assert [path.name for path in tmp_path.iterdir()] == ["2023-01"]
