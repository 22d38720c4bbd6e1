"""Each filter, accepting and refusing, with the numbers of the refusal."""

import pytest

from brickyard.core import filters
from brickyard.core.placement import Ask, Boot, Rules

from .fleet import host, pool

THICK = {"provisioning:type": "thick"}
THIN = {"thin": True, "limit": 300}

# rule, host, pool, ask, and what the refusal says
POOLS = [
    ("up", host(), pool(), Ask(1), None),
    ("up", host(up=False), pool(), Ask(1), "host h1 is down: silent"),
    ("up", host(enabled=False), pool(), Ask(1), "disabled"),
    ("up", host(), pool(up=False), Ask(1), "no answer"),
    ("availability_zone", host(), pool(), Ask(1, zones=frozenset({"az1"})), None),
    ("availability_zone", host(), pool(), Ask(1, zones=frozenset({"az2"})), "zone az1, but the request allows az2"),
    (
        "availability_zone",
        host(),
        pool(),
        Ask(1, {"RESKEY:availability_zones": "az2,az3"}),
        "zone az1, but the type allows az2, az3",
    ),
    ("availability_zone", host(), pool(), Ask(1, {"RESKEY:availability_zones": "az2,az1"}), None),
    ("capabilities", host(), pool(), Ask(1, {"volume_backend_name": "lvm"}), None),
    ("capabilities", host(), pool(), Ask(1, {"volume_backend_name": "x"}), "'x', the pool reports 'lvm'"),
    ("capabilities", host(), pool(), Ask(1, {"multiattach": "<is> True"}), "the pool reports nothing"),
    ("figures", host(), pool(claimed=40), Ask(1, {"free_capacity_gb": ">= 60"}), None),
    ("figures", host(), pool(claimed=41), Ask(1, {"free_capacity_gb": ">= 60"}), "reports 59"),
    ("able", host(), pool(capabilities={"imports": True}), Ask(1, needs=frozenset({"imports"})), None),
    ("able", host(), pool(), Ask(1, needs=frozenset({"imports"})), None),  # it never said so: nobody knows
    (
        "able",
        host(),
        pool(capabilities={"imports": False}),
        Ask(1, needs=frozenset({"imports"})),
        "driver lvm of h1@lvm cannot take an image",
    ),
    ("excluded", host(), pool(), Ask(1, excluded=frozenset({"h2@lvm#p"})), None),
    ("excluded", host(), pool(), Ask(1, excluded=frozenset({"h1@lvm#p"})), "before"),
    ("pinned", host(), pool(), Ask(1, pinned=frozenset({"h1@lvm"})), None),
    ("pinned", host(), pool(), Ask(1, pinned=frozenset({"h1@lvm#p"})), None),
    ("pinned", host(), pool(), Ask(1, pinned=frozenset({"h1@lvm#q"})), "bound to h1@lvm#q"),
    ("same_host", host(), pool(), Ask(1, same_host=frozenset({"h1@lvm", "h2@lvm"})), None),
    ("same_host", host(), pool(), Ask(1, same_host=frozenset({"h2@lvm"})), "on h2@lvm"),
    ("same_host", host(), pool(), Ask(1, same_host=frozenset()), "no known backend"),
    ("different_host", host(), pool(), Ask(1, different_host=frozenset({"h2@lvm"})), None),
    ("different_host", host(), pool(), Ask(1, different_host=frozenset({"h1@lvm"})), "apart"),
    ("query", host(), pool(), Ask(1, query='["=", 1, 1]'), None),
    ("query", host(), pool(), Ask(1, query='["=", 1, 2]'), "query hint"),
    ("fullness", host(), pool(**THIN), Ask(1), None),
    (
        "fullness",
        host(),
        pool(**THIN, too_full="91.0 % of its data are used, thin_freeze_percent is 90"),
        Ask(1),
        "pool h1@lvm#p takes nothing new: 91.0 % of its data are used, thin_freeze_percent is 90",
    ),
    ("fullness", host(), pool(too_full="91.0 %"), Ask(0), None),
    # Thick: what may be promised, and what is really free.
    ("capacity", host(), pool(claimed=60), Ask(40), None),
    ("capacity", host(), pool(claimed=60), Ask(41), "41 GiB asked, 60 of 100 GiB are promised, 40 of 100 GiB free"),
    ("capacity", host(), pool(free=20), Ask(20), None),
    ("capacity", host(), pool(free=20), Ask(21), "20 of 100 GiB free"),
    ("capacity", host(), pool(limit=90, claimed=60), Ask(31), "60 of 90 GiB"),
    # Thin: promises beyond what is there, until the real space is down to the reserve of 5 %.
    ("capacity", host(), pool(**THIN, claimed=200, free=6), Ask(100), None),
    ("capacity", host(), pool(**THIN, claimed=200, free=6), Ask(101), "200 of 300"),
    ("capacity", host(), pool(**THIN, claimed=200, free=5), Ask(1), "thin reserve of 5 %"),
    ("capacity", host(), pool(**THIN, claimed=200, free=5, data_percent=89.0), Ask(100), None),
    # A type may ask for a thick volume in a thin pool: then nothing is promised twice.
    ("capacity", host(), pool(**THIN, claimed=60, free=90), Ask(40, THICK), None),
    ("capacity", host(), pool(**THIN, claimed=60, free=90), Ask(41, THICK), "41 GiB asked"),
    ("capacity", host(), pool(**THIN, claimed=60, free=9), Ask(10, THICK), "9 of 100 GiB free"),
    # A full pool, or one whose limit was lowered, still takes what needs nothing.
    ("capacity", host(), pool(claimed=120), Ask(0), None),
    ("capacity", host(), pool(claimed=120), Ask(1), "120 of 100"),
    ("capacity", host(), pool(total=0), Ask(1), "0 of 0"),
]

