"""Places and distances."""

import pytest

from brickyard.core import errors, topology

PLAIN = topology.levels()
ROOMS = topology.levels(["row", "room"])


def gap(a, b, order=PLAIN):
    return topology.distance(topology.places("a", a, order), topology.places("b", b, order))


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ({"rack": "r", "zone": "z"}, {"rack": "r", "zone": "z"}, 1),
        ({"rack": "r", "zone": "z"}, {"rack": "s", "zone": "z"}, 2),
        ({"rack": "r", "zone": "y"}, {"rack": "r", "zone": "z"}, 3),
        ({"rack": "r"}, {"rack": "r"}, 1),
        ({"rack": "r"}, {"rack": "r", "zone": "z"}, 3),
        ({"zone": "z"}, {"zone": "z"}, 2),
        ({}, {}, 3),
    ],
)
def test_distance_is_the_smallest_level_shared(a, b, expected):
    assert gap(a, b) == gap(b, a) == expected


def test_a_host_is_at_no_distance_from_itself():
    places = topology.places("a", {}, PLAIN)
    assert topology.distance(places, places) == 0


@pytest.mark.parametrize(
    ("b", "expected"),
    [
        ({"rack": "1", "row": "a", "room": "x", "zone": "z"}, 1),
        ({"rack": "2", "row": "a", "room": "x", "zone": "z"}, 2),
        ({"rack": "1", "row": "b", "room": "x", "zone": "z"}, 3),
        ({"rack": "1", "row": "a", "room": "y", "zone": "z"}, 4),
        ({"rack": "1", "row": "a", "room": "x", "zone": "y"}, 5),
    ],
)
def test_the_operators_levels_lie_between_rack_and_zone(b, expected):
    assert gap({"rack": "1", "row": "a", "room": "x", "zone": "z"}, b, ROOMS) == expected


@pytest.mark.parametrize("names", [("rack", "zone"), ("host", "rack"), ("host", "rack", "rack", "zone"), ()])
def test_levels_must_run_from_host_to_zone(names):
    with pytest.raises(errors.Invalid):
        topology.Levels(names)


def test_an_unknown_level_is_refused_with_the_known_ones():
    with pytest.raises(errors.Invalid, match="host, rack, row, room, zone"):
        ROOMS.index("building")
