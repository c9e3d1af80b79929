"""The resources of the graph, as Dagster's pages show them and its launchpad changes them.

What the environment configures is shown by the variable's name, so that no page has its value.
"""

from collections.abc import Collection, Mapping
from typing import Any

import dagster as dg
from pydantic import Field

from taxi_assets.settings import Settings, absolute_location, absolute_tracking_uri
from taxi_assets.storage.files import Storage
from taxi_assets.storage.io_managers import io_managers
from taxi_assets.storage.stored_months import Training
from taxi_assets.tlc.fetch import TripSources
from taxi_assets.tracking.runs import Tracking


class TripSourceResource(dg.ConfigurableResource[TripSources]):
    """Where month files come from; those of invented months from nowhere."""

    location: str = Field(description="a base URL, a folder, or a URL that fsspec knows")
    synthetic_trips: int = Field(description="trips in a synthetic month")

    def create_resource(self, context: dg.InitResourceContext) -> TripSources:
        """The sources of all fleets."""
        return TripSources(absolute_location(self.location), self.synthetic_trips)


class StorageResource(dg.ConfigurableResource[Storage]):
    """Where assets are kept."""

    root: str = Field(description="a folder, or a URL that fsspec knows")

    def create_resource(self, context: dg.InitResourceContext) -> Storage:
        """The place."""
        return Storage(absolute_location(self.root))


class TrainingResource(dg.ConfigurableResource[Training]):
    """What the boosted model is trained on."""

    months: int = Field(description="calendar months, the month's own among them")

    def create_resource(self, context: dg.InitResourceContext) -> Training:
        """How far back a model looks."""
        return Training(self.months)


class MLflowResource(dg.ConfigurableResource[Tracking]):
    """Where models are tracked. A month's run is opened through dagster-mlflow."""

    tracking_uri: str = Field(description="a database such as sqlite:///mlflow.db, or a server")
    experiment_name: str = Field(description="the experiment that has the runs")
    dagster_ui_url: str = Field("", description="Dagster's pages, for links from MLflow")
    mlflow_ui_url: str = Field("", description="MLflow's pages, for links from Dagster")

    def create_resource(self, context: dg.InitResourceContext) -> Tracking:
        """MLflow, which is not imported before it is used."""
        return Tracking(
            absolute_tracking_uri(self.tracking_uri),
            self.experiment_name,
            self.dagster_ui_url or None,
            self.mlflow_ui_url or None,
        )


def resources(settings: Settings, variables: Collection[str] = ()) -> Mapping[str, Any]:
    """All resources by their keys, configured by the settings.

    Args:
        settings: the values.
        variables: names of the environment's variables from which they come.

    Where the settings say that resources are not configurable, a run configuration that names a
    resource's fields is refused, so that no launch reads another variable or writes elsewhere.
    """

    def value(name: str) -> Any:
        variable, given = str(Settings.model_fields[name].alias), getattr(settings, name)
        if variable not in variables or not settings.configurable:
            return given
        return (dg.EnvVar.int if isinstance(given, int) else dg.EnvVar)(variable)

    configured: dict[str, dg.ConfigurableResource[Any]] = {
        "trip_source": TripSourceResource(
            location=value("trip_source"), synthetic_trips=value("synthetic_trips")
        ),
        "storage": StorageResource(root=value("storage")),
        "training": TrainingResource(months=value("training_months")),
        "mlflow": MLflowResource(
            tracking_uri=value("tracking_uri"),
            experiment_name=value("experiment_name"),
            dagster_ui_url=value("dagster_ui_url") or "",
            mlflow_ui_url=value("mlflow_ui_url") or "",
        ),
    }
    fixed = {} if settings.configurable else {key: _fixed(configured[key]) for key in configured}
    return {**configured, **fixed, **io_managers()}


def _fixed(resource: dg.ConfigurableResource[Any]) -> dg.ResourceDefinition:
    """A resource that no run configuration can change."""
    return dg.ResourceDefinition(
        lambda _: resource.create_resource(dg.build_init_resource_context()), config_schema={}
    )
