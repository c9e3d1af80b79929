"""All stored months on one page, fleet by fleet: ``python -m taxi_assets.reporting.report``.

The page is a single HTML file with its pictures in it, and opens from disk.
"""

from argparse import ArgumentParser
from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template

from taxi_assets.errors import MonthError
from taxi_assets.reporting.charts import trend_chart
from taxi_assets.reporting.gallery import Gallery, inline
from taxi_assets.reporting.stored_months import StoredMonth, stored_months
from taxi_assets.settings import Settings, SettingsError
from taxi_assets.storage.files import Storage
from taxi_assets.tlc.fleets import Fleet
from taxi_assets.tracking.registry import registered_name
from taxi_assets.tracking.servers import TrackingServer

COLUMNS = {
    "records_loaded": ("trips", "{:,.0f}"),
    "records_cleaned": ("kept", "{:,.0f}"),
    "intercept": ("intercept", "{:.2f}"),
    "rmse": ("own linear model: RMSE", "{:.3f}"),
    "own_boosted_rmse": ("own boosted model: RMSE", "{:.3f}"),
    "linear_rmse": ("earlier linear model: RMSE", "{:.3f}"),
    "lookup_rmse": ("earlier lookup table: RMSE", "{:.3f}"),
    "boosted_rmse": ("earlier boosted model: RMSE", "{:.3f}"),
    "boosted_mae": ("MAE", "{:.3f}"),
    "boosted_within_5_minutes": ("within 5 minutes", "{:.1%}"),
    "boosted_interval_coverage": ("coverage", "{:.1%}"),
}
"""Figures of a month, with their headings and formats."""

PAGE = Template(
    """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Taxi trip durations, by month</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem 1rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100% }
th, td { border-bottom: 1px solid #ccc; padding: .2rem .5rem; text-align: right }
th { vertical-align: bottom }
th:first-child, td:first-child { text-align: left; white-space: nowrap }
.words th, .words td { text-align: left }
.wide { overflow-x: auto }
.invented { background: #fff3cd; padding: .3rem .6rem }
.changed td { font-weight: bold }
img { max-width: 100% }
figure { display: inline-block; margin: 0; max-width: 30rem }
</style>
$fleets
</html>
"""
)

FLEET = Template(
    """<h1>$title</h1>
$invented
<p>$summary</p>
<img alt="RMSE by month" src="$trend">
<h2>Models</h2>
<p>RMSE and MAE in minutes. Models of earlier months are scored on all kept trips of the month, its
own on its validation trips. Drift is the largest distance of zones, hours and durations from the
month before.</p>
<div class="wide"><table>
<tr><th>month</th>$headings<th>drift</th><th>failed checks</th></tr>
$rows
</table></div>
<h2>Who serves</h2>
<div class="wide"><table class="words">
<tr><th>month</th><th>champion</th><th>decision</th></tr>
$champions
</table></div>
<h2>$latest</h2>
$pictures
"""
)


def write_report(
    storage: Storage, fleets: Sequence[Fleet], path: Path, mlflow_pages: str | None = None
) -> int:
    """Write the page to ``path``, with the fleets that have months; return how many months.

    Args:
        storage: where the months are.
        fleets: whose.
        path: of the page.
        mlflow_pages: address of MLflow's pages, for links; without it there are none.
    """
    stored = {fleet: stored_months(storage, fleet) for fleet in fleets}
    parts = [
        _part(storage, fleet, months, mlflow_pages) for fleet, months in stored.items() if months
    ]
    nothing = "<p>No month is stored yet.</p>"
    path.write_text(PAGE.substitute(fleets="\n".join(parts) or nothing), encoding="utf-8")
    return sum(map(len, stored.values()))


def _part(storage: Storage, fleet: Fleet, months: Sequence[StoredMonth], pages: str | None) -> str:
    trips = sum(stored.number("records_loaded") or 0 for stored in months)
    span = " to ".join(dict.fromkeys(str(months[end].month) for end in (0, -1)))
    invented = "<p class='invented'>These trips are synthetic: invented, not TLC's.</p>"
    return FLEET.substitute(
        title=escape(f"{fleet.name.capitalize()} taxi trip durations, by month"),
        invented=invented if fleet.invented else "",
        summary=escape(f"{_months(len(months))}, {span}, {trips:,.0f} trips."),
        trend=inline(trend_chart([(one.month, one.figures) for one in months])),
        headings="".join(f"<th>{escape(heading)}</th>" for heading, _ in COLUMNS.values()),
        rows="\n".join(_row(stored, pages) for stored in reversed(months)),
        champions="\n".join(_champion(fleet, stored, pages) for stored in reversed(months)),
        latest=f"Pictures of {months[-1].month}",
        pictures=_pictures(storage, fleet, months[-1:]),
    )


def _row(stored: StoredMonth, pages: str | None) -> str:
    cells = [str(stored.month)]
    for name, (_, pattern) in COLUMNS.items():
        number = stored.number(name)
        shown = "" if number is None else pattern.format(number)
        run = stored.runs.get(name.removesuffix("_rmse")) if name.endswith("_rmse") else None
        cells.append(_link(shown, pages, f"runs/{run}") if run and shown else shown)
    cells.append(f"{max(stored.drift.values()):.3f}" if stored.drift else "")
    cells.append(escape(", ".join(stored.failed_checks)))
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _champion(fleet: Fleet, stored: StoredMonth, pages: str | None) -> str:
    """Who serves from a month on, in bold where it is another than before."""
    now, before = (stored.champion.get(name) for name in ("champion", "before"))
    shown, changed = "", ""
    if isinstance(now, dict):
        number = now.get("version")
        text = f"version {number}, {now.get('family')} {now.get('month')}"
        shown = _link(text, pages, f"models/{registered_name(fleet.name)}/versions/{number}")
        changed = "" if now == before else ' class="changed"'
    decision = escape(str(stored.champion.get("decision", "")))
    return f"<tr{changed}><td>{stored.month}</td><td>{shown}</td><td>{decision}</td></tr>"


def _link(text: str, pages: str | None, place: str) -> str:
    """A text that leads to one of MLflow's pages, where they have an address."""
    if pages is None:
        return escape(text)
    return f'<a href="{escape(pages.rstrip("/"))}/#/{escape(place)}">{escape(text)}</a>'


def _months(number: int) -> str:
    return "1 month" if number == 1 else f"{number} months"


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
    pages = TrackingServer(settings.tracking_uri).pages or settings.mlflow_ui_url
    try:
        months = write_report(Storage(settings.storage), settings.fleets, output, pages)
    except MonthError as error:
        parser.exit(1, f"{error}\n")
    except OSError as error:
        parser.exit(1, f"{output} cannot be written: {error.strerror or error}\n")
    print(f"{output}: {_months(months)}")


if __name__ == "__main__":
    main()
