"""The whole current schema: what to read. `migrations/` is how to get there; a test builds both and compares.

Times are texts in the form of the wire (UTC, microseconds), so that they sort, compare and travel unchanged on every
database. Sizes are GiB, and say so. A row is deleted when its resource is gone: the flows keep the history.
"""

from __future__ import annotations

import sqlalchemy as sa

from brickyard.core import states
from brickyard.db.columns import (
    NAME,
    STATUS,
    TIME,
    UUID,
    by_project,
    count,
    flag,
    key,
    named,
    owner,
    status,
    status_in,
    times,
)
from brickyard.db.columns import metadata as metadata
from brickyard.db.schema_agents import agents as agents
from brickyard.db.schema_agents import processes as processes
from brickyard.db.schema_backups import backup_services as backup_services
from brickyard.db.schema_backups import backups as backups
from brickyard.db.schema_groups import group_snapshots as group_snapshots
from brickyard.db.schema_groups import group_types as group_types
from brickyard.db.schema_groups import groups as groups
from brickyard.db.schema_images import cached_image_users as cached_image_users
from brickyard.db.schema_images import cached_images as cached_images
from brickyard.db.schema_proofs import audit_findings as audit_findings
from brickyard.db.schema_proofs import lost_bricks as lost_bricks
from brickyard.db.schema_proofs import receipts as receipts
from brickyard.db.schema_setup import default_types as default_types
from brickyard.db.schema_setup import encryptions as encryptions
from brickyard.db.schema_setup import qos_specs as qos_specs
from brickyard.db.schema_setup import quota_classes as quota_classes
from brickyard.db.schema_setup import quotas as quotas
from brickyard.db.schema_setup import volume_type_access as volume_type_access
from brickyard.db.schema_setup import volume_types as volume_types

# `before` stands ahead of `status` in each table: it is the status that the running action found, one UPDATE writes
# both, and MariaDB assigns from left to right.

# where things are ------------------------------------------------------------------------------------------------

hosts = sa.Table(
    "hosts",
    metadata,
    key(),
    sa.Column("name", NAME, nullable=False, unique=True),
    sa.Column("labels", sa.JSON, nullable=False),
    count("vcpus_total"),
    count("memory_mib_total"),
    count("vcpus_claimed"),
    count("memory_mib_claimed"),
    flag("enabled", "1"),
    sa.Column("disabled_reason", NAME),
    sa.Column("hypervisor", NAME),  # what runs instances here; null: storage only
    sa.Column("export_address", NAME),  # where guests of others reach its bricks; null: nowhere
    sa.Column("heartbeat_at", TIME),
    sa.Column("lost_at", TIME),  # since then nobody asks it for anything, and nothing that it reports counts
    *times(),
)

volume_backends = sa.Table(
    "volume_backends",
    metadata,
    sa.Column("created_at", TIME),
    sa.Column("updated_at", TIME),
    sa.Column("deleted_at", TIME),
    flag("deleted"),
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("name", NAME, nullable=False),  # host@section
    sa.Column("description", NAME),
    sa.Column("host_id", UUID, sa.ForeignKey("hosts.id"), nullable=False),
    sa.Column("driver", NAME, nullable=False),
    sa.Column("volume_backend_name", NAME, nullable=False),
    sa.Column("availability_zone", NAME, nullable=False),
    flag("up"),
    sa.Column("why_down", sa.Text),
    flag("enabled", "1"),
    sa.Column("disabled_reason", NAME),
    flag("frozen"),  # what is there stays as it is: nothing is made, changed or deleted
    sa.Column("place", sa.JSON),  # where its bricks lie: path, or devices and volume group
    sa.Column("options", sa.JSON),  # of a backend that was made through the API; null: it is in the configuration
    sa.Index("ix_volume_backends_name", "name", unique=True),
)

storages = sa.Table(
    "storages",
    metadata,
    key(type_=NAME),  # the host's id, and what the host calls it
    count("limit_gib"),  # as much may be promised, by all pools on it together
    count("claimed_gib"),  # the sum of what its pools have promised
    *times(),
)

