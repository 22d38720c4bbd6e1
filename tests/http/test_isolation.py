"""The matrix of isolation: every route and action, for every role and none, with what is one's own and what is not.

It goes through the tables of routes: a new one is in it by itself, and fails until `isolation_samples` has a resource
for its path and a body that its schema takes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import falcon.testing
import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))
import isolation_samples as samples
from isolation_samples import BLUE, CALLERS, NOBODY, RED, Operation

import world
from brickyard.api import versions

OPERATIONS = [pytest.param(one, id=one.name) for one in samples.operations()]
GUARDED = [param for param in OPERATIONS if not param.values[0].route.public]
NAMING = [param for param in GUARDED if param.values[0].names]
LISTS = [param for param in GUARDED if param.values[0].route.method == "GET" and not param.values[0].variables]

# which answer otherwise to the id of something than to the id of nothing, and why
TOLD = {
    "POST /os-volume-transfer/{id}/accept": "whoever knows id and key may accept: a wrong key is told",
    "POST /volume-transfers/{id}/accept": "whoever knows id and key may accept: a wrong key is told",
}


class Asker:
    """Sends an operation as somebody, about the resources of BLUE or about ids of nothing."""

    def __init__(self, client: falcon.testing.TestClient, maker: samples.Maker) -> None:
        self.client, self.maker = client, maker
        self.nothing = dict.fromkeys(maker.ids, NOBODY)
        self.nothing["project"] = "d" * 32
        self.absent = {**dict.fromkeys(samples.SAMPLES.values(), "absent"), **self.nothing}

    def __call__(
        self, one: Operation, token: str | None, ids: dict[str, str], body: Any = None, query: str = ""
    ) -> Any:
        headers = {"OpenStack-API-Version": f"volume {versions.MAX}"}
        if token:
            headers["X-Auth-Token"] = token
        more = {} if one.route.method == "GET" else {"json": one.body(ids, body)}
        return self.client.simulate_request(one.route.method, one.path(ids) + query, headers=headers, **more)

    def leaks(self, result: falcon.testing.Result, sent: str = "") -> set[str]:
        """What stands in an answer that only BLUE may read, besides what the asker sent."""
        text = f"{result.text} {result.headers}"
        return {secret for secret in self.maker.secrets if secret in text and secret not in sent}


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asker]:
    path = tmp_path_factory.mktemp("isolation")
    with world.running(path, {"memory": "memory"}, auth_strategy="token") as (site, client):
        samples.enrolled(site)
        maker = samples.Maker(site, client)
        maker.everything()
        yield Asker(client, maker)


# the tables ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("one", OPERATIONS)
def test_every_route_has_its_samples_and_a_rule_or_a_reason(one: Operation, ask: Asker) -> None:
    without = {name for name, kind in one.variables.items() if kind[0] != "'" and kind not in ask.maker.ids}
    assert not without, f"{one.name}: add {without} to SAMPLES, and to Maker something for it to find"
    assert one.rule or one.route.public or one.name in samples.OPEN, f"{one.name}: no rule; say why in OPEN"


def test_what_the_tables_say_is_there() -> None:
    known = {param.values[0].name for param in OPERATIONS}
    said = {*samples.BODIES, *samples.OPEN, *samples.UNSAID, *TOLD, *(name for name, _ in samples.REFERENCES)}
    assert said <= known, said - known


# who may -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("one", OPERATIONS)
def test_each_role_may_what_the_policy_says_and_no_more(one: Operation, ask: Asker) -> None:
    """Those who may not are refused for what is theirs; those who may ask for nothing, so that it stays."""
    without = ask(one, None, ask.maker.ids)
    assert (without.status_code == 401) != one.route.public, without.text
    if one.route.public:
        return
    for token in ("boss", "ann", "rob", "nil"):
        may = samples.allowed(one.rule, {CALLERS[token][1]})
        reads = one.route.method == "GET"
        result = ask(one, token, ask.maker.ids if reads or not may else ask.absent)
        if may:
            assert result.status_code not in (401, 403, 500), f"{token}: {result.status} {result.text}"
        else:
            hides = one.name == "GET /volumes/{id}"
            assert result.status_code == (404 if hides else 403), f"{token}: {result.status} {result.text}"


READS = [param for param in NAMING if param.values[0].route.method == "GET"]


@pytest.mark.parametrize("one", READS)
def test_those_who_may_find_it(one: Operation, ask: Asker) -> None:
    """So that what others do not find is there to be found."""
    statuses = {token: ask(one, token, ask.maker.ids).status_code for token in ("rob", "ann", "boss")}
    assert 200 in statuses.values(), statuses


# what others learn ---------------------------------------------------------------------------------------------------


def check_alike(ask: Asker, one: Operation, token: str, body: Any = None) -> None:
    """What is BLUE's is answered as what is not there."""
    theirs, nothing = ask(one, token, ask.maker.ids, body), ask(one, token, ask.nothing, body)
    sent = f"{one.path(ask.maker.ids)} {one.body(ask.maker.ids, body)}"
    assert not ask.leaks(theirs, sent), theirs.text
    if one.name in TOLD:
        return
    text = theirs.text
    for kind in one.names | set(ask.nothing):
        text = text.replace(ask.maker.ids[kind], ask.nothing[kind])
    assert (theirs.status_code, text) == (nothing.status_code, nothing.text)
    if one.name != "GET /servers/{id}":
        hidden = theirs.status_code in (403, 404) or "could not be found" in text
        assert hidden, f"{theirs.status} {theirs.text}: does BODIES have what its schema takes?"