# rule, host, request, and what the refusal says
HOSTS = [
    ("up", host(), Boot(1, 1), None),
    ("up", host(up=False), Boot(1, 1), "down: silent"),
    ("enabled", host(), Boot(1, 1), None),
    ("enabled", host(enabled=False), Boot(1, 1), "disabled"),
    ("compute", host(), Boot(1, 1), None),
    ("compute", host(compute=False), Boot(1, 1), "no instances"),
    ("excluded", host(), Boot(1, 1, excluded=frozenset({"h2"})), None),
    ("excluded", host(), Boot(1, 1, excluded=frozenset({"h1"})), "before"),
    ("zone", host(), Boot(1, 1, zones=frozenset({"z1"})), None),
    ("zone", host(), Boot(1, 1, zones=frozenset({"z2"})), "zone z1, but the request allows z2"),
    ("zone", host(zone=None), Boot(1, 1, zones=frozenset({"z2"})), "unknown"),
    ("vcpus", host(vcpus_claimed=6), Boot(2, 1), None),
    ("vcpus", host(vcpus_claimed=6), Boot(3, 1), "3 asked, 6 of 8 are promised"),
    ("memory", host(memory_claimed=8000), Boot(1, 192), None),
    ("memory", host(memory_claimed=8000), Boot(1, 193), "193 MiB asked, 8000 of 8192 MiB"),
]


@pytest.mark.parametrize(("rule", "site", "view", "ask", "expected"), POOLS)
def test_pool_filter(rule, site, view, ask, expected):
    refusal = filters.POOL_FILTERS[rule].check(site, view, ask, Rules())
    if expected is None:
        assert refusal is None
    else:
        assert refusal is not None and expected in refusal.message
        assert filters.POOL_FILTERS[rule].needed(ask), "a filter that refuses must not be skipped"


@pytest.mark.parametrize(("rule", "site", "boot", "expected"), HOSTS)
def test_host_filter(rule, site, boot, expected):
    refusal = filters.HOST_FILTERS[rule](site, boot)
    assert refusal is None if expected is None else (refusal is not None and expected in refusal.message)


@pytest.mark.parametrize(
    ("table", "cases"), [(filters.POOL_FILTERS, POOLS), (filters.HOST_FILTERS, HOSTS)], ids=["pools", "hosts"]
)
def test_every_filter_is_seen_to_accept_and_to_refuse(table, cases):
    assert set(table) == {case[0] for case in cases if case[-1]} == {case[0] for case in cases if not case[-1]}
