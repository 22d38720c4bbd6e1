"""A site with two projects, each with one of everything, and what they must never learn of each other."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import falcon.testing
import sqlalchemy as sa
from tests import world

from brickyard.api import versions
from brickyard.db import flows, schema, schema_groups, tokens
from brickyard.service.site import Site

OURS, THEIRS = "a" * 32, "b" * 32
ROLES = ("admin", "member", "reader")
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
SERVER = "1f1e4b6a-16c9-4a54-a6a0-5e8dca1f8a3c"
WAIT_S = 60
PER_PROJECT = {"volumes": 200, "snapshots": 200, "groups": 100, "gigabytes": 100000, "per_volume_gigabytes": 100000}
OWNED = (
    schema.volumes,
    schema.snapshots,
    schema.backups,
    schema.messages,
    schema.transfers,
    schema.backups,
    schema_groups.groups,
    schema_groups.group_snapshots,
)


@dataclass(frozen=True, slots=True)
class Caller:
    project: str
    role: str

    @property
    def token(self) -> str:
        return f"{self.role} of {self.project[0]}"


CALLERS = tuple(Caller(project, role) for project in (OURS, THEIRS) for role in ROLES)


@dataclass
class Projects:
    """`ids`: what there is, by the collection in the paths; of both projects, and of nobody."""

    site: Site
    client: falcon.testing.TestClient
    ids: dict[str, list[str]] = field(default_factory=dict)

    def ask(self, caller: Caller, method: str, path: str, body: Any = None) -> Any:
        headers = {"X-Auth-Token": caller.token, "OpenStack-API-Version": f"volume {versions.MAX}"}
        result = self.client.simulate_request(method, f"/v3{path}", json=body, headers=headers)
        assert result.status_code < 300, f"{method} {path}: {result.text}"
        return result.json if result.content else {}

    def make(self, caller: Caller, path: str, body: Any, collection: str = "") -> str:
        made = self.ask(caller, "POST", path, body)
        one = next(iter(made.values()))
        self.ids.setdefault(collection or path.strip("/"), []).append(one["id"])
        if "auth_key" in one:
            self.ids.setdefault("auth_key", []).append(one["auth_key"])
        self.settle()
        return str(one["id"])

    def settle(self) -> None:
        """Wait until all that was begun has ended."""
        with self.site.db.read() as tx:
            begun = flows.list_(tx, open_only=True)
        for flow in begun:
            self.site.waker.wait(flow.id, WAIT_S)

    def backed_up(self, project: str) -> set[str]:
        """What administrators of the project have backed up, of whatever project: the backup belongs to theirs, and
        says what it is of."""
        mine = sa.and_(schema.backups.c.project_id == project, schema.backups.c.user_id == "admin")
        with self.site.db.read() as tx:
            found = tx.execute(sa.select(schema.backups.c.volume_id, schema.backups.c.snapshot_id).where(mine)).all()
        return {id for row in found for id in row if id is not None}

    def owners(self, ids: set[str]) -> dict[str, str]:
        """Id → project, of those ids that are something of a project."""
        with self.site.db.read() as tx:
            found = {
                row.id: row.project_id
                for table in OWNED
                for row in tx.execute(sa.select(table.c.id, table.c.project_id).where(table.c.id.in_(ids)))
            }
            attached = sa.select(schema.attachments.c.id, schema.volumes.c.project_id).join(
                schema.volumes, schema.volumes.c.id == schema.attachments.c.volume_id
            )
            for row in tx.execute(attached.where(schema.attachments.c.id.in_(ids))):
                found[row.id] = row.project_id
        return found


@contextlib.contextmanager
def two(directory: Path) -> Iterator[Projects]:
    # its host reports once, and a round takes as long as the machine takes
    settings = {"auth_strategy": "token", "quotas": PER_PROJECT, "service_down_time_s": 86400}
    with world.running(directory, {"one": "memory", "two": "raw"}, **settings) as (
        site,
        client,
    ):
        with site.db.begin() as tx:
            for caller in CALLERS:
                tokens.insert(tx, caller.token, user_id=caller.role, project_id=caller.project, roles=[caller.role])
        projects = Projects(site, client)
        boss = CALLERS[0]
        projects.make(boss, "/types", {"volume_type": {"name": "plain"}})
        in_files = {"name": "files", "extra_specs": {"volume_backend_name": "two"}}
        projects.make(boss, "/types", {"volume_type": in_files})
        kind = projects.make(boss, "/group_types", {"group_type": {"name": "plain", "group_specs": {"k": "v"}}})
        projects.make(boss, "/group_types", {"group_type": {"name": "unused", "group_specs": {"k": "v"}}})
        projects.make(boss, "/qos-specs", {"qos_specs": {"name": "slow", "total_iops_sec": "100"}})
        projects.make(boss, "/qos-specs", {"qos_specs": {"name": "unused", "k": "v"}})
        sealed = projects.make(boss, "/types", {"volume_type": {"name": "sealed", "extra_specs": {"k": "v"}}})
        asked = {"encryption": {"provider": "luks", "control_location": "front-end"}}
        made = projects.ask(boss, "POST", f"/types/{sealed}/encryption", asked)
        projects.ids["keys"] = ["k", "k", "readonly", "cipher", made["encryption"]["encryption_id"]]
        for project in (OURS, THEIRS):
            _populate(projects, project, kind)
        yield projects


def _populate(projects: Projects, project: str, kind: str) -> None:
    boss, member = Caller(project, "admin"), Caller(project, "member")
    private = {"name": f"private-{project[0]}", "os-volume-type-access:is_public": False}
    type_ = projects.make(boss, "/types", {"volume_type": private})
    projects.ask(boss, "POST", f"/types/{type_}/action", {"addProjectAccess": {"project": project}})

    def volume(**more: Any) -> str:
        said = {"size": 1, "name": secret(project), "description": secret(project), "metadata": {"k": secret(project)}}
        return projects.make(member, "/volumes", {"volume": {**said, **more}})

    plain = projects.ids["types"][0]
    first, second, third = volume(), volume(volume_type=type_), volume(volume_type=plain)
    kept = {"volume_id": first, "name": secret(project), "metadata": {"k": secret(project)}}
    projects.make(member, "/snapshots", {"snapshot": kept})
    projects.make(member, "/backups", {"backup": {**kept, "description": secret(project)}})
    projects.make(member, "/attachments", {"attachment": {"volume_uuid": second}})
    connector = {"host": "h1", "secret": secret(project)}
    projects.make(member, "/attachments", {"attachment": {"volume_uuid": volume(), "connector": connector}})
    group = projects.make(
        member, "/groups", {"group": {"name": secret(project), "group_type": kind, "volume_types": [plain]}}
    )
    projects.ask(member, "PUT", f"/groups/{group}", {"group": {"add_volumes": third}})
    projects.make(member, "/group_snapshots", {"group_snapshot": {"group_id": group, "name": secret(project)}})
    named = {"name": secret(project), "volume_types": plain}
    consistent = projects.make(member, "/consistencygroups", {"consistencygroup": named})
    volume(volume_type=plain, consistencygroup_id=consistent)
    of = {"consistencygroup_id": consistent, "name": secret(project)}
    projects.make(member, "/cgsnapshots", {"cgsnapshot": of})
    projects.make(
        member, "/volume-transfers", {"transfer": {"volume_id": volume(), "name": secret(project)}}, "transfers"
    )
    volume(size=90000)  # there is no place for it, which is a message
    for message in projects.ask(member, "GET", "/messages")["messages"]:
        projects.ids.setdefault("messages", []).append(message["id"])
    left = volume(volume_type="files")
    projects.make(member, "/backups", {"backup": {"volume_id": left, "name": secret(project)}})
    projects.ask(boss, "POST", f"/volumes/{left}/action", {"os-unmanage": {}})
    projects.settle()
    projects.ids.setdefault("bricks", []).append(f"volume-{left}")


def secret(project: str) -> str:
    """What only this project says."""
    return f"only-{project[:3] * 4}"


def strangers(caller: Caller) -> tuple[str, str]:
    """Texts that nobody of this project may be shown: the other project, and what only it says."""
    other = THEIRS if caller.project == OURS else OURS
    return other, secret(other)
