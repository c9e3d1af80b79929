"""Plots of a month, each a PNG of some 20 KB.

Colours are Okabe and Ito's, which the colour-blind tell apart too.
"""

import io
from functools import partial
from typing import TYPE_CHECKING, Any

from taxi_assets.durations.cleaning import DURATION, MAX_DURATION, MIN_DURATION
from taxi_assets.durations.scoring import Validation
from taxi_assets.reports import summaries
from taxi_assets.reports.plotter import Drawings
from taxi_assets.reports.summaries import MINUTES_A_BAR, WELL_TRAVELLED

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from taxi_assets.durations.boosted_month import BoostedValidation

DURATIONS, PREDICTIONS, ERRORS, WORST_PAIRS = PLOTS = (
    "durations",
    "predictions",
    "errors",
    "worst_pairs",
)
"""Plots of the month and of its linear model."""

BOOSTED_PREDICTIONS, HOURS = BOOSTED_PLOTS = "boosted_predictions", "boosted_hours"
"""Plots of its boosted model."""

COVERAGE = "coverage"
"""The plot of how earlier models do on the month."""

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#E69F00", "#009E73", "#BBBBBB"
SIZE, DPI = (6.4, 3.6), 90
"""Inches of a plot; dots per inch."""

COUNT = "{x:,.0f}"
"""Not powers of ten, as on logarithmic axes by default: matplotlib's parser of formulas leaves
cycles of references to all its callers, and so to the trips that they have at hand."""


def cleaning_plots(durations: "NDArray[np.int64]", month: str) -> Drawings:
    """The plot of how long a month's trips last, kept and cut.

    Args:
        durations: numbers of trips by minute, as in ``CleanedTrips``.
        month: with its fleet.
    """
    yield DURATIONS, partial(durations_chart, durations, f"How long taxi trips took, {month}")


def model_plots(validation: Validation, month: str) -> Drawings:
    """The three plots of how a month's model does."""
    counts = summaries.count_by_minutes(
        validation.trips[DURATION].to_numpy(), validation.trip_predictions
    )
    title = f"Predicted against actual, linear model, {month}"
    yield PREDICTIONS, partial(predictions_chart, counts, title)

    by_duration = summaries.errors_by_duration(validation)
    by_borough = summaries.errors_by_borough(validation)
    title = f"Error by duration and place, {month}"
    yield ERRORS, partial(errors_chart, by_duration, by_borough, title)

    worst = summaries.worst_pairs(validation)
    title = f"Largest errors of well-travelled pairs of zones, {month}"
    yield WORST_PAIRS, partial(worst_pairs_chart, worst, title)


def boosted_plots(validation: "BoostedValidation", month: str) -> Drawings:
    """The plots of how a month's boosted model does."""
    import numpy as np

    counts = summaries.count_by_minutes(validation.actual, validation.predicted)
    title = f"Predicted against actual, boosted model, {month}"
    yield BOOSTED_PREDICTIONS, partial(predictions_chart, counts, title)

    errors = validation.predicted - validation.actual
    means = summaries.mean_errors(validation.hours.astype(np.int64), errors)
    title = f"Error of the boosted model by hour of the week, {month}"
    yield HOURS, partial(hours_chart, means, title)


def backtest_plots(models: "Mapping[str, Mapping[str, Any]]", month: str) -> Drawings:
    """The plot of how models of earlier months do on a month, if there is any model."""
    if models:
        yield COVERAGE, partial(coverage_chart, models, f"Models of earlier months on {month}")


