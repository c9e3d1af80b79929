"""How an asset is declared: a function that makes one month of it."""

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, get_args, get_origin

import dagster as dg

from taxi_assets.checks.month_checks import MonthCheck
from taxi_assets.errors import command
from taxi_assets.tlc.fleets import Fleet
from taxi_assets.tlc.months import Month

MonthFunction = Callable[..., dg.MaterializeResult[Any]]

Opens = Callable[..., AbstractContextManager[Any]]
"""Opens something for several months, or for several assets of one."""


@dataclass(frozen=True)
class MonthContext:
    """The month of an asset that a function makes, and what the function can ask and report.

    Attributes:
        fleet: the fleet.
        month: the month.
        asset: the asset's name.
        code_version: the asset's code version.
        dagster: Dagster's context of the whole run.
        load: loads a month of an asset that is not declared as an input, by the asset's name;
            raises what the IO manager raises: NotStoredError, UnusableValueError, ServiceError.
        judged: says whether the month of an asset has passed a check, by their names; None if
            there is no result.
        judged_anew: new check results for other assets' months: the asset's name, the month and
            the result. They are recorded after the value.
    """

    fleet: Fleet
    month: Month
    asset: str
    code_version: str
    dagster: dg.AssetExecutionContext
    load: Callable[[str, Month], Any]
    judged: Callable[[str, str], bool | None]
    judged_anew: list[tuple[str, Month, dg.AssetCheckResult]] = field(default_factory=list)
    _when_stored: list[Callable[[], Mapping[str, Any] | None]] = field(default_factory=list)

    @property
    def title(self) -> str:
        """The month and its fleet: ``yellow 2023-03``."""
        return f"{self.fleet.name} {self.month}"

    def report(self, line: str) -> None:
        """Log a line about the month."""
        self.dagster.log.info(f"{self.asset} {self.month}: {line}")

    def when_stored(self, action: Callable[[], Mapping[str, Any] | None]) -> None:
        """Have something done once the value is stored, before Dagster records it.

        Metadata that ``action`` returns are recorded with the value's.
        """
        self._when_stored.append(action)

    def after_storing(self) -> dict[str, Any]:
        """Do what waits for the value to be stored; return the metadata."""
        return {
            name: value for action in self._when_stored for name, value in (action() or {}).items()
        }

    def failed_checks(self, checks: Mapping[str, Sequence[MonthCheck]]) -> list[str]:
        """Names of those checks, by their assets, that the month has failed.

        A check without a result on record, as in a new history, counts as passed, and is reported.
        """
        results = {
            check.name: self.judged(asset, check.name)
            for asset, of_asset in checks.items()
            for check in of_asset
        }
        if unknown := [name for name, passed in results.items() if passed is None]:
            self.report(f"no result of {', '.join(unknown)} is on record for this month")
        return [name for name, passed in results.items() if passed is False]

    def command(self, *assets: str, month: Month | None = None) -> str:
        """The command that materializes assets, by default of this month."""
        keys = [f"{self.fleet.name}/{asset}" for asset in assets]
        return command(keys, (month or self.month).partition_key)


@dataclass(frozen=True, kw_only=True)
class MonthlyAsset:
    """A function that makes one month of an asset, and what Dagster needs to know of it.

    The function's first parameter takes a ``MonthContext``. Parameters of type ``ResourceParam``
    take Dagster resources. Parameters named in ``for_run`` or ``for_month`` take what is opened
    there. All other parameters take the same month of the asset of their name. The function
    returns the value, metadata that include a ``summary``, and a result for each of the ``checks``.

    Attributes:
        function: makes a month.
        io_manager: key of the IO manager that stores the months.
        kinds: the asset's kinds on Dagster's pages.
        code_version: changes when the function gives something else for the same inputs.
        checks: the checks by which the function judges each month.
        for_run: what is opened for all months of a run, by the parameter that takes it. The
            opener takes the fleet, the months to be made, and resources.
        for_month: what is opened for assets of a month that follow each other and share it, by
            the parameter that takes it. The opener takes the month's context, and resources.
        imports: modules that take long to import; imported while the first file is fetched.
        freshness: the longest time without a new month; for fleets that somebody publishes.
        looks_back: whether the function also takes stored values of earlier months. Then a month
            is made again when an earlier one was.
        stays_in_memory: whether the next assets take the value itself; if not, they take what the
            IO manager loads.
        on_demand: names of frames of which the function takes not the value, but a function that
            gives it. A long frame is then not held for the next assets, which load it again.
    """

    function: MonthFunction
    io_manager: str
    kinds: Set[str]
    code_version: str
    checks: Sequence[MonthCheck] = ()
    for_run: Mapping[str, Opens] = field(default_factory=dict)
    for_month: Mapping[str, Opens] = field(default_factory=dict)
    imports: Sequence[str] = ()
    freshness: dg.FreshnessPolicy | None = None
    looks_back: bool = False
    stays_in_memory: bool = True
    on_demand: Sequence[str] = ()

    @property
    def name(self) -> str:
        """The asset's name: the function's."""
        return self.function.__name__

    @property
    def opens(self) -> Mapping[str, Opens]:
        """What has to be opened for the function, by the parameter that takes it."""
        return {**self.for_run, **self.for_month}

    @property
    def resources(self) -> set[str]:
        """Keys of the resources that the function takes, and those that open things for it."""
        takers = (self.function, *self.opens.values())
        return {key for taker in takers for key in resource_keys(taker)}

    @cached_property
    def upstream(self) -> list[str]:
        """Names of the assets that the function takes."""
        others = {*resource_keys(self.function), *self.opens}
        _, *parameters = inspect.signature(self.function).parameters
        return [name for name in parameters if name not in others]

    def key(self, fleet: Fleet) -> dg.AssetKey:
        """The asset's key: ``yellow/model``."""
        return dg.AssetKey([fleet.name, self.name])

    def spec(self, fleet: Fleet) -> dg.AssetSpec:
        """The asset as Dagster declares it."""
        return dg.AssetSpec(
            self.key(fleet),
            deps=[dg.AssetKey([fleet.name, name]) for name in self.upstream],
            description=inspect.getdoc(self.function),
            group_name=fleet.name,
            kinds=set(self.kinds),
            code_version=self.code_version,
            owners=["team:taxi-assets"],
            freshness_policy=None if fleet.invented else self.freshness,
            # A month may fail.
            skippable=True,
        ).with_io_manager_key(self.io_manager)


def data_version(of: Any) -> dg.DataVersion:
    """A data version for a value that depends on more than its declared inputs."""
    return dg.DataVersion(hashlib.sha256(json.dumps(of).encode()).hexdigest())


def resource_keys(function: Callable[..., Any]) -> list[str]:
    """Keys of the Dagster resources that a function takes: its parameters of that type."""
    is_resource = get_args(dg.ResourceParam)[1]
    return [
        parameter.name
        for parameter in inspect.signature(function).parameters.values()
        if get_origin(parameter.annotation) is Annotated
        and is_resource in get_args(parameter.annotation)
    ]


def monthly_asset(**declared: Any) -> Callable[[MonthFunction], MonthlyAsset]:
    """Declare that a function makes one month of an asset; takes ``MonthlyAsset``'s attributes."""
    return lambda function: MonthlyAsset(function=function, **declared)


def monthly_partitions(fleet: Fleet) -> dg.MonthlyPartitionsDefinition:
    """Every whole month since the fleet's first, keyed by its first day: ``2023-03-01``."""
    return dg.MonthlyPartitionsDefinition(start_date=fleet.first_month.partition_key)
