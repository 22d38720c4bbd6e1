"""The tables of the API: every route, every action and every microversion, whatever they are about."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from brickyard.api import listings, own, routes, versions
from brickyard.api.views import snapshots as snapshot_views
from brickyard.api.views import volumes as volume_views
from brickyard.service import policy

API = Path(routes.__file__).parent


def name(route: routes.Route) -> str:
    return f"{route.method} {route.path} {route.since}"


def actions() -> Iterator[tuple[routes.Route, str, Any]]:
    """Every action with the route that dispatches it."""
    for route in routes.ROUTES:
        for word, action in getattr(route.handler, "actions", {}).items():
            yield route, word, action


# the tables ----------------------------------------------------------------------------------------------------------


def test_every_version_up_to_the_newest_is_served_or_has_a_reason_not_to_matter() -> None:
    said = {*versions.HISTORY, *versions.NO_EFFECT}
    assert said == {f"3.{minor}" for minor in range(versions.MAX.minor + 1)}
    assert not set(versions.HISTORY) & set(versions.NO_EFFECT)


@pytest.mark.parametrize("table", [versions.HISTORY, versions.NO_EFFECT], ids=["HISTORY", "NO_EFFECT"])
def test_the_versions_stand_in_order_and_each_says_what_it_is(table: dict[str, str]) -> None:
    assert list(table) == sorted(table, key=versions.parse)
    assert all(len(reason) > 10 for reason in table.values())


def windows() -> Iterator[str]:
    """Every microversion that a table is keyed by."""
    for route in routes.ROUTES:
        yield from (route.since, *route.body)
    yield from (action.since for _, _, action in actions())
    yield from (field[0] for field in (*volume_views.ADDED, *snapshot_views.ADDED))
    yield from (*listings.SINCE.values(), *listings.SINCE_FOR_SNAPSHOTS.values(), *listings.SORT_SINCE.values())


def test_every_window_is_in_the_history() -> None:
    assert set(windows()) <= set(versions.HISTORY)


# versions whose effect is not a window but the absence of one
EVERYWHERE = {
    "3.50": "Types have had multiattach, and volumes have shown it, at every version.",
    "3.67": "The project in the URL has been optional at every version.",
}


def test_every_version_of_the_history_changes_something() -> None:
    used = set(windows())
    for path in API.rglob("*.py"):
        if path.name != "versions.py":
            used.update(re.findall(r'"(3\.\d+)"', path.read_text()))
    assert set(versions.HISTORY) - used == set(EVERYWHERE)


def test_every_version_has_a_conversation_at_it_and_at_the_one_before() -> None:
    """Said in YAML beside this file: `version: "3.27"` and `version: "3.26"`."""
    spoken: set[str] = set()
    for path in Path(__file__).parent.glob("*.yaml"):
        spoken.update(re.findall(r'version: "(3\.\d+)"', path.read_text()))
    wanted: set[str] = set()
    for text in set(windows()) - {"3.0"}:
        version = versions.parse(text)
        wanted |= {text, f"3.{version.minor - 1}"}
    assert not wanted - spoken, sorted(wanted - spoken, key=versions.parse)


def test_every_rule_is_known() -> None:
    rules = {route.policy for route in routes.ROUTES} | {action.policy for _, _, action in actions()}
    assert rules - {None} <= set(policy.RULES)


def test_every_rule_is_asked() -> None:
    """By a route, an action, or a line that names it: an operator who overrides one must see a difference."""
    asked = {route.policy for route in (*routes.ROUTES, *own.ROUTES)} | {action.policy for _, _, action in actions()}
    lines = "".join(path.read_text() for path in API.parent.rglob("*.py") if path != Path(policy.__file__))
    helping = {"admin_api"}  # only other rules name it
    assert not [rule for rule in policy.RULES if rule not in asked | helping and f'"{rule}"' not in lines]


def test_no_operation_is_declared_twice() -> None:
    names = [name(route) for route in routes.ROUTES]
    assert len(names) == len(set(names))
