"""What may happen to a cloud of eight hosts, one thing after the other. After each, everything that was acknowledged is
done, and nothing lies where it should not: the fixture looks."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator

import pytest
from tests.agents.rig import until
from tests.fleet import command
from tests.fleet.load import Load
from tests.fleet.rig import PATIENCE_S, Cloud

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.thorough, pytest.mark.timeout(1800)]
HOSTS = 8
POOL_GIB = 7
MINUTE_S = 60.0


def full(cloud: Cloud, on: dict[str, str], *hosts: str) -> None:
    """All of their storage is taken, of which each has a volume of 1 GiB already."""
    ids = [cloud.volume_near(POOL_GIB - 1, same_host=[on[host]]) for host in hosts]
    for id in ids:
        cloud.becomes(id, "available")
    cloud.picture()


def refused(cloud: Cloud, id: str) -> None:
    cloud.boots(id, "error")
    flow = cloud.flow_of(id, "boot_instance")
    assert "No host can hold this instance" in flow["error"], flow
    assert cloud.http.delete(f"/v1/instances/{id}").status_code == 202


def waits_at(cloud: Cloud, instance: str, step: str) -> None:
    """Until its boot has begun this step, and not ended it."""

    def there() -> bool:
        log = cloud.get(f"/v1/flows/{cloud.flow_of(instance, 'boot_instance')['id']}")["log"]
        return bool(log) and (log[-1]["step"], log[-1]["event"]) == (step, "started")

    until(there, f"the boot is at the step {step}", PATIENCE_S)


def test_a_boot_goes_no_farther_than_it_is_asked_to(cloud: Cloud) -> None:
    """The host of a volume is full, and then its rack, and then its zone."""
    on = cloud.one_on_each()
    wish = {"volumes": [on["h1"]], "local_storage": [{"size_gib": 1}]}

    def reaches(locality: str, hosts: set[str]) -> None:
        id = cloud.boot(locality, locality=locality, **wish)
        assert cloud.boots(id) == "h1"
        [new] = {one["volume_id"] for one in cloud.instance(id)["volumes"]} - {on["h1"]}
        assert cloud.host_of(new) in hosts
        cloud.prints(id, f"disk {new[:20]} wrote: written by {locality}")
        assert cloud.http.delete(f"/v1/instances/{id}").status_code == 202
        until(lambda: cloud.instance(id) is None, "the instance is gone", PATIENCE_S)
        cloud.delete(new)

    reaches("host", {"h1"})
    full(cloud, on, "h1")
    refused(cloud, cloud.boot("no", locality="host", **wish))
    reaches("rack", {"h2"})
    full(cloud, on, "h2")
    refused(cloud, cloud.boot("no", locality="rack", **wish))
    reaches("zone", {"h3", "h4"})
    full(cloud, on, "h3", "h4")
    refused(cloud, cloud.boot("no", locality="zone", **wish))


@pytest.mark.parametrize("step", ["volumes", "export", "boot"])
def test_an_agent_is_killed_in_a_step_of_a_boot(cloud: Cloud, step: str) -> None:
    """It has been asked, and has not answered."""
    on = cloud.one_on_each()
    wishes = {
        "volumes": {"volumes": [on["h3"]], "local_storage": [{"size_gib": 1}]},
        "export": {"volumes": [on["h3"], on["h4"]], "locality": "rack"},
        "boot": {"volumes": [on["h3"]]},
    }
    victims = ("h3.agent", "h4.agent") if step == "export" else ("h3.agent",)
    for victim in victims:
        cloud.does("freeze", victim)
    id = cloud.boot("one", **wishes[step])
    waits_at(cloud, id, step)
    for victim in victims:
        cloud.does("kill", victim)
    for victim in victims:
        cloud.does("start", victim)
    assert cloud.boots(id) in ("h3", "h4")
    cloud.prints(id, f"disk {on['h3'][:20]} wrote: written by one")


def test_agents_are_killed_at_any_moment_of_boots_and_deletes(cloud: Cloud) -> None:
    seed = random.randrange(1000)
    print(f"seed {seed}")
    chance = random.Random(seed)
    on = cloud.one_on_each()
    for n in range(6):
        id = cloud.boot(f"g{n}", locality="rack", volumes=[on["h5"], on["h6"]], local_storage=[{"size_gib": 1}])
        time.sleep(chance.random() * 2)
        victim = f"{chance.choice(['h5', 'h6'])}.agent"
        cloud.does("kill", victim)
        cloud.does("start", victim)
        assert cloud.boots(id) in ("h5", "h6")
        [new] = {one["volume_id"] for one in cloud.instance(id)["volumes"]} - {on["h5"], on["h6"]}
        assert cloud.http.delete(f"/v1/instances/{id}").status_code == 202
        time.sleep(chance.random())
        cloud.does("kill", victim)
        cloud.does("start", victim)
        until(lambda id=id: cloud.instance(id) is None, "the instance is gone", PATIENCE_S)
        cloud.delete(new)


def test_a_boot_goes_elsewhere_when_the_best_hosts_have_just_died(cloud: Cloud) -> None:
    """Nobody knows yet that they are down, and they come back later."""
    dead = cloud.hosts[:-1]
    for host in dead:
        cloud.does("freeze", f"{host}.agent")
    ids = [cloud.boot(f"e{n}", local_storage=[{"size_gib": 1}]) for n in range(2)]
    assert [cloud.boots(id) for id in ids] == ["h8", "h8"]
    for host in dead:
        cloud.does("thaw", f"{host}.agent")


@contextlib.contextmanager
def broker_away(cloud: Cloud, how: str) -> Iterator[None]:
    if how == "cut":
        with cloud.is_cut("mq"):
            yield
    else:
        cloud.does("kill", "mq")
        yield
        cloud.does("start", "mq")


@pytest.mark.parametrize("how", ["cut", "killed"])
def test_the_broker_is_away_for_a_minute(cloud: Cloud, how: str) -> None:
    on = cloud.one_on_each()
    running = cloud.boot("running", locality="rack", volumes=[on["h1"], on["h2"]])
    cloud.boots(running)
    load = Load(cloud, 12)
    with load.goes_on(), broker_away(cloud, how):
        began_s = time.monotonic()
        id = cloud.boot("meanwhile", local_storage=[{"size_gib": 1}])
        assert cloud.http.delete(f"/v3/volumes/{on['h8']}").status_code == 202
        time.sleep(MINUTE_S - (time.monotonic() - began_s))
        assert cloud.status(on["h8"]) == "deleting"
        assert cloud.instance(id)["status"] == "building"
    cloud.boots(id)
    until(lambda: cloud.status(on["h8"]) == "gone", "what waited is done", PATIENCE_S)
    load.kept()
    cloud.prints(running, f"disk {on['h2'][:20]} wrote: written by running")


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_the_database_is_restarted(cloud: Cloud, how: str) -> None:
    load = Load(cloud, 20)
    with load.goes_on():
        for _ in range(3):
            load.more(load.acknowledged)
            cloud.does(how, "db.postgresql")
            load.more(load.refused)
            cloud.does("start", "db.postgresql")
    load.kept()


@pytest.mark.parametrize("what", ["m1.conductor", "m2.api", "m1"])
def test_half_of_the_control_plane_is_killed_in_the_middle(cloud: Cloud, what: str) -> None:
    load = Load(cloud, 20)
    with load.goes_on():
        load.more(load.acknowledged)
        id = cloud.boot("one", local_storage=[{"size_gib": 1}])
        cloud.does("kill", what)
        load.more(load.acknowledged)
        cloud.does("start", what)
    load.kept()
    cloud.boots(id)


def test_a_rack_is_cut_off_for_a_while(cloud: Cloud) -> None:
    on = cloud.one_on_each()
    inside = cloud.boot("inside", locality="rack", volumes=[on["h5"], on["h6"]])
    across = cloud.boot("across", locality="zone", volumes=[on["h7"], cloud_volume(cloud, on["h5"])])
    for id in (inside, across):
        cloud.boots(id)
    cloud.prints(inside, f"disk {on['h6'][:20]} wrote: written by inside")
    load = Load(cloud, 12)
    with load.goes_on(), cloud.is_cut("r3"):
        until(lambda: cloud.hosts_up() == set(cloud.hosts) - {"h5", "h6"}, "its hosts are down", PATIENCE_S)
        cloud.picture()
        new = cloud.boot("new", local_storage=[{"size_gib": 1}])
        assert cloud.boots(new) not in ("h5", "h6")
        assert cloud.http.delete(f"/v1/instances/{inside}").status_code == 202
    load.kept()
    until(lambda: cloud.instance(inside) is None, "what waited is done", PATIENCE_S)
    cloud.prints(across, f"disk {on['h7'][:20]} wrote: written by across")


def cloud_volume(cloud: Cloud, beside: str) -> str:
    id = cloud.volume_near(same_host=[beside])
    cloud.becomes(id, "available")
    return id


def test_a_host_loses_its_power_and_its_guests_are_started_again(cloud: Cloud) -> None:
    on = cloud.one_on_each()
    far = cloud.boot("far", locality="rack", volumes=[on["h1"], on["h2"]])
    host = cloud.boots(far)
    other = "h2" if host == "h1" else "h1"
    cloud.prints(far, f"disk {on[other][:20]} wrote: written by far")
    cloud.does("kill", host)
    until(lambda: host not in cloud.hosts_up(), "it is down", PATIENCE_S)
    cloud.does("start", host)
    cloud.all_up()
    until(lambda: cloud.instance(far)["status"] == "stopped", "it is known that its guest has ended", PATIENCE_S)
    cloud.post(f"/v1/instances/{far}/start", None, 202)
    until(lambda: cloud.instance(far)["status"] == "active", "it runs again", PATIENCE_S)
    cloud.prints(far, f"disk {on[other][:20]} found: written by far")


def test_a_rack_is_lost_and_half_of_it_comes_back(cloud: Cloud) -> None:
    """The disks of h5 are gone, those of h6 are not."""
    on = cloud.one_on_each()
    stays = cloud.boot("stays", volumes=[on["h1"]])
    gone = cloud.boot("gone", volumes=[on["h5"]])
    for id in (stays, gone):
        cloud.boots(id)
    load = Load(cloud, 12)
    with load.goes_on():
        load.more(load.acknowledged)
        cloud.does("kill", "r3")
        until(lambda: cloud.hosts_up() == set(cloud.hosts) - {"h5", "h6"}, "its hosts are down", PATIENCE_S)
        for host, body in (("h5", {"data_lost": True, "confirm": "h5"}), ("h6", {"data_lost": False})):
            flow = cloud.post(f"/v1/hosts/{host}/lost", body, 202)["flow_id"]
            until(lambda flow=flow: cloud.get(f"/v1/flows/{flow}")["status"] == "done", f"{host} is lost", PATIENCE_S)
    assert {cloud.status(on[host]) for host in ("h5", "h6")} == {"error"}
    assert cloud.instance(gone)["status"] == "error" and cloud.instance(stays)["status"] == "active"
    cloud.does("start", "r3")
    command.run_on(cloud.fleet, "h5", "find", "/srv/fast", "-mindepth", "1", "-delete")
    for host in ("h5", "h6"):
        cloud.does("enroll", host)
    cloud.all_up()
    until(lambda: cloud.status(on["h6"]) == "available", "what is there is what it was", PATIENCE_S)
    assert cloud.status(on["h5"]) == "error"
    cloud.clear()  # what has no brick any more, too
