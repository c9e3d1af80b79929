"""Any sequence of months that are good, damaged, missing or published anew, run in any ranges.

After each run, files, Dagster's records and MLflow agree, and each month's values are those of its
file alone, or of none.
"""

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import Any

import dagster as dg
import mlflow
import pytest
from hypothesis import Phase
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from taxi_assets.assets.graph import GRAPH
from taxi_assets.definitions import build_definitions
from taxi_assets.runs.partitions import monthly_partitions
from taxi_assets.settings import Settings
from taxi_assets.tlc.fleets import FLEETS
from taxi_assets.tlc.months import Month
from taxi_assets.tlc.synthetic import write_month
from taxi_assets_tests.conftest import (
    dagster_at,
    execute,
    laptop,
    make_cheap,
    read_json,
    shown,
    tracked_runs,
)

pytestmark = pytest.mark.drill

GREEN = FLEETS["green"]
MONTHS = [Month(2023, number) for number in range(1, 5)]
TRIPS = {"first": 600, "anew": 700}
"""Editions of a month, and how many trips each has."""

NAME = "nyc-taxi-trip-duration-green"
EXAMPLES, STEPS = 12, 5

spans = st.tuples(st.integers(0, 3), st.integers(0, 3)).map(sorted)
editions = st.sampled_from(["first", "anew", "first", "anew", "bad", "missing"])


class Months(RuleBasedStateMachine):
    """A source whose months come and go, and a storage that follows it.

    Attributes:
        at_source: what the source has of each month.
        stored: the edition of each month that was stored last.
        failed: the months whose last run failed.
        alone: the values of each month and edition, as a run of it alone has given them.
    """

    editions: Path
    empty: Path
    place: Path
    alone: dict[tuple[Month, str], dict[str, Any]]

    def __init__(self) -> None:
        super().__init__()
        # Each of its own, as MLflow keeps databases open, by their path.
        self.folder = Path(tempfile.mkdtemp(dir=self.place))
        self.settings = laptop(self.folder, self.folder / "source")
        self.at_source = dict.fromkeys(MONTHS, "missing")
        self.stored: dict[Month, str] = {}
        self.failed: set[Month] = set()

    @initialize()
    def begin(self) -> None:
        for name in ("source", "home"):
            (self.folder / name).mkdir(parents=True)
        shutil.copy(self.empty, self.folder)
        self.dagster = dagster_at(self.folder / "home")
        self.instance = self.dagster.__enter__()

    def teardown(self) -> None:
        if hasattr(self, "instance"):
            self.dagster.__exit__(None, None, None)
        shutil.rmtree(self.folder)

    @rule(published=st.dictionaries(st.sampled_from(MONTHS), editions), span=spans)
    def publish_and_run(self, published: dict[Month, str], span: list[int]) -> None:
        for month, what in published.items():
            self.publish(month, what)
        first, last = span
        months = MONTHS[first : last + 1]
        text = ":".join(str(month) for month in dict.fromkeys((months[0], months[-1])))
        result = execute(self.settings, self.instance, text, ())
        bad = {month for month in months if self.at_source[month] in ("bad", "missing")}
        assert result.success == (not bad)
        for month in months:
            if month in bad:
                self.failed.add(month)
            else:
                self.failed.discard(month)
                self.stored[month] = self.at_source[month]

    def publish(self, month: Month, what: str) -> None:
        self.at_source[month] = what
        path = self.folder / "source" / GREEN.file_name(month)
        path.unlink(missing_ok=True)
        if what == "bad":
            path.write_bytes(b"PAR1 damaged")
        elif what != "missing":
            shutil.copy(self.editions / what / path.name, path)

    @invariant()
    def files_are_whole_months_of_what_was_stored_last(self) -> None:
        data = self.folder / "data/green"
        assert not list(data.rglob("*.tmp"))
        for month, edition in self.stored.items():
            file = GREEN.file_name(month)
            raw = (data / f"raw_trips/{month}.parquet").read_bytes()
            assert raw == (self.editions / edition / file).read_bytes()
            assert values(self.settings, month) == self.alone[month, edition]
        for asset in GRAPH:
            names = {path.name[:7] for path in (data / asset.name).glob("*")}
            assert names == {str(month) for month in self.stored}

    @invariant()
    def dagster_knows_each_month_as_it_is(self) -> None:
        if not hasattr(self, "instance"):
            return
        months = monthly_partitions(GREEN)
        for asset in GRAPH:
            key = asset.key(GREEN)
            keys = [month.partition_key for month in MONTHS]
            statuses = self.instance.get_status_by_partition(key, keys, months) or {}
            expected = dict.fromkeys(self.stored, "MATERIALIZED")
            expected |= dict.fromkeys(self.failed, "FAILED")
            assert {Month.parse(k): s.value for k, s in statuses.items() if s} == expected
        for month in self.stored:
            raw = self.folder / f"data/green/raw_trips/{month}.parquet"
            digest = hashlib.sha256(raw.read_bytes()).hexdigest()
            assert self.record("raw_trips", month).tags["dagster/data_version"] == digest
            metadata = self.record("metrics", month).metadata
            figures = values(self.settings, month)["metrics"]
            assert {name: metadata[name].value for name in figures} == shown(figures)

    @invariant()
    def mlflow_has_one_true_run_for_each_stored_model(self) -> None:
        for family, asset in (("linear", "model"), ("boosted", "boosted_model")):
            runs = tracked_runs(self.settings, family) if self.stored else []
            assert {run.info.status for run in runs} <= {"FINISHED"}
            standing = [run for run in runs if "taxi_assets.superseded_by" not in run.data.tags]
            assert {run.data.params["month"]: run.info.run_id for run in standing} == {
                str(month): self.record(asset, month).metadata["mlflow_run_id"].value
                for month in self.stored
            }
            assert len(standing) == len(self.stored)
            if self.stored:
                client = mlflow.MlflowClient(self.settings.tracking_uri)
                newest = client.get_model_version_by_alias(NAME, f"newest_{family}")
                assert newest.tags["month"] == str(max(self.stored))
                (run,) = [r for r in standing if r.data.params["month"] == newest.tags["month"]]
                assert newest.run_id == run.info.run_id

    @invariant()
    def who_serves_is_what_the_last_month_says(self) -> None:
        """The newest judged month has the last word, once it has been judged by all before it."""
        if not self.stored:
            return
        model = mlflow.MlflowClient(self.settings.tracking_uri).get_registered_model(NAME)
        assert model.tags["judged_through"] == str(max(self.stored))
        path = self.folder / f"data/green/champion/{max(self.stored)}.json"
        champion = read_json(path)["champion"]
        alias = model.aliases.get("champion")
        assert (alias is None) == (champion is None)
        if champion is not None:
            client = mlflow.MlflowClient(self.settings.tracking_uri)
            tags = client.get_model_version(NAME, alias).tags
            assert (tags["month"], tags["family"]) == (champion["month"], champion["family"])

    def record(self, asset: str, month: Month) -> dg.AssetMaterialization:
        wanted = dg.AssetRecordsFilter(
            dg.AssetKey(["green", asset]), asset_partitions=[month.partition_key]
        )
        (found,) = self.instance.fetch_materializations(wanted, limit=1).records
        assert found.asset_materialization is not None
        return found.asset_materialization


