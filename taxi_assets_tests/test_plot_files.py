"""Where a month's plots are shown: on Dagster's pages, in MLflow's runs, and as files."""

from pathlib import Path

import dagster as dg
import mlflow
import pytest

from taxi_assets.reports.plot_files import inline
from taxi_assets.settings import Settings
from taxi_assets_tests.conftest import latest_record, plot_of, tracked_runs


@pytest.mark.after_three_months
def test_a_month_shows_its_plots_in_dagster_and_in_mlflow(
    instance: dg.DagsterInstance, settings: Settings
) -> None:
    """The first month has none of earlier models; the boosted model has the map, not the linear."""
    linear, boosted = ["predictions", "errors"], ["boosted_predictions", "boosted_hours"]
    for month in ("2023-01", "2023-02", "2023-03"):
        title = f"green {month}"
        for asset, names, drawn in (
            ("cleaned_trips", ["durations", "pickup_zones"], title),
            ("metrics", linear, title),
            ("boosted_metrics", boosted, title),
            ("backtest", [] if month == "2023-01" else ["zone_errors"], f"{title} boosted"),
        ):
            plot = plot_of(drawn)
            record = latest_record(instance, asset, month)
            assert record is not None
            shown = {name: value.value for name, value in record.metadata.items()}
            plots = {name: text for name, text in shown.items() if "data:image" in str(text)}
            assert plots == {name: f"![{name}]({inline(plot)})" for name in names}
            for name in names:
                path = Path(settings.storage) / f"green/plots/{month}/{name}.png"
                assert path.read_bytes() == plot
    client = mlflow.MlflowClient(settings.tracking_uri)
    for family, names in (("linear", linear), ("boosted", boosted)):
        for run in tracked_runs(settings, family):
            artifacts = client.list_artifacts(run.info.run_id, "plots")
            paths = {artifact.path for artifact in artifacts}
            assert paths == {f"plots/{name}.png" for name in names}
            path = Path(client.download_artifacts(run.info.run_id, f"plots/{names[0]}.png"))
            assert path.read_bytes() == plot_of(f"green {run.data.params['month']}")
