"""Whether months fit, asked before the first of them is fetched."""

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest

from taxi_assets.errors import ServiceError, StorageError
from taxi_assets.incoming import check_space, fetched_months
from taxi_assets.storage.files import Storage
from taxi_assets.tlc.fleets import FLEETS, Fleet
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.source import FileSource, SourceError, UnreachableSourceError

GREEN = FLEETS["green"]
MB = 1_000_000
YEAR = [Month(2023, number) for number in range(1, 13)]


@dataclass(frozen=True)
class SizedSource(FileSource):
    """A source that says how large its files are, and has none."""

    url: str = "nowhere"
    bytes_of: dict[Month, int | Exception | None] = field(default_factory=dict)
    asked: list[Month] = field(default_factory=list)

    def size(self, fleet: Fleet, month: Month) -> int | None:
        self.asked.append(month)
        said = self.bytes_of.get(month, 100 * MB)
        if isinstance(said, Exception):
            raise said
        return said


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path))


def free(monkeypatch: pytest.MonkeyPatch, megabytes: float) -> None:
    monkeypatch.setattr(Storage, "free_bytes", lambda _: round(megabytes * MB))


def test_a_year_needs_room_for_all_that_is_made_of_it_and_a_file_that_is_ahead(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twelve months of 100 MB take 1.85 times that and 8 MB each, and one more file: 2,416 MB."""
    free(monkeypatch, 2_416.01)
    check_space(GREEN, YEAR, SizedSource(), storage)
    free(monkeypatch, 2_415)
    with pytest.raises(StorageError) as refused:
        check_space(GREEN, YEAR, SizedSource(), storage)
    assert str(refused.value) == (
        f"12 months need about 2,416 MB in {storage.shown}, and 2,415 MB are free. Make room, "
        "choose fewer months, or set TAXI_STORAGE to another place."
    )


def test_months_that_are_stored_already_need_no_more_room(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of twelve: 1.85 * 11 + 1 files of 100 MB, and 8 MB each."""
    with storage.replacing("green/raw_trips/2023-05.parquet") as temporary:
        temporary.touch()
    source = SizedSource()
    free(monkeypatch, 2_223.01)
    check_space(GREEN, YEAR, source, storage)
    assert Month(2023, 5) not in source.asked
    free(monkeypatch, 2_222)
    with pytest.raises(StorageError, match="11 months need about 2,223 MB"):
        check_space(GREEN, YEAR, source, storage)


def test_of_many_months_twelve_are_asked_about_and_the_others_taken_to_be_like_them(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Months of 50 and 150 MB in turn are 100 MB on average, as far as both are asked about."""
    months = [Month(2021, 1) + ahead for ahead in range(24)]
    source = SizedSource(
        bytes_of={m: (50 if n % 4 < 2 else 150) * MB for n, m in enumerate(months)}
    )
    free(monkeypatch, 4_732.01)
    check_space(GREEN, months, source, storage)
    assert source.asked == months[::2]
    free(monkeypatch, 4_731)
    with pytest.raises(StorageError, match="24 months need about 4,732 MB"):
        check_space(GREEN, months, source, storage)


def test_a_month_of_unknown_size_is_taken_to_be_like_the_others(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that the source does not have fails when it is its turn; a source that is away, now."""
    silent = {YEAR[0]: None, YEAR[1]: SourceError("not there")}
    free(monkeypatch, 2_415)
    with pytest.raises(StorageError, match="12 months need about 2,416 MB"):
        check_space(GREEN, YEAR, SizedSource(bytes_of=silent), storage)
    away = SizedSource(bytes_of={YEAR[0]: UnreachableSourceError("away")})
    with pytest.raises(ServiceError, match="away"):
        check_space(GREEN, YEAR, away, storage)


def test_it_is_asked_of_two_months_and_more_before_the_first_is_fetched(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    free(monkeypatch, 0)
    sources = SimpleNamespace(of=lambda _: SizedSource())
    two = fetched_months(GREEN, YEAR[:2], sources, storage)
    with pytest.raises(StorageError, match="2 months need about 486 MB"), two:
        pass
    with fetched_months(GREEN, YEAR[:1], sources, storage):
        pass


def test_how_much_fits_on_other_machines_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    source = SizedSource()
    check_space(GREEN, YEAR, source, Storage("memory://stored"))
    assert source.asked == []
