"""All stored months of a fleet on one page: ``python -m taxi_assets.reporting.report``.

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
    "previous_rmse": ("RMSE of last month's model", "{:.2f}"),
    "previous_share_within_5_minutes": ("within 5 minutes", "{:.1%}"),
}
"""Figures of ``metrics`` and of ``backtest``, with their headings and formats."""

PAGE = Template(
    """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>$title</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100% }
th, td { border-bottom: 1px solid #ccc; padding: .2rem .5rem; text-align: right }
th { vertical-align: bottom }
th:first-child, td:first-child { text-align: left }
img { max-width: 100% }
figure { display: inline-block; margin: 0; max-width: 30rem }
</style>
<h1>$title</h1>
<p>$summary</p>
<img alt="RMSE by month" src="$trend">
<h2>Months</h2>
<p>Errors in minutes. The model of the month before is scored on all kept trips of the month, the
others on its validation trips.</p>
<table>
<tr><th>month</th>$headings</tr>
$rows
</table>
<h2>$latest</h2>
$pictures
</html>
"""
)


@dataclass(frozen=True)
class StoredMonth:
    """The figures that are stored of a month."""

    month: Month
    figures: Mapping[str, Any]


def stored_months(storage: Storage, fleet: Fleet) -> list[StoredMonth]:
    """The months that have readable metrics, in order, with those of their backtests."""
    months = []
    for name in storage.names(f"{fleet.name}/metrics"):
        try:
            month = Month.parse(name.removesuffix(".json"))
        except ValueError:
            continue
        figures = _figures(storage, f"{fleet.name}/metrics/{name}")
        if figures:
            backtest = _figures(storage, f"{fleet.name}/backtest/{name}")
            months.append(StoredMonth(month, backtest | figures))
    return sorted(months, key=lambda stored: stored.month)


def write_report(storage: Storage, fleet: Fleet, path: Path) -> int:
    """Write the page to ``path``; return how many months it has."""
    months = stored_months(storage, fleet)
    title = f"{fleet.name.capitalize()} taxi trip durations, by month"
    if months:
        trips = sum(_number(stored, "records_loaded") or 0 for stored in months)
        span = f"{months[0].month} to {months[-1].month}"
        summary = f"{len(months)} months, {span}, {trips:,.0f} trips."
    else:
        summary = "No month is stored yet."
    page = PAGE.substitute(
        title=escape(title),
        summary=escape(summary),
        trend=inline(trend_chart([(one.month, one.figures) for one in months])),
        headings="".join(f"<th>{escape(heading)}</th>" for heading, _ in COLUMNS.values()),
        rows="\n".join(map(_row, reversed(months))),
        latest=f"Pictures of {months[-1].month}" if months else "",
        pictures=_pictures(storage, fleet, months[-1:]),
    )
    path.write_text(page, encoding="utf-8")
    return len(months)


def _figures(storage: Storage, path: str) -> dict[str, Any]:
    try:
        return Json().load(storage.open(path))
    except (OSError, ValueError, RecursionError):
        return {}


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
    """Write the report of the fleet and the storage that the environment names."""
    parser = ArgumentParser(prog="python -m taxi_assets.reporting.report", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("report.html"), help="the page's file")
    output = parser.parse_args().output
    try:
        settings = Settings.from_environment()
    except SettingsError as error:
        parser.error(error.message)
    months = write_report(Storage(settings.storage), settings.fleet, output)
    print(f"{output}: {months} months")


if __name__ == "__main__":
    main()
