"""Plots of a month, each a PNG of some 20 KB.

Colours are Okabe and Ito's, which the colour-blind tell apart too.
"""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from taxi_assets.durations.cleaning import DURATION, MAX_DURATION, MIN_DURATION
from taxi_assets.durations.sums import HOURS, add_up
from taxi_assets.tlc.fleets import PICKUP_ZONE
from taxi_assets.tlc.zones import CENTROIDS

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from taxi_assets.durations.boosted_month import BoostedValidation
    from taxi_assets.durations.cleaning import CleanedTrips
    from taxi_assets.durations.scoring import Validation

PLOTS = (
    *("durations", "pickup_zones", "predictions", "errors"),
    *("boosted_predictions", "boosted_hours", "zone_errors"),
    *("worst_pairs", "coverage"),
)
"""Names of all plots; earlier versions drew the last two."""

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

BLUE, ORANGE, GREY = "#0072B2", "#E69F00", "#BBBBBB"
SIZE, DPI = (6.4, 3.6), 90
"""Inches of a plot; dots per inch."""

COUNT = "{x:,.0f}"
"""Not powers of ten, as on logarithmic axes by default: matplotlib's parser of formulas leaves
cycles of references to all its callers, and so to the trips that they have at hand."""

BARS = range(0, int(MAX_DURATION) + 1, 5)
"""Edges of the durations (minutes) by which errors are shown."""

WELL_TRAVELLED = 30
"""Trips that a zone must have for its value to mean something."""

DEGREES = 1.32
"""How much longer a degree of latitude is in New York than one of longitude."""


def cleaning_plots(cleaned: "CleanedTrips", month: str) -> dict[str, bytes]:
    """How long a month's trips last, kept and cut, and where they begin.

    Args:
        cleaned: the trips.
        month: with its fleet.
    """
    by_zone = durations_by_pickup(cleaned.trips)
    title = f"Pick-up zones, {month}; larger dots: more trips"
    return {
        "durations": durations_chart(cleaned.durations, f"How long taxi trips took, {month}"),
        "pickup_zones": zones_chart(by_zone, "mean duration (minutes)", title),
    }


def model_plots(validation: "Validation", month: str) -> dict[str, bytes]:
    """Two plots of how a month's linear model does."""
    actual, predicted = validation.trips[DURATION].to_numpy(), validation.trip_predictions
    counts = count_by_minutes(actual, predicted)
    errors = errors_by_duration(actual, predicted)
    title = f"Error of the linear model by duration, {month}"
    return {
        "predictions": predictions_chart(
            counts, f"Predicted against actual, linear model, {month}"
        ),
        "errors": errors_chart(errors, BARS, title, "actual duration (minutes)"),
    }


def boosted_plots(validation: "BoostedValidation", month: str) -> dict[str, bytes]:
    """Two plots of how a month's boosted model does."""
    counts = count_by_minutes(validation.actual, validation.predicted)
    errors = validation.predicted - validation.actual
    by_hour = mean_errors(validation.hours.astype("int64"), errors)
    title = f"Error of the boosted model by hour of the week, {month}"
    return {
        "boosted_predictions": predictions_chart(
            counts, f"Predicted against actual, boosted model, {month}"
        ),
        "boosted_hours": errors_chart(
            by_hour, range(HOURS + 1), title, "hour of the pick-up", DAYS
        ),
    }


def backtest_plots(family: str, by_zone: "pd.DataFrame", month: str) -> dict[str, bytes]:
    """Where a model of earlier months errs.

    Args:
        family: of the model.
        by_zone: its ``errors_by_pickup``.
        month: with its fleet.
    """
    title = f"Earlier {family} model by pick-up zone, {month}; larger dots: more trips"
    return {"zone_errors": zones_chart(by_zone, "RMSE (minutes)", title)}


def durations_by_pickup(cleaned_trips: "pd.DataFrame") -> "pd.DataFrame":
    """``trips`` and their mean duration (minutes) as ``value``, by pick-up zone."""
    import pandas as pd

    pickups = cleaned_trips[PICKUP_ZONE].cat
    codes, size = pickups.codes.to_numpy(), len(pickups.categories)
    trips = pd.Series(add_up(codes, size), pickups.categories.astype(int))
    minutes = add_up(codes, size, cleaned_trips[DURATION].to_numpy())
    return pd.DataFrame({"trips": trips, "value": minutes / trips})


