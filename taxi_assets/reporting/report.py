"""All stored months on one page, fleet by fleet: ``python -m taxi_assets.reporting.report``.

The page is a single HTML file with its pictures in it, and opens from disk.
"""

from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from taxi_assets.reporting.charts import trend_chart
from taxi_assets.reporting.gallery import Gallery, inline
from taxi_assets.settings import Settings, SettingsError
from taxi_assets.storage.files import Storage
from taxi_assets.storage.formats import Json
from taxi_assets.storage.layout import figures_file, folder, months_among
from taxi_assets.tlc.fleets import Fleet
from taxi_assets.tlc.months import Month

COLUMNS = {
    "records_loaded": ("trips", "{:,.0f}"),
    "records_cleaned": ("kept", "{:,.0f}"),
    "feature_count": ("features", "{:,.0f}"),
    "intercept": ("intercept", "{:.2f}"),
    "rmse": ("RMSE", "{:.2f}"),
    "mae": ("MAE", "{:.2f}"),
    "r2": ("R²", "{:.3f}"),
    "baseline_rmse": ("RMSE of the mean", "{:.2f}"),
    "linear_rmse": ("RMSE of an earlier linear model", "{:.2f}"),
    "boosted_rmse": ("RMSE of an earlier boosted model", "{:.2f}"),
    "boosted_within_5_minutes": ("boosted, within 5 minutes", "{:.1%}"),
}
"""Figures of ``metrics`` and of ``backtest``, with their headings and formats."""

PAGE = Template(
    """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Taxi trip durations, by month</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100% }
th, td { border-bottom: 1px solid #ccc; padding: .2rem .5rem; text-align: right }
th { vertical-align: bottom }
th:first-child, td:first-child { text-align: left }
img { max-width: 100% }
figure { display: inline-block; margin: 0; max-width: 30rem }
</style>
$fleets
</html>
"""
)

FLEET = Template(
    """<h1>$title</h1>
<p>$summary</p>
<img alt="RMSE by month" src="$trend">
<h2>Months</h2>
<p>Errors in minutes. Models of earlier months are scored on all kept trips of the month, its own on
its validation trips.</p>
<table>
<tr><th>month</th>$headings</tr>
$rows
</table>
<h2>$latest</h2>
$pictures
"""
)


@dataclass(frozen=True)
class StoredMonth:
    """The figures that are stored of a month."""

    month: Month
    figures: Mapping[str, Any]


def stored_months(storage: Storage, fleet: Fleet) -> list[StoredMonth]:
    """The months that have readable metrics, in order, with those of their backtests."""
    first = figures_file(fleet, "metrics", fleet.first_month)
    months = []
    for month in months_among(storage.names(folder(first)), first):
        figures = _figures(storage, figures_file(fleet, "metrics", month))
        if figures:
            backtest = _figures(storage, figures_file(fleet, "backtest", month))
            scored = {
                f"{name}_{figure}": value
                for name, model in _models(backtest).items()
                for figure, value in model.items()
            }
            months.append(StoredMonth(month, scored | figures))
    return months


def write_report(storage: Storage, fleets: Sequence[Fleet], path: Path) -> int:
    """Write the page to ``path``, with the fleets that have months; return how many months."""
    stored = {fleet: stored_months(storage, fleet) for fleet in fleets}
    parts = [_part(storage, fleet, months) for fleet, months in stored.items() if months]
    nothing = "<p>No month is stored yet.</p>"
    path.write_text(PAGE.substitute(fleets="\n".join(parts) or nothing), encoding="utf-8")
    return sum(map(len, stored.values()))


def _part(storage: Storage, fleet: Fleet, months: Sequence[StoredMonth]) -> str:
    trips = sum(_number(stored, "records_loaded") or 0 for stored in months)
    span = f"{months[0].month} to {months[-1].month}"
    return FLEET.substitute(
        title=escape(f"{fleet.name.capitalize()} taxi trip durations, by month"),
        summary=escape(f"{len(months)} months, {span}, {trips:,.0f} trips."),
        trend=inline(trend_chart([(one.month, one.figures) for one in months])),
        headings="".join(f"<th>{escape(heading)}</th>" for heading, _ in COLUMNS.values()),
        rows="\n".join(map(_row, reversed(months))),
        latest=f"Pictures of {months[-1].month}",
        pictures=_pictures(storage, fleet, months[-1:]),
    )


def _figures(storage: Storage, path: str) -> dict[str, Any]:
    try:
        return Json().load(storage.open(path))
    except (OSError, ValueError, RecursionError):
        return {}


def _models(backtest: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    models = backtest.get("models")
    if not isinstance(models, dict):
        return {}
    return {name: model for name, model in models.items() if isinstance(model, dict)}


def _number(stored: StoredMonth, name: str) -> float | None:
    value = stored.figures.get(name)
    return float(value) if isinstance(value, int | float) else None


def _row(stored: StoredMonth) -> str:
    cells = [str(stored.month)]
    for name, (_, pattern) in COLUMNS.items():
        number = _number(stored, name)
        cells.append("" if number is None else pattern.format(number))
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _pictures(storage: Storage, fleet: Fleet, months: Sequence[StoredMonth]) -> str:
    return "\n".join(
        f'<figure><img alt="{escape(name)}" src="{inline(picture)}"></figure>'
        for stored in months
        for name, picture in Gallery(storage, fleet, stored.month).all().items()
    )


def main() -> None:
    """Write the report of the fleets and the storage that the environment names."""
    parser = ArgumentParser(prog="python -m taxi_assets.reporting.report", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("report.html"), help="the page's file")
    output = parser.parse_args().output
    try:
        settings = Settings.from_environment()
    except SettingsError as error:
        parser.error(error.message)
    months = write_report(Storage(settings.storage), settings.fleets, output)
    print(f"{output}: {months} months")


if __name__ == "__main__":
    main()
