"""The decision over the index against the rules as plainly written, on fleets nobody would think of."""

import dataclasses

from hypothesis import given, settings
from hypothesis import strategies as st

from brickyard.core import filters, inventory, ranking
from brickyard.core.placement import Ask, Boot, Rules

from . import naive
from .fleet import host, pool

SPECS = st.sampled_from([
    {}, {"volume_backend_name": "fast"}, {"volume_backend_name": "slow"}, {"ssd": "<is> True"},
    {"provisioning:type": "thick"}, {"free_capacity_gb": ">= 30"}, {"RESKEY:availability_zones": "az1"},
])  # fmt: skip
ADDRESSES = ["h0@b0", "h0@b1", "h1@b0", "h2@b0", "h3@b1"]
SOME = st.frozensets(st.sampled_from(ADDRESSES), max_size=2)
NEAR = st.sampled_from([None, None, "h0", "h3", "unknown"])
SMALL = st.integers(0, 60)

ASKS = st.builds(
    Ask, size_gib=SMALL, extra_specs=SPECS, zones=st.sampled_from([frozenset(), frozenset({"az1"})]),
    pinned=st.one_of(st.just(frozenset()), SOME), same_host=st.one_of(st.none(), st.none(), SOME),
    different_host=SOME, query=st.sampled_from([None, None, '[">=", "$free_capacity_gb", 20]']),
    excluded=st.sampled_from([frozenset(), frozenset({"h0@b0#p"})]), near=NEAR,
)  # fmt: skip
PLAIN_ASKS = st.builds(Ask, size_gib=SMALL, extra_specs=SPECS)
RULES = st.builds(
    Rules,
    multipliers=st.sampled_from([
        {}, {"free_capacity": -1.0}, {"volume_number": -2.0}, {"free_capacity": 0.0}, {"locality": 0.0},
        {"locality": 0.5, "allocated_capacity": -1.0},
    ]),
    seed=st.sampled_from([None, 7]),
)  # fmt: skip
BOOTS = st.builds(
    Boot, vcpus=st.integers(1, 5), memory_mib=st.sampled_from([1, 3000]),
    volumes=st.lists(PLAIN_ASKS, max_size=4).map(tuple),
    holders=st.lists(st.sampled_from(["h0", "h1", "h2", "gone"]), max_size=2).map(lambda x: tuple(x[:1] * 2 or x)),
    locality=st.sampled_from(["host", "host", "rack", "zone"]), required=st.booleans(), near=NEAR,
    zones=st.sampled_from([frozenset(), frozenset(), frozenset({"z0"})]),
    excluded=st.sampled_from([frozenset(), frozenset({"h1"})]),
)  # fmt: skip


@st.composite
def pools(draw, host_name, number):
    total = draw(st.sampled_from([0, 40, 80]))
    return pool(
        f"{host_name}@b{number}#p", total=total, limit=draw(st.sampled_from([total, 2 * total])),
        claimed=draw(SMALL), free=draw(st.integers(0, total)), thin=draw(st.booleans()),
        volumes=draw(st.integers(0, 3)),
        backend_name=draw(st.sampled_from(["fast", "slow"])), zone=draw(st.sampled_from(["az1", "az2"])),
        up=draw(st.sampled_from([True, True, True, False])), capabilities={"ssd": draw(st.booleans())},
    )  # fmt: skip


@st.composite
def fleets(draw):
    listed = []
    for number in range(draw(st.integers(1, 6))):
        name = f"h{number}"
        own = [draw(pools(name, at)) for at in range(draw(st.integers(0, 3)))]
        listed.append(host(
            name, *own, zone=draw(st.sampled_from(["z0", "z1", None])), rack=draw(st.sampled_from(["r0", "r1", None])),
            vcpus_claimed=draw(st.sampled_from([0, 4])), memory_claimed=draw(st.sampled_from([0, 6000])),
            up=draw(st.sampled_from([True, True, True, False])),
            enabled=draw(st.sampled_from([True, True, True, False])),
            compute=draw(st.sampled_from([True, True, False])),
        ))  # fmt: skip
    return listed


def changed(draw, inv, listed):
    """The fleet after some claims and outages, told to the inventory piece by piece."""
    after = []
    for view in listed:
        new = tuple(draw(pools(view.name, at)) if draw(st.booleans()) else old for at, old in enumerate(view.pools))
        up = draw(st.booleans())
        later = dataclasses.replace(view, up=up, vcpus_claimed=draw(st.sampled_from([0, 4])), pools=new)
        told = [lambda later=later: inv.replace_host(later), *(lambda p=p: inv.replace(p) for p in new)]
        for tell in draw(st.permutations(told)):
            tell()
        after.append(later)
    return after