def values(settings: Settings, month: Month) -> dict[str, Any]:
    """What a month's file alone decides."""
    data = Path(settings.storage) / "green"
    digests = {
        name: hashlib.sha256((data / f"{name}/{month}.parquet").read_bytes()).hexdigest()
        for name in ("cleaned_trips", "zone_pairs", "hourly_pairs")
    }
    metrics = read_json(data / f"metrics/{month}.json")
    del metrics["model_size_bytes"]  # A run's id may show in it.
    return digests | {"metrics": metrics}


def test_files_records_and_mlflow_agree_after_any_sequence_of_runs(
    tmp_path: Path, mlflow_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_cheap(monkeypatch)
    monkeypatch.chdir(tmp_path)
    alone = {}
    for edition, trips in TRIPS.items():
        folder = tmp_path / "editions" / edition
        folder.mkdir(parents=True)
        for month in MONTHS:
            write_month(folder / GREEN.file_name(month), GREEN, month, trips)
        place = tmp_path / f"alone-{edition}"
        place.mkdir()
        shutil.copy(mlflow_database, place)
        settings = laptop(place, folder)
        with dg.DagsterInstance.ephemeral() as instance:
            for month in MONTHS:
                assets = ("raw_trips", "cleaned_trips", "zone_pairs", "hourly_pairs", "vectorizer")
                wanted = (*assets, "model", "metrics")
                assert execute(settings, instance, str(month), wanted).success
                alone[month, edition] = values(settings, month)
    machine = type(
        "Machine",
        (Months,),
        {
            "editions": tmp_path / "editions",
            "empty": mlflow_database,
            "place": tmp_path,
            "alone": alone,
        },
    )
    assert build_definitions(settings)
    run_state_machine_as_test(
        machine,
        settings=hypothesis_settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize=True,
            # A sequence that fails is short enough to be read, and a run takes seconds.
            phases=[Phase.generate],
        ),
    )
