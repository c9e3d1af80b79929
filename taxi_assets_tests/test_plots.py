"""Plots: what is drawn in them is what they say."""

import struct

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from taxi_assets.durations.boosted_month import BoostedValidation
from taxi_assets.durations.cleaning import CleanedTrips
from taxi_assets.durations.columns import Unreadable
from taxi_assets.durations.scoring import Validation
from taxi_assets.reports import plots

TITLE = "green 2023-03"


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Charts give their figures, not what they look like."""
    monkeypatch.setattr(plots, "_png", lambda figure: figure)


def axes_of(figure: object) -> Axes:
    assert isinstance(figure, Figure)
    return figure.axes[0]


def outlines(axes: Axes) -> dict[str, dict[float, float]]:
    """The values of each outline by its lower edges, by its label, without noughts and gaps."""
    drawn = {}
    for patch in axes.patches:
        values, edges, _ = patch.get_data()
        pairs = zip(edges, values, strict=False)
        drawn[str(patch.get_label())] = {
            float(edge): float(value) for edge, value in pairs if np.nan_to_num(value)
        }
    return drawn


def counts(axes: Axes) -> dict[tuple[int, int], int]:
    """Numbers of trips by actual and predicted minutes."""
    (image,) = axes.images
    assert image.origin == "lower"
    drawn = np.ma.filled(image.get_array(), 0)
    return {(int(x), int(y)): int(drawn[y, x]) for y, x in np.argwhere(drawn)}


def validation(*trips: tuple[float, float]) -> Validation:
    """Of trips that took so long, and of which so much was predicted, in minutes."""
    frame = pd.DataFrame(trips, columns=["duration", "predicted"])
    return Validation(pd.DataFrame(), np.zeros(0), frame, frame["predicted"].to_numpy())


def cleaned(zones: dict[int, list[float]], durations: object = None) -> CleanedTrips:
    """Trips by their pick-up zone, which took so many minutes."""
    trips = pd.DataFrame(
        [(str(zone), minutes) for zone, all_minutes in zones.items() for minutes in all_minutes],
        columns=["PULocationID", "duration"],
    )
    trips["PULocationID"] = pd.Categorical(trips["PULocationID"], [*map(str, zones), "7"])
    counted = np.arange(92) if durations is None else durations
    return CleanedTrips(trips, len(trips), 0, 0, Unreadable(), counted)


@pytest.mark.usefixtures("figures")
def test_kept_trips_are_those_of_one_to_sixty_minutes() -> None:
    """Counted from less than no time, by minute, to 90 and longer."""
    durations = np.zeros(92, np.int64)
    durations[[0, 1, 2, 60, 61, 91]] = 3, 5, 7, 11, 13, 17
    figure = plots.cleaning_plots(cleaned({132: [5.0]}, durations), TITLE)["durations"]
    assert outlines(axes_of(figure)) == {
        "kept: 18 trips": {1: 7, 59: 11},
        "cut: 38 trips": {-1: 3, 0: 5, 60: 13, 90: 17},
    }


@pytest.mark.usefixtures("figures")
def test_a_map_has_a_dot_for_each_zone_of_thirty_trips_in_its_place() -> None:
    """Zone 265 is nowhere in the city, and zone 7 has no trip."""
    zones = {132: [8.0] * 15 + [10.0] * 15, 1: [20.0] * 60, 4: [5.0] * 29, 265: [50.0] * 90}
    figure = plots.cleaning_plots(cleaned(zones), TITLE)["pickup_zones"]
    everywhere, dots = axes_of(figure).collections
    assert len(everywhere.get_offsets()) == 260
    # As in zones.csv: Newark Airport, with most trips, and JFK Airport.
    newark, jfk = dots.get_offsets().tolist()
    assert newark == [-74.174, 40.69183]
    assert jfk == pytest.approx([-73.78, 40.64], abs=0.02)
    assert dots.get_array().tolist() == [20, 9]
    assert dots.get_sizes().tolist() == [248, 128]
    assert figure.axes[1].get_ylabel() == "mean duration (minutes)"


@pytest.mark.usefixtures("figures")
def test_predictions_are_drawn_over_what_trips_took() -> None:
    trips = validation((10.5, 20.2), (10.9, 20.7), (59.9, 30.0), (60.0, 9.0), (9.0, 61.0))
    axes = axes_of(plots.model_plots(trips, TITLE)["predictions"])
    assert counts(axes) == {(10, 20): 2, (59, 30): 1}
    assert axes.get_xlabel() == "actual duration (minutes)"
    boosted = BoostedValidation(np.array([3.5, 60.0]), np.array([8.5, 9.0]), np.zeros(2))
    axes = axes_of(plots.boosted_plots(boosted, TITLE)["boosted_predictions"])
    assert counts(axes) == {(3, 8): 1}


@pytest.mark.usefixtures("figures")
def test_errors_are_predicted_less_actual_by_five_minutes() -> None:
    """The last five minutes hold trips of an hour."""
    trips = validation((2.0, 4.0), (3.0, 2.0), (7.0, 12.0), (60.0, 50.0), (58.0, 54.0))
    axes = axes_of(plots.model_plots(trips, TITLE)["errors"])
    assert outlines(axes) == {
        "mean absolute error": {0: 1.5, 5: 5, 55: 7},
        "bias (predicted - actual)": {0: 0.5, 5: 5, 55: -7},
    }


@pytest.mark.usefixtures("figures")
def test_errors_are_drawn_by_hour_of_the_week() -> None:
    boosted = BoostedValidation(
        np.array([10.0, 10.0, 20.0]), np.array([12.0, 11.0, 16.0]), np.array([0, 0, 167])
    )
    axes = axes_of(plots.boosted_plots(boosted, TITLE)["boosted_hours"])
    assert outlines(axes) == {
        "mean absolute error": {0: 1.5, 167: 4},
        "bias (predicted - actual)": {0: 1.5, 167: -4},
    }
    assert [label.get_text() for label in axes.get_xticklabels()][::6] == ["Mon", "Sun"]
    assert axes.get_xticks().tolist()[::6] == [12, 156]


def all_plots(trips: int) -> dict[str, object]:
    boosted = BoostedValidation(np.array([10.0]), np.array([12.0]), np.array([0]))
    by_zone = pd.DataFrame({"trips": [trips], "value": [4.0]}, [132])
    return {
        **plots.cleaning_plots(cleaned({132: [5.0] * trips}), TITLE),
        **plots.model_plots(validation((2.0, 4.0)), TITLE),
        **plots.boosted_plots(boosted, TITLE),
        **plots.backtest_plots("linear", by_zone, TITLE),
    }


@pytest.mark.usefixtures("figures")
def test_every_plot_has_the_name_of_its_month_and_a_name_that_is_listed() -> None:
    figures = all_plots(30)
    assert [*figures] == [*plots.PLOTS][:7]
    for figure in figures.values():
        assert isinstance(figure, Figure)
        assert TITLE in figure.get_suptitle()


@pytest.mark.parametrize("trips", [3, 30], ids=["no busy zone", "one"])
def test_every_plot_is_small(trips: int) -> None:
    for plot in all_plots(trips).values():
        assert isinstance(plot, bytes)
        assert plot.startswith(b"\x89PNG")
        # Width and height; of a size that a database can keep.
        assert struct.unpack(">II", plot[16:24]) == (576, 324)
        assert len(plot) < 100_000
