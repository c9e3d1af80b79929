"""Plots: what is drawn in them is what they say."""

import struct
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from taxi_assets.durations.boosted_month import BoostedValidation
from taxi_assets.durations.scoring import Validation
from taxi_assets.reports import plots, summaries

LINEAR = {"rmse": 8.0, "interval_coverage_by_bin": [0.7, 0.8, 0.9, None, 0.75]}


@pytest.fixture(autouse=True)
def figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Charts give their figures, not what they look like."""
    monkeypatch.setattr(plots, "_png", lambda figure: figure)


def axes_of(draw: Callable[[], object]) -> list[Axes]:
    figure = draw()
    assert isinstance(figure, Figure)
    return figure.axes


def lines(axes: Axes) -> dict[str, list[tuple[float, float]]]:
    """The points of lines with a label, by it."""
    return {
        str(line.get_label()): list(map(tuple, np.asarray(line.get_xydata()).tolist()))
        for line in axes.lines
        if not str(line.get_label()).startswith("_")
    }


def bars(axes: Axes, label: str = "") -> list[tuple[float, float, float]]:
    """Left edge, width and height of the bars of a group."""
    (group,) = [bar for bar in axes.containers if not label or bar.get_label() == label]
    return [(bar.get_x(), bar.get_width(), bar.get_height()) for bar in group]


def validation(*trips: tuple[str, str, float, float]) -> Validation:
    """Of trips between zones, with what they took and what was predicted, in minutes."""
    frame = pd.DataFrame(trips, columns=["PULocationID", "DOLocationID", "duration", "predicted"])
    frame = frame.astype({"PULocationID": "category", "DOLocationID": "category"})
    frame["square"] = frame["duration"] ** 2
    pairs = frame.groupby(["PULocationID", "DOLocationID"], observed=True).agg(
        trips=("duration", "size"),
        duration_sum=("duration", "sum"),
        duration_sum_of_squares=("square", "sum"),
        predicted=("predicted", "first"),
    )
    pairs = pairs.reset_index()
    return Validation(
        pairs, pairs.pop("predicted").to_numpy(), frame, frame["predicted"].to_numpy()
    )


def draw(validated: Validation, name: str) -> list[Axes]:
    return axes_of(dict(plots.model_plots(validated, "green 2023-03"))[name])


def test_kept_trips_are_those_of_one_to_sixty_minutes() -> None:
    """Counted from less than no time, by minute, to 90 and longer."""
    counts = np.zeros(92, np.int64)
    counts[[0, 1, 2, 60, 61, 91]] = 3, 5, 7, 11, 13, 17
    (axes,) = axes_of(dict(plots.cleaning_plots(counts, "green 2023-03"))["durations"])
    drawn = {}
    for patch in axes.patches:
        values, edges, _ = patch.get_data()
        drawn[str(patch.get_label())] = {
            edge: value for edge, value in zip(edges, values, strict=False) if value
        }
    assert drawn == {
        "kept: 18 trips": {1: 7, 59: 11},
        "cut: 38 trips": {-1: 3, 0: 5, 60: 13, 90: 17},
    }


def test_predictions_are_drawn_over_what_trips_took() -> None:
    trips = validation(("1", "1", 10.5, 20.2), ("1", "132", 10.9, 20.7), ("132", "1", 59.9, 30.0))
    axes, _ = draw(trips, "predictions")
    (image,) = axes.images
    drawn = np.ma.filled(image.get_array(), 0)
    assert {(x, y): drawn[y, x] for y, x in zip(*np.nonzero(drawn), strict=True)} == {
        (10, 20): 2, (59, 30): 1
    }  # fmt: skip
    assert axes.get_xlabel() == "actual duration (minutes)"
    assert image.origin == "lower"


def test_boosted_predictions_are_drawn_likewise() -> None:
    boosted = BoostedValidation(np.array([3.5, 60.0]), np.array([8.5, 9.0]), np.zeros(2))
    axes, _ = axes_of(dict(plots.boosted_plots(boosted, "green 2023-03"))["boosted_predictions"])
    drawn = np.ma.filled(axes.images[0].get_array(), 0)
    assert {(x, y): drawn[y, x] for y, x in zip(*np.nonzero(drawn), strict=True)} == {(3, 8): 1}


def test_errors_are_predicted_less_actual_by_five_minutes_and_by_borough() -> None:
    """The last five minutes hold trips of an hour."""
    trips = validation(
        *[("1", "1", 2.0, 4.0), ("1", "132", 3.0, 1.0), ("132", "1", 7.0, 12.0)],
        ("132", "132", 60.0, 50.0),
    )
    left, right = draw(trips, "errors")
    assert bars(left, "mean absolute error") == [
        (0, 4.5, 2.0), (5, 4.5, 5.0), (55, 4.5, 10.0)
    ]  # fmt: skip
    assert lines(left) == {
        "bias (predicted - actual)": [(0, 0.0), (5, 5.0), (55, -10.0), (60, -10.0)]
    }
    named = [label.get_text() for label in right.get_yticklabels()]
    assert dict(zip(named, (width for _, width, _ in bars(right)), strict=True)) == {
        "EWR\n2 trips": 2.0, "Queens\n2 trips": 7.5
    }  # fmt: skip


def test_the_seven_boroughs_with_most_trips_are_listed_the_busiest_last() -> None:
    zones = (1, 2, 3, 4, 5, 11, 264, 265)
    trips = validation(
        *((str(zone), "1", 2.0, 4.0) for times, zone in enumerate(zones, 1) for _ in range(times))
    )
    assert summaries.errors_by_borough(trips)["trips"].to_dict() == {
        "Queens": 2,
        "Bronx": 3,
        "Manhattan": 4,
        "Staten Island": 5,
        "Brooklyn": 6,
        "Unknown": 7,
        "Outside of NYC": 8,
    }
    assert summaries.errors_by_borough(trips).index[-1] == "Outside of NYC"


def test_ten_pairs_are_listed_the_worst_last() -> None:
    trips = validation(
        *((str(zone), "1", 2.0, 2.0 + zone) for zone in range(1, 13) for _ in range(30))
    )
    listed = summaries.worst_pairs(trips)
    assert listed["rmse"].tolist() == pytest.approx(list(range(3, 13)))
    assert listed.index[0] == "Allerton/Pelham Gardens to Newark Airport (30)"
    assert listed.index[-1] == "Battery Park to Newark Airport (30)"


def test_the_worst_pairs_are_those_of_thirty_trips_or_more() -> None:
    trips = validation(
        *[("132", "1", 10.0, 13.0)] * 30,
        *[("1", "132", 10.0, 50.0)] * 29,
        *[("132", "132", 10.0, 6.0)] * 31,
    )
    (axes,) = draw(trips, "worst_pairs")
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "JFK Airport to Newark Airport (30)", "JFK Airport to JFK Airport (31)"
    ]  # fmt: skip
    assert [width for _, width, _ in bars(axes, "RMSE")] == pytest.approx([3, 4])
    assert [width for _, width, _ in bars(axes, "bias (predicted - actual)")] == [3, -4]


def test_hours_show_predicted_less_actual() -> None:
    boosted = BoostedValidation(
        np.array([10.0, 10.0, 20.0]), np.array([12.0, 11.0, 16.0]), np.array([0, 0, 167])
    )
    (axes,) = axes_of(dict(plots.boosted_plots(boosted, "green 2023-03"))["boosted_hours"])
    assert lines(axes) == {"bias (predicted - actual)": [(0, 1.5), (167, -4)]}
    assert [(x, height) for x, _, height in bars(axes)] == [(-0.5, 1.5), (166.5, 4)]
    assert [label.get_text() for label in axes.get_xticklabels()][::6] == ["Mon", "Sun"]
    assert axes.get_xticks().tolist()[::6] == [12, 156]


def test_models_are_drawn_with_their_rmse_and_the_trips_in_their_intervals() -> None:
    models = {
        "mean": {"rmse": 12.0, "interval_coverage_by_bin": None},
        "linear": LINEAR,
        "boosted": {"rmse": 5.0, "interval_coverage_by_bin": [0.8, 0.81, 0.79, 0.8, 0.82]},
    }
    left, right = axes_of(dict(plots.backtest_plots(models, "green 2023-03"))["coverage"])
    assert [label.get_text() for label in left.get_yticklabels()] == ["mean", "linear", "boosted"]
    assert [width for _, width, _ in bars(left)] == [12, 8, 5]
    drawn = lines(right)
    assert [y for _, y in drawn["boosted"]] == pytest.approx([80, 81, 79, 80, 82])
    assert [y for _, y in drawn["linear"]] == pytest.approx([70, 80, 90, np.nan, 75], nan_ok=True)
    assert [x for x, _ in drawn["linear"]] == [1, 2, 3, 4, 5]


def test_a_first_month_has_no_plot_of_earlier_models() -> None:
    assert list(plots.backtest_plots({}, "green 2023-03")) == []


@pytest.mark.parametrize("trips", [3, 30], ids=["no busy pair", "one"])
def test_every_plot_is_small_and_has_the_name_of_its_month(
    trips: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    boosted = BoostedValidation(np.array([10.0]), np.array([12.0]), np.array([0]))
    drawings = [
        *plots.cleaning_plots(np.arange(92), "green 2023-03"),
        *plots.model_plots(validation(*[("1", "1", 2.0, 4.0)] * trips), "green 2023-03"),
        *plots.boosted_plots(boosted, "green 2023-03"),
        *plots.backtest_plots({"linear": LINEAR}, "green 2023-03"),
    ]
    assert len(drawings) == 7
    for _, drawing in drawings:
        figure = drawing()
        assert isinstance(figure, Figure)
        assert "green 2023-03" in figure.get_suptitle()
    monkeypatch.undo()
    for _, drawing in drawings:
        plot = drawing()
        assert plot.startswith(b"\x89PNG")
        # Width and height; of a size that a database can keep.
        assert struct.unpack(">II", plot[16:24]) == (576, 324)
        assert len(plot) < 100_000
