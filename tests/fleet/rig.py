"""A fleet for tests: its API as clients outside of it see it, and what must be true whatever has happened to it."""

from __future__ import annotations

import contextlib
import json
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from tests.agents.rig import Api, until
from tests.fleet import command

PATIENCE_S = 150.0
OPEN = "/v1/flows?open=true&all_projects=true"


class Cloud(Api):
    """A fleet that is up. What is looked at is looked at again while nobody answers."""

    def __init__(self, fleet: command.Fleet) -> None:
        self.fleet, env = fleet, fleet.env()
        trust = ssl.create_default_context(cafile=env["SSL_CERT_FILE"])
        headers = {"OpenStack-API-Version": "volume 3.60", "X-Auth-Token": env["BRICKYARD_TOKEN"]}
        self.http = httpx.Client(base_url=env["BRICKYARD_URL"], verify=trust, timeout=130, headers=headers)
        self.hosts = [row["what"] for row in fleet.order("status") if row["what"].startswith("h")]

    def get(self, path: str) -> Any:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            with contextlib.suppress(httpx.TransportError):
                answer = self.http.get(path)
                if answer.status_code < 500 or time.monotonic() > deadline:
                    return answer.raise_for_status().json()
            assert time.monotonic() < deadline, f"{path} is not answered"
            time.sleep(0.2)

    # machines -----------------------------------------------------------------------------------------------------

    def does(self, do: str, what: str, **more: Any) -> None:
        self.fleet.order(do, what, **more)

    @contextlib.contextmanager
    def is_cut(self, what: str) -> Iterator[None]:
        self.does("cut", what)
        try:
            yield
        finally:
            self.does("mend", what)

    def all_up(self, *hosts: str) -> None:
        wanted = set(hosts or self.hosts)
        until(lambda: self.hosts_up() == wanted, f"{sorted(wanted)} are up, and no other", PATIENCE_S)
        self.picture()

    def bricks(self) -> list[str]:
        """Of all hosts, as their disks have them."""
        listing = ["find", "/srv/fast", "-type", "f", "!", "-name", ".*", "!", "-name", "*@*", "-printf", "%f\\n"]
        found = [command.run_on(self.fleet, host, *listing).split() for host in self.hosts]
        return sorted(name for names in found for name in names)

    # volumes and instances ----------------------------------------------------------------------------------------

    def volume_near(self, size_gib: int = 1, **hints: list[str]) -> str:
        """`same_host` or `different_host` as other volumes."""
        body = {"volume": {"size": size_gib}, "OS-SCH-HNT:scheduler_hints": hints}
        return str(self.post("/v3/volumes", body, 202)["volume"]["id"])

    def one_on_each(self) -> dict[str, str]:
        """Host → a new volume there."""
        made: dict[str, str] = {}
        for _ in self.hosts:
            id = self.volume_near(different_host=list(made.values()))
            self.becomes(id, "available")
            made[self.host_of(id)] = id
        return made

    def prepare(self, image: Path) -> None:
        cmdline = (image / "cmdline").read_text().strip()
        id = self.post("/v1/images", {"name": "tiny", "kind": "kernel", "cmdline": cmdline}, 201)["id"]
        for role, file in (("kernel", "vmlinuz"), ("initrd", "initrd.img")):
            assert self.http.put(f"/v1/images/{id}/files/{role}", content=(image / file).read_bytes()).is_success
        for name, vcpus in (("small", 1), ("large", 4)):
            self.post("/v1/flavors", {"name": name, "vcpus": vcpus, "memory_mib": 96}, 201)

    def boot(self, name: str, **more: Any) -> str:
        return str(self.post("/v1/instances", {"name": name, "flavor": "small", "image": "tiny", **more}, 202)["id"])

    def instance(self, id: str) -> Any:
        answer = self.http.get(f"/v1/instances/{id}")
        return answer.json() if answer.status_code == 200 else None

    def boots(self, id: str, status: str = "active") -> str:
        """Wait for it; the host that it is on."""
        here = f"/v1/instances/{id}"
        shown = until(lambda: (i := self.get(here))["status"] != "building" and i, f"{id} has booted", PATIENCE_S)
        assert shown["status"] == status, json.dumps([shown, self.get(f"/v1/flows?resource_id={id}")], indent=1)
        return str(shown["host"])

    def prints(self, id: str, text: str) -> None:
        console = f"/v1/instances/{id}/console"
        until(lambda: text in self.http.get(console).text, f"the guest prints {text}", PATIENCE_S)

    def clear(self) -> None:
        """Delete every instance and volume."""
        for instance in self.get("/v1/instances")["instances"]:
            assert self.http.delete(f"/v1/instances/{instance['id']}").status_code == 202
        until(lambda: not self.get("/v1/instances")["instances"], "no instance is left", PATIENCE_S)
        ids = [volume["id"] for volume in self.get("/v3/volumes")["volumes"]]
        for id in ids:
            assert self.http.delete(f"/v3/volumes/{id}").status_code == 202
        until(lambda: not self.get("/v3/volumes")["volumes"], "no volume is left", PATIENCE_S)

    # what is always true ------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Everybody is there, nothing is under way, records, disks and guests agree, and nothing lies where it should
        not."""
        self.all_up()
        try:
            until(lambda: not self.get(OPEN)["flows"], "every flow is over", PATIENCE_S)
        except AssertionError as error:
            error.add_note(json.dumps(self.get(OPEN), indent=1))
            raise
        found = self.get("/v1/audit")["differences"]
        assert not found, json.dumps(found, indent=1)
        volumes = [f"volume-{volume['id']}" for volume in self.get("/v3/volumes")["volumes"]]
        assert self.bricks() == sorted(volumes), "each volume is one brick, and nothing else lies there"
        for pool in self.get("/v1/pools")["pools"]:
            mine = [
                row for row in self.get("/v3/volumes/detail")["volumes"] if row["os-vol-host-attr:host"] == pool["name"]
            ]
            assert pool["claimed_gib"] == sum(int(row["size"]) for row in mine), pool
