"""In the middle of a verb something ends: the broker, its queues, the agent, the service. The work goes on."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from tests import rabbit
from tests.agents.rig import Host, Site, until

from brickyard.nodes import layout

pytestmark = pytest.mark.slow

Halfway = tuple[Site, str, Host]


@pytest.fixture
def halfway(site: Site) -> Iterator[Halfway]:
    """A volume whose brick is being made, and the host that is at it and does not go on."""
    for host in (site.h1, site.h2):
        host.hold()
    id = site.control.volume()
    at = until(lambda: next((h for h in (site.h1, site.h2) if h.waits()), None), "a host makes the brick")
    other = other_of(site, at)
    enable(site, other, False)  # so that it is waited for, however long it takes
    yield site, id, at
    enable(site, other, True)
    for host in (site.h1, site.h2):
        host.go_on()
    site.control.delete(id)
    assert not site.h1.litter() + site.h2.litter()


def other_of(site: Site, host: Host) -> Host:
    return site.h2 if host is site.h1 else site.h1


def enable(site: Site, host: Host, enabled: bool) -> None:
    site.control.http.patch(f"/v1/hosts/{host.name}", json={"enabled": enabled}).raise_for_status()


def open_flows(site: Site) -> list[str]:
    return [flow["name"] for flow in site.control.get("/v1/flows?open=true&all_projects=true")["flows"]]


def go_on_and_see(halfway: Halfway) -> None:
    site, id, at = halfway
    at.go_on()
    site.control.becomes(id, "available")
    assert f"volume-{id}" in at.litter() and site.control.host_of(id) == at.name


def test_the_broker_starts_anew(halfway: Halfway, broker: rabbit.Rabbit) -> None:
    broker.restart()
    go_on_and_see(halfway)


def test_the_queues_are_deleted(halfway: Halfway, broker: rabbit.Rabbit) -> None:
    broker.empty()
    go_on_and_see(halfway)


def test_queues_that_died_with_the_broker_are_made_anew(site: Site, broker: rabbit.Rabbit) -> None:
    """A quorum queue does not outlive a broker that is killed right after it was made, and stays there, dead."""
    broker.empty()
    until(lambda: {layout.calls("h1"), layout.calls("h2")} <= broker.queues(), "the queues of both hosts are new")
    broker.stop(signal.SIGKILL)
    id = site.control.volume()
    broker.start()
    site.control.becomes(id, "available")
    site.control.delete(id)


def test_the_exchanges_are_deleted_and_the_queues_stay(halfway: Halfway, broker: rabbit.Rabbit) -> None:
    broker.empty("exchanges")
    go_on_and_see(halfway)


def test_the_agent_is_killed_and_starts_again(halfway: Halfway) -> None:
    _, _, at = halfway
    at.kill(signal.SIGKILL)
    at.go_on()
    at.start()
    go_on_and_see(halfway)


def test_the_service_is_killed_and_starts_again(halfway: Halfway) -> None:
    site, id, at = halfway
    site.control.kill(signal.SIGKILL)
    at.go_on()
    until(lambda: f"volume-{id}" in at.litter(), "the brick is made, and nobody waits for the answer")
    site.control.start()
    go_on_and_see(halfway)


def test_what_a_host_must_do_waits_until_it_is_back_and_what_another_can_do_goes_there(site: Site) -> None:
    control = site.control
    id = control.volume()
    control.becomes(id, "available")
    host = site.host(control.host_of(id))
    other = other_of(site, host)
    enable(site, other, False)
    host.hold()
    new = control.volume()
    until(host.waits, "its brick is being made")
    enable(site, other, True)
    host.kill(signal.SIGKILL)
    host.go_on()
    assert control.http.delete(f"/v3/volumes/{id}").status_code == 202
    flow = until(lambda: (f := control.flow_of(id, "delete_volume")) and f["error"] and f, "its flow waits")
    assert f"The agent of host {host.name} has not answered" in flow["error"]
    assert control.status(id) == "deleting"
    control.becomes(new, "available")
    assert control.host_of(new) == other.name
    host.start()
    until(lambda: control.status(id) == "gone", "the volume is gone")
    assert control.flow_of(id, "delete_volume")["error"] is None
    until(lambda: not open_flows(site), "what the host may have made is removed")
    assert not host.litter() and other.litter() == [f"volume-{new}"]
    assert control.get("/v1/audit")["differences"] == []
    control.delete(new)


def test_work_for_a_broker_that_is_away_waits_until_it_is_back(site: Site, broker: rabbit.Rabbit) -> None:
    control = site.control
    broker.stop(signal.SIGKILL)
    id = control.volume()
    assert control.http.get("/v3/volumes").status_code == 200
    broker.start()
    control.becomes(id, "available")
    control.delete(id)
