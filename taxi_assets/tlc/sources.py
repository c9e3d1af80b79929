"""Which source has which fleet's months."""

from dataclasses import dataclass

from taxi_assets.tlc.download import HttpSource
from taxi_assets.tlc.fleets import Fleet
from taxi_assets.tlc.source import FileSource, SyntheticSource, TripSource


@dataclass(frozen=True)
class TripSources:
    """The source of each fleet's months.

    Attributes:
        published: has the months that TLC has published.
        invented: makes up those that nobody has.
    """

    published: TripSource
    invented: SyntheticSource

    def of(self, fleet: Fleet) -> TripSource:
        """The source of a fleet's months."""
        return self.invented if fleet.invented else self.published


def trip_sources(location: str, synthetic_trips: int) -> TripSources:
    """The sources, with published months at a base URL, a folder or an fsspec URL."""
    web = location.startswith(("http://", "https://"))
    published = HttpSource(location) if web else FileSource(location)
    return TripSources(published, SyntheticSource(synthetic_trips))