pools = sa.Table(
    "pools",
    metadata,
    key(),
    sa.Column("name", NAME, nullable=False, unique=True),  # host@backend#pool
    sa.Column("backend_id", sa.Integer, sa.ForeignKey("volume_backends.id"), nullable=False),
    sa.Column("storage_id", NAME, sa.ForeignKey("storages.id"), index=True),  # null: it shares with nobody
    count("total_gib"),
    count("free_gib"),  # as the storage says
    count("limit_gib"),  # as much may be promised
    count("claimed_gib"),  # as much is promised: always the sum of the pool's claims
    sa.Column("data_percent", sa.Float),  # really used of a thin pool; null where that cannot hurt
    sa.Column("metadata_percent", sa.Float),
    sa.Column("stage", sa.String(16), nullable=False, server_default="ok"),  # ok | warn | frozen | paused
    sa.Column("stage_reason", sa.Text),  # figure and threshold
    sa.Column("stage_since", TIME),
    sa.Column("capabilities", sa.JSON, nullable=False),
    count("image_cache_hits"),  # volumes of images that the pool kept, or was about to keep
    count("image_cache_misses"),
    *times(),
    sa.CheckConstraint("claimed_gib >= 0", name="claimed"),
)

# accounting: every promise is a claim ----------------------------------------------------------------------------

reservations = sa.Table(
    "reservations",
    metadata,
    key(),
    sa.Column("request_id", UUID, nullable=False),  # the flow that asked; with the host, a repeat finds its own
    sa.Column("host_id", UUID, sa.ForeignKey("hosts.id"), nullable=False),
    sa.Column("project_id", NAME, nullable=False),
    sa.Column("rank", sa.Integer, nullable=False),
    sa.Column("expires_at", TIME, nullable=False, index=True),
    *times(),
    sa.UniqueConstraint("request_id", "host_id"),
)

claims = sa.Table(
    "claims",
    metadata,
    sa.Column(
        "brick_id", UUID, primary_key=True
    ),  # a volume, a snapshot, a cached image, or an instance for its root disk
    sa.Column("pool_id", UUID, sa.ForeignKey("pools.id"), primary_key=True),
    sa.Column("gib", sa.BigInteger, nullable=False),
    sa.Column("reservation_id", UUID, sa.ForeignKey("reservations.id"), index=True),  # null: owned for good
    sa.Column("created_at", TIME, nullable=False),
    sa.Index("ix_claims_pool_id", "pool_id"),
)

host_claims = sa.Table(
    "host_claims",
    metadata,
    sa.Column("instance_id", UUID, primary_key=True),
    sa.Column("host_id", UUID, sa.ForeignKey("hosts.id"), primary_key=True),
    sa.Column("vcpus", sa.Integer, nullable=False),
    sa.Column("memory_mib", sa.Integer, nullable=False),
    sa.Column("reservation_id", UUID, sa.ForeignKey("reservations.id"), index=True),
    sa.Column("created_at", TIME, nullable=False),
)

projects = sa.Table("projects", metadata, key(type_=NAME), count("generation"))  # the row that a quota check locks

# Block Storage v3 ------------------------------------------------------------------------------------------------

volumes = sa.Table(
    "volumes",
    metadata,
    key(),
    *owner(),
    *named(),
    sa.Column("size_gib", sa.Integer, nullable=False),
    sa.Column("target_gib", sa.Integer),  # the size that a running extend makes it; the quota counts it already
    *status(),
    sa.Column("migration_status", STATUS),  # of its latest move; null: it was never moved
    sa.Column("availability_zone", NAME),
    sa.Column("pool_id", UUID, sa.ForeignKey("pools.id"), index=True),
    sa.Column("backend_id", sa.Integer, sa.ForeignKey("volume_backends.id"), index=True),
    sa.Column("volume_type_id", UUID, sa.ForeignKey("volume_types.id"), index=True),
    sa.Column("group_id", UUID, sa.ForeignKey("groups.id"), index=True),
    sa.Column("snapshot_id", UUID),
    sa.Column("source_volid", UUID),
    sa.Column("image_id", UUID),
    sa.Column("backup_id", UUID),
    sa.Column("image_metadata", sa.JSON, nullable=False),
    sa.Column("metadata", sa.JSON, nullable=False),
    flag("bootable"),
    flag("multiattach"),
    sa.Column("readonly", sa.Boolean),  # null: never set
    sa.Column("generation", sa.Integer, nullable=False, server_default="1"),
    sa.Column("fault", sa.Text),
    sa.Column("lost_at", TIME),  # its host was declared lost; without a pool: its data, too, and no quota counts it
    *times(),
    status_in(states.V),
    by_project("volumes"),
    sa.Index("ix_volumes_created_at", "created_at", "id"),
)

