"""A guest on one host and its volumes on another one, each host an agent of its own: what is written arrives, and
nobody serves it for longer than it is needed."""

from __future__ import annotations

import contextlib
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests import exporting, rabbit
from tests.agents.rig import Control, Host, Site, until

pytestmark = [pytest.mark.slow, pytest.mark.guest, pytest.mark.timeout(900)]
PATIENCE_S = 300.0  # guests are emulated, and a machine may be slow
COMMON = """\
[DEFAULT]
enabled_backends = {name}
report_interval = 1
[host]
hypervisor = {hypervisor}
acceleration = tcg
vcpus = 8
memory_mib = 8192
labels = zone=nova,rack=r1
export_address = {address}
[{name}]
volume_driver = raw
"""


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory, broker: rabbit.Rabbit, tiny_image: Path) -> Iterator[Site]:
    with started(tmp_path_factory.mktemp("reach"), broker, tiny_image) as made:
        yield made


@contextlib.contextmanager
def started(directory: Path, broker: rabbit.Rabbit, tiny_image: Path, more: str = "") -> Iterator[Site]:
    """Guests run on east, and west has the volumes of type `far`, with `more` options."""
    made = Site(
        Control(directory / "control", broker),
        Host(directory, "east", COMMON.format(name="near", hypervisor="qemu", address=exporting.address(0))),
        Host(directory, "west", COMMON.format(name="far", hypervisor="none", address=exporting.address(1)) + more),
    )
    made.control.start()
    try:
        for host in (made.h1, made.h2):
            host.enroll(made.control)
            host.start()
        until(lambda: made.control.hosts_up() >= {"east", "west"}, "both agents report")
        prepare(made.control, tiny_image)
        yield made
        for instance in made.control.get("/v1/instances")["instances"]:
            delete(made.control, instance["id"])
    finally:
        try:
            for process in (made.h2, made.h1, made.control):
                if not process.ended():
                    process.kill(signal.SIGTERM)
        finally:
            exporting.end(directory)
            made.control.http.close()


def prepare(control: Control, image: Path) -> None:
    cmdline = (image / "cmdline").read_text().strip()
    for name, more in (("tiny", ""), ("counting", " brickyard.count=yes loglevel=6")):
        id = control.post("/v1/images", {"name": name, "kind": "kernel", "cmdline": cmdline + more}, 201)["id"]
        for role, file in (("kernel", "vmlinuz"), ("initrd", "initrd.img")):
            assert control.http.put(f"/v1/images/{id}/files/{role}", content=(image / file).read_bytes()).is_success
    control.post("/v1/flavors", {"name": "small", "vcpus": 1, "memory_mib": 96}, 201)
    specs = {"volume_backend_name": "far"}
    control.post("/v3/types", {"volume_type": {"name": "far", "extra_specs": specs}}, 200)
    control.picture()


def boot(control: Control, name: str, **more: Any) -> str:
    wanted = {"name": name, "flavor": "small", "image": "tiny", "locality": "rack", **more}
    id = control.post("/v1/instances", wanted, 202)["id"]
    here = f"/v1/instances/{id}"
    shown = until(lambda: (i := control.get(here))["status"] != "building" and i, "it has booted", PATIENCE_S)
    assert (shown["status"], shown["host"]) == ("active", "east"), shown
    return str(id)


def delete(control: Control, id: str) -> None:
    assert control.http.delete(f"/v1/instances/{id}").status_code == 202
    until(lambda: control.http.get(f"/v1/instances/{id}").status_code == 404, "the instance is gone", PATIENCE_S)


def attach(control: Control, id: str, volume: str) -> None:
    """Also where the request does not wait until it is done."""
    answer = control.http.post(f"/v1/instances/{id}/volumes", json={"volume_id": volume})
    assert answer.status_code in (200, 503), answer.text
    until(lambda: control.status(volume) == "in-use", "the guest has it", PATIENCE_S)


def detach(control: Control, id: str, volume: str) -> None:
    """As often as it takes: a guest that is slow to let go is asked again."""
    where = f"/v1/instances/{id}/volumes/{volume}"
    until(lambda: control.http.delete(where).status_code in (204, 404), "the guest lets go", PATIENCE_S)
    control.becomes(volume, "available")


def prints(control: Control, id: str, text: str) -> None:
    console = f"/v1/instances/{id}/console"
    until(lambda: text in control.http.get(console).text, f"the guest prints {text}", PATIENCE_S)


def far_volume(control: Control, **more: Any) -> str:
    id = control.volume(volume_type="far", **more)
    control.becomes(id, "available")
    assert control.host_of(id) == "west"
    return id


