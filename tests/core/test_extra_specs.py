"""Every operator of extra specs, and of the query hint."""

import json

import pytest

from brickyard.core import errors, extra_specs

from .fleet import pool

# fmt: off
MATCHES = [
    # have       spec                     matches
    ("x",        "x",                     True),
    ("x",        "y",                     False),
    ("x",        "",                      False),
    ("",         "",                      True),
    (5,          "5",                     False),   # a plain word is compared as it is, never converted
    ("a b",      "a b",                   True),
    (None,       None,                    True),
    (0,          None,                    False),
    (None,       "x",                     False),
    (None,       "<is> False",            False),
    (5,          "= 5",                   True),
    (6,          "= 5",                   True),    # "at least"
    (4,          "= 5",                   False),
    ("6.5",      "= 5",                   True),
    (5,          "== 5.0",                True),
    (6,          "== 5",                  False),
    (5,          "!= 5",                  False),
    (6,          "!= 5",                  True),
    (5,          ">= 5",                  True),
    (4,          ">= 5",                  False),
    (5,          "<= 5",                  True),
    (6,          "<= 5",                  False),
    (5,          "> 5",                   False),   # not an operator: a word that differs
    ("> 5",      "> 5",                   True),
    ("ten",      ">= 5",                  False),
    (5,          ">= ten",                False),
    (5,          ">=",                    False),
    ([],         ">= 5",                  False),
    ({},         "== 5",                  False),
    ("abc",      "s== abc",               True),
    ("abc",      "s== abd",               False),
    (5,          "s== 5",                 False),
    ("abc",      "s!= abd",               True),
    ("abc",      "s!= abc",               False),
    ("abc",      "s< abd",                True),
    ("abd",      "s< abd",                False),
    ("abd",      "s<= abd",               True),
    ("abe",      "s<= abd",               False),
    ("abe",      "s> abd",                True),
    ("abd",      "s> abd",                False),
    ("abd",      "s>= abd",               True),
    ("abc",      "s>= abd",               False),
    (5,          "s< 6",                  False),
    ("12311321", "<in> 11",               True),
    ("12310321", "<in> 11",               False),
    (("a", "b"), "<in> b",                True),
    (5,          "<in> 5",                False),
    (True,       "<is> True",             True),
    ("yes",      "<is> true",             True),
    (False,      "<is> True",             False),
    (False,      "<is> False",            True),
    ("garbage",  "<is> False",            True),
    (True,       "True",                  False),
    ("b",        "<or> a <or> b",         True),
    ("c",        "<or> a <or> b",         False),
    ("a",        "<or> a <or>",           True),
    ("a",        "<or>",                  False),
    ("<or>",     "<or> a <or> b",         False),
]
# fmt: on


@pytest.mark.parametrize(("have", "spec", "expected"), MATCHES)
def test_match(have, spec, expected):
    assert extra_specs.match(have, spec) is expected


def test_every_operator_is_in_the_table_of_this_test():
    tried = {spec.split()[0] for _, spec, _ in MATCHES if spec}
    assert set(extra_specs.OPERATORS) | {"<or>"} <= tried


@pytest.mark.parametrize(
    ("key", "want", "expected"),
    [
        ("tier", "gold", True),
        ("capabilities:tier", "gold", True),
        ("capabilities:tier", "tin", False),
        ("missing", "gold", False),
        ("missing", None, False),
        ("capabilities:nest:deep", "= 2", True),
        ("capabilities:nest:absent", "= 2", False),
        ("capabilities:tier:deeper", "x", False),
        ("protocols", "nfs", True),
        ("protocols", "<or> fc <or> nfs", True),
        ("protocols", "fc", False),
        ("multiattach", "<is> True", True),
        ("volume_backend_name", "fast", True),
        ("volume_backend_name", "slow", False),
        ("thin_provisioning_support", "<is> True", True),
        ("free_capacity_gb", ">= 60", True),
        ("free_capacity_gb", ">= 61", False),
        ("vendor:anything", "ignored", True),
        ("provisioning:type", "thin", True),
        ("RESKEY:availability_zones", "elsewhere", True),
    ],
)
def test_a_spec_is_looked_up_in_what_the_pool_reports(key, want, expected):
    reported = {"tier": "gold", "nest": {"deep": 2}, "protocols": ["nfs", "local"], "multiattach": True}
    view = pool(thin=True, claimed=40, backend_name="fast", capabilities=reported)
    specs = extra_specs.compiled(((key, want),))
    assert all(spec.met(extra_specs.state(view)) for spec in specs.lasting + specs.figures) is expected


def test_zones_and_thickness_are_taken_from_their_keys():
    specs = extra_specs.compiled((("RESKEY:availability_zones", "az1, az2,"), ("provisioning:type", "thick")))
    assert specs.zones == {"az1", "az2"} and specs.thick and not specs.lasting


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ([">=", "$free_capacity_gb", 60], True),
        ([">", "$free_capacity_gb", 60], False),
        (["<", "$free_capacity_gb", 61, 62], True),
        (["<", "$free_capacity_gb", 61, 60], False),
        (["<=", "$total_volumes", 3], True),
        (["=", "$volume_backend_name", "fast"], True),
        (["=", "$capabilities.tier", "gold"], True),
        (["=", "$capabilities.absent", "gold"], False),
        (["=", "$capabilities.tier.deeper", "gold"], False),
        (["in", "$volume_backend_name", "slow", "fast"], True),
        (["in", "$volume_backend_name", "slow"], False),
        (["=", "lonely"], False),
        (["not", ["=", "$volume_backend_name", "slow"]], True),
        (["not", ["=", "$volume_backend_name", "fast"]], False),
        (["and", ["=", 1, 1], ["=", 1, 2]], False),
        (["or", ["=", 1, 1], ["=", 1, 2]], True),
        (["<", "$volume_backend_name", 5], False),
        ([], True),
    ],
)
def test_query(query, expected):
    view = pool(claimed=40, volumes=3, backend_name="fast", capabilities={"tier": "gold"})
    assert extra_specs.query_holds(json.dumps(query), view) is expected


@pytest.mark.parametrize(
    "text",
    ["", "{", '{"a": 1}', "5", '["like", "a", "b"]', "[1]", "[[]]", "[" * 5000, '["not", ' * 30 + "1" + "]" * 30],
)
def test_a_broken_query_is_the_fault_of_the_request(text):
    with pytest.raises(errors.Invalid):
        extra_specs.parsed_query(text)
