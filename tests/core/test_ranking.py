"""Decisions: chosen examples, one promise each."""

import dataclasses

import pytest

from brickyard.core import errors, explanation, inventory, ranking
from brickyard.core.placement import Ask, Boot, Rules

from .fleet import host, pool


def names(found):
    return [candidate.pools[0].name for candidate in found.candidates]


def hosts_of(found):
    return [candidate.host.name for candidate in found.candidates]


def racks(*, full: str = "", busy: str = "", compute: str = "abcd"):
    """Hosts a, b in rack 1 and c in rack 2 of zone 1; d in zone 2. Pools of `full` hosts hold nothing more."""
    where = {"a": ("r1", "z1"), "b": ("r1", "z1"), "c": ("r2", "z1"), "d": ("r1", "z2")}
    return inventory.Inventory([
        host(name, pool(f"{name}@lvm#p", claimed=100 if name in full else "abcd".index(name)), rack=rack, zone=zone,
             vcpus_claimed=8 if name in busy else 0, compute=name in compute)
        for name, (rack, zone) in where.items()
    ])  # fmt: skip


def test_most_room_comes_first_and_names_break_ties():
    inv = inventory.Inventory([
        host("h2", pool("h2@lvm#b"), pool("h2@lvm#a")), host("h1", pool("h1@lvm#p", claimed=1)),
        host("h3", pool("h3@lvm#p", total=200)),
    ])  # fmt: skip
    assert names(ranking.rank_pools(inv, Ask(10))) == ["h3@lvm#p", "h2@lvm#a", "h2@lvm#b", "h1@lvm#p"]
    assert names(ranking.rank_pools(inv, Ask(10), 2)) == ["h3@lvm#p", "h2@lvm#a"]


def test_a_seed_breaks_ties_in_its_own_way_and_always_the_same():
    fleet = [host(f"h{n}", pool(f"h{n}@lvm#p")) for n in range(20)]
    orders = [names(ranking.rank_pools(inventory.Inventory(fleet, Rules(seed=s)), Ask(1), 20)) for s in (1, 2, 1)]
    assert orders[0] == orders[2] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1])


@pytest.mark.parametrize(
    ("multipliers", "expected"),
    [
        ({}, "h1"),
        ({"free_capacity": -1.0}, "h3"),
        ({"free_capacity": 0.0, "volume_number": -1.0}, "h2"),
        ({"free_capacity": 0.0, "allocated_capacity": 1.0}, "h3"),
    ],
)
def test_the_operator_weighs(multipliers, expected):
    fleet = [
        host("h1", pool("h1@lvm#p", volumes=9)), host("h2", pool("h2@lvm#p", claimed=10, volumes=1)),
        host("h3", pool("h3@lvm#p", claimed=50, volumes=5)),
    ]  # fmt: skip
    inv = inventory.Inventory(fleet, Rules(multipliers))
    assert hosts_of(ranking.rank_pools(inv, Ask(1)))[0] == expected


def test_an_unknown_weigher_is_a_mistake_of_the_operator():
    with pytest.raises(errors.Invalid, match="no such weigher: beauty"):
        inventory.Inventory([], Rules({"beauty": 1.0}))


def test_near_a_host_beats_more_room_elsewhere():
    assert hosts_of(ranking.rank_pools(racks(), Ask(1, near="c"))) == ["c", "a", "b", "d"]
    assert hosts_of(ranking.rank_hosts(racks(), Boot(1, 1, (Ask(1),), near="b"))) == ["b", "a", "c", "d"]
    assert hosts_of(ranking.rank_hosts(racks(), Boot(1, 1, near="c"))) == ["c", "a", "b", "d"]
    assert hosts_of(ranking.rank_pools(racks(), Ask(1, near="unknown")))[0] == "a"


def test_a_claim_moves_a_pool_at_once():
    inv = inventory.Inventory([host("h1", pool("h1@lvm#p")), host("h2", pool("h2@lvm#p", claimed=10))])
    typed = Ask(80, {"volume_backend_name": "lvm"})
    assert names(ranking.rank_pools(inv, typed)) == ["h1@lvm#p", "h2@lvm#p"]
    inv.replace(pool("h1@lvm#p", claimed=15))
    assert names(ranking.rank_pools(inv, typed)) == ["h2@lvm#p", "h1@lvm#p"]
    inv.replace(pool("h2@lvm#p", up=False))
    assert names(ranking.rank_pools(inv, typed)) == ["h1@lvm#p"]
    inv.replace(pool("h1@new#p", total=300))
    assert names(ranking.rank_pools(inv, typed)) == ["h1@new#p", "h1@lvm#p"]
    inv.replace(pool("h1@new#p", total=300, backend_name="other"))
    assert names(ranking.rank_pools(inv, typed)) == ["h1@lvm#p"]
    assert {p.name for p in inv.sites["h1"].host.pools} == {"h1@lvm#p", "h1@new#p"}


