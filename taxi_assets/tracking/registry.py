"""MLflow's model registry: a version for each trained month, and which month is the newest."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from taxi_assets.tlc.months import Month

if TYPE_CHECKING:
    from mlflow import MlflowClient

NEWEST = "newest_{family}"
"""Alias of the newest month's version of a family: ``newest_boosted``."""

ALL_VERSIONS = 10_000


def registered_name(fleet: str) -> str:
    """The registered model of a fleet: ``nyc-taxi-trip-duration-yellow``."""
    return f"nyc-taxi-trip-duration-{fleet}"


@dataclass(frozen=True)
class Registry:
    """The registered model of a fleet."""

    client: "MlflowClient"
    fleet: str

    @property
    def name(self) -> str:
        """The registered model's name."""
        return registered_name(self.fleet)

    def add(self, run_id: str, model_id: str, month: Month, family: str, rmse: float) -> str:
        """Register a month's logged model, or note its new RMSE; return its version's number."""
        # Somebody may have registered the run's model under a name of their own, too.
        found = self.client.search_model_versions(f"name = '{self.name}' and run_id = '{run_id}'")
        if found:
            version = str(found[0].version)
            self.client.set_model_version_tag(self.name, version, "rmse", f"{rmse:.6f}")
        else:
            tags = {"month": str(month), "family": family, "rmse": f"{rmse:.6f}"}
            about = f"The {family} model of {self.fleet} taxis, {month}; RMSE {rmse:.3f} minutes."
            version = self._create(run_id, model_id, tags, about)
        self.point_to_newest(family)
        return version

    def _create(self, run_id: str, model_id: str, tags: dict[str, str], about: str) -> str:
        from mlflow.exceptions import MlflowException

        try:
            self.client.create_registered_model(
                self.name,
                description=f"How long {self.fleet} taxi trips take in New York, in minutes: a "
                "version for each month and family (`linear`, `boosted`). The alias `champion` "
                "leads to the one that serves, the tag `champion` says why; `newest_linear` and "
                "`newest_boosted` lead to the newest month of each, judged or not.",
            )
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        # As a `models:/` URI it would be looked for where MLflow's global state points to.
        source = self.client.get_logged_model(model_id).artifact_location
        version = self.client.create_model_version(
            self.name, source, run_id, tags=tags, model_id=model_id, description=about
        )
        return str(version.version)

    def point_to_newest(self, family: str) -> None:
        """Move the alias, and look again: a newer month may have been registered meanwhile."""
        newest = None
        while (found := self._newest_version(family)) is not None and found != newest:
            newest = found
            self.client.set_registered_model_alias(self.name, NEWEST.format(family=family), found)

    def _newest_version(self, family: str) -> str | None:
        versions = self.client.search_model_versions(
            f"name = '{self.name}'", max_results=ALL_VERSIONS
        )
        of_family = [version for version in versions if version.tags.get("family") == family]
        if not of_family:
            return None
        newest = max(of_family, key=lambda one: (one.tags.get("month", ""), int(one.version)))
        return str(newest.version)
