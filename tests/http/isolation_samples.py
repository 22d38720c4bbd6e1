"""What the matrix of isolation asks with: a resource for each variable of a path, and a body for each write.

`<volume>` in a body stands for the id of a volume of the project that is asked about. A route that is new finds its
variables in SAMPLES or the tests fail; a write needs a body that its schema takes, or it would be refused for that.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import falcon.testing

from brickyard.api import own, routes
from brickyard.db import flows, hosts, reservations, tokens
from brickyard.service import policy
from brickyard.service.site import Site

NOBODY = "11111111-2222-3333-4444-555555555555"  # the id of nothing
BLUE, RED, OPS = "b" * 32, "c" * 32, "0" * 32  # projects: one that has things, one that has none, the administrators'

# first word of a path, and variable → whose id; a text in quotes is taken as it is
SAMPLES: dict[tuple[str, str], str] = {
    ("volumes", "id"): "volume",
    ("volumes", "key"): "'k'",
    ("snapshots", "id"): "snapshot",
    ("snapshots", "key"): "'k'",
    ("backups", "id"): "backup",
    ("os-volume-transfer", "id"): "transfer",
    ("volume-transfers", "id"): "transfer",
    ("attachments", "id"): "attachment",
    ("groups", "id"): "group",
    ("group_snapshots", "id"): "group_snapshot",
    ("consistencygroups", "id"): "consistencygroup",
    ("cgsnapshots", "id"): "cgsnapshot",
    ("messages", "id"): "message",
    ("types", "id"): "type",
    ("types", "key"): "'multiattach'",
    ("default-types", "id"): "project",
    ("qos-specs", "id"): "qos",
    ("group_types", "id"): "group_type",
    ("group_types", "key"): "'k'",
    ("os-quota-sets", "id"): "project",
    ("os-quota-class-sets", "id"): "'default'",
    ("clusters", "name"): "'none'",
    ("os-hosts", "host"): "'h1'",
    ("capabilities", "host"): "'h1@memory'",
    ("projects", "id"): "project",
    ("servers", "id"): "instance",
    ("extensions", "alias"): "'os-hosts'",
    ("hosts", "name"): "'h1'",
    ("agents", "host"): "'h9'",
    ("pools", "name"): "'h1@memory'",
    ("flavors", "name"): "'small'",
    ("images", "id"): "image",
    ("images", "role"): "'initrd'",
    ("instances", "id"): "instance",
    ("instances", "volume_id"): "volume",
    ("reservations", "id"): "reservation",
    ("receipts", "id"): "receipt",
    ("flows", "id"): "flow",
}
KEYS = {"volumes": "encryption_key_id", "types": "provider"}  # of …/encryption/{key}
SHARED = {"qos", "receipt"}  # of no project, and for administrators only

METADATA = {"metadata": {"k": "v"}}
BODIES: dict[str, Any] = {
    "POST /volumes": {"volume": {"size": 1, "snapshot_id": "<snapshot>"}},
    "PUT /volumes/{id}": {"volume": {"name": "x"}},
    "POST /volumes/{id}/metadata": METADATA,
    "PUT /volumes/{id}/metadata": METADATA,
    "PUT /volumes/{id}/metadata/{key}": {"meta": {"k": "v"}},
    "POST /volumes/{id}/action os-attach": {"instance_uuid": NOBODY, "mountpoint": "/dev/vdb"},
    "POST /volumes/{id}/action os-initialize_connection": {"connector": {"host": "h1"}},
    "POST /volumes/{id}/action os-terminate_connection": {"connector": {"host": "h1"}},
    "POST /volumes/{id}/action os-extend": {"new_size": 2},
    "POST /volumes/{id}/action os-retype": {"new_type": "x"},
    "POST /volumes/{id}/action revert": {"snapshot_id": "<snapshot>"},
    "POST /volumes/{id}/action os-reimage": {"image_id": "<image>"},
    "POST /volumes/{id}/action os-volume_upload_image": {"image_name": "x"},
    "POST /volumes/{id}/action os-set_bootable": {"bootable": True},
    "POST /volumes/{id}/action os-update_readonly_flag": {"readonly": True},
    "POST /volumes/{id}/action os-set_image_metadata": METADATA,
    "POST /volumes/{id}/action os-unset_image_metadata": {"key": "k"},
    "POST /snapshots": {"snapshot": {"volume_id": "<volume>"}},
    "PUT /snapshots/{id}": {"snapshot": {"name": "x"}},
    "POST /snapshots/{id}/metadata": METADATA,
    "PUT /snapshots/{id}/metadata": METADATA,
    "PUT /snapshots/{id}/metadata/{key}": {"meta": {"k": "v"}},
    "POST /snapshots/{id}/action os-update_snapshot_status": {"status": "error"},
    "POST /backups": {"backup": {"volume_id": "<volume>"}},
    "PUT /backups/{id}": {"backup": {"name": "x"}},
    "POST /backups/{id}/restore": {"restore": {"volume_id": "<volume>"}},
    "POST /backups/{id}/action os-reset_status": {"status": "error"},
    "POST /backups/import_record": {"backup-record": {"backup_service": "brickyard", "backup_url": "e30="}},
    "POST /os-volume-transfer": {"transfer": {"volume_id": "<volume>"}},
    "POST /os-volume-transfer/{id}/accept": {"accept": {"auth_key": "0" * 16}},
    "POST /volume-transfers": {"transfer": {"volume_id": "<volume>"}},
    "POST /volume-transfers/{id}/accept": {"accept": {"auth_key": "0" * 16}},
    "POST /attachments": {"attachment": {"volume_uuid": "<volume>"}},
    "PUT /attachments/{id}": {"attachment": {"connector": {"host": "h1"}}},
    "POST /groups": {"group": {"group_type": "<group_type>", "volume_types": ["<type>"]}},
    "POST /groups/action create-from-src": {"source_group_id": "<group>"},
    "PUT /groups/{id}": {"group": {"name": "x"}},
    "POST /group_snapshots": {"group_snapshot": {"group_id": "<group>"}},
    "POST /consistencygroups": {"consistencygroup": {"volume_types": "<type>"}},
    "POST /consistencygroups/create_from_src": {"consistencygroup-from-src": {"source_cgid": "<consistencygroup>"}},
    "PUT /consistencygroups/{id}": {"consistencygroup": {"name": "x"}},
    "PUT /consistencygroups/{id}/update": {"consistencygroup": {"add_volumes": "<volume>"}},
    "POST /consistencygroups/{id}/delete": {"consistencygroup": {"force": True}},
    "POST /cgsnapshots": {"cgsnapshot": {"consistencygroup_id": "<consistencygroup>"}},
    "POST /v1/instances": {"name": "x", "flavor": "small", "image": "<image>"},
    "POST /v1/instances/{id}/volumes": {"volume_id": "<volume>"},
    "POST /v1/explain": {"flavor": "small", "image": "<image>"},
    "PATCH /v1/images/{id}": {"protected": True},
    "POST /v1/audit": {"dry_run": True},
    "POST /v1/hosts/{name}/lost": {"data_lost": False},
    "POST /v1/hosts/{name}/drain": {},
}
# further ways in which a body names what is a project's
REFERENCES: tuple[tuple[str, Any], ...] = (
    ("POST /volumes", {"volume": {"size": 1, "source_volid": "<volume>"}}),
    ("POST /volumes", {"volume": {"size": 1, "backup_id": "<backup>"}}),
    ("POST /backups", {"backup": {"volume_id": "<volume>", "snapshot_id": "<snapshot>"}}),
    ("POST /backups/{id}/restore", {"restore": {}}),
    ("POST /volumes", {"volume": {"size": 1, "imageRef": "<image>"}}),
    ("POST /volumes", {"volume": {"size": 1, "volume_type": "<type>"}}),
    ("POST /volumes", {"volume": {"size": 1, "volume_type": "open", "group_id": "<group>"}}),
    ("POST /volumes", {"volume": {"size": 1, "volume_type": "open", "consistencygroup_id": "<consistencygroup>"}}),
    ("POST /consistencygroups/create_from_src", {"consistencygroup-from-src": {"cgsnapshot_id": "<cgsnapshot>"}}),
    ("POST /groups", {"group": {"group_type": "<group_type>", "volume_types": ["open"]}}),
    ("POST /groups", {"group": {"group_type": "plain", "volume_types": ["<type>"]}}),
    ("POST /groups/action create-from-src", {"group_snapshot_id": "<group_snapshot>"}),
    ("POST /v1/instances", {"name": "x", "flavor": "small", "image": "tiny", "volumes": ["<volume>"]}),
    ("POST /v1/explain", {"flavor": "small", "image": "tiny", "volumes": ["<volume>"]}),
    ("POST /v1/explain", {"volume": {"size_gib": 1, "volume_type": "<type>"}}),
)


@dataclass(frozen=True)
class Operation:
    """A route, or one action of a route."""

    name: str
    route: routes.Route
    action: str | None
    rule: str | None  # of the policy; None: who has a token may
    prefix: str

    @property
    def variables(self) -> dict[str, str]:
        """Variable of the path → key of SAMPLES' value; the test fails for one that is new."""
        noun = self.route.path.removeprefix("/v1").split("/")[1]
        return {name: SAMPLES.get((noun, name), "nothing") for name in re.findall(r"\{(\w+)\}", self.route.path)}

    def path(self, ids: dict[str, str]) -> str:
        given = {name: ids.get(kind, kind.strip("'")) for name, kind in self.variables.items()}
        if "/encryption/{key}" in self.route.path:
            given["key"] = KEYS[self.route.path.split("/")[1]]
        return self.prefix + self.route.path.format(**given)

    def body(self, ids: dict[str, str], template: Any = None) -> Any:
        found = filled(template if template is not None else BODIES.get(self.name, {}), ids)
        return {self.action: found} if self.action else found

    @property
    def names(self) -> set[str]:
        """The kinds of resources of projects that the path or the body names."""
        body = set(re.findall(r"<(\w+)>", str(BODIES.get(self.name, ""))))
        return {kind for kind in (*self.variables.values(), *body) if kind[0] != "'"} - SHARED


