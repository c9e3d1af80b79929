"""The next month's file is fetched while this month is worked on."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from taxi_assets.tlc.ahead import FetchAhead
from taxi_assets.tlc.fetch import FetchedMonth, Origin
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.source import Report, SourceError

JANUARY, FEBRUARY, MARCH = MONTHS = [Month(2023, number) for number in (1, 2, 3)]
Fetch = Callable[[Month, Path, Report], FetchedMonth]


class Source:
    """Gives months, of which some are bad, and remembers which it was asked for."""

    def __init__(self, *bad: Month) -> None:
        self.asked: list[Month] = []
        self.bad = bad

    def fetch(self, month: Month, path: Path, report: Report) -> FetchedMonth:
        self.asked.append(month)
        report(f"fetching {month}")
        if month in self.bad:
            raise SourceError(f"{month} is not there")
        path.write_text(str(month))
        return FetchedMonth(Origin("here", "1", 1, 7, str(month)), path)


@pytest.fixture
def ahead(tmp_path: Path) -> Callable[[Fetch], FetchAhead]:
    return lambda fetch: FetchAhead(MONTHS, fetch, lambda month: tmp_path / str(month))


def test_one_month_is_fetched_ahead_and_no_more(ahead: Callable[[Fetch], FetchAhead]) -> None:
    source = Source()
    months = ahead(source.fetch)
    lines: list[str] = []
    for number, month in enumerate(MONTHS):
        assert set(source.asked) <= set(MONTHS[: number + 1])
        fetched = months.take(month, lines.append)
        assert fetched.path is not None
        assert fetched.path.read_text() == str(month)
    assert source.asked == MONTHS
    assert lines == [f"fetching {month}" for month in MONTHS]


def test_the_next_month_is_fetched_without_being_asked_for(
    ahead: Callable[[Fetch], FetchAhead],
) -> None:
    source, begun = Source(), threading.Event()

    def fetch(month: Month, path: Path, report: Report) -> FetchedMonth:
        if month == FEBRUARY:
            begun.set()
        return source.fetch(month, path, report)

    months = ahead(fetch)
    months.take(JANUARY, lambda _: None)
    assert begun.wait(10)


def test_a_month_that_cannot_be_fetched_fails_when_it_is_taken(
    ahead: Callable[[Fetch], FetchAhead],
) -> None:
    months = ahead(Source(FEBRUARY).fetch)
    lines: list[str] = []
    months.take(JANUARY, lines.append)
    with pytest.raises(SourceError, match="2023-02 is not there"):
        months.take(FEBRUARY, lines.append)
    assert months.take(MARCH, lines.append).origin.sha256 == "2023-03"
    assert lines == ["fetching 2023-01", "fetching 2023-02", "fetching 2023-03"]


def test_a_month_out_of_turn_is_fetched_at_once(ahead: Callable[[Fetch], FetchAhead]) -> None:
    months = ahead(Source().fetch)
    assert months.take(MARCH, lambda _: None).origin.sha256 == "2023-03"
    assert months.take(JANUARY, lambda _: None).origin.sha256 == "2023-01"


def test_what_nobody_takes_is_removed(ahead: Callable[[Fetch], FetchAhead], tmp_path: Path) -> None:
    """A file that is there already, and one in the middle of its fetch, which ends."""
    source, written, closing, ended = Source(), threading.Event(), threading.Event(), []

    def fetch(month: Month, path: Path, report: Report) -> FetchedMonth:
        path.write_text("half")
        written.set()
        closing.wait(10)
        try:
            report("half-way")
        except BaseException as error:
            ended.append(type(error).__name__)
            path.unlink()
            raise
        return source.fetch(month, path, report)

    complete = ahead(source.fetch)
    complete.take(JANUARY, lambda _: None)
    complete.close()
    under_way = FetchAhead([MARCH], fetch, lambda _: tmp_path / "under way")
    written.wait(10)
    threading.Timer(0.05, closing.set).start()
    under_way.close()
    assert ended == ["CancelledError"]
    assert [path.name for path in tmp_path.iterdir()] == ["2023-01"]
