"""All stored months on one page, fleet by fleet: a single HTML file that opens from disk."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
from markupsafe import Markup, escape

from taxi_assets.reports.stored_metrics import NUMBERS, stored_fleet
from taxi_assets.storage.files import Storage
from taxi_assets.tlc.atomic import replacing
from taxi_assets.tlc.fleets import Fleet
from taxi_assets.tracking.registry import registered_name

if TYPE_CHECKING:
    import pandas as pd


def write_report(
    storage: Storage, fleets: Sequence[Fleet], path: Path, mlflow_pages: str | None = None
) -> tuple[int, list[str]]:
    """Write the page to ``path``; nothing else is written, or locked.

    Args:
        storage: where the months are.
        fleets: whose months; a fleet that has none is left out.
        path: of the page.
        mlflow_pages: address of MLflow's pages, for links; without it there are none.

    Returns:
        How many months it has, and a sentence for each stored file that cannot be read.

    Raises:
        UnreachableStorageError: the storage does not answer.
        OSError: the page cannot be written, or a folder of the storage cannot be read.
    """
    import pandas as pd

    parts, problems = [], []
    for fleet in fleets:
        metrics, zone_errors, unreadable = stored_fleet(storage, fleet)
        problems += unreadable
        if len(metrics):
            cells = _cells(metrics, mlflow_pages, registered_name(fleet.name))
            # Months that are not stored are gaps in the plots.
            calendar = pd.period_range(metrics.index[0], metrics.index[-1], freq="M").astype(str)
            parts.append({"fleet": fleet, "months": list(metrics.index),
                          "metrics": metrics.reindex(calendar), "cells": cells,
                          "zone_errors": zone_errors})  # fmt: skip
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("taxi_assets", "reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {"by_bin": _by_bin, "by_segment": _by_segment, "chosen": _chosen,
                          "table": _table}  # fmt: skip
    page = templates.get_template("report.html.jinja").render(parts=parts, problems=problems)
    with replacing(path) as unfinished:
        unfinished.write_text(page, encoding="utf-8")
    return sum(len(part["months"]) for part in parts), problems


def _cells(metrics: "pd.DataFrame", pages: str | None, model: str) -> "pd.DataFrame":
    """The metrics as people read them, with links where MLflow's pages have an address.

    Args:
        metrics: by month.
        pages: the address.
        model: name of the registered model.
    """
    import pandas as pd

    texts = {
        column: values.map(NUMBERS.get(column.rpartition(".")[2], "{}").format, na_action="ignore")
        for column, values in metrics.items()
    }
    cells = pd.DataFrame(texts, metrics.index, dtype=object)
    if "backtest.failed_checks" in metrics:
        names = metrics["backtest.failed_checks"].map(", ".join, na_action="ignore")
        cells["failed_checks"] = names.replace("", None)
    cells["serves"] = [_version(row) for _, row in cells.iterrows()]
    places = {
        "backtest.models.linear.rmse": ("backtest.models.linear.mlflow_run_id", "runs"),
        "backtest.models.boosted.rmse": ("backtest.models.boosted.mlflow_run_id", "runs"),
        "serves": ("champion.champion.version", f"models/{model}/versions"),
    }
    anchor = Markup('<a href="{}/#/{}/{}">{}</a>')
    for column, (identifiers, place) in places.items():
        if pages is not None and {column, identifiers} <= {*cells}:
            for month, text, of in cells[[column, identifiers]].dropna().itertuples():
                cells.at[month, column] = anchor.format(pages.rstrip("/"), place, of, text)
    return cells


def _version(month: "pd.Series[Any]") -> str | None:
    """Which version serves from a month on, in bold where it is another than before."""
    import pandas as pd

    names = [f"champion.champion.{name}" for name in ("version", "family", "month")]
    version, family, trained = month.reindex(names)
    if pd.isna(version):
        return None
    text = f"version {version}" if pd.isna(trained) else f"version {version}, {family} {trained}"
    is_same = version == month.get("champion.before.version")
    return text if is_same else Markup("<b>{}</b>").format(text)


def _by_bin(month: "pd.Series[Any]", families: Mapping[str, str]) -> "pd.DataFrame":
    """The interval coverage of the earlier models by quantile bin, from 1; a column for each."""
    import pandas as pd

    stored = {
        name: month.get(f"backtest.models.{family}.interval_coverage_by_bin")
        for family, name in families.items()
    }
    bins = {name: shares for name, shares in stored.items() if isinstance(shares, list)}
    return pd.DataFrame(bins, range(1, 6)).astype(float)


def _by_segment(month: "pd.Series[Any]", families: Mapping[str, str]) -> "pd.DataFrame":
    """The RMSE of the earlier models on segments of a month's trips; a column for each."""
    import pandas as pd

    rmses: dict[str, dict[str, Any]] = {}
    for column, value in month.items():
        match = re.fullmatch(r"backtest\.models\.(\w+)\.segments\.(\w+)\.rmse", column)
        if match and match[1] in families:
            segment = match[2].replace("_", " ").replace("manhattan", "Manhattan")
            rmses.setdefault(families[match[1]], {})[segment] = value
    return pd.DataFrame(rmses).dropna(axis="columns", how="all")


def _chosen(metrics: "pd.DataFrame", columns: Mapping[str, str]) -> "pd.DataFrame":
    """Columns that have a value, by their names on the page."""
    chosen = metrics.reindex(columns=list(columns)).rename(columns=columns)
    return chosen.dropna(axis="columns", how="all").infer_objects()


def _table(cells: "pd.DataFrame", corner: str) -> Markup:
    """A table of the rows that have a value, with its texts escaped; nothing if none has."""
    import pandas as pd

    filled = cells.dropna(how="all")
    escaped = filled.fillna("").map(escape).rename_axis(columns=corner)
    with pd.option_context("display.max_colwidth", None):
        return Markup(escaped.to_html(escape=False, border=0) if filled.size else "")