def operations() -> Iterator[Operation]:
    for prefix, table in (("/v3", routes.ROUTES), ("", own.ROUTES)):
        for route in table:
            name = f"{route.method} {route.path}"
            found = getattr(route.handler, "actions", None)
            if found is None:
                yield Operation(name, route, None, route.policy or UNSAID.get(name), prefix)
            else:
                for word, action in found.items():
                    yield Operation(f"{name} {word}", route, word, action.policy, prefix)


# routes whose rule the handler looks up for the project of the resource
UNSAID = {
    "GET /volumes/{id}": "volume:get",
    "GET /os-quota-sets/{id}": "volume_extension:quotas:show",
    "GET /os-quota-sets/{id}/defaults": "volume_extension:quotas:show",
}
# routes that ask for a token and for no role, and why
OPEN = {
    "GET /attachments": "of the project only; no rule guards them on the wire",
    "GET /attachments/detail": "of the project only; no rule guards them on the wire",
    "GET /attachments/{id}": "of the project only; no rule guards them on the wire",
    "GET /group_types": "public ones, and all for administrators",
    "GET /group_types/{id}": "public ones, and all for administrators",
    "GET /limits": "of the project; what is used has a rule of its own",
    "GET /os-availability-zone": "names that users choose from",
    "GET /extensions": "what the API can do",
    "GET /extensions/{alias}": "what the API can do",
    "GET /resource_filters": "what the API can do",
    "GET /projects/{id}": "the project itself, which repeats its id",
    "GET /servers/{id}": "repeats the id",
}


