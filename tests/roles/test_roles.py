"""APIs and conductors, several of each: they share the work, and one that ends in the middle is taken over."""

from __future__ import annotations

import json
import signal

import pytest
from tests import rabbit
from tests.agents.rig import Control, Process, until
from tests.agents.test_life import kernel_image
from tests.roles.fleet import Fleet

pytestmark = pytest.mark.slow


def stop(process: Process) -> None:
    assert process.process is not None
    process.process.send_signal(signal.SIGSTOP)


def go_on(process: Process) -> None:
    assert process.process is not None
    process.process.send_signal(signal.SIGCONT)


def said(process: Process, words: str) -> bool:
    return any(words in json.dumps(line) for line in process.logged())


def boot(api: Control) -> str:
    wanted = {"name": "one", "flavor": "small", "image": "tiny", "local_storage": [{"size_gib": 1}]}
    return str(api.post("/v1/instances", wanted, 202)["id"])


@pytest.fixture(scope="module")
def image(running: Fleet) -> None:
    kernel_image(running.a1)


def test_each_api_and_each_conductor_serves(fleet: Fleet, image: None) -> None:
    a1, a2 = fleet.a1, fleet.a2
    ids = [api.volume() for api in (a1, a2) * 4]
    for id, api in zip(ids, (a2, a1) * 4, strict=True):
        api.becomes(id, "available")
    for conductor in (fleet.c1, fleet.c2):
        assert said(conductor, "flow is done"), "both have done some of it"
    id = boot(a1)
    shown = until(lambda: (i := a2.get(f"/v1/instances/{id}"))["status"] != "building" and i, "it has booted")
    assert shown["status"] == "active", shown
    [mine] = {volume["id"] for volume in a1.get("/v3/volumes")["volumes"]} - set(ids)
    assert a1.http.delete(f"/v1/instances/{id}/volumes/{mine}").status_code == 204
    a2.post(f"/v1/instances/{id}/volumes", {"volume_id": mine}, 200)
    assert a1.status(mine) == "in-use"
    for api in (a1, a2):
        assert api.http.get(f"/v1/instances/{id}/console").status_code == 200
    assert a2.http.delete(f"/v1/instances/{id}?volumes=delete").status_code == 202
    until(lambda: a1.http.get(f"/v1/instances/{id}").status_code == 404, "it is gone")


def test_each_shows_who_is_there(fleet: Fleet) -> None:
    for api in (fleet.a1, fleet.a2):
        found = api.get("/v3/os-services?binary=cinder-scheduler")["services"]
        assert {(one["host"], one["state"]) for one in found} == {("m1", "up"), ("m2", "up")}
        assert api.http.get("/healthcheck").text == "OK"
        health = api.get("/healthcheck?detailed=true")
        assert health["status"] == "ok", health
        assert {"api", "conductors", "conductor m1", "conductor m2"} <= {check["name"] for check in health["checks"]}
        figures = api.http.get("/metrics").text
        for binary in ("cinder-api", "cinder-scheduler"):
            for host in ("m1", "m2"):
                assert f'brickyard_process_up{{binary="{binary}",host="{host}"}} 1.0' in figures
    fleet.c1.kill()
    down = 'brickyard_process_up{binary="cinder-scheduler",host="m1"} 0.0'
    until(lambda: down in fleet.a2.http.get("/metrics").text, "a conductor that was killed is down")
    found = fleet.a2.get("/v3/os-services?binary=cinder-scheduler")["services"]
    assert {(one["host"], one["state"]) for one in found} == {("m1", "down"), ("m2", "up")}
    assert fleet.a2.get("/healthcheck?detailed=true")["status"] == "degraded"
    assert fleet.a2.http.get("/healthcheck").text == "OK"


def test_progress_is_seen_through_an_api_that_does_not_run_the_flow(fleet: Fleet) -> None:
    [id, *_] = fleet.hold_work_of_both()
    flow = fleet.a1.flow_of(id, "create_volume")["id"]
    with fleet.a2.http.stream("GET", f"/v1/flows/{flow}/events") as events:
        fleet.go_on()
        text = "".join(line for line in events.iter_lines())
    assert '"done"' in text and fleet.a2.status(id) == "available"


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
def test_a_conductor_ends_in_the_middle(fleet: Fleet, signum: int, image: None) -> None:
    """Of creates, deletes, an extend and a boot: the other one takes them over."""
    old, grown = fleet.a1.volume(), fleet.a2.volume()
    for id in (old, grown):
        fleet.a1.becomes(id, "available")
    ids = fleet.hold_work_of_both()
    instance = boot(fleet.a2)
    assert fleet.a1.http.delete(f"/v3/volumes/{old}").status_code == 202
    fleet.a2.post(f"/v3/volumes/{grown}/action", {"os-extend": {"new_size": 2}}, 202)
    fleet.c1.kill(signum)
    fleet.go_on()
    for id in (*ids, grown):
        fleet.a2.becomes(id, "available")
    until(lambda: fleet.a2.status(old) == "gone", "the other volume is gone")
    assert fleet.a2.shown(grown)["size"] == 2
    until(lambda: fleet.a1.get(f"/v1/instances/{instance}")["status"] == "active", "it has booted")
    assert fleet.a1.http.delete(f"/v1/instances/{instance}?volumes=delete").status_code == 202
    until(lambda: fleet.a1.http.get(f"/v1/instances/{instance}").status_code == 404, "it is gone")


def test_a_conductor_that_slept_disturbs_nobody_when_it_wakes(fleet: Fleet) -> None:
    """It sleeps while hosts do what it has asked for; they start again and have forgotten that. The other conductor
    makes and deletes the volumes. Then it wakes, and asks its hosts once more."""
    ids = fleet.hold_work_of_both()
    stop(fleet.c1)
    for host in fleet.hosts.values():
        host.kill()
    fleet.go_on()
    for host in fleet.hosts.values():
        host.start()
    for id in ids:
        fleet.a2.becomes(id, "available")
    fleet.a2.delete(*ids)
    until(lambda: not fleet.flows(), "every flow is over")
    go_on(fleet.c1)
    until(lambda: said(fleet.c1, "another conductor"), "it is told that its flows are taken over")
    more = [api.volume() for api in (fleet.a1, fleet.a2) * 2]
    for id in more:
        fleet.a1.becomes(id, "available")
    fleet.a1.delete(*more)
    for host in fleet.hosts.values():
        assert not host.litter()


def test_an_api_is_killed_and_the_broker_starts_anew(fleet: Fleet, broker: rabbit.Rabbit) -> None:
    ids = fleet.hold_work_of_both()
    fleet.a1.kill()
    broker.restart(signal.SIGKILL)
    fleet.go_on()
    for one in ids:
        fleet.a2.becomes(one, "available")
    until(lambda: fleet.a2.hosts_up() >= {"n1", "n2"}, "both hosts are heard again")
    id = fleet.a2.volume()
    fleet.a2.becomes(id, "available")
    fleet.a1.start()
    assert fleet.a1.status(id) == "available"


def test_a_service_that_must_be_alone_is_refused_beside_them(fleet: Fleet) -> None:
    assert "Another service runs on the database" in fleet.c1.run("serve", *fleet.a1.where(), code=1)