snapshots = sa.Table(
    "snapshots",
    metadata,
    key(),
    sa.Column("volume_id", UUID, sa.ForeignKey("volumes.id"), nullable=False, index=True),
    *owner(),
    *named(),
    sa.Column("size_gib", sa.Integer, nullable=False),
    *status(),
    sa.Column("progress", sa.Integer, nullable=False, server_default="0"),
    sa.Column("pool_id", UUID, sa.ForeignKey("pools.id"), index=True),
    sa.Column("volume_type_id", UUID),
    sa.Column("group_snapshot_id", UUID, sa.ForeignKey("group_snapshots.id"), index=True),
    sa.Column("metadata", sa.JSON, nullable=False),
    sa.Column("fault", sa.Text),
    sa.Column("lost_at", TIME),  # as of a volume
    *times(),
    status_in(states.S),
    by_project("snapshots"),
)

# A volume that its project offers to whoever has the key; gone when it is accepted.
transfers = sa.Table(
    "transfers",
    metadata,
    key(),
    sa.Column("volume_id", UUID, sa.ForeignKey("volumes.id", ondelete="CASCADE"), nullable=False, unique=True),
    sa.Column("project_id", NAME, nullable=False),
    sa.Column("name", NAME),
    flag("no_snapshots"),
    sa.Column("salt", sa.String(32), nullable=False),
    sa.Column("key_hash", sa.String(64), nullable=False),
    *times(),
    by_project("transfers"),
)

attachments = sa.Table(
    "attachments",
    metadata,
    key(),
    sa.Column("volume_id", UUID, sa.ForeignKey("volumes.id"), nullable=False, index=True),
    sa.Column("instance_uuid", UUID, index=True),
    *status(),
    sa.Column("mode", sa.String(4)),
    sa.Column("mountpoint", NAME),
    sa.Column("attached_host", NAME),
    sa.Column("connector", sa.JSON),
    sa.Column("connection_info", sa.JSON),
    sa.Column("attached_at", TIME),
    sa.Column("detached_at", TIME),
    *times(),
    status_in(states.A),
)

messages = sa.Table(
    "messages",
    metadata,
    key(),
    sa.Column("project_id", NAME, nullable=False),
    sa.Column("request_id", NAME),
    sa.Column("event_id", NAME, nullable=False),
    sa.Column("user_message", sa.Text, nullable=False),
    sa.Column("level", sa.String(16), nullable=False),
    sa.Column("resource_type", NAME),
    sa.Column("resource_uuid", UUID),
    sa.Column("guaranteed_until", TIME, nullable=False, index=True),
    *times(),
    by_project("messages"),
)

# instances -------------------------------------------------------------------------------------------------------

flavors = sa.Table(
    "flavors",
    metadata,
    key(),
    sa.Column("name", NAME, nullable=False, unique=True),
    sa.Column("vcpus", sa.Integer, nullable=False),
    sa.Column("memory_mib", sa.Integer, nullable=False),
    count("root_gib"),
    count("local_storage_gb"),  # GiB, in the word that the field uses; 0: none implied
    sa.Column("local_storage_type", NAME),
    *times(),
)

