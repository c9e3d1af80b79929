"""Pictures: where they are shown, and who draws them."""

import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import dagster as dg
import mlflow
import numpy as np
import pytest

from taxi_assets.reporting import charts
from taxi_assets.reporting.charts import (
    BOOSTED_PICTURES,
    COVERAGE,
    PICTURES,
)
from taxi_assets.reporting.gallery import Gallery, inline
from taxi_assets.reporting.painter import Painter
from taxi_assets.settings import Settings
from taxi_assets.storage.files import Storage
from taxi_assets.tlc.fleets import FLEETS
from taxi_assets.tlc.months import Month
from taxi_assets_tests.conftest import (
    latest_record,
    picture_of,
    tracked_runs,
)

GREEN, JANUARY = FLEETS["green"], Month(2023, 1)
NAMES = (*PICTURES, *BOOSTED_PICTURES, COVERAGE)


@pytest.mark.after_three_months
def test_a_month_shows_its_pictures_in_dagster_and_in_mlflow(
    instance: dg.DagsterInstance, settings: Settings
) -> None:
    for month in ("2023-01", "2023-02", "2023-03"):
        stored = Gallery(Storage(settings.storage), GREEN, Month.parse(month)).all(NAMES)
        coverage = [] if month == "2023-01" else [COVERAGE]
        assert list(stored) == [*PICTURES, *BOOSTED_PICTURES, *coverage]
        assert set(stored.values()) == {picture_of(f"green {month}")}
        for asset, names in (
            ("cleaned_trips", PICTURES[:1]),
            ("metrics", PICTURES[1:]),
            ("boosted_metrics", BOOSTED_PICTURES),
            ("backtest", coverage),
        ):
            metadata = latest_record(instance, asset, month).metadata
            for name in names:
                picture = inline(picture_of(f"green {month}"))
                assert metadata[name].md_str == f"![{name}]({picture})"
    client = mlflow.MlflowClient(settings.tracking_uri)
    for family, names in (("linear", PICTURES), ("boosted", BOOSTED_PICTURES)):
        for run in tracked_runs(settings, family):
            artifacts = client.list_artifacts(run.info.run_id, "pictures")
            assert {artifact.path for artifact in artifacts} == {
                f"pictures/{name}.png" for name in names
            }
            path = Path(client.download_artifacts(run.info.run_id, f"pictures/{names[0]}.png"))
            assert path.read_bytes() == picture_of(f"green {run.data.params['month']}")


@pytest.fixture
def painter() -> Iterator[Painter]:
    painting = Painter()
    yield painting
    painting.close()


def where() -> bytes:
    return str(os.getpid()).encode()


def test_pictures_are_drawn_by_another_process(painter: Painter) -> None:
    """Also when nobody takes some that were asked for."""
    painter.draw([("nobody's", partial(bytes, b"January"))])
    drawn = painter.draw([("durations", partial(bytes, b"February")), ("where", where)])
    assert drawn()["durations"] == b"February"
    assert drawn()["where"] != where()
    picture = painter.draw(charts.cleaning_charts(np.arange(92), "x"))()["durations"]
    assert picture.startswith(b"\x89PNG")


def test_a_fault_in_drawing_is_the_runs_fault(painter: Painter) -> None:
    with pytest.raises(ZeroDivisionError):
        painter.draw([("bad", partial(divmod, 1, 0))])()
    assert painter.draw([("next", partial(bytes, b"good"))])() == {"next": b"good"}


def test_a_drawing_that_cannot_be_sent_is_drawn_by_the_run_and_no_other_is_touched(
    painter: Painter,
) -> None:
    drawn = painter.draw(
        [("unsent", lambda: b"first"), ("where", where), ("last", partial(bytes, b"last"))]
    )()
    assert (drawn["unsent"], drawn["last"]) == (b"first", b"last")
    assert drawn["where"] != where()


def die_unless(process: int) -> bytes:
    if os.getpid() != process:
        os.kill(os.getpid(), signal.SIGKILL)
    return where()


def test_a_run_whose_painter_dies_draws_for_itself(painter: Painter) -> None:
    drawn = painter.draw([("last", partial(die_unless, os.getpid()))])
    assert drawn() == {"last": where()}
    assert painter.draw([("next", where)])() == {"next": where()}


def test_where_no_process_can_be_started_the_run_draws_for_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr("multiprocessing.util.spawnv_passfds", refuse)
    painter = Painter()
    assert painter.draw([("one", where)])() == {"one": where()}
    painter.close()