def test_a_host_that_goes_and_comes_back_takes_its_pools_along():
    inv = racks()
    original = inv.sites["a"].host
    inv.replace_host(dataclasses.replace(original, up=False, why_down="silent"))
    inv.replace(pool("a@lvm#p", claimed=3))
    assert hosts_of(ranking.rank_pools(inv, Ask(1))) == ["b", "c", "d"]
    inv.replace_host(dataclasses.replace(original, vcpus_claimed=8))
    assert set(hosts_of(ranking.rank_pools(inv, Ask(1)))) == set("abcd")
    assert hosts_of(ranking.rank_hosts(inv, Boot(1, 1, (Ask(1),)))) == ["b", "c", "d"]


@pytest.mark.parametrize("view", [pool("h9@lvm#p"), dataclasses.replace(pool("h1@lvm#p"), host="h2")])
def test_a_pool_must_be_where_it_says(view):
    inv = inventory.Inventory([host("h1", pool("h1@lvm#p")), host("h2")])
    with pytest.raises((errors.NotFound, errors.Invalid)):
        inv.replace(view)


def test_hosts_may_be_listed_once_with_their_own_pools():
    with pytest.raises(errors.Invalid, match="twice"):
        inventory.Inventory([host("h1"), host("h1")])
    with pytest.raises(errors.Invalid, match="listed under h1"):
        inventory.Inventory([host("h1", pool("h2@lvm#p"))])


def test_more_types_than_views_are_still_right():
    inv = inventory.Inventory([host("h1", *(pool(f"h1@b{n}#p", backend_name=f"b{n}") for n in range(80)))])
    for number in (*range(80), *range(80)):
        assert names(ranking.rank_pools(inv, Ask(1, {"volume_backend_name": f"b{number}"}))) == [f"h1@b{number}#p"]


# boots -----------------------------------------------------------------------


def test_volumes_of_one_instance_are_counted_together():
    inv = inventory.Inventory([host("h1", pool("h1@lvm#p", total=100)), host("h2", pool("h2@lvm#p", total=90))])
    found = ranking.rank_hosts(inv, Boot(1, 1, (Ask(40), Ask(60))))
    assert hosts_of(found) == ["h1"]
    assert not ranking.rank_hosts(inv, Boot(1, 1, (Ask(50), Ask(51)))).candidates


def test_pools_come_in_the_order_of_the_request():
    inv = inventory.Inventory([host("h1", pool("h1@a#p", total=50), pool("h1@b#p", total=100))])
    [candidate] = ranking.rank_hosts(inv, Boot(1, 1, (Ask(40), Ask(90)))).candidates
    assert [p.name for p in candidate.pools] == ["h1@a#p", "h1@b#p"]


def test_tight_packing_is_tried_where_spreading_fails():
    # Spreading puts 50 on the pool of 100, and then 60 no longer fits beside the 40 that is left.
    inv = inventory.Inventory([host("h1", pool("h1@a#p", total=100), pool("h1@b#p", total=61))])
    [candidate] = ranking.rank_hosts(inv, Boot(1, 1, (Ask(60), Ask(50), Ask(50)))).candidates
    assert [p.name for p in candidate.pools] == ["h1@b#p", "h1@a#p", "h1@a#p"]


def test_the_volume_with_one_possible_pool_is_not_robbed_of_it():
    inv = inventory.Inventory([host("h1", pool("h1@a#p", total=50), pool("h1@b#p", total=60, backend_name="only"))])
    found = ranking.rank_hosts(inv, Boot(1, 1, (Ask(50), Ask(45, {"volume_backend_name": "only"}))))
    assert [p.name for p in found.candidates[0].pools] == ["h1@a#p", "h1@b#p"]


def test_locality_host_never_leaves_the_host():
    found = ranking.rank_hosts(racks(full="a", busy="b"), Boot(1, 1, (Ask(50),)))
    assert [(c.host.name, c.pools[0].host, c.distance) for c in found.candidates] == [("c", "c", 0), ("d", "d", 0)]


def test_locality_rack_takes_local_first_and_then_the_rack():
    found = ranking.rank_hosts(racks(full="bc"), Boot(1, 1, (Ask(50),), locality="rack"))
    placed = [(c.host.name, c.pools[0].host, c.distance) for c in found.candidates]
    assert placed == [("a", "a", 0), ("d", "d", 0), ("b", "a", 1)]


def test_locality_zone_reaches_over_racks_but_not_over_zones():
    found = ranking.rank_hosts(racks(full="bcd"), Boot(1, 1, (Ask(50),), locality="zone"))
    placed = [(c.host.name, c.pools[0].host, c.distance) for c in found.candidates]
    assert placed == [("a", "a", 0), ("b", "a", 1), ("c", "a", 2)]


def test_preferred_locality_falls_back_to_anywhere_in_the_end():
    found = ranking.rank_hosts(racks(full="bcd"), Boot(1, 1, (Ask(50),), required=False))
    assert [(c.host.name, c.pools[0].host, c.distance) for c in found.candidates][-1] == ("d", "a", 3)


def test_storage_hosts_serve_instances_in_their_rack():
    found = ranking.rank_hosts(racks(compute="b", full="b"), Boot(1, 1, (Ask(50),), locality="rack"))
    assert [(c.host.name, c.pools[0].host, c.distance) for c in found.candidates] == [("b", "a", 1)]


