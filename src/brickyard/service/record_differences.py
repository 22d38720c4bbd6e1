"""What differs within the accounts, and between instances, attachments and the guests that run."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from brickyard.core import bricks, clock, pools
from brickyard.core.bricks import Kind
from brickyard.core.states import A, I
from brickyard.db import attachments as attachment_rows
from brickyard.db.audit import Records
from brickyard.service.differences import Difference, Repair, Seen

EXPIRED_S = 60.0  # the janitor needs a moment
BUSY = {
    "creating",
    "deleting",
    "unmanaging",
    "retyping",
    "extending",
    "reverting",
    "restoring",
    "restoring-backup",
    "backing-up",
    "uploading",
    "building",
    "starting",
    "stopping",
}
PLUGGED = (A.ATTACHED, A.ATTACHING, A.DETACHING)


# accounts --------------------------------------------------------------------------------------------------------


def claims(records: Records, seen: Seen) -> Iterator[Difference]:
    """Each claim has an owner, each owner a claim of its size."""
    due = {(row.id, row.pool_id): row for row in records.placed.values()}
    held = {(row.brick_id, row.pool_id): row for row in records.claims if row.reservation_id is None}
    for (id, pool_id), claim in held.items():
        if (id, pool_id) not in due:
            where = records.pools[pool_id].name if pool_id in records.pools else "database"
            text = f"{claim.gib} GiB are claimed for {id}, which is not there"
            yield Difference(
                "claim_without_owner", where, id, f"{text}.", (id,), repair=Repair.RELEASE, pool_id=pool_id
            )
    for pair, row in due.items():
        if pair in held and held[pair].gib == row.gib:
            continue
        kind = "claim_size" if pair in held else "owner_without_claim"
        has = f"{held[pair].gib} GiB are" if pair in held else "nothing is"
        where = records.pools[row.pool_id].name if row.pool_id in records.pools else "database"
        text = f"{row.name} has {row.gib} GiB, and {has} claimed for it"
        yield Difference(kind, where, row.name, f"{text}.", (row.id,), Repair.CLAIM, pool_id=row.pool_id)


def host_claims(records: Records, seen: Seen) -> Iterator[Difference]:
    held = {row.instance_id for row in records.host_claims if row.reservation_id is None}
    for row in records.host_claims:
        instance = records.instances.get(row.instance_id)
        if row.reservation_id is None and (instance is None or instance.host_id != row.host_id):
            where = records.hosts[row.host_id].name
            text = f"{row.vcpus} processors are claimed for {row.instance_id}, which is not there"
            yield Difference(
                "claim_without_owner",
                where,
                row.instance_id,
                f"{text}.",
                (row.instance_id,),
                repair=Repair.RELEASE_HOST,
                pool_id=row.host_id,
            )
    for instance in records.instances.values():
        if instance.host_id is not None and instance.id not in held:
            where = records.hosts[instance.host_id].name
            text = f"Instance {instance.id} has no claim on its host; delete it and boot it again"
            yield Difference("owner_without_claim", where, instance.id, f"{text}.", (instance.id,))


def sums(records: Records, seen: Seen) -> Iterator[Difference]:
    per_pool, per_storage = Counter[str](), Counter[str]()
    vcpus, memory_mib = Counter[str](), Counter[str]()
    for claim in records.claims:
        per_pool[claim.pool_id] += claim.gib
    for pool in records.pools.values():
        per_storage[pool.storage_id or ""] += pool.claimed_gib
        if pool.claimed_gib != per_pool[pool.id]:
            yield _sum(pool.name, pool.id, f"{pool.claimed_gib} GiB", f"{per_pool[pool.id]} GiB")
    for storage in records.storages.values():
        if storage.claimed_gib != per_storage[storage.id]:
            yield _sum("database", storage.id, f"{storage.claimed_gib} GiB", f"{per_storage[storage.id]} GiB")
    for held in records.host_claims:
        vcpus[held.host_id] += held.vcpus
        memory_mib[held.host_id] += held.memory_mib
    for host in records.hosts.values():
        said, due = (host.vcpus_claimed, host.memory_mib_claimed), (vcpus[host.id], memory_mib[host.id])
        if said != due:
            yield _sum(host.name, host.id, "{} processors, {} MiB".format(*said), "{} and {}".format(*due))


def _sum(where: str, id: str, said: str, due: str) -> Difference:
    text = f"It says that {said} are claimed, and the claims add up to {due}"
    return Difference("claimed_sum", where, id, f"{text}.", repair=Repair.RECOUNT)


def reservations(records: Records, seen: Seen) -> Iterator[Difference]:
    old = clock.stamp(-EXPIRED_S)
    for row in records.reservations:
        if row.expires_at < old and row.request_id not in records.open_flows:
            where = records.hosts[row.host_id].name
            text = f"Reservation {row.id} expired at {row.expires_at} and is still there"
            yield Difference("reservation_expired", where, row.id, f"{text}.", (row.request_id,), Repair.CLEAR)


# guests and work -------------------------------------------------------------------------------------------------


def guests(records: Records, seen: Seen) -> Iterator[Difference]:
    """Each guest has its instance on that host, each active instance its guest."""
    running: set[str] = set()
    for host, listed in seen.guests.items():
        for guest in listed:
            if guest.status != "stopped":
                running.add(guest.id)
            instance = records.instances.get(guest.id)
            if instance is None:
                text = f"Guest {guest.id} ({guest.status}) has no instance; its disks are {', '.join(guest.serials)}"
                yield Difference(
                    "guest_without_instance", host, guest.id, f"{text}.", (guest.id,), removal=Repair.DESTROY
                )
            elif instance.host_id and records.hosts[instance.host_id].name != host:
                text = f"Guest {guest.id} runs here, and its instance is on {records.hosts[instance.host_id].name}"
                yield Difference("wrong_host", host, guest.id, f"{text}.", (guest.id,))
    for instance in records.instances.values():
        host = records.hosts[instance.host_id].name if instance.host_id else ""
        if instance.status == I.ACTIVE and instance.id not in running and host in seen.guests:
            text = f"Instance {instance.id} is active and no guest of it runs; the next report marks it stopped"
            yield Difference("instance_without_guest", host, instance.id, f"{text}.", (instance.id,))


def attachments(records: Records, seen: Seen) -> Iterator[Difference]:
    """What the records say that a running guest has, and what it has."""
    due: dict[str, set[str]] = defaultdict(set)
    possible: dict[str, set[str]] = defaultdict(set)
    for row in records.attachments:
        if row.instance_uuid in records.instances and row.status in PLUGGED:
            possible[row.instance_uuid].add(row.volume_id)
            if row.status == A.ATTACHED:
                due[row.instance_uuid].add(row.volume_id)
    for host, listed in seen.guests.items():
        for guest in listed:
            if guest.id not in records.instances or guest.status == "stopped":
                continue
            has = set(guest.serials) - {guest.id}
            for id in sorted(due[guest.id] - has):
                text = f"Volume {id} is attached to instance {guest.id}, whose guest does not have it; detach it"
                yield Difference("not_attached", host, id, f"{text}.", (id, guest.id))
            for id in sorted(has - possible[guest.id]):
                text = f"The guest of instance {guest.id} has volume {id}, which is not attached to it"
                yield Difference("attached_without_record", host, id, f"{text}; delete the instance.", (id, guest.id))


def exports(records: Records, seen: Seen) -> Iterator[Difference]:
    """Each export is of a disk of its client, or for an attachment; each disk of another host is exported."""
    known = {(id, bricks.name_of(Kind.ROOT, id)) for id in records.instances}
    for row in records.attachments:
        name = bricks.name_of(Kind.VOLUME, row.volume_id)
        known |= {(row.instance_uuid, name)} if row.instance_uuid in records.instances else set()
        known |= {(row.id, name)} if attachment_rows.is_exported(row) else set()
    running = {guest.id for listed in seen.guests.values() for guest in listed if guest.status != "stopped"}
    for host, listed in seen.exports.items():
        for found in listed:
            if (found.client, found.name) not in known:
                parsed = bricks.parse(found.name)
                about = (found.client, *((parsed[1],) if parsed else ()))
                text = f"{found.name} is exported to instance {found.client}, which it is no disk of"
                if found.nqn:
                    text = f"{found.name} is exported to host {found.nqn}, for no attachment that is connected"
                name = f"{found.backend}/{found.name}/{found.client}"
                lost = found.client in running and found.client not in records.instances  # it ends with that guest
                yield Difference(
                    "stray_export", host, name, f"{text}.", about, repair=None if lost else Repair.UNEXPORT
                )
    for host, name, client in _far_disks(records):
        served = {(found.name, found.client) for found in seen.exports.get(host, ())}
        if host in seen.exports and (name, client) not in served:
            text = f"{name} is a disk of instance {client} of another host, and is not exported to it"
            about = (client, name.partition("-")[2])
            yield Difference("missing_export", host, f"{name}/{client}", f"{text}; stop it and start it again.", about)
    for row in records.attachments:
        name = bricks.name_of(Kind.VOLUME, row.volume_id)
        at = _host_of(records, name) if attachment_rows.is_exported(row) else ""
        if at in seen.exports and (row.id, name) not in {(found.client, found.name) for found in seen.exports[at]}:
            text = f"{name} is attached to host {row.attached_host}, and is not exported to it"
            text += "; detach it, and attach it again"
            yield Difference("missing_export", at, f"{name}/{row.id}", f"{text}.", (row.id, row.volume_id))


def _far_disks(records: Records) -> Iterator[tuple[str, str, str]]:
    """Host and name of each brick that an active instance of another host has, and the id of that."""
    due = [
        (row.instance_uuid, bricks.name_of(Kind.VOLUME, row.volume_id))
        for row in records.attachments
        if row.status == A.ATTACHED and (row.connection_info or {}).get("driver_volume_type") == "nbd"
    ]
    due += [(id, bricks.name_of(Kind.ROOT, id)) for id, row in records.instances.items() if row.root_pool_id]
    for id, name in due:
        instance, brick = records.instances.get(id), records.placed.get(name)
        if instance is None or instance.status != I.ACTIVE or brick is None or brick.pool_id not in records.pools:
            continue
        there = records.pools[brick.pool_id]
        if there.host_id != instance.host_id:
            yield there.host, name, id


def _host_of(records: Records, name: str) -> str:
    brick = records.placed.get(name)
    return str(records.pools[brick.pool_id].host) if brick is not None and brick.pool_id in records.pools else ""


def stuck(records: Records, seen: Seen) -> Iterator[Difference]:
    """A status says that something runs, and nothing does."""
    for noun, rows in (
        ("volume", records.volumes),
        ("snapshot", records.snapshots),
        ("instance", records.instances),
    ):
        for row in rows.values():
            if row.status in BUSY:
                text = f"The {noun} is {row.status}, and no flow works on it; reset its status"
                yield Difference("stuck", "database", row.id, f"{text}.", (row.id,), project_id=row.project_id)


def unseen(records: Records, seen: Seen) -> Iterator[Difference]:
    for name, why in seen.unseen.items():
        where = pools.parse(name).host if "#" in name else name
        yield Difference("not_seen", where, name, f"{name} could not be looked at: {why}")


RULES = (claims, host_claims, sums, reservations, guests, attachments, exports, stuck, unseen)