@given(fleets(), ASKS, RULES, st.data())
@settings(max_examples=300, deadline=None)
def test_pools_are_ranked_as_the_rules_say_before_and_after_changes(listed, ask, rules, data):
    inv = inventory.Inventory(listed, rules)
    for _ in range(2):
        found = [c.pools[0].name for c in ranking.rank_pools(inv, ask, 100).candidates]
        assert found == [p.name for p in naive.fitting(inv, listed, ask, ask.near)]
        assert [c.pools[0].name for c in ranking.rank_pools(inv, ask, 2).candidates] == found[:2]
        listed = changed(data.draw, inv, listed)


@given(fleets(), BOOTS, RULES)
@settings(max_examples=400, deadline=None)
def test_every_candidate_of_a_boot_fits_and_is_near_enough(listed, boot, rules):
    inv = inventory.Inventory(listed, rules)
    found = ranking.rank_hosts(inv, boot, 100).candidates
    allowed = rules.levels.index(boot.locality) if boot.required else len(rules.levels)
    seen = [c.host.name for c in found]
    assert len(set(seen)) == len(seen)
    assert [c.distance for c in found] == sorted(c.distance for c in found)
    for c in found:
        assert filters.host_refusal(c.host, boot) is None
        assert len(c.pools) == len(boot.volumes)
        for ask, view in zip(boot.volumes, c.pools, strict=True):
            assert filters.pool_refusal(inv.sites[view.host].host, view, ask, rules) is None
        assert naive.together(inv, boot.volumes, c.pools)
        farthest = max([naive.apart(inv, boot, c.host), *(naive.gap(inv, c.host.name, p.host) for p in c.pools)])
        assert c.distance == farthest <= allowed


@given(fleets(), BOOTS, RULES)
@settings(max_examples=400, deadline=None)
def test_no_host_is_missed_that_largest_first_can_use(listed, boot, rules):
    inv = inventory.Inventory(listed, rules)
    found = {c.host.name: c for c in ranking.rank_hosts(inv, boot, 100).candidates}
    allowed = rules.levels.index(boot.locality) if boot.required else len(rules.levels)
    for view in listed:
        usable = filters.host_refusal(view, boot) is None and naive.apart(inv, boot, view) <= allowed
        if not usable or not (boot.volumes or boot.holders):
            assert (view.name in found) is (usable and not boot.volumes)
        elif naive.tight_fit(inv, listed, boot, view):
            assert view.name in found
        elif next(naive.placements(inv, listed, boot, view, allowed), None) is None:
            assert view.name not in found
        elif len(boot.volumes) == 1:
            assert view.name in found, "for one volume, largest first is complete at every distance"


@given(fleets(), PLAIN_ASKS, BOOTS, RULES)
@settings(max_examples=300, deadline=None)
def test_hosts_with_one_local_volume_come_in_the_order_of_their_best_pools(listed, ask, boot, rules):
    inv = inventory.Inventory(listed, rules)
    boot = dataclasses.replace(boot, volumes=(ask,), holders=(), locality="host", required=True)
    usable = {view.name for view in listed if filters.host_refusal(view, boot) is None}
    best = dict.fromkeys(p.host for p in naive.fitting(inv, listed, ask, boot.near) if p.host in usable)
    assert [c.host.name for c in ranking.rank_hosts(inv, boot, 100).candidates] == list(best)


@given(fleets(), st.one_of(ASKS, BOOTS), RULES)
@settings(max_examples=300, deadline=None)
def test_an_explanation_names_each_host_and_pool_once_with_a_rank_or_a_rule(listed, request, rules):
    inv = inventory.Inventory(listed, rules)
    verdicts = ranking.explain(inv, request)
    assert sorted(v.name for v in verdicts) == sorted(view.name for view in listed)
    assert all((v.rank is None) is (v.refusal is not None) for v in verdicts)
    if isinstance(request, Ask) or request.volumes:
        shown = sorted(p.name for v in verdicts for p in v.pools)
        assert shown == sorted(p.name for view in listed for p in view.pools)
    rank = ranking.rank_pools if isinstance(request, Ask) else ranking.rank_hosts
    found = rank(inv, request, 100)
    assert [v.name for v in verdicts if v.rank] == list(dict.fromkeys(c.host.name for c in found.candidates))
