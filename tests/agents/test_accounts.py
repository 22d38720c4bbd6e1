"""What the account of an agent opens in a real broker, and above all what it does not; and how a host gets one."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import amqp
import falcon.testing
import httpx
import pytest
from click.testing import CliRunner
from tests import rabbit, world

from brickyard.cli import main
from brickyard.core import errors
from brickyard.core.settings import Agents, Broker
from brickyard.db import tokens
from brickyard.nodes import accounts, layout
from brickyard.nodes import broker as door

REFUSED = amqp.exceptions.AccessRefused


@pytest.fixture
def hosts(broker: rabbit.Rabbit) -> Iterator[tuple[Broker, str, str]]:
    """The broker as the agent of the first of two hosts may use it; a conductor has made what both need."""
    one, other = f"h{uuid.uuid4().hex[:8]}", f"h{uuid.uuid4().hex[:8]}"
    made = accounts.Accounts(broker.management_url, "/")
    with door.connect(broker.settings(), "conductor") as connection:
        channel = connection.channel()
        layout.declare_shared(channel)
        layout.declare_asker(channel, f"asker-of-{one}")
        for host in (one, other):
            layout.declare_node(channel, host, f"asker-of-{one}")
            made.grant(host, f"password of {host}")
        yield broker.settings(layout.account(one), f"password of {one}"), one, other
    for host in (one, other):
        made.revoke(host)


def attempt(as_node: Broker, what: Callable[[Any], Any]) -> None:
    """Do it as the agent, and wait until the broker has said what it thinks of it."""
    with door.connect(as_node, "agent") as connection:
        channel = connection.channel()
        what(channel)
        channel.basic_qos(0, 1, False)  # its answer comes after whatever the broker has to say of what came before


def test_an_agent_reads_its_calls_and_says_what_it_has_to_say(hosts: tuple[Broker, str, str]) -> None:
    as_node, one, _ = hosts
    attempt(as_node, lambda channel: channel.basic_consume(layout.calls(one)))
    for key in (layout.REPORT, layout.ALIVE, f"asker-of-{one}"):
        attempt(as_node, lambda channel, key=key: channel.basic_publish(amqp.Message("w"), layout.says(one), key))


READING = [
    lambda one, other: layout.calls(other),
    lambda one, other: layout.reports(one),
    lambda one, other: layout.reports(other),
    lambda one, other: layout.retired(other)[0],
    lambda one, other: layout.asker(f"asker-of-{one}"),
]


@pytest.mark.parametrize("name", READING)
def test_an_agent_reads_nothing_else(hosts: tuple[Broker, str, str], name: Callable[[str, str], str]) -> None:
    as_node, one, other = hosts
    for read in (
        lambda channel: channel.basic_consume(name(one, other)),
        lambda channel: channel.basic_get(name(one, other)),
        lambda channel: channel.queue_purge(name(one, other)),
    ):
        with pytest.raises((REFUSED, amqp.exceptions.ResourceLocked)):
            attempt(as_node, read)


@pytest.mark.parametrize("exchange", ["calls", "says of another", "", "amq.topic", "amq.direct", "amq.fanout"])
def test_an_agent_says_nothing_as_anybody_else(hosts: tuple[Broker, str, str], exchange: str) -> None:
    as_node, _, other = hosts
    name = {"calls": layout.CALLS, "says of another": layout.says(other)}.get(exchange, exchange)
    key = layout.calls(other) if exchange == "" else other
    with pytest.raises(REFUSED):
        attempt(as_node, lambda channel: channel.basic_publish(amqp.Message("w"), name, key))


MAKING: dict[str, Callable[[Any, str, str], Any]] = {
    "queue": lambda channel, one, other: channel.queue_declare("mine"),
    "queue of its own name": lambda channel, one, other: channel.queue_declare(f"{layout.calls(one)}.more"),
    "exchange": lambda channel, one, other: channel.exchange_declare("mine", "direct"),
    "calls of another": lambda channel, one, other: channel.queue_bind(layout.calls(one), layout.CALLS, other),
    "words of another": lambda channel, one, other: channel.queue_bind(layout.calls(one), layout.says(other), "report"),
    "its own words": lambda channel, one, other: channel.queue_bind(layout.calls(one), layout.says(one), "report"),
    "delete its queue": lambda channel, one, other: channel.queue_delete(layout.calls(one)),
    "delete an exchange": lambda channel, one, other: channel.exchange_delete(layout.says(one)),
}


@pytest.mark.parametrize("what", MAKING)
def test_an_agent_makes_binds_and_deletes_nothing(hosts: tuple[Broker, str, str], what: str) -> None:
    as_node, one, other = hosts
    with pytest.raises(REFUSED):
        attempt(as_node, lambda channel: MAKING[what](channel, one, other))


def test_an_agent_has_no_business_in_the_management(hosts: tuple[Broker, str, str], broker: rabbit.Rabbit) -> None:
    as_node, _, _ = hosts
    url = f"http://127.0.0.1:{broker.http}/api/overview"
    assert httpx.get(url, auth=(as_node.user, as_node.password)).status_code == 401


def test_new_credentials_end_the_old_ones(hosts: tuple[Broker, str, str], broker: rabbit.Rabbit) -> None:
    as_node, one, _ = hosts
    accounts.Accounts(broker.management_url, "/").grant(one, "another")
    with pytest.raises(errors.Unavailable, match="refused"):
        door.connect(as_node, "agent")


# enrolment -------------------------------------------------------------------------------------------------------


@pytest.fixture
def service(tmp_path: Path, broker: rabbit.Rabbit) -> Iterator[tuple[falcon.testing.TestClient, Any]]:
    """A site with a broker, whose callers are told apart by tokens."""
    from dataclasses import replace

    from brickyard.api import app
    from brickyard.nodes.directory import Directory
    from brickyard.service.recorder import Agents as Recorder

    made = world.make(tmp_path, {"raw": "raw"}, None, auth_strategy="token")
    found = Agents(broker.settings(), 60, broker.management_url)
    recorder = Recorder(made.db, made.world.places, found, 60)
    nodes = Directory({"h1": made.world.nodes["h1"]}, recorder.asker)
    site = replace(made, world=replace(made.world, nodes=nodes), agents=found)
    with made.db.begin() as tx:
        for role in ("admin", "member"):
            tokens.insert(tx, f"token-of-{role}", user_id=role, project_id="p", roles=[role])
    recorder.start()
    yield falcon.testing.TestClient(app.create_app(site)), site
    recorder.stop()
    made.db.close()


def call(http: Any, method: str, path: str, body: Any = None, role: str | None = "admin") -> falcon.testing.Result:
    headers = {"X-Auth-Token": f"token-of-{role}"} if role else {}
    return http.simulate_request(method, path, json=body, headers=headers)


def test_a_token_gets_the_credentials_of_its_host_once(service: tuple[Any, Any], broker: rabbit.Rabbit) -> None:
    http, _ = service
    name = f"h{uuid.uuid4().hex[:8]}"
    assert call(http, "POST", "/v1/agents", {"host": name}, role="member").status_code == 403
    assert call(http, "POST", "/v1/agents", {"host": name}, role=None).status_code == 401
    invited = call(http, "POST", "/v1/agents", {"host": name}).json
    again = call(http, "POST", "/v1/agents", {"host": name}).json  # the first token is no longer good
    assert (invited["token"] + again["token"]).isalnum(), "as an argument, none begins with a dash"
    for token, status in ((invited["token"], 401), ("wrong", 401), (again["token"], 200), (again["token"], 401)):
        answer = call(http, "POST", "/v1/agents/credentials", {"token": token}, role=None)
        assert answer.status_code == status, answer.text
        if status == 200:
            told = answer.json
    assert told["host"] == name and told["servers"] == [f"127.0.0.1:{broker.amqp}"]
    door.connect(broker.settings(told["user"], told["password"]), "agent").release()
    [shown] = call(http, "GET", "/v1/agents").json["agents"]
    assert shown["host"] == name and shown["enrolled_at"] and told["password"] not in str(shown)
    assert call(http, "DELETE", f"/v1/agents/{name}", role="member").status_code == 403
    assert call(http, "DELETE", f"/v1/agents/{name}").status_code == 204
    assert call(http, "DELETE", f"/v1/agents/{name}").status_code == 404
    with pytest.raises(errors.Unavailable, match="refused"):
        door.connect(broker.settings(told["user"], told["password"]), "agent")


def test_a_token_is_good_for_a_while_only(service: tuple[Any, Any]) -> None:
    http, site = service
    token = call(http, "POST", "/v1/agents", {"host": "slow"}).json["token"]
    with site.db.begin() as tx:
        tx.exec_driver_sql("UPDATE agents SET token_expires_at = '2020-01-01T00:00:00.000000'")
    assert call(http, "POST", "/v1/agents/credentials", {"token": token}, role=None).status_code == 401


def test_a_token_outlives_a_management_that_is_away(service: tuple[Any, Any], broker: rabbit.Rabbit) -> None:
    http, _ = service
    name = f"h{uuid.uuid4().hex[:8]}"
    token = call(http, "POST", "/v1/agents", {"host": name}).json["token"]
    broker.stop()
    answer = call(http, "POST", "/v1/agents/credentials", {"token": token}, role=None)
    assert answer.status_code == 503 and "management" in answer.text and rabbit.PASSWORD not in answer.text
    broker.start()
    assert call(http, "POST", "/v1/agents/credentials", {"token": token}, role=None).status_code == 200


@pytest.mark.parametrize("host", ["", "a b", "../x", "a/b", "h@x", "h#1", ".hidden", "x" * 191, 7, None])
def test_a_name_that_cannot_be_one_is_refused(service: tuple[Any, Any], host: Any) -> None:
    http, _ = service
    answer = call(http, "POST", "/v1/agents", {"host": host})
    assert answer.status_code == 400 and "host" in answer.text
    assert call(http, "GET", "/v1/agents").json["agents"] == []


def test_the_services_own_node_needs_no_agent(service: tuple[Any, Any]) -> None:
    assert call(service[0], "POST", "/v1/agents", {"host": "h1"}).status_code == 409


def test_without_a_broker_it_is_said_what_is_missing(tmp_path: Path) -> None:
    with world.running(tmp_path) as (_, http):
        answer = http.simulate_post("/v1/agents", json={"host": "h2"})
        assert answer.status_code == 409 and "transport_url" in answer.text
        assert http.simulate_post("/v1/agents/credentials", json={"token": "t"}).status_code == 409
        assert http.simulate_get("/v1/agents").json == {"agents": []}


def test_an_agent_without_credentials_says_how_to_get_some(tmp_path: Path) -> None:
    done = CliRunner().invoke(main.main, ["node", "--state-dir", str(tmp_path / "state")])
    assert done.exit_code == 1 and "brickyard host enroll" in done.output and "Traceback" not in done.output


def test_a_token_that_is_no_good_leaves_nothing(tmp_path: Path) -> None:
    where = ["--state-dir", str(tmp_path / "state")]
    done = CliRunner().invoke(main.main, ["node", "enroll", *where, "http://127.0.0.1:1", "token"])
    assert done.exit_code == 1 and "cannot be reached" in done.output
    assert not (tmp_path / "state" / "agent.json").exists()
