"""The tables of the API: every route, every action and every microversion, whatever they are about."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import falcon.testing
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
import world
from brickyard.api import listings, routes, versions
from brickyard.api.views import snapshots as snapshot_views
from brickyard.api.views import volumes as volume_views
from brickyard.db import flows, tokens
from brickyard.service import policy
from brickyard.service.site import Site

API = Path(routes.__file__).parent
OURS, THEIRS = "a" * 32, "b" * 32
WRITES = ("POST", "PUT", "DELETE")


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


def test_no_operation_is_declared_twice() -> None:
    names = [name(route) for route in routes.ROUTES]
    assert len(names) == len(set(names))


# who may -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, falcon.testing.TestClient, dict[str, str]]]:
    """A site with tokens, and with one volume, snapshot, attachment and type; their ids by the name in a path."""
    path = tmp_path_factory.mktemp("routes")
    with world.running(path, {"memory": "memory"}, auth_strategy="token") as (made, client):
        with made.db.begin() as tx:
            for token, project, role in (("us", OURS, "member"), ("them", THEIRS, "member"), ("reads", OURS, "reader")):
                tokens.insert(tx, token, user_id=project, project_id=project, roles=[role])
            tokens.insert(tx, "boss", user_id=OURS, project_id=OURS, roles=["admin"])
        yield made, client, populated(made, client)


def populated(site: Site, client: falcon.testing.TestClient) -> dict[str, str]:
    def post(path: str, body: Any) -> Any:
        result = client.simulate_post(f"/v3{path}", json=body, headers=headers("us"))
        assert result.status_code < 300, result.text
        return next(iter(result.json.values()))["id"]

    def settled() -> None:
        with site.db.read() as tx:
            for flow in flows.list_(tx, open_only=True):
                site.waker.wait(flow.id, 10)

    volume = post("/volumes", {"volume": {"size": 1}})
    settled()
    snapshot = post("/snapshots", {"snapshot": {"volume_id": volume}})
    settled()
    attachment = post("/attachments", {"attachment": {"volume_uuid": volume}})
    return {"volumes": volume, "snapshots": snapshot, "attachments": attachment}


def headers(token: str | None) -> dict[str, str]:
    said = {"OpenStack-API-Version": f"volume {versions.MAX}"}
    return said if token is None else {**said, "X-Auth-Token": token}


def ask(client: falcon.testing.TestClient, route: routes.Route, path: str, token: str | None, body: Any = None) -> Any:
    more = {"json": body} if route.method in WRITES else {}
    return client.simulate_request(route.method, f"/v3{path}", headers=headers(token), **more)


def filled(route: routes.Route, ids: dict[str, str]) -> str:
    """The path of a route, with ids that exist where there are some."""
    noun = route.path.split("/")[1]
    return re.sub(r"\{(\w+)\}", lambda m: ids.get(noun, "x") if m[1] == "id" else "x", route.path)


TABLE = [pytest.param(route, id=name(route)) for route in routes.ROUTES]


@pytest.mark.parametrize("route", TABLE)
def test_without_a_token_nothing_is_answered(route: routes.Route, site: Any) -> None:
    _, client, ids = site
    assert ask(client, route, filled(route, ids), None).status_code == (401 if not route.public else 200)


@pytest.mark.parametrize("route", [param for param in TABLE if param.values[0].method in WRITES])
def test_a_reader_never_writes(route: routes.Route, site: Any) -> None:
    _, client, ids = site
    found = getattr(route.handler, "actions", None)
    bodies = [{word: {}} for word in found if "show" not in word] if found else [{}]
    for body in bodies:
        result = ask(client, route, filled(route, ids), "reads", body)
        assert result.status_code in (403, 400 if route.policy is None and not found else 403), result.text


# a body for each write by id that its schema takes, so that what refuses is the look for the resource
BODIES: dict[str, Any] = {
    "PUT /volumes/{id}": {"volume": {"name": "x"}},
    "POST /volumes/{id}/metadata": {"metadata": {"k": "v"}},
    "PUT /volumes/{id}/metadata": {"metadata": {"k": "v"}},
    "PUT /volumes/{id}/metadata/{key}": {"meta": {"x": "v"}},
    "PUT /snapshots/{id}": {"snapshot": {"name": "x"}},
    "POST /snapshots/{id}/metadata": {"metadata": {"k": "v"}},
    "PUT /snapshots/{id}/metadata": {"metadata": {"k": "v"}},
    "PUT /snapshots/{id}/metadata/{key}": {"meta": {"x": "v"}},
    "PUT /attachments/{id}": {"attachment": {"connector": {"host": "h1"}}},
}
VALUES: dict[str, Any] = {
    "os-attach": {"instance_uuid": OURS, "mountpoint": "/dev/vdb"},
    "os-initialize_connection": {"connector": {"host": "h1"}},
    "os-terminate_connection": {"connector": {"host": "h1"}},
    "os-extend": {"new_size": 2},
    "os-retype": {"new_type": "x"},
    "revert": {"snapshot_id": OURS},
    "os-set_bootable": {"bootable": True},
    "os-update_readonly_flag": {"readonly": True},
    "os-set_image_metadata": {"metadata": {"k": "v"}},
    "os-unset_image_metadata": {"key": "k"},
    "os-update_snapshot_status": {"status": "error"},
}


@pytest.mark.parametrize(
    "route", [param for param in TABLE if re.match(r"/(volumes|snapshots|attachments)/\{id\}", param.values[0].path)]
)
def test_another_project_finds_nothing(route: routes.Route, site: Any) -> None:
    _, client, ids = site
    path = filled(route, ids)
    found = getattr(route.handler, "actions", None)
    if found is None:
        result = ask(client, route, path, "them", BODIES.get(f"{route.method} {route.path}", {}))
        assert result.status_code == 404, result.text
        return
    for word, action in found.items():
        result = ask(client, route, path, "them", {word: VALUES.get(word, {})})
        administrators = action.policy is not None and policy.RULES[action.policy] == policy.ADMIN
        assert result.status_code == (403 if administrators else 404), f"{word}: {result.text}"


def test_nobody_was_changed_by_all_that(site: Any) -> None:
    _, client, ids = site
    volume = client.simulate_get(f"/v3/volumes/{ids['volumes']}", headers=headers("us")).json["volume"]
    assert volume["status"] == "reserved"
    assert volume["metadata"] == {} and volume["size"] == 1