def count_by_minutes(
    actual: "NDArray[np.float64]", predicted: "NDArray[np.float64]"
) -> "NDArray[np.int64]":
    """Numbers of trips by predicted (row) and actual (column) full minutes, shape (60, 60).

    Those of an hour, and those of which anything else was predicted, are not among them.
    """
    import numpy as np

    minutes = int(MAX_DURATION)
    took, foretold = (np.floor(values).astype(np.int64) for values in (actual, predicted))
    within = (took < minutes) & (foretold >= 0) & (foretold < minutes)
    cells = foretold[within] * minutes + took[within]
    return np.bincount(cells, minlength=minutes**2).reshape(minutes, minutes)


def errors_by_duration(
    actual: "NDArray[np.float64]", predicted: "NDArray[np.float64]"
) -> "pd.DataFrame":
    """As ``mean_errors`` by five minutes that trips took; the last five include the hour."""
    import numpy as np

    starts = np.minimum(actual.astype(np.int64) // BARS.step * BARS.step, BARS[-2])
    return mean_errors(starts, predicted - actual)


def mean_errors(groups: "NDArray[np.int64]", errors: "NDArray[np.float64]") -> "pd.DataFrame":
    """For each number of a group that has trips, how many, the mean error and absolute error."""
    import numpy as np
    import pandas as pd

    trips = np.bincount(groups)
    groups_present = np.flatnonzero(trips)
    sums = {
        "error": np.bincount(groups, errors)[groups_present],
        "absolute": np.bincount(groups, np.abs(errors))[groups_present],
    }
    means = {name: total / trips[groups_present] for name, total in sums.items()}
    return pd.DataFrame({"trips": trips[groups_present], **means}, index=groups_present)


def zones_chart(by_zone: "pd.DataFrame", label: str, title: str) -> bytes:
    """A map: a dot in the middle of each zone, larger for more trips, coloured by a value.

    Zones with few trips, and those without a place, have a grey point at most.

    Args:
        by_zone: ``trips`` and ``value`` by the zone's number.
        label: of the value, with its unit.
        title: of the plot.
    """
    import pandas as pd

    figure, axes = _figure(title)
    figure.subplots_adjust(left=0.02, bottom=0.04)
    places = pd.DataFrame.from_dict(CENTROIDS, orient="index", columns=["longitude", "latitude"])
    axes.scatter(places["longitude"], places["latitude"], s=3, color=GREY)
    # The smaller dots lie on top.
    shown = places.join(by_zone[by_zone["trips"] >= WELL_TRAVELLED], how="inner")
    shown = shown.sort_values("trips", ascending=False)
    low, high = shown["value"].quantile([0.05, 0.95]) if len(shown) else (0, 1)
    dots = axes.scatter(
        shown["longitude"], shown["latitude"], s=8 + 240 * shown["trips"] / shown["trips"].max(),
        c=shown["value"], cmap="viridis_r", vmin=low, vmax=high, edgecolors="black", linewidths=0.3,
    )  # fmt: skip
    axes.set_aspect(DEGREES)
    axes.axis("off")
    figure.colorbar(dots, label=label, extend="both")
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


def errors_chart(
    means: "pd.DataFrame", edges: range, title: str, label: str, days: Sequence[str] = ()
) -> bytes:
    """The mean error and mean absolute error of groups of trips that follow each other.

    Args:
        means: as in ``mean_errors``.
        edges: of the groups; each is called by its lower edge.
        title: of the plot.
        label: what the edges are.
        days: names of equal parts.
    """
    figure, axes = _figure(title)
    shown = means.reindex(edges[:-1])
    # An outline takes a quarter of the time of a bar for each.
    axes.stairs(shown["absolute"].fillna(0), edges, fill=True, color=GREY,
                label="mean absolute error")  # fmt: skip
    axes.stairs(shown["error"], edges, baseline=None, color=BLUE, label="bias (predicted - actual)")
    axes.axhline(0, color="black", linewidth=0.5)
    if days:
        part = len(edges) // len(days)
        axes.set_xticks(range(part // 2, len(edges), part), days)
    axes.set_xlabel(label)
    axes.set_ylabel("error (minutes)")
    axes.legend(frameon=False, fontsize=7)
    return _png(figure)


def _figure(title: str) -> "tuple[Figure, Axes]":
    """A figure without pyplot, which keeps global state and every figure that it ever made."""
    from matplotlib.figure import Figure

    # Margins that are given save the two drawings in which matplotlib would find them.
    margins = {"left": 0.11, "right": 0.97, "bottom": 0.16, "top": 0.88}
    figure = Figure(SIZE, dpi=DPI)
    axes = figure.subplots(gridspec_kw=margins)
    figure.suptitle(title, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    return figure, axes


def _png(figure: "Figure") -> bytes:
    plot = io.BytesIO()
    # With Pillow's own level, 6, they take a twentieth more time and are no smaller.
    figure.savefig(plot, format="png", pil_kwargs={"compress_level": 3})
    return plot.getvalue()
