"""A fleet large enough for the short cuts that small ones never take: sorted racks, walks over a zone."""

import random

import pytest

from brickyard.core import inventory, ranking
from brickyard.core.placement import Ask, Boot, Rules

from . import naive
from .fleet import host, pool

HOSTS = 160


@pytest.fixture(scope="module")
def listed():
    dice = random.Random(5)
    return [
        host(
            f"h{number:03}",
            *(
                pool(f"h{number:03}@{k}#p", claimed=dice.randrange(101), backend_name=k, volumes=dice.randrange(9))
                for k in ("fast", "slow")
            ),
            zone=f"z{number % 2}", rack=f"r{number // 8}", vcpus_claimed=dice.choice([0, 8]),
        )
        for number in range(HOSTS)
    ]  # fmt: skip


@pytest.mark.parametrize("rules", [Rules(), Rules({"locality": 0.3, "volume_number": -1.0}), Rules(seed=3)])
@pytest.mark.parametrize("near", ["h000", "h091"])
@pytest.mark.parametrize("specs", [{}, {"volume_backend_name": "fast"}])
def test_near_a_host_in_a_large_fleet(listed, rules, near, specs):
    inv = inventory.Inventory(listed, rules)
    ask = Ask(30, specs, near=near)
    expected = [view.name for view in naive.fitting(inv, listed, ask, near)]
    assert [c.pools[0].name for c in ranking.rank_pools(inv, ask, 2 * HOSTS).candidates] == expected


@pytest.mark.parametrize("locality", ["rack", "zone"])
@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize("holders", [(), ("h010",)])
def test_boots_in_a_large_fleet(listed, locality, required, holders):
    inv = inventory.Inventory(listed)
    boot = Boot(1, 1, (Ask(80), Ask(90, {"volume_backend_name": "fast"})), holders, locality, required)
    found = {c.host.name: c for c in ranking.rank_hosts(inv, boot, HOSTS).candidates}
    allowed = inv.rules.levels.index(locality) if required else len(inv.rules.levels)
    assert found
    for c in found.values():
        assert naive.together(inv, boot.volumes, c.pools)
        gaps = [naive.gap(inv, c.host.name, view.host) for view in c.pools]
        assert c.distance == max([naive.apart(inv, boot, c.host), *gaps]) <= allowed
    for view in listed:
        free = view.vcpus_claimed == 0 and naive.apart(inv, boot, view) <= allowed
        possible = free and next(naive.placements(inv, listed, boot, view, allowed), None) is not None
        assert (view.name in found) is possible