@pytest.mark.parametrize("one", NAMING)
def test_another_project_finds_nothing(one: Operation, ask: Asker) -> None:
    for token in ("bob", "ray", "nix"):
        check_alike(ask, one, token)


@pytest.mark.parametrize("one", [param for param in NAMING if "project" in param.values[0].names])
def test_what_it_is_told_of_itself_names_nothing_of_another(one: Operation, ask: Asker) -> None:
    result = ask(one, "bob", {**ask.maker.ids, "project": RED})
    assert not ask.leaks(result), result.text


@pytest.mark.parametrize(("name", "body"), samples.REFERENCES)
def test_another_project_cannot_use_what_it_may_not_see(name: str, body: Any, ask: Asker) -> None:
    one = next(param.values[0] for param in OPERATIONS if param.values[0].name == name)
    check_alike(ask, one, "bob", body)


QUERIES = ("", "?all_tenants=1", "?all_tenants=1&project_id={project}", "?all_projects=1", "?marker={id}&limit=1")


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("one", LISTS)
def test_no_list_names_what_is_another_project_s(one: Operation, query: str, ask: Asker) -> None:
    ids = ask.maker.ids
    noun = one.route.path.removeprefix("/v1").split("/")[1]
    kind = samples.SAMPLES.get((noun, "id"), "volume")
    given = query.format(project=BLUE, id=ids.get(kind, NOBODY))
    for token in ("bob", "ray", "nix"):
        result = ask(one, token, ids, query=given)
        assert result.status_code < 500, result.text
        assert not ask.leaks(result, given), result.text


@pytest.mark.parametrize("one", [param for param in OPERATIONS if param.values[0].route.public])
def test_who_has_no_token_learns_nothing_of_anybody(one: Operation, ask: Asker) -> None:
    assert not ask.leaks(ask(one, None, ask.maker.ids))


def test_all_that_changed_nothing(ask: Asker) -> None:
    headers = {"X-Auth-Token": "ann", "OpenStack-API-Version": f"volume {versions.MAX}"}
    volume = ask.client.simulate_get(f"/v3/volumes/{ask.maker.ids['volume']}", headers=headers).json["volume"]
    assert (volume["name"], volume["status"], volume["size"]) == ("name-of-blue-volume", "available", 1)
    assert volume["metadata"] == {"k": "value-of-volume"}
