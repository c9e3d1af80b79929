"""MLflow's model registry: a version for each trained month, and which month is the newest."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from taxi_assets.tlc.months import Month
from taxi_assets.tracking.server import unless_gone

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

NEWEST = "newest_{family}"
"""Alias of the newest month's version of a family: ``newest_boosted``."""

CHAMPION, PREVIOUS = "champion", "previous_champion"
"""Aliases of the version that serves, and of the one before."""

PINNED = "pinned"
"""Tag of the registered model by which a person keeps the alias where it is; the reason."""

ALL_VERSIONS = 10_000


def registered_name(fleet: str) -> str:
    """The registered model of a fleet: ``nyc-taxi-trip-duration-yellow``."""
    return f"nyc-taxi-trip-duration-{fleet}"


def find_model(client: "MlflowClient", fleet: str) -> "RegisteredModel | None":
    """The registered model, its aliases and tags; None where there is none yet."""
    return unless_gone(client.get_registered_model, registered_name(fleet))


def find_versions(client: "MlflowClient", fleet: str, run_id: str = "") -> "list[ModelVersion]":
    """All versions of the registered model, or those of a run."""
    condition = f"name = '{registered_name(fleet)}'" + (run_id and f" and run_id = '{run_id}'")
    return list(client.search_model_versions(condition, max_results=ALL_VERSIONS))


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
        """Register a month's logged model, or note its new RMSE; return its version's number.

        The tag ``rmse`` comes last: a version without it has not taken its place yet.
        """
        of_run = find_versions(self.client, self.fleet, run_id)
        kind = {"month": str(month), "family": family}
        # Somebody else may have registered the run's model, too.
        ours = [one for one in of_run if kind.items() <= one.tags.items()]
        version = str(ours[0].version) if ours else self._create(run_id, model_id, kind, rmse)
        if not ours or "rmse" not in ours[0].tags:
            self._succeed(version, kind)
        self.point_to_newest(family)
        self.client.set_model_version_tag(self.name, version, "rmse", f"{rmse:.6f}")
        return version

    def _succeed(self, version: str, kind: dict[str, str]) -> None:
        """Have a version serve in the place of a champion of the same month and family."""
        model = find_model(self.client, self.fleet)
        if model is None or CHAMPION not in model.aliases or PINNED in model.tags:
            return
        champion = str(model.aliases[CHAMPION])
        tags = self.client.get_model_version(self.name, champion).tags
        if kind.items() <= tags.items():
            self.client.set_registered_model_alias(self.name, CHAMPION, version)
            if model.aliases.get(PREVIOUS) == version:
                self.client.delete_registered_model_alias(self.name, PREVIOUS)

    def _create(self, run_id: str, model_id: str, kind: dict[str, str], rmse: float) -> str:
        from mlflow.exceptions import MlflowException

        try:
            self.client.create_registered_model(
                self.name,
                description=f"How long {self.fleet} taxi trips take in New York, in minutes: a "
                "version for each month and family (`linear`, `boosted`). The alias `champion` "
                "leads to the one that serves, whoever moved it; `newest_linear` and "
                "`newest_boosted` lead to the newest month of each, judged or not.",
            )
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        # As a `models:/` URI it would be looked for where MLflow's global state points to.
        source = self.client.get_logged_model(model_id).artifact_location
        version = self.client.create_model_version(
            self.name,
            source,
            run_id,
            tags=kind,
            model_id=model_id,
            description=f"The {kind['family']} model of {self.fleet} taxis, {kind['month']}; RMSE "
            f"{rmse:.3f} minutes.",
        )
        return str(version.version)

    def point_to_newest(self, family: str) -> None:
        """Move the alias, and look again: a newer month may have been registered meanwhile."""
        alias, pointed_to = NEWEST.format(family=family), None
        while of_family := [
            (version.tags.get("month", ""), int(version.version))
            for version in find_versions(self.client, self.fleet)
            if version.tags.get("family") == family
        ]:
            _, newest = max(of_family)
            if newest == pointed_to:
                return
            self.client.set_registered_model_alias(self.name, alias, str(newest))
            pointed_to = newest
