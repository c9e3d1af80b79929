"""The city in the package: every zone has its names, and a shape around its centre."""

import re
from itertools import pairwise

import pandas as pd
import pytest

from taxi_assets.durations.backtest import AIRPORTS
from taxi_assets.serving.parsing import NAMES, find_zone
from taxi_assets.tlc.zones import LAST_ZONE, MANHATTAN, MAP_SIZE, ZONES, zone_of
from taxi_assets_tests.conftest import REAL_FILES

WITHOUT_SHAPE = {57, 104, 105, 264, 265}
Point = tuple[int, int]


def rings(path: str) -> list[list[Point]]:
    """Closed rings of points, from an SVG path of relative lines."""
    rings = []
    for ring in path.removesuffix("z").split("z"):
        first, _, rest = ring.removeprefix("M").partition("l")
        x, y = map(int, first.split())
        points = [(x, y)]
        steps = [int(step) for step in re.findall("-?[0-9]+", rest)]
        for right, down in zip(steps[::2], steps[1::2], strict=True):
            x, y = x + right, y + down
            points.append((x, y))
        rings.append([*points, points[0]])
    return rings


def test_centres_lie_in_their_shapes_and_shapes_on_the_map() -> None:
    assert {number for number, zone in ZONES.items() if not zone.shape} == WITHOUT_SHAPE
    for number in ZONES.keys() - WITHOUT_SHAPE:
        x, y = ZONES[number].centre or (0, 0)
        crossed = 0
        for ring in rings(ZONES[number].shape):
            assert all(0 <= place <= MAP_SIZE for point in ring for place in point)
            crossed += sum(
                (y1 > y) != (y2 > y) and x < (x2 - x1) * (y - y1) / (y2 - y1) + x1
                for (x1, y1), (x2, y2) in pairwise(ring)
            )
        assert crossed % 2, number


def test_parts_of_zones_are_where_their_wholes_are_and_nowhere_is_no_place() -> None:
    for part, whole in ((57, 56), (104, 103), (105, 103)):
        assert ZONES[part][:2] == ZONES[whole][:2]
        assert ZONES[part].centre == ZONES[whole].centre is not None
    assert ZONES[264].centre is ZONES[265].centre is None
    # JFK is in the south-east, Newark in the west: x is to the right, y downwards.
    assert (ZONES[132].centre, ZONES[1].centre) == ((4080, 3147), (810, 2648))


def test_each_name_but_a_shared_one_finds_its_zone() -> None:
    shared = [ZONES[number].name for number in (56, 103)]
    for number, names in NAMES.items():
        assert [find_zone(name) for name in names if name not in shared] == [number] * (
            len(names) - (names[0] in shared)
        )


def test_zones_have_tlcs_names_and_boroughs() -> None:
    assert list(ZONES) == list(range(1, LAST_ZONE + 1))
    assert ZONES[132][:2] == ("JFK Airport", "Queens")
    assert ZONES[57][:2] == ("Corona", "Queens")
    assert [ZONES[zone].name for zone in (264, 265)] == ["Unknown", "Outside of NYC"]
    assert (len(MANHATTAN), sum(MANHATTAN)) == (69, 10173)
    assert zone_of(266)[:2] == ("zone 266", "unknown borough")


@pytest.mark.real_files
def test_zones_are_those_of_tlcs_table() -> None:
    rows = pd.read_csv(REAL_FILES / "taxi_zone_lookup.csv").itertuples()
    table = {row.LocationID: (row.Zone, row.Borough, row.service_zone) for row in rows}
    assert {zone: of[:2] for zone, of in table.items() if zone < 264} == {
        zone: of[:2] for zone, of in ZONES.items() if zone < 264
    }
    assert {zone for zone, of in table.items() if of[2] in ("EWR", "Airports")} == AIRPORTS
