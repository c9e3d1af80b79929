"""Several months in one run: the same values and records as month by month, whatever fails."""

import json
import shutil
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from taxi_assets import assets
from taxi_assets.assets import GRAPH
from taxi_assets.definitions import build_definitions
from taxi_assets.durations import cleaning
from taxi_assets.partitions import commands, stretches
from taxi_assets.settings import Settings, SettingsError
from taxi_assets.storage.files import Storage
from taxi_assets.storage.io_managers import StoredMonths
from taxi_assets.tlc.months import Month
from taxi_assets_tests.conftest import latest_record, step_failures

Materialize = Callable[..., dg.ExecuteInProcessResult]

MONTHS = ("2023-01", "2023-02", "2023-03")
NAMES = [asset.name for asset in GRAPH]


@pytest.fixture
def own_source(settings: Settings, tmp_path: Path) -> Settings:
    """Settings with a source folder that the test may change."""
    shutil.copytree(settings.trip_source, tmp_path / "source")
    return replace(settings, trip_source=str(tmp_path / "source"))


def figures(settings: Settings, month: str) -> dict[str, float]:
    path = Path(settings.storage) / f"green/metrics/{month}.json"
    return json.loads(path.read_text())


def test_every_month_of_a_span_is_stored_as_if_it_were_alone(
    settings: Settings, materialize: Materialize, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    alone = replace(settings, storage=str(tmp_path / "alone"))
    assert materialize("2023-01:2023-03").success
    for month in MONTHS:
        assert materialize(month, settings=alone).success

    for month in MONTHS:
        assert figures(settings, month) == figures(alone, month)
        for frame in ("cleaned_trips", "zone_pairs"):
            path = f"green/{frame}/{month}.parquet"
            pd.testing.assert_frame_equal(
                pd.read_parquet(Path(settings.storage) / path),
                pd.read_parquet(Path(alone.storage) / path),
            )
        loaded = [
            build_definitions(own).load_asset_value(
                ["green", "model"], partition_key=f"{month}-01", instance=instance
            )
            for own in (settings, alone)
        ]
        assert loaded[0]["model"].coef_.tolist() == loaded[1]["model"].coef_.tolist()


def test_the_latest_record_of_every_month_carries_its_own_figures_and_data_version(
    settings: Settings, materialize: Materialize, instance: dg.DagsterInstance
) -> None:
    assert materialize("2023-01:2023-03").success
    for month in MONTHS:
        metrics = latest_record(instance, "metrics", month).metadata
        expected = figures(settings, month)
        assert {name: metrics[name].value for name in expected} == expected
        for name in NAMES:
            assert (
                f"/{name}/{month}." in latest_record(instance, name, month).metadata["path"].value
            )
        raw = latest_record(instance, "raw_trips", month)
        assert raw.tags["dagster/data_version"] == raw.metadata["sha256"].value
    versions = {latest_record(instance, "metrics", m).tags["dagster/data_version"] for m in MONTHS}
    assert len(versions) == len(MONTHS)


def test_data_versions_are_those_of_single_months(
    settings: Settings, materialize: Materialize, instance: dg.DagsterInstance
) -> None:
    def versions() -> dict[str, str]:
        return {
            name: latest_record(instance, name, "2023-02").tags["dagster/data_version"]
            for name in NAMES
        }

    assert materialize("2023-01:2023-02").success
    spanned = versions()
    assert materialize("2023-02").success
    assert versions() == spanned


def test_a_bad_month_does_not_keep_the_others_and_its_old_value_stays(
    own_source: Settings, materialize: Materialize, instance: dg.DagsterInstance
) -> None:
    """February was good once and is corrupt now; March is gone; January and April are good."""
    settings = own_source
    assert materialize("2023-02", "raw_trips", settings=settings).success
    good = (Path(settings.storage) / "green/raw_trips/2023-02.parquet").read_bytes()
    source = Path(settings.trip_source)
    (source / "green_tripdata_2023-02.parquet").write_bytes(good[:1000])
    (source / "green_tripdata_2023-03.parquet").unlink()

    result = materialize("2023-01:2023-04", settings=settings)

    assert not result.success
    (message,) = step_failures(result)
    head, february, march, advice, first, second = message.splitlines()
    assert head == "raw_trips failed for 2 of 4 months:"
    assert "2023-02: " in february
    assert "not a complete Parquet file" in february
    assert "2023-03: " in march
    assert "does not exist" in march
    assert advice == "The other months are stored. To go on with them:"
    assert first.endswith("--partition 2023-01-01")
    assert second.endswith("--partition 2023-04-01")
    assert "green/cleaned_trips" in first
    assert "green/raw_trips" not in first

    stored = Path(settings.storage) / "green"
    assert (stored / "raw_trips/2023-02.parquet").read_bytes() == good
    assert [path.name for path in stored.iterdir()] == ["raw_trips"]
    assert latest_record(instance, "raw_trips", "2023-01").metadata["records_loaded"].value == 6_000
    assert latest_record(instance, "raw_trips", "2023-04") is not None
    assert latest_record(instance, "raw_trips", "2023-03") is None
    assert latest_record(instance, "cleaned_trips") is None
    failed_run_has_no_record_of_february = {
        record.partition_key
        for record in instance.fetch_materializations(
            dg.AssetKey(["green", "raw_trips"]), limit=100
        ).records
        if record.run_id == result.run_id
    }
    assert failed_run_has_no_record_of_february == {"2023-01-01", "2023-04-01"}


def test_a_month_without_usable_trips_fails_alone(
    own_source: Settings, materialize: Materialize
) -> None:
    february = Path(own_source.trip_source) / "green_tripdata_2023-02.parquet"
    month = pd.read_parquet(february)
    month.drop(columns="PULocationID").to_parquet(february)

    (message,) = step_failures(materialize("2023-01:2023-03", settings=own_source))
    assert message.splitlines()[:2] == [
        "cleaned_trips failed for 1 of 3 months:",
        "  2023-02: The file has no column PULocationID. Is it a file of another fleet than green?",
    ]
    stored = Path(own_source.storage) / "green/cleaned_trips"
    assert sorted(path.name for path in stored.iterdir()) == ["2023-01.parquet", "2023-03.parquet"]


def test_never_two_months_trips_are_in_memory(
    settings: Settings, materialize: Materialize, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: list[weakref.ref] = []

    def clean_while_alone(*arguments: object) -> cleaning.CleanedTrips:
        assert [frame() for frame in alive if frame() is not None] == []
        cleaned = clean(*arguments)
        alive.append(weakref.ref(cleaned.trips))
        return cleaned

    clean = cleaning.clean_trips
    monkeypatch.setattr(assets.cleaning, "clean_trips", clean_while_alone)
    assert materialize("2023-01:2023-03", "raw_trips", "cleaned_trips").success
    assert len(alive) == 3


def test_inputs_of_several_months_are_loaded_when_asked_for_and_not_kept() -> None:
    loaded: list[Month] = []
    january, february = Month(2023, 1), Month(2023, 2)
    months = StoredMonths([january, february], lambda month: loaded.append(month) or object())
    assert loaded == []
    assert months[february] is not months[february]
    assert loaded == [february, february]
    assert list(months) == [january, february]
    with pytest.raises(KeyError):
        months[Month(2023, 3)]


def test_only_what_changed_at_the_source_is_fetched_again(
    own_source: Settings, materialize: Materialize, instance: dg.DagsterInstance
) -> None:
    assert materialize("2023-01:2023-02", "raw_trips", settings=own_source).success
    stored = Path(own_source.storage) / "green/raw_trips"
    before = {path.name: path.stat().st_mtime_ns for path in stored.glob("*.parquet")}
    changed = Path(own_source.trip_source) / "green_tripdata_2023-02.parquet"
    shutil.copyfile(Path(own_source.trip_source) / "green_tripdata_2023-03.parquet", changed)

    assert materialize("2023-01:2023-02", "raw_trips", settings=own_source).success

    after = {path.name: path.stat().st_mtime_ns for path in stored.glob("*.parquet")}
    assert after["2023-01.parquet"] == before["2023-01.parquet"]
    assert after["2023-02.parquet"] != before["2023-02.parquet"]
    assert (stored / "2023-02.parquet").read_bytes() == changed.read_bytes()
    for month in ("2023-01", "2023-02"):
        assert latest_record(instance, "raw_trips", month).metadata["records_loaded"].value == 6_000


def test_a_stored_file_that_was_altered_is_fetched_again(
    settings: Settings, materialize: Materialize
) -> None:
    stored = Path(settings.storage) / "green/raw_trips/2023-01.parquet"
    assert materialize("2023-01", "raw_trips").success
    good = stored.read_bytes()
    stored.write_bytes(good[:-1] + b"x")
    assert materialize("2023-01", "raw_trips").success
    assert stored.read_bytes() == good


def test_a_backfill_is_cut_as_the_settings_say(settings: Settings) -> None:
    def policies(months_per_run: int | None) -> set[dg.BackfillPolicy]:
        definitions = build_definitions(replace(settings, months_per_run=months_per_run))
        graph = definitions.resolve_asset_graph()
        return {graph.get(key).backfill_policy for key in graph.get_all_asset_keys()}

    assert policies(None) == {dg.BackfillPolicy.single_run()}
    assert policies(3) == {dg.BackfillPolicy.multi_run(3)}


def test_a_range_on_the_command_line_needs_one_run(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["dagster", "--partition-range", "2023-01-01...2023-02-01"])
    with pytest.raises(SettingsError, match="set TAXI_MONTHS_PER_RUN to all"):
        build_definitions(replace(settings, months_per_run=1))


def test_commands_cover_each_stretch_of_months() -> None:
    months = [Month(2022, 11), Month(2022, 12), Month(2023, 1), Month(2023, 3)]
    assert stretches(months) == [months[:3], months[3:]]
    first, second = commands([dg.AssetKey(["green", "model"])], months)
    assert first.endswith("--select 'green/model' --partition-range 2022-11-01...2023-01-01")
    assert second.endswith("--select 'green/model' --partition 2023-03-01")


def test_storage_holds_nothing_but_whole_months(
    settings: Settings, materialize: Materialize
) -> None:
    assert materialize("2023-01:2023-02").success
    assert not [path for path in Path(settings.storage).rglob("*") if path.name.startswith(".")]
    assert Storage(settings.storage).exists("green/model/2023-02.skops")