def allowed(rule: str | None, roles: set[str]) -> bool:
    """What the defaults say of a rule, for the caller's own project."""
    if rule is None:
        return True
    may = {policy.ADMIN: {"admin"}, policy.MEMBER: {"admin", "member"}, policy.READER: {"admin", "member", "reader"}}
    return bool(roles & may[policy.RULES[rule]])


def filled(value: Any, ids: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: filled(item, ids) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item, ids) for item in value]
    return ids.get(value.strip("<>"), value) if isinstance(value, str) and value.startswith("<") else value


# resources of the project BLUE -------------------------------------------------------------------------------------

CALLERS = {
    "boss": (OPS, "admin"),
    "ann": (BLUE, "member"),
    "rob": (BLUE, "reader"),
    "nil": (BLUE, "nothing"),
    "bob": (RED, "member"),
    "ray": (RED, "reader"),
    "nix": (RED, "nothing"),
}


def enrolled(site: Site) -> None:
    with site.db.begin() as tx:
        for token, (project, role) in CALLERS.items():
            tokens.insert(tx, token, user_id=f"user-{token}", project_id=project, roles=[role])


class Maker:
    """Makes one of everything for BLUE; `ids` by kind, and `secrets`: every text that nobody else may read."""

    def __init__(self, site: Site, client: falcon.testing.TestClient) -> None:
        self.site, self.client = site, client
        self.ids = {"project": BLUE}
        self.secrets = {BLUE, "user-ann"}

    def post(self, path: str, body: Any, token: str = "ann") -> Any:
        headers = {"OpenStack-API-Version": "volume 3.67", "X-Auth-Token": token}
        result = self.client.simulate_post(path, json=body, headers=headers)
        assert result.status_code < 300, f"{path}: {result.text}"
        return result.json

    def put(self, kind: str, id: str) -> str:
        self.ids[kind] = id
        self.secrets.add(id)
        return id

    def settled(self) -> None:
        with self.site.db.read() as tx:
            for flow in flows.list_(tx, open_only=True):
                assert self.site.waker.wait(flow.id, 60) is not None

    def named(self, noun: str, **more: Any) -> dict[str, Any]:
        """Of a resource with a name that only BLUE may read."""
        name = f"name-of-blue-{noun}"
        self.secrets.add(name)
        return {"name": name, **more}

    def everything(self) -> None:
        self.of_operators()
        self.of_volumes()
        self.of_instances()
        self.settled()
        with self.site.db.read() as tx:
            self.put("flow", next(f.id for f in flows.list_(tx, limit=100) if f.resource_id == self.ids["instance"]))

    def of_operators(self) -> None:
        spec = {"multiattach": "<is> False"}
        hidden = self.named("type", **{"os-volume-type-access:is_public": False, "extra_specs": spec})
        type_id = self.put("type", self.post("/v3/types", {"volume_type": hidden}, "boss")["volume_type"]["id"])
        self.post(f"/v3/types/{type_id}/action", {"addProjectAccess": {"project": BLUE}}, "boss")
        encryption = {"provider": "luks", "control_location": "front-end"}
        self.post(f"/v3/types/{type_id}/encryption", {"encryption": encryption}, "boss")
        self.post("/v3/types", {"volume_type": {"name": "open"}}, "boss")
        nowhere = {"name": "impossible", "extra_specs": {"volume_backend_name": "nowhere"}}
        self.post("/v3/types", {"volume_type": nowhere}, "boss")
        default = {"default_type": {"volume_type": "open"}}
        headers = {"OpenStack-API-Version": "volume 3.67", "X-Auth-Token": "boss"}
        assert self.client.simulate_put(f"/v3/default-types/{BLUE}", json=default, headers=headers).status_code == 200
        hidden = self.named("group_type", is_public=False, group_specs={"k": "v"})
        self.put("group_type", self.post("/v3/group_types", {"group_type": hidden}, "boss")["group_type"]["id"])
        self.post("/v3/group_types", {"group_type": {"name": "plain"}}, "boss")
        self.ids["qos"] = self.post("/v3/qos-specs", {"qos_specs": {"name": "limited"}}, "boss")["qos_specs"]["id"]
        self.post("/v1/flavors", {"name": "small", "vcpus": 1, "memory_mib": 64}, "boss")
        self.image("boss", {"name": "tiny", "kind": "kernel", "is_public": True})
        self.ids["receipt"] = NOBODY

    def volume(self, noun: str, **more: Any) -> str:
        body = self.named(noun, size=1, description=f"description of {noun}", metadata={"k": f"value-of-{noun}"})
        self.secrets |= {f"description of {noun}", f"value-of-{noun}"}
        return str(self.post("/v3/volumes", {"volume": {**body, **more}})["volume"]["id"])

    def of_volumes(self) -> None:
        volume = self.put("volume", self.volume("volume"))
        offered, lent = self.volume("offered"), self.volume("lent")
        group = {"group_type": "plain", "volume_types": ["open"]}
        group_id = self.put("group", self.post("/v3/groups", {"group": self.named("group", **group)})["group"]["id"])
        self.volume("member", volume_type="open", group_id=group_id)
        of = {"consistencygroup": self.named("consistencygroup", volume_types="open")}
        consistent = self.put("consistencygroup", self.post("/v3/consistencygroups", of)["consistencygroup"]["id"])
        self.volume("consistent", volume_type="open", consistencygroup_id=consistent)
        self.volume("impossible", volume_type="impossible")  # which leaves a message
        self.settled()
        of = self.named("snapshot", volume_id=volume, metadata=METADATA["metadata"])
        self.put("snapshot", self.post("/v3/snapshots", {"snapshot": of})["snapshot"]["id"])
        of = self.named("transfer", volume_id=offered)
        self.put("transfer", self.post("/v3/os-volume-transfer", {"transfer": of})["transfer"]["id"])
        of = {"volume_uuid": lent, "instance_uuid": NOBODY}
        self.put("attachment", self.post("/v3/attachments", {"attachment": of})["attachment"]["id"])
        of = self.named("group-snapshot", group_id=group_id)
        self.put("group_snapshot", self.post("/v3/group_snapshots", {"group_snapshot": of})["group_snapshot"]["id"])
        of = self.named("cgsnapshot", consistencygroup_id=consistent)
        self.put("cgsnapshot", self.post("/v3/cgsnapshots", {"cgsnapshot": of})["cgsnapshot"]["id"])
        headers = {"OpenStack-API-Version": "volume 3.67", "X-Auth-Token": "ann"}
        [message] = self.client.simulate_get("/v3/messages", headers=headers).json["messages"]
        self.put("message", message["id"])
        self.settled()
        of = self.named("backup", volume_id=volume, description="description of backup", metadata=METADATA["metadata"])
        self.secrets.add("description of backup")
        self.put("backup", self.post("/v3/backups", {"backup": of})["backup"]["id"])

    def image(self, token: str, body: Any) -> str:
        id = str(self.post("/v1/images", body, token)["id"])
        for role in ("initrd", "kernel"):
            path, headers = f"/v1/images/{id}/files/{role}", {"X-Auth-Token": token}
            assert self.client.simulate_put(path, body=role.encode(), headers=headers).status_code == 200
        return id

    def of_instances(self) -> None:
        image = self.put("image", self.image("ann", self.named("image", kind="kernel")))
        wanted = self.named("instance", flavor="small", image=image, local_storage=[{"size_gib": 1}])
        self.put("instance", self.post("/v1/instances", wanted)["id"])
        self.settled()  # or its claims and ours may lock each other out
        with self.site.db.begin() as tx:
            host, [pool, *_] = hosts.find_host(tx, "h1"), hosts.list_pools(tx)
            assert host is not None
            id = reservations.reserve(
                tx,
                request_id=str(uuid.uuid4()),
                project_id=BLUE,
                host_id=host.id,
                rank=0,
                instance_id=str(uuid.uuid4()),
                vcpus=1,
                memory_mib=64,
                bricks={str(uuid.uuid4()): (pool.id, 1)},
                ttl_s=600,
            )
        self.put("reservation", id)
