"""Volumes and instances on hosts whose agents are processes of their own: as if they were at home."""

from __future__ import annotations

import json
import signal
import stat
import time

import pytest
from tests.agents.rig import Control, Site, until

pytestmark = pytest.mark.slow


def kernel_image(control: Control) -> None:
    image = control.post("/v1/images", {"name": "tiny", "kind": "kernel", "cmdline": "quiet"}, 201)
    for role in ("kernel", "initrd"):
        answer = control.http.put(f"/v1/images/{image['id']}/files/{role}", content=role.encode())
        assert answer.is_success, answer.text
    control.post("/v1/flavors", {"name": "small", "vcpus": 1, "memory_mib": 64}, 201)


def test_a_volume_lives_on_the_host_of_an_agent(site: Site) -> None:
    control, h1, h2 = site
    first = control.volume()
    control.becomes(first, "available")
    assert f"volume-{first}" in site.host(control.host_of(first)).litter()
    control.post(f"/v3/volumes/{first}/action", {"os-extend": {"new_size": 2}}, 202)
    until(lambda: control.shown(first)["size"] == 2, "the volume has grown")
    control.becomes(first, "available")
    copy = control.volume(2, source_volid=first)
    control.becomes(copy, "available")
    assert control.host_of(copy) == control.host_of(first)
    control.delete(copy, first)
    assert not h1.litter() + h2.litter()


def test_an_instance_boots_with_its_storage_on_one_of_the_hosts(site: Site) -> None:
    control, h1, h2 = site
    kernel_image(control)
    wanted = {"name": "one", "flavor": "small", "image": "tiny", "local_storage": [{"size_gib": 1}, {"size_gib": 2}]}
    id = control.post("/v1/instances", wanted, 202)["id"]
    shown = until(lambda: (i := control.get(f"/v1/instances/{id}"))["status"] != "building" and i, "it has booted")
    assert shown["status"] == "active", (shown, control.log.read_text()[-3000:])
    volumes = control.get("/v3/volumes/detail")["volumes"]
    assert {control.host_of(volume["id"]) for volume in volumes} == {shown["host"]} and len(volumes) == 2
    assert control.http.get(f"/v1/instances/{id}/console").status_code == 200
    assert control.http.delete(f"/v1/instances/{id}?volumes=delete").status_code == 202
    until(lambda: control.http.get(f"/v1/instances/{id}").status_code == 404, "the instance is gone")
    until(lambda: not h1.litter() + h2.litter(), "no brick is left")


def test_an_agent_that_is_silent_is_down_and_takes_nothing_new(site: Site) -> None:
    control, h1, _ = site
    h1.kill()
    until(lambda: control.hosts_up() == {"h2"}, "h1 is down")
    control.picture()
    ids = [control.volume() for _ in range(3)]
    for id in ids:
        control.becomes(id, "available")
    assert {control.host_of(id) for id in ids} == {"h2"}
    control.delete(*ids)
    h1.start()
    until(lambda: control.hosts_up() == {"h1", "h2"}, "h1 is back")


def test_a_pool_made_through_the_api_is_served_after_the_agent_starts_again(site: Site) -> None:
    control, h1, _ = site
    wanted = {"host": "h1", "name": "extra", "driver": "raw", "path": str(h1.directory / "extra")}
    pool = control.post("/v1/pools", wanted, 201)
    remembered = h1.state / "backends.json"
    assert list(json.loads(remembered.read_text())) == ["extra"]
    assert stat.S_IMODE(remembered.stat().st_mode) == 0o600
    assert h1.kill(signal.SIGTERM) == 0
    h1.start()
    until(lambda: control.get(f"/v1/pools/{pool['id']}")["up"], "the pool is served")
    assert h1.kill(signal.SIGTERM) == 0
    remembered.unlink()  # the host was imaged anew
    h1.start()
    until(lambda: remembered.exists(), "the service has told the agent of its pool")
    until(lambda: control.get(f"/v1/pools/{pool['id']}")["up"], "the pool is served")
    h1.kill()
    assert control.http.delete(f"/v1/pools/{pool['id']}").status_code == 204
    h1.start()
    until(lambda: not json.loads(remembered.read_text()), "the agent has heard that the pool is gone")
    assert "h1@extra#extra" not in {found["name"] for found in control.get("/v1/pools")["pools"]}


def test_the_service_starts_again_and_knows_its_agents(site: Site) -> None:
    control, _, _ = site
    first = control.volume()
    control.becomes(first, "available")
    assert control.kill(signal.SIGTERM) == 0
    control.start()
    until(lambda: control.hosts_up() == {"h1", "h2"}, "both report to the new process")
    second = control.volume()
    control.becomes(second, "available")
    control.delete(first, second)


def test_what_is_asked_right_after_a_start_is_not_refused_for_hosts_that_were_not_heard_yet(site: Site) -> None:
    """The service was away for longer than a host may be silent."""
    control, _, _ = site
    assert control.kill(signal.SIGTERM) == 0
    time.sleep(6)  # service_down_time is 5
    control.start()
    ids = [control.volume() for _ in range(3)]
    for id in ids:
        control.becomes(id, "available")
    control.delete(*ids)


def test_an_agent_ends_well_and_needs_no_database(site: Site) -> None:
    assert site.h1.kill(signal.SIGTERM) == 0
    assert site.h1.logged()[-1]["message"] == "stopped"
    assert not list(site.h1.state.rglob("*.db*"))
    assert not [line for line in site.h1.logged() if line["level"] in ("error", "critical")]