def hours_chart(means: "pd.DataFrame", title: str) -> bytes:
    """The mean error and mean absolute error by hour of the week.

    Args:
        means: as in ``mean_errors``, by hour, 0 (Monday midnight) to 167.
        title: of the plot.
    """
    figure, axes = _figure(title)
    axes.bar(means.index, means["absolute"], 1.0, color=GREY, label="mean absolute error")
    axes.step(means.index, means["error"], where="mid", color=BLUE,
              label="bias (predicted - actual)")  # fmt: skip
    axes.axhline(0, color="black", linewidth=0.5)
    axes.set_xticks(range(12, 168, 24), ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"])
    axes.set_ylabel("error (minutes)")
    axes.legend(frameon=False, fontsize=7)
    return _png(figure)


def coverage_chart(models: "Mapping[str, Mapping[str, Any]]", title: str) -> bytes:
    """The RMSE of each model, and how many trips the intervals hold, by quantile bin."""
    figure, (left, right) = _figures(title, 2)
    names = sorted(models, key=lambda name: -float(models[name]["rmse"]))
    left.barh(names, [models[name]["rmse"] for name in names], color=BLUE)
    left.set_xlabel("RMSE (minutes)")
    for name, colour in (("linear", ORANGE), ("boosted", BLUE)):
        shares_held = models.get(name, {}).get("interval_coverage_by_bin")
        if shares_held:
            shares = [float("nan") if share is None else 100 * share for share in shares_held]
            right.plot(range(1, 6), shares, color=colour, marker="o", markersize=3, label=name)
    right.axhline(80, color="black", linewidth=0.5)
    right.set_ylim(50, 100)
    right.set_xlabel("quantile bin of the predicted duration")
    right.set_ylabel("trips within the interval (%)")
    right.legend(frameon=False, fontsize=7)
    return _png(figure)


def durations_chart(durations: "NDArray[np.int64]", title: str) -> bytes:
    """How long trips last, kept and cut.

    Args:
        durations: numbers of trips by minute, as in ``CleanedTrips``.
        title: of the plot.
    """
    import numpy as np

    figure, axes = _figure(title)
    edges = np.arange(len(durations) + 1) - 1
    kept = (edges[:-1] >= MIN_DURATION) & (edges[:-1] < MAX_DURATION)
    for name, chosen, colour in (("kept", kept, BLUE), ("cut", ~kept, ORANGE)):
        total = f"{name}: {durations[chosen].sum():,} trips"
        axes.stairs(np.where(chosen, durations, 0), edges, fill=True, color=colour, label=total)
    axes.set_xlabel("duration (minutes); the last bar holds all that are longer")
    axes.set_ylabel("trips")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(COUNT)
    axes.set_ylim(bottom=0.5)
    axes.minorticks_off()
    axes.legend(frameon=False, loc="upper right")
    return _png(figure)


def predictions_chart(counts: "NDArray[np.int64]", title: str) -> bytes:
    """Predicted against actual durations of the validation trips, darker where there are more.

    Args:
        counts: as in ``count_by_minutes``.
        title: of the plot.
    """
    import numpy as np

    figure, axes = _figure(title)
    shown = np.ma.masked_equal(counts, 0)
    box = (0, MAX_DURATION, 0, MAX_DURATION)
    image = axes.imshow(
        shown, norm="log", cmap="cividis_r", origin="lower", extent=box, aspect="auto",
        interpolation="nearest",
    )  # fmt: skip
    axes.plot([0, MAX_DURATION], [0, MAX_DURATION], color=ORANGE, label="exact")
    axes.set_xlabel("actual duration (minutes)")
    axes.set_ylabel("predicted (minutes)")
    figure.colorbar(image, label="validation trips", format=COUNT).minorticks_off()
    axes.legend(frameon=False, loc="upper left")
    return _png(figure)


def errors_chart(by_duration: "pd.DataFrame", by_borough: "pd.DataFrame", title: str) -> bytes:
    """The mean error by duration, and by the borough of the pick-up.

    Args:
        by_duration: as in ``errors_by_duration``.
        by_borough: as in ``errors_by_borough``.
        title: of the plot.
    """
    figure, (left, right) = _figures(title, 2)
    starts, bias = by_duration.index, by_duration["error"]
    left.bar(starts, by_duration["absolute"], MINUTES_A_BAR * 0.9, align="edge", color=GREY,
             label="mean absolute error")  # fmt: skip
    left.step([*starts, MAX_DURATION], [*bias, bias.iloc[-1]],
              where="post", color=BLUE, label="bias (predicted - actual)")  # fmt: skip
    left.axhline(0, color="black", linewidth=0.5)
    left.set_xlabel("actual duration (minutes)")
    left.set_ylabel("error (minutes)")
    left.legend(frameon=False, fontsize=7)

    names = [f"{name}\n{trips:,} trips" for name, trips in by_borough["trips"].items()]
    right.barh(names, by_borough["absolute"], color=GREEN)
    right.set_xlabel("mean absolute error (minutes)")
    right.set_title("by borough of the pick-up", fontsize=8)
    right.tick_params(axis="y", labelsize=7)
    return _png(figure)


def worst_pairs_chart(worst: "pd.DataFrame", title: str) -> bytes:
    """The ten well-travelled pairs of zones with the largest errors.

    Args:
        worst: as in ``worst_pairs``.
        title: of the plot.
    """
    figure, axes = _figure(title, left=0.52)
    places = range(len(worst))
    axes.barh(places, worst["rmse"], color=BLUE, height=0.4, align="edge", label="RMSE")
    axes.barh(places, worst["bias"], color=ORANGE, height=-0.4, align="edge",
              label="bias (predicted - actual)")  # fmt: skip
    axes.set_yticks(places, worst.index, fontsize=6.5)
    axes.axvline(0, color="black", linewidth=0.5)
    axes.set_xlabel("error (minutes); in brackets, validation trips", fontsize=8)
    if len(worst):
        figure.legend(frameon=False, fontsize=7, loc="lower left")
    else:
        message = f"no pair of zones has {WELL_TRAVELLED} validation trips"
        axes.text(0.5, 0.5, message, ha="center", transform=axes.transAxes)
    return _png(figure)


def _figure(title: str, left: float = 0.11) -> "tuple[Figure, Axes]":
    figure, (axes,) = _figures(title, 1, left)
    return figure, axes


def _figures(title: str, columns: int, left: float = 0.11) -> "tuple[Figure, list[Axes]]":
    """A figure without pyplot, which keeps global state and every figure that it ever made."""
    from matplotlib.figure import Figure

    # Margins that are given save the two drawings in which matplotlib would find them.
    margins = {"left": left, "right": 0.97, "bottom": 0.16, "top": 0.88, "wspace": 0.5}
    figure = Figure(SIZE, dpi=DPI)
    grid = figure.subplots(1, columns, squeeze=False, gridspec_kw=margins)[0]
    figure.suptitle(title, fontsize=10)
    for axes in grid:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    return figure, list(grid)


def _png(figure: "Figure") -> bytes:
    plot = io.BytesIO()
    # With Pillow's own level, 6, they take a twentieth more time and are no smaller.
    figure.savefig(plot, format="png", pil_kwargs={"compress_level": 3})
    return plot.getvalue()