def test_hosts_that_export_nothing_serve_their_own_instances_only():
    listed = [dataclasses.replace(site.host, exports=site.host.name == "a") for site in racks().sites.values()]
    inv = inventory.Inventory(listed)
    found = ranking.rank_hosts(inv, Boot(1, 1, (Ask(100),), locality="zone"))
    assert [(c.host.name, c.pools[0].host) for c in found.candidates] == [("a", "a"), ("b", "a"), ("c", "a")]
    assert hosts_of(ranking.rank_hosts(inv, Boot(1, 1, holders=("a",), locality="rack"))) == ["a", "b"]
    assert hosts_of(ranking.rank_hosts(inv, Boot(1, 1, holders=("b",), locality="zone"))) == ["b"]
    assert hosts_of(ranking.rank_hosts(inv, Boot(1, 1, holders=("b",), required=False))) == ["b"]
    [why] = [v.refusal for v in ranking.explain(inv, Boot(1, 1, holders=("b",), locality="rack")) if v.name == "a"]
    assert why is not None and why.message == "an existing volume is on b, which exports none to other hosts now"


@pytest.mark.parametrize(
    ("boot", "expected"),
    [
        (Boot(1, 1, holders=("b",)), ["b"]),
        (Boot(1, 1, holders=("b",), locality="rack"), ["b", "a"]),
        (Boot(1, 1, holders=("b",), locality="zone"), ["b", "a", "c"]),
        (Boot(1, 1, holders=("b",), required=False), ["b", "a", "c", "d"]),
        (Boot(1, 1, holders=("a", "b")), []),
        (Boot(1, 1, holders=("a", "b"), locality="rack"), ["a", "b"]),
        (Boot(1, 1, (Ask(50),), holders=("c",)), ["c"]),
        (Boot(1, 1, (Ask(100),), holders=("c",)), []),
        (Boot(1, 1, holders=("gone",)), []),
        (Boot(1, 1, holders=("gone",), required=False), ["a", "b", "c", "d"]),
    ],
)
def test_an_instance_goes_where_its_volumes_are(boot, expected):
    assert hosts_of(ranking.rank_hosts(racks(), boot)) == expected


def test_many_volumes_cannot_stop_a_conductor():
    # Each of 24 volumes fits each of 24 pools alone, and all of them together nowhere: products would never end.
    inv = inventory.Inventory([host("h1", *(pool(f"h1@b#{n:02}", total=100) for n in range(24)))])
    found = ranking.rank_hosts(inv, Boot(1, 1, (Ask(51),) * 25))
    assert found.verdicts[0].refusal is not None and found.verdicts[0].refusal.rule == "together"
    assert len(ranking.rank_hosts(inv, Boot(1, 1, (Ask(51),) * 24)).candidates) == 1


# explanations ----------------------------------------------------------------


def test_success_explains_nothing_and_failure_everything():
    assert ranking.rank_pools(racks(), Ask(1)).verdicts == ()
    found = ranking.rank_pools(racks(), Ask(1000))
    assert [v.name for v in found.verdicts] == ["a", "b", "c", "d"]
    refusal = found.verdicts[0].pools[0].refusal
    assert refusal is not None
    assert refusal.message == "1000 GiB asked, 0 of 100 GiB are promised, 100 of 100 GiB free"


def test_an_explanation_ranks_with_weights():
    verdicts = ranking.explain(racks(full="d"), Ask(1, near="b"))
    assert [(v.name, v.rank) for v in verdicts] == [("b", 1), ("a", 2), ("c", 3), ("d", None)]
    assert set(verdicts[0].pools[0].weights) == {"free_capacity", "locality"}
    assert verdicts[3].refusal is not None and verdicts[3].refusal.message == "all pools are refused: 1 by capacity"


@pytest.mark.parametrize(
    ("boot", "expected"),
    [
        (Boot(9, 1, (Ask(1),)), {"vcpus": 4}),
        (Boot(1, 1, (Ask(101),)), {"pools": 4}),
        (Boot(1, 1, (Ask(60), Ask(60))), {"together": 4}),
        (Boot(1, 1, holders=("b",), excluded=frozenset("b")), {"holder": 3, "excluded": 1}),
        (Boot(1, 1, holders=("gone",)), {"holder": 4}),
    ],
)
def test_a_boot_without_a_host_says_which_rule_was_in_the_way(boot, expected):
    assert explanation.summary(ranking.rank_hosts(racks(), boot).verdicts) == expected


def test_every_refused_pool_of_a_boot_says_why():
    verdicts = ranking.explain(racks(full="c"), Boot(1, 1, (Ask(50),)))
    assert [v.rank for v in verdicts] == [1, 2, 3, None]
    assert verdicts[3].pools[0].refusal is not None and verdicts[3].pools[0].refusal.rule == "capacity"
    assert verdicts[3].refusal is not None and "volume 1 of 50 GiB" in verdicts[3].refusal.message
