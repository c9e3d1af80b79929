"""MLflow's model registry: a version for each trained month, and which month is the newest."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from taxi_assets.tlc.months import Month

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import RegisteredModel

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
    from mlflow.exceptions import MlflowException

    try:
        return client.get_registered_model(registered_name(fleet))
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


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
        registered = self.client.search_model_versions(
            f"name = '{self.name}' and run_id = '{run_id}'"
        )
        kind = {"month": str(month), "family": family}
        # Somebody else may have registered the run's model, too.
        ours = [one for one in registered if kind.items() <= one.tags.items()]
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
        champion = self.client.get_model_version(self.name, str(model.aliases[CHAMPION]))
        if kind.items() <= champion.tags.items():
            self.client.set_registered_model_alias(self.name, CHAMPION, version)

    def _create(self, run_id: str, model_id: str, kind: dict[str, str], rmse: float) -> str:
        from mlflow.exceptions import MlflowException

        try:
            self.client.create_registered_model(
                self.name,
                description=f"How long {self.fleet} taxi trips take in New York, in minutes. Each "
                "month and family (`linear`, `boosted`) has a version. The alias `champion` points "
                "to the version that serves; `newest_linear` and `newest_boosted` point to the "
                "newest month of each family.",
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
        """Move a family's alias to the version of its newest month, if there is any."""
        versions = self.client.search_model_versions(
            f"name = '{self.name}'", max_results=ALL_VERSIONS
        )
        of_family = [version for version in versions if version.tags.get("family") == family]
        if of_family:
            newest = max(of_family, key=lambda one: (one.tags.get("month", ""), int(one.version)))
            alias = NEWEST.format(family=family)
            self.client.set_registered_model_alias(self.name, alias, str(newest.version))
