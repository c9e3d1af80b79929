"""The notebook runs from top to bottom, offline, and is kept without its outputs."""

import json
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

NOTEBOOK = Path(__file__).parents[1] / "notebooks/walkthrough.ipynb"


@pytest.fixture
def notebook() -> NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


def test_it_is_kept_without_outputs(notebook: NotebookNode) -> None:
    for cell in notebook.cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pytest.mark.drill
def test_it_shows_every_step_of_a_month(
    notebook: NotebookNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it prints is what is stored; and the plot at its end has been drawn."""
    for name in ("TAXI_FLEET", "TAXI_STORAGE", "TAXI_TRIP_SOURCE", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TAXI_SYNTHETIC_TRIPS", "5000")
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=240, resources=resources).execute()

    printed = "".join(
        output.text
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output.output_type == "stream" and output.name == "stdout"
    )
    metrics = json.loads((tmp_path / "data/synthetic/metrics/2023-03.json").read_text())
    for name in ("records_loaded", "records_cleaned", "intercept", "rmse"):
        assert re.search(rf"{name} +{metrics[name]:,.2f}", printed), printed
    assert f"{metrics['feature_count']} features" in printed
    assert "synthetic 2023-03 linear FINISHED" in printed
    assert f"model_size_bytes: {metrics['model_size_bytes']}" in printed
    (plot,) = [
        output.data["image/png"]
        for output in notebook.cells[-1].outputs
        if "image/png" in output.get("data", {})
    ]
    assert len(plot) > 5_000