def test_a_guest_keeps_what_it_writes_to_volumes_of_another_host(site: Site) -> None:
    control, _, west = site
    at = {host["name"]: host["export_address"] for host in control.get("/v1/hosts")["hosts"]}
    assert at == {"east": exporting.address(0), "west": exporting.address(1)}
    shown = control.run("--url", control.url, "host", "show", "west")
    assert ["Exports", "at", exporting.address(1)] in [line.split() for line in shown.splitlines()]
    first, second = far_volume(control), far_volume(control)
    one = boot(control, "one", local_storage=[{"size_gib": 1, "volume_type": "far"}], volumes=[first])
    prints(control, one, "brickyard: ready")
    prints(control, one, f"disk {first[:20]} wrote: written by one")
    assert len(exporting.servers(west.directory)) == 2

    # The agent is killed, and all that it serves with it, as by a restart of the host: the guest waits for it.
    west.kill()
    assert len(exporting.servers(west.directory)) == 2
    exporting.end(west.directory)
    west.start()
    until(lambda: len(exporting.servers(west.directory)) == 2, "what was served is served again")
    until(lambda: control.hosts_up() >= {"east", "west"}, "west is back")

    attach(control, one, second)
    prints(control, one, f"disk {second[:20]} wrote: written by one")
    assert len(exporting.servers(west.directory)) == 3
    assert control.get("/v1/audit")["differences"] == []

    # What is copied while the guest has it is as after a power cut.
    snapshot = control.post("/v3/snapshots", {"snapshot": {"volume_id": second, "force": True}}, 202)["snapshot"]["id"]
    until(
        lambda: control.get(f"/v3/snapshots/{snapshot}")["snapshot"]["status"] == "available", "the snapshot is there"
    )
    copy = far_volume(control, snapshot_id=snapshot)

    detach(control, one, first)
    assert len(exporting.servers(west.directory)) == 2
    delete(control, one)
    assert exporting.servers(west.directory) == []

    two = boot(control, "two", volumes=[first, second, copy])
    for volume in (first, second, copy):
        prints(control, two, f"disk {volume[:20]} found: written by one")
    delete(control, two)
    assert exporting.servers(west.directory) == []
    assert control.get("/v1/audit")["differences"] == []


def counted(control: Control, id: str) -> int:
    """The last number that a guest knows to be on its disks."""
    return max(map(int, re.findall(r"counted (\d+)", control.http.get(f"/v1/instances/{id}/console").text)), default=0)


def move(control: Control, volume: str, host: str) -> None:
    """As soon as the older copy there is gone."""
    where, pool = f"/v3/volumes/{volume}/action", {"east": "east@near#near", "west": "west@far#far"}[host]
    action = {"os-migrate_volume": {"host": pool}}
    until(lambda: control.http.post(where, json=action).status_code == 202, "it begins to move")


def arrived(site: Site, instance: str, volume: str, host: str) -> None:
    """It is there, is served while that is needed, and the guest goes on writing."""
    control, _, west = site
    until(lambda: control.status(volume) == "in-use", "it moved", PATIENCE_S)
    assert (control.host_of(volume), control.shown(volume)["migration_status"]) == (host, "success")
    prints(control, instance, f"counted {counted(control, instance) + 2}")
    served = 1 if host == "west" else 0
    until(lambda: len(exporting.servers(west.directory)) == served, "it is served while it is needed")


def extended(site: Site, instance: str, volume: str) -> None:
    """The guest sees it grow, though another host has it, and goes on writing."""
    control, _, west = site
    headers = {"OpenStack-API-Version": "volume 3.42"}
    grow = {"os-extend": {"new_size": 2}}
    answer = control.http.post(f"/v3/volumes/{volume}/action", json=grow, headers=headers)
    assert answer.status_code == 202, answer.text
    until(lambda: control.status(volume) != "extending", "it has grown", PATIENCE_S)
    assert (control.status(volume), control.shown(volume)["size"]) == ("in-use", 2)
    prints(control, instance, "new size: 4194304 512-byte logical blocks")
    prints(control, instance, f"counted {counted(control, instance) + 2}")
    assert len(exporting.servers(west.directory)) == 1


def drained(control: Control, host: str, to: str, volume: str, status: str) -> None:
    """The host is emptied of the volume, and takes new ones again."""
    where = f"/v1/hosts/{host}"
    flow = control.post(f"{where}/drain", {}, 202)["flow_id"]
    until(lambda: control.get(f"/v1/flows/{flow}")["status"] == "done", "the host is drained", PATIENCE_S)
    found = control.get(f"{where}/drain")
    assert [(v["id"], v["state"], v["target"].partition("@")[0]) for v in found["volumes"]] == [(volume, "moved", to)]
    assert (control.status(volume), control.host_of(volume)) == (status, to)
    assert control.http.patch(where, json={"enabled": True}).is_success


def test_a_volume_moves_to_another_host_while_its_guest_writes(site: Site) -> None:
    control, east, west = site
    volume = control.volume()
    control.becomes(volume, "available")
    one = boot(control, "one", image="counting", volumes=[volume])
    prints(control, one, "counted 1")
    there, back = ("west", "east") if control.host_of(volume) == "east" else ("east", "west")
    move(control, volume, there)
    east.kill()  # QEMU copies on, and whoever asked for it finds it again
    east.start()
    for at in (there, back):
        arrived(site, one, volume, at)
        if at == "west":
            extended(site, one, volume)
        if at == there:
            drained(control, there, back, volume, "in-use")
    last = counted(control, one)
    delete(control, one)
    drained(control, back, there, volume, "available")
    assert exporting.servers(east.directory) == exporting.servers(west.directory) == []
    two = boot(control, "two", volumes=[volume])
    prints(control, two, "brickyard: ready")
    console = control.http.get(f"/v1/instances/{two}/console").text
    [number] = re.findall(rf"disk {volume[:20]} counted to (\d+)", console)
    assert int(number) >= last
    until(lambda: control.get("/v1/audit")["differences"] == [], "nothing is left where it was")