images = sa.Table(
    "images",
    metadata,
    key(),
    sa.Column("name", NAME, nullable=False),
    sa.Column("project_id", NAME, nullable=False),
    flag("is_public"),
    sa.Column(
        "status", STATUS, nullable=False
    ),  # queued: its files are not all here yet | saving: of a volume | active
    flag("protected"),  # may not be deleted
    sa.Column("kind", sa.String(8), nullable=False),  # disk | kernel
    sa.Column("format", sa.String(8)),  # of a disk: raw | qcow2 | vdi | vmdk
    sa.Column("cmdline", sa.Text),  # of a kernel
    count("size_bytes"),
    count("virtual_size_bytes"),
    count("min_gib"),
    sa.Column("files", sa.JSON, nullable=False),  # role (disk, kernel, initrd) → sha256
    sa.Column("properties", sa.JSON),  # name → text, which volumes made of it have too; null: none
    *times(),
    sa.Index("ix_images_name", "name"),
)

instances = sa.Table(
    "instances",
    metadata,
    key(),
    sa.Column("name", NAME, nullable=False),
    *owner(),
    *status(),
    sa.Column("host_id", UUID, sa.ForeignKey("hosts.id"), index=True),
    sa.Column("root_pool_id", UUID, sa.ForeignKey("pools.id")),
    sa.Column("root_gib", sa.Integer, nullable=False, server_default="0"),
    sa.Column("vcpus", sa.Integer, nullable=False),
    sa.Column("memory_mib", sa.Integer, nullable=False),
    sa.Column("flavor", NAME, nullable=False),
    sa.Column("image_id", UUID),
    sa.Column("request", sa.JSON, nullable=False),  # the boot request, as it was asked
    sa.Column("paused_reason", sa.Text),  # why its host holds the guest; null: it does not
    sa.Column("fault", sa.Text),
    sa.Column("lost_at", TIME),  # its host was declared lost; without a host: its data, too
    *times(),
    status_in(states.I),
    by_project("instances"),
)

# work ------------------------------------------------------------------------------------------------------------

flows = sa.Table(
    "flows",
    metadata,
    key(),
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("params", sa.JSON, nullable=False),
    sa.Column("status", sa.String(16), nullable=False),  # running | unwinding | done | failed
    sa.Column("attempt", sa.Integer, nullable=False, server_default="1"),
    sa.Column("setbacks", sa.Integer, nullable=False, server_default="0"),  # undos that failed and were put off
    sa.Column("project_id", NAME, nullable=False),
    sa.Column("resource_id", UUID, index=True),
    sa.Column("request_id", NAME),
    sa.Column("owner", NAME),  # the conductor that holds it; null: anybody's
    sa.Column("lease_until", TIME),
    count("epoch"),  # how often it was claimed: what is written or asked for under an earlier claim does not count
    sa.Column("not_before", TIME, nullable=False),
    sa.Column("error", sa.Text),
    sa.Column("refusals", sa.JSON),  # why hosts and pools were refused: the explanation that stays with the request
    sa.Column("progress", sa.JSON),  # how far the step is that runs now, where it can tell; see db/flows.py
    sa.Column("finished_at", TIME, index=True),
    *times(),
    sa.CheckConstraint("status IN ('running', 'unwinding', 'done', 'failed')", name="status"),
    sa.Index("ix_flows_status_not_before", "status", "not_before"),
    sa.Index("ix_flows_project_id_created_at", "project_id", "created_at"),
    sa.Index("ix_flows_created_at", "created_at"),
)

flow_log = sa.Table(
    "flow_log",
    metadata,
    sa.Column("flow_id", UUID, sa.ForeignKey("flows.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("step", sa.String(64), nullable=False),
    sa.Column("event", sa.String(16), nullable=False),
    sa.Column("data", sa.JSON),
    sa.Column("at", TIME, nullable=False),
)

tokens = sa.Table(
    "tokens",
    metadata,
    key("hash", sa.String(64)),
    sa.Column("user_id", NAME, nullable=False),
    sa.Column("project_id", NAME, nullable=False),
    sa.Column("roles", sa.JSON, nullable=False),
    sa.Column("description", NAME),
    sa.Column("expires_at", TIME),
    *times(),
)

# MariaDB compares texts by rules of its own unless it is told to compare them as they are, as the others do.
for _table in metadata.tables.values():
    for _dialect in ("mysql", "mariadb"):
        _table.dialect_options[_dialect].update(charset="utf8mb4", collate="utf8mb4_bin")
