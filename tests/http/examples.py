"""One exchange of each operation of v3, for the reference: what is asked of a service, and what it has answered."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import falcon.testing

from brickyard.db import flows, tokens
from brickyard.service.site import Site

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "block-storage-examples.json"
PROJECT, OTHER = "5c3a6f0de5f44f5c8a3c8f5d7b1e2a90", "9b7e1d2c3f4a4b5c8d6e7f8091a2b3c4"
SERVER = "1f1e4b6a-16c9-4a54-a6a0-5e8dca1f8a3c"
VERSION = "3.71"
WAIT_S = 60
HOST, RAW = "h1@fast#fast", "h1@files#files"
NAMES = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")
PATTERNS = {  # what differs from run to run, and what stands in its place
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}": "2026-11-20T12:00:00.000000",
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d": "2026-11-20 12:00:00",
}
OURS = {PROJECT, OTHER, SERVER}
UUID = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}")


@dataclass
class Recorder:
    """Asks, and keeps the first exchange of each operation."""

    site: Site
    client: falcon.testing.TestClient
    directory: Path
    exchanges: dict[str, Any] = field(default_factory=dict)
    named: dict[str, str] = field(default_factory=dict)
    token: str = "operator"

    def ask(self, operation: str, body: Any = None, **more: str) -> Any:
        """`operation` is a method and a path as the routes have it; `more` fills it, and what is left is the query."""
        method, _, template = operation.partition(" ")
        names = re.findall(r"{(\w+)}", template)
        path = template.format(**more)
        query = "&".join(f"{name}={value}" for name, value in more.items() if name not in names)
        headers = {"X-Auth-Token": self.token, "OpenStack-API-Version": f"volume {VERSION}"}
        result = self.client.simulate_request(
            method, f"/v3{path}", query_string=query, json=body, headers=headers, host="storage.example.org"
        )
        assert result.status_code < 500, f"{operation}: {result.text}"
        key = f"{operation}#{next(iter(body))}" if template.endswith("/action") else operation
        if key not in self.exchanges:
            asked = f"/v3{path}" + (f"?{query}" if query else "")
            exchange = {"request": {"path": asked, "body": body}, "status": result.status_code}
            exchange["answer"] = result.json if result.content else None
            self.exchanges[key] = json.loads(self.lasting(json.dumps(exchange)))
        self.settle()
        return result.json if result.content else None

    def made(self, operation: str, body: Any, **more: str) -> str:
        """The id of what a request makes."""
        return str(next(iter(self.ask(operation, body, **more).values()))["id"])

    def settle(self) -> None:
        with self.site.db.read() as tx:
            begun = flows.list_(tx, open_only=True)
        for flow in begun:
            self.site.waker.wait(flow.id, WAIT_S)

    def lasting(self, text: str) -> str:
        """The text with ids, times and places that are the same in each run."""
        text = text.replace(str(self.directory), "/var/lib/brickyard")
        for pattern, instead in PATTERNS.items():
            text = re.sub(pattern, instead, text)
        text = re.sub(r'"auth_key": "\w+"', '"auth_key": "8a3c0f5e1b7d2964"', text)
        text = re.sub(r'"backup_url": "[\w+/=]+"', '"backup_url": "eyJpZCI6ICIuLi4ifQ=="', text)
        return UUID.sub(lambda match: self.name(match[0]), text)

    def name(self, id: str) -> str:
        if id in OURS or len(id) == 32:
            return id
        return self.named.setdefault(id, str(uuid.uuid5(NAMES, str(len(self.named)))))


def record(site: Site, client: falcon.testing.TestClient, directory: Path) -> dict[str, Any]:
    """Every exchange, by the operation."""
    with site.db.begin() as tx:
        tokens.insert(tx, "operator", user_id="operator", project_id=PROJECT, roles=["admin"])
        tokens.insert(tx, "neighbour", user_id="neighbour", project_id=OTHER, roles=["member"])
    recorder = Recorder(site, client, directory)
    standard = recorder.made("POST /types", {"volume_type": {"name": "standard", "description": "Close to the work"}})
    made = (_types, _qos, _group_types, _volumes, _backups, _connections, _transfers)
    for part in (*made, _pools, _quotas, _services, _rest):
        part(recorder)
    _groups(recorder, standard)
    recorder.ask("DELETE /types/{id}", id=recorder.made("POST /types", {"volume_type": {"name": "old"}}))
    return dict(sorted(recorder.exchanges.items()))


def _types(r: Recorder) -> None:
    kind = r.made("POST /types", {"volume_type": {"name": "fast", "os-volume-type-access:is_public": False}})
    r.ask("POST /types/{id}/extra_specs", {"extra_specs": {"volume_backend_name": "fast"}}, id=kind)
    r.ask("PUT /types/{id}/extra_specs/{key}", {"note": "for databases"}, id=kind, key="note")
    r.ask("GET /types/{id}/extra_specs", id=kind)
    r.ask("GET /types/{id}/extra_specs/{key}", id=kind, key="note")
    r.ask("DELETE /types/{id}/extra_specs/{key}", id=kind, key="note")
    r.ask("POST /types/{id}/action", {"addProjectAccess": {"project": OTHER}}, id=kind)
    r.ask("GET /types/{id}/os-volume-type-access", id=kind)
    r.ask("POST /types/{id}/action", {"removeProjectAccess": {"project": OTHER}}, id=kind)
    r.ask("PUT /types/{id}", {"volume_type": {"description": "On flash"}}, id=kind)
    r.ask("GET /types/{id}", id=kind)
    r.ask("GET /types")
    asked = {"provider": "luks", "control_location": "front-end", "cipher": "aes-xts-plain64", "key_size": 256}
    made = r.ask("POST /types/{id}/encryption", {"encryption": asked}, id=kind)["encryption"]["encryption_id"]
    r.ask("GET /types/{id}/encryption", id=kind)
    r.ask("GET /types/{id}/encryption/{key}", id=kind, key="cipher")
    r.ask("PUT /types/{id}/encryption/{key}", {"encryption": {"key_size": 512}}, id=kind, key=made)
    r.ask("DELETE /types/{id}/encryption/{key}", id=kind, key=made)
    r.ask("PUT /default-types/{id}", {"default_type": {"volume_type": "standard"}}, id=PROJECT)
    r.ask("GET /default-types")
    r.ask("GET /default-types/{id}", id=PROJECT)
    r.ask("DELETE /default-types/{id}", id=PROJECT)


def _image(r: Recorder) -> str:
    headers = {"X-Auth-Token": r.token}
    wanted = {"name": "debian", "kind": "disk", "format": "raw"}
    made = r.client.simulate_post("/v1/images", json=wanted, headers=headers).json["id"]
    content = b"debian".ljust(65536, b".")
    stored = r.client.simulate_put(f"/v1/images/{made}/files/disk", body=content, headers=headers)
    assert stored.status_code == 200, stored.text
    return str(made)


def _qos(r: Recorder) -> None:
    kind = r.made("POST /types", {"volume_type": {"name": "limited"}})
    asked = {"name": "slow", "consumer": "front-end", "total_iops_sec": "500"}
    specs = r.made("POST /qos-specs", {"qos_specs": asked})
    r.ask("PUT /qos-specs/{id}", {"qos_specs": {"total_bytes_sec": "1048576"}}, id=specs)
    r.ask("PUT /qos-specs/{id}/delete_keys", {"keys": ["total_bytes_sec"]}, id=specs)
    r.ask("GET /qos-specs")
    r.ask("GET /qos-specs/{id}", id=specs)
    r.ask("GET /qos-specs/{id}/associate", id=specs, vol_type_id=kind)
    r.ask("GET /qos-specs/{id}/associations", id=specs)
    r.ask("GET /qos-specs/{id}/disassociate", id=specs, vol_type_id=kind)
    r.ask("GET /qos-specs/{id}/disassociate_all", id=specs)
    r.ask("DELETE /qos-specs/{id}", id=specs)


def _group_types(r: Recorder) -> None:
    kind = r.made("POST /group_types", {"group_type": {"name": "together"}})
    r.ask("POST /group_types/{id}/group_specs", {"group_specs": {"note": "for databases"}}, id=kind)
    r.ask("PUT /group_types/{id}/group_specs/{key}", {"note": "for all"}, id=kind, key="note")
    r.ask("GET /group_types/{id}/group_specs", id=kind)
    r.ask("GET /group_types/{id}/group_specs/{key}", id=kind, key="note")
    r.ask("DELETE /group_types/{id}/group_specs/{key}", id=kind, key="note")
    r.ask("PUT /group_types/{id}", {"group_type": {"description": "Volumes of one service"}}, id=kind)
    r.ask("GET /group_types/{id}", id=kind)
    r.ask("GET /group_types")
    r.ask("DELETE /group_types/{id}", id=kind)


def _volumes(r: Recorder) -> None:
    wanted = {"size": 1, "name": "data", "volume_type": "standard", "metadata": {"owner": "me"}}
    volume = r.made("POST /volumes", {"volume": wanted})
    _metadata(r, "volume", volume)
    r.ask("PUT /volumes/{id}", {"volume": {"description": "All that matters"}}, id=volume)
    for value in (
        {"os-set_image_metadata": {"metadata": {"os_distro": "debian", "os_version": "13"}}},
        {"os-show_image_metadata": None},
        {"os-unset_image_metadata": {"key": "os_version"}},
        {"os-set_bootable": {"bootable": True}},
        {"os-update_readonly_flag": {"readonly": False}},
        {"os-extend": {"new_size": 2}},
        {"os-reset_status": {"status": "error"}},
        {"os-reset_status": {"status": "available"}},
        {"os-migrate_volume_completion": {"new_volume": volume}},
        {"os-extend_volume_completion": {"error": False}},
        {"os-reimage": {"image_id": _image(r)}},
        {"os-volume_upload_image": {"image_name": "golden", "disk_format": "qcow2", "visibility": "private"}},
    ):
        r.ask("POST /volumes/{id}/action", value, id=volume)
    r.ask("GET /volumes/{id}", id=volume)
    r.ask("GET /volumes")
    r.ask("GET /volumes/detail", limit="1")
    r.ask("GET /volumes/summary")
    r.ask("GET /volumes/{id}/encryption", id=volume)
    r.ask("GET /volumes/{id}/encryption/{key}", id=volume, key="encryption_key_id")
    wanted = {"volume_id": volume, "name": "before", "metadata": {"owner": "me"}}
    point = r.made("POST /snapshots", {"snapshot": wanted})
    _metadata(r, "snapshot", point)
    r.ask("PUT /snapshots/{id}", {"snapshot": {"description": "Before the upgrade"}}, id=point)
    r.ask("GET /snapshots/{id}", id=point)
    r.ask("GET /snapshots")
    r.ask("GET /snapshots/detail")
    r.ask("POST /volumes/{id}/action", {"revert": {"snapshot_id": point}}, id=volume)
    r.ask("POST /snapshots/{id}/action", {"os-reset_status": {"status": "creating"}}, id=point)
    noted = {"os-update_snapshot_status": {"status": "creating", "progress": "80%"}}
    r.ask("POST /snapshots/{id}/action", noted, id=point)
    r.ask("POST /snapshots/{id}/action", {"os-reset_status": {"status": "available"}}, id=point)
    r.ask("DELETE /snapshots/{id}", id=point)
    other = r.made("POST /snapshots", {"snapshot": {"volume_id": volume}})
    r.ask("POST /snapshots/{id}/action", {"os-force_delete": None}, id=other)
    r.ask("DELETE /volumes/{id}", id=volume)
    lost = r.made("POST /volumes", {"volume": {"size": 900000, "name": "too large"}})
    for message in r.ask("GET /messages")["messages"]:
        r.ask("GET /messages/{id}", id=message["id"])
        r.ask("DELETE /messages/{id}", id=message["id"])
    r.ask("POST /volumes/{id}/action", {"os-force_delete": None}, id=lost)


def _metadata(r: Recorder, noun: str, id: str) -> None:
    path = f"/{noun}s/{{id}}/metadata"
    r.ask(f"GET {path}", id=id)
    r.ask(f"POST {path}", {"metadata": {"tier": "one"}}, id=id)
    r.ask(f"PUT {path}/{{key}}", {"meta": {"tier": "two"}}, id=id, key="tier")
    r.ask(f"GET {path}/{{key}}", id=id, key="tier")
    r.ask(f"DELETE {path}/{{key}}", id=id, key="tier")
    r.ask(f"PUT {path}", {"metadata": {"owner": "me"}}, id=id)


def _backups(r: Recorder) -> None:
    volume = r.made("POST /volumes", {"volume": {"name": "books", "size": 1}})
    wanted = {"volume_id": volume, "name": "monday", "metadata": {"kept": "a year"}}
    backup = r.made("POST /backups", {"backup": wanted})
    r.ask("GET /backups/{id}", id=backup)
    r.ask("GET /backups")
    r.ask("GET /backups/detail")
    r.ask("PUT /backups/{id}", {"backup": {"description": "Before the upgrade"}}, id=backup)
    r.ask("POST /backups/{id}/restore", {"restore": {"volume_id": volume}}, id=backup)
    r.ask("POST /backups/{id}/action", {"os-reset_status": {"status": "available"}}, id=backup)
    record = r.ask("GET /backups/{id}/export_record", id=backup)
    r.ask("DELETE /backups/{id}", id=backup)
    r.ask("POST /backups/import_record", record)
    r.ask("POST /backups/{id}/action", {"os-force_delete": {}}, id=backup)
    r.ask("DELETE /volumes/{id}", id=volume)


def _connections(r: Recorder) -> None:
    volume = r.made("POST /volumes", {"volume": {"size": 1, "name": "shared", "volume_type": "standard"}})
    connector = {"host": "h1"}
    wanted = {"volume_uuid": volume, "instance_uuid": SERVER}
    attachment = r.made("POST /attachments", {"attachment": wanted})
    r.ask("PUT /attachments/{id}", {"attachment": {"connector": connector}}, id=attachment)
    r.ask("POST /attachments/{id}/action", {"os-complete": None}, id=attachment)
    r.ask("GET /attachments/{id}", id=attachment)
    r.ask("GET /attachments")
    r.ask("GET /attachments/detail")
    r.ask("DELETE /attachments/{id}", id=attachment)
    for value in (
        {"os-reserve": None},
        {"os-unreserve": None},
        {"os-initialize_connection": {"connector": connector}},
        {"os-attach": {"instance_uuid": SERVER, "mountpoint": "/dev/vdb", "mode": "rw"}},
        {"os-begin_detaching": None},
        {"os-roll_detaching": None},
        {"os-terminate_connection": {"connector": connector}},
        {"os-detach": {}},
        {"os-attach": {"instance_uuid": SERVER, "mountpoint": "/dev/vdb"}},
        {"os-force_detach": {}},
    ):
        r.ask("POST /volumes/{id}/action", value, id=volume)
    r.ask("DELETE /volumes/{id}", id=volume)


def _transfers(r: Recorder) -> None:
    for path in ("/volume-transfers", "/os-volume-transfer"):
        volume = r.made("POST /volumes", {"volume": {"size": 1, "name": "gift"}})
        back = r.made(f"POST {path}", {"transfer": {"volume_id": volume, "name": "present"}})
        r.ask(f"GET {path}/{{id}}", id=back)
        r.ask(f"GET {path}")
        r.ask(f"GET {path}/detail")
        r.ask(f"DELETE {path}/{{id}}", id=back)
        offer = r.ask(f"POST {path}", {"transfer": {"volume_id": volume}})["transfer"]
        r.token = "neighbour"
        r.ask(f"POST {path}/{{id}}/accept", {"accept": {"auth_key": offer["auth_key"]}}, id=offer["id"])
        r.token = "operator"


def _pools(r: Recorder) -> None:
    for name, backend in (("in-memory", "fast"), ("in-files", "files")):
        kind = {"name": name, "extra_specs": {"volume_backend_name": backend}}
        r.ask("POST /types", {"volume_type": kind})
    volumes, snapshots = "/manageable_volumes", "/manageable_snapshots"
    for paths in ((volumes, snapshots), ("/os-volume-manage", "/os-snapshot-manage")):
        volume = r.made("POST /volumes", {"volume": {"size": 1, "volume_type": "in-files"}})
        point = r.made("POST /snapshots", {"snapshot": {"volume_id": volume}})
        r.ask("POST /snapshots/{id}/action", {"os-unmanage": None}, id=point)
        r.ask(f"GET {paths[1]}", host=RAW.replace("#", "%23"))
        r.ask(f"GET {paths[1]}/detail", host=RAW.replace("#", "%23"))
        reference = {"source-name": f"_snapshot-{point}"}
        taken = {"volume_id": volume, "ref": reference, "name": "found"}
        again = r.made(f"POST {paths[1]}", {"snapshot": taken})
        r.ask("DELETE /snapshots/{id}", id=again)
        r.ask("POST /volumes/{id}/action", {"os-unmanage": None}, id=volume)
        r.ask(f"GET {paths[0]}", host=RAW.replace("#", "%23"))
        r.ask(f"GET {paths[0]}/detail", host=RAW.replace("#", "%23"))
        taken = {"host": RAW, "ref": {"source-name": f"volume-{volume}"}, "name": "found"}
        r.ask("DELETE /volumes/{id}", id=r.made(f"POST {paths[0]}", {"volume": taken}))
    volume = r.made("POST /volumes", {"volume": {"size": 1, "volume_type": "in-files"}})
    r.ask("POST /volumes/{id}/action", {"os-retype": {"new_type": "standard", "migration_policy": "never"}}, id=volume)
    r.ask("POST /volumes/{id}/action", {"os-migrate_volume": {"host": "h1@more#more"}}, id=volume)
    r.ask("DELETE /volumes/{id}", id=volume)
    r.ask("GET /scheduler-stats/get_pools", detail="true", name=HOST.replace("#", "%23"))
    r.ask("GET /capabilities/{host}", host="h1@fast")


def _quotas(r: Recorder) -> None:
    r.ask("PUT /os-quota-sets/{id}", {"quota_set": {"volumes": 20}}, id=PROJECT)
    r.ask("GET /os-quota-sets/{id}", id=PROJECT)
    r.ask("GET /os-quota-sets/{id}/defaults", id=PROJECT)
    r.ask("DELETE /os-quota-sets/{id}", id=PROJECT)
    r.ask("PUT /os-quota-class-sets/{id}", {"quota_class_set": {"volumes": 10}}, id="default")
    r.ask("GET /os-quota-class-sets/{id}", id="default")
    r.ask("GET /limits")


def _services(r: Recorder) -> None:
    backend = {"host": "h1@fast", "binary": "cinder-volume"}
    r.ask("GET /os-services")
    r.ask("PUT /os-services/disable", backend)
    r.ask("PUT /os-services/disable-log-reason", {**backend, "disabled_reason": "a new disk"})
    r.ask("PUT /os-services/enable", backend)
    r.ask("PUT /os-services/freeze", {"host": "h1@fast"})
    r.ask("PUT /os-services/thaw", {"host": "h1@fast"})
    r.ask("PUT /os-services/failover_host", {"host": "h1@fast"})
    r.ask("PUT /os-services/failover", {"host": "h1@fast"})
    logs = {"binary": "cinder-scheduler", "prefix": "brickyard.request"}
    r.ask("PUT /os-services/set-log", {**logs, "level": "INFO"})
    r.ask("PUT /os-services/get-log", logs)
    r.ask("GET /clusters")
    r.ask("GET /clusters/detail")
    r.ask("GET /clusters/{name}", name="one")
    r.ask("PUT /clusters/enable", {"name": "one"})
    r.ask("PUT /clusters/disable", {"name": "one"})
    r.ask("POST /workers/cleanup", {"host": "h1@fast"})
    r.ask("GET /os-hosts")
    r.ask("GET /os-hosts/{host}", host="h1@fast")
    r.ask("GET /os-availability-zone")


def _rest(r: Recorder) -> None:
    r.ask("GET /projects/{id}", id=PROJECT)
    r.ask("GET /servers/{id}", id=SERVER)
    r.ask("GET /extensions")
    r.ask("GET /extensions/{alias}", alias="os-quota-sets")
    r.ask("GET /resource_filters")


def _groups(r: Recorder, type_: str) -> None:
    kind = r.made("POST /group_types", {"group_type": {"name": "database"}})
    wanted = {"name": "all", "group_type": kind, "volume_types": [type_]}
    group = r.made("POST /groups", {"group": wanted})
    member = r.made("POST /volumes", {"volume": {"size": 1, "name": "one", "volume_type": "standard"}})
    r.ask("PUT /groups/{id}", {"group": {"name": "database", "add_volumes": member}}, id=group)
    r.ask("GET /groups/{id}", id=group, list_volume="true")
    r.ask("GET /groups")
    r.ask("GET /groups/detail")
    point = r.made("POST /group_snapshots", {"group_snapshot": {"group_id": group, "name": "before"}})
    r.ask("GET /group_snapshots/{id}", id=point)
    r.ask("GET /group_snapshots")
    r.ask("GET /group_snapshots/detail")
    r.ask("POST /group_snapshots/{id}/action", {"reset_status": {"status": "available"}}, id=point)
    copy = r.made("POST /groups/action", {"create-from-src": {"group_snapshot_id": point, "name": "copy"}})
    r.ask("POST /groups/{id}/action", {"reset_status": {"status": "available"}}, id=copy)
    for action in _replication():
        r.ask("POST /groups/{id}/action", {action: {}}, id=copy)
    r.ask("POST /groups/{id}/action", {"delete": {"delete-volumes": True}}, id=copy)
    r.ask("DELETE /group_snapshots/{id}", id=point)
    r.ask("PUT /groups/{id}", {"group": {"remove_volumes": member}}, id=group)
    _consistency_groups(r, type_, member)


def _consistency_groups(r: Recorder, type_: str, member: str) -> None:
    group = r.made("POST /consistencygroups", {"consistencygroup": {"name": "all", "volume_types": type_}})
    r.ask("PUT /consistencygroups/{id}/update", {"consistencygroup": {"add_volumes": member}}, id=group)
    r.ask("PUT /consistencygroups/{id}", {"consistencygroup": {"description": "Of one service"}}, id=group)
    for shown in ("GET /consistencygroups/{id}", "GET /consistencygroups", "GET /consistencygroups/detail"):
        r.ask(shown, id=group)
    wanted = {"cgsnapshot": {"consistencygroup_id": group, "name": "before"}}
    point = r.made("POST /cgsnapshots", wanted)
    for shown in ("GET /cgsnapshots/{id}", "GET /cgsnapshots", "GET /cgsnapshots/detail"):
        r.ask(shown, id=point)
    source = {"consistencygroup-from-src": {"cgsnapshot_id": point, "name": "copy"}}
    copy = r.made("POST /consistencygroups/create_from_src", source)
    r.ask("POST /consistencygroups/{id}/delete", {"consistencygroup": {"force": True}}, id=copy)
    r.ask("DELETE /cgsnapshots/{id}", id=point)


def _replication() -> Iterator[str]:
    for verb in ("enable", "disable", "failover"):
        yield f"{verb}_replication"
    yield "list_replication_targets"
