"""Plots: where they are shown, and who draws them."""

import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import dagster as dg
import mlflow
import numpy as np
import pytest

from taxi_assets.reports import plots
from taxi_assets.reports.plot_files import PlotFiles, inline
from taxi_assets.reports.plots import (
    BOOSTED_PLOTS,
    COVERAGE,
    PLOTS,
)
from taxi_assets.reports.plotter import Plotter
from taxi_assets.settings import Settings
from taxi_assets.storage.files import Storage
from taxi_assets.tlc.fleets import FLEETS
from taxi_assets.tlc.months import Month
from taxi_assets_tests.conftest import (
    latest_record,
    plot_of,
    tracked_runs,
)

GREEN, JANUARY = FLEETS["green"], Month(2023, 1)
NAMES = (*PLOTS, *BOOSTED_PLOTS, COVERAGE)


@pytest.mark.after_three_months
def test_a_month_shows_its_plots_in_dagster_and_in_mlflow(
    instance: dg.DagsterInstance, settings: Settings
) -> None:
    for month in ("2023-01", "2023-02", "2023-03"):
        stored = PlotFiles(Storage(settings.storage), GREEN, Month.parse(month)).all(NAMES)
        coverage = [] if month == "2023-01" else [COVERAGE]
        assert list(stored) == [*PLOTS, *BOOSTED_PLOTS, *coverage]
        assert set(stored.values()) == {plot_of(f"green {month}")}
        for asset, names in (
            ("cleaned_trips", PLOTS[:1]),
            ("metrics", PLOTS[1:]),
            ("boosted_metrics", BOOSTED_PLOTS),
            ("backtest", coverage),
        ):
            metadata = latest_record(instance, asset, month).metadata
            for name in names:
                plot = inline(plot_of(f"green {month}"))
                assert metadata[name].md_str == f"![{name}]({plot})"
    client = mlflow.MlflowClient(settings.tracking_uri)
    for family, names in (("linear", PLOTS), ("boosted", BOOSTED_PLOTS)):
        for run in tracked_runs(settings, family):
            artifacts = client.list_artifacts(run.info.run_id, "plots")
            assert {artifact.path for artifact in artifacts} == {
                f"plots/{name}.png" for name in names
            }
            path = Path(client.download_artifacts(run.info.run_id, f"plots/{names[0]}.png"))
            assert path.read_bytes() == plot_of(f"green {run.data.params['month']}")


@pytest.fixture
def plotter() -> Iterator[Plotter]:
    plotter = Plotter()
    yield plotter
    plotter.close()


def where() -> bytes:
    return str(os.getpid()).encode()


def test_plots_are_drawn_by_another_process(plotter: Plotter) -> None:
    """Also when nobody takes some that were asked for."""
    plotter.draw([("nobody's", partial(bytes, b"January"))])
    drawn = plotter.draw([("durations", partial(bytes, b"February")), ("where", where)])
    assert drawn()["durations"] == b"February"
    assert drawn()["where"] != where()
    plot = plotter.draw(plots.cleaning_plots(np.arange(92), "x"))()["durations"]
    assert plot.startswith(b"\x89PNG")


def test_a_fault_in_drawing_is_the_runs_fault(plotter: Plotter) -> None:
    with pytest.raises(ZeroDivisionError):
        plotter.draw([("bad", partial(divmod, 1, 0))])()
    assert plotter.draw([("next", partial(bytes, b"good"))])() == {"next": b"good"}


def test_a_drawing_that_cannot_be_sent_is_drawn_by_the_run_and_no_other_is_touched(
    plotter: Plotter,
) -> None:
    drawn = plotter.draw(
        [("unsent", lambda: b"first"), ("where", where), ("last", partial(bytes, b"last"))]
    )()
    assert (drawn["unsent"], drawn["last"]) == (b"first", b"last")
    assert drawn["where"] != where()


def die_unless(process: int) -> bytes:
    if os.getpid() != process:
        os.kill(os.getpid(), signal.SIGKILL)
    return where()


def test_a_run_whose_plotter_dies_draws_for_itself(plotter: Plotter) -> None:
    drawn = plotter.draw([("last", partial(die_unless, os.getpid()))])
    assert drawn() == {"last": where()}
    assert plotter.draw([("next", where)])() == {"next": where()}


def test_where_no_process_can_be_started_the_run_draws_for_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr("multiprocessing.util.spawnv_passfds", refuse)
    plotter = Plotter()
    assert plotter.draw([("one", where)])() == {"one": where()}
    plotter.close()
