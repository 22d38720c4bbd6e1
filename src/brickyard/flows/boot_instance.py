"""Boot an instance together with its local storage: the reason this project exists.

reserve   the best hosts that can hold instance and volumes, compute and capacity     undo: give everything back
volumes   on the best of them, make the root disk and the new volumes; a host that    undo: delete them, wherever
          fails is cleaned, its reservation cleared, and the next one tried
keep      the winner's reservation becomes the instance's own, the others are cleared
export    volumes of other hosts are served to it                undo: they are served no longer
boot      start the instance there, its volumes attached                              undo: destroy it
show      instance active, volumes in use

When a step fails, all before it is undone, and the whole is tried again without the hosts that failed, a bounded
number of times. The new volumes are `creating` until the instance runs; when it never does, they are removed, and the
volumes that existed before are as they were.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Sequence
from typing import Any

from brickyard.core import clock, errors, placement, pools, sizes
from brickyard.core.bricks import Kind, Label, name_of
from brickyard.core.states import A
from brickyard.db import attachments, claims, hosts, instances, reservations, store, volumes
from brickyard.db.database import Tx, after_commit
from brickyard.flows import engine, image_cache, places, reach, tried, waiting, wiping
from brickyard.flows.create_volume import create_brick, elsewhere, record_place, to_ask
from brickyard.flows.engine import Act, Commit, Flow, Run
from brickyard.flows.image_files import disk_image
from brickyard.nodes import verbs

LOG = logging.getLogger(__name__)
CANDIDATES = 32  # that are looked at, the best ones first: others reserve at the same time, and what they have is left

# parameters --------------------------------------------------------------------------------------------------------


def params(
    *,
    instance_id: str,
    name: str,
    vcpus: int,
    memory_mib: int,
    root_gib: int,
    image: dict[str, Any] | None,
    new: Sequence[dict[str, Any]],
    existing: Sequence[dict[str, Any]],
    locality: str,
    required: bool,
    zones: Sequence[str],
) -> dict[str, Any]:
    """`image` {id, kind, files, cmdline}; `new` [{volume_id, attachment_id, size_gib, ask, multiattach}] as in the
    request; `existing` [{volume_id, attachment_id, pool, read_only, multiattach}]."""
    return {
        "instance_id": instance_id,
        "name": name,
        "vcpus": vcpus,
        "memory_mib": memory_mib,
        "root_gib": root_gib,
        "image": image,
        "new": list(new),
        "existing": list(existing),
        "locality": locality,
        "required": required,
        "zones": list(zones),
    }


def wanted(p: dict[str, Any]) -> list[tuple[str, int, dict[str, Any]]]:
    """The bricks to make: (brick id, GiB, ask), the new volumes first, then the root disk."""
    bricks = [(v["volume_id"], v["size_gib"], v["ask"]) for v in p["new"]]
    return [*bricks, (p["instance_id"], p["root_gib"], {"needs": ["imports"]})] if p["root_gib"] else bricks


def to_boot(
    p: dict[str, Any], excluded: frozenset[str] = frozenset(), unusable: frozenset[str] = frozenset()
) -> placement.Boot:
    """What the ranking takes, from the parameters; without the hosts `excluded` and the pools `unusable`."""
    return placement.Boot(
        vcpus=p["vcpus"],
        memory_mib=p["memory_mib"],
        volumes=tuple(to_ask(ask, gib, unusable) for _, gib, ask in wanted(p)),
        holders=tuple(pools.parse(v["pool"]).host for v in p["existing"]),
        locality=p["locality"],
        required=p["required"],
        zones=frozenset(p["zones"]),
        excluded=excluded,
    )


# implementations ---------------------------------------------------------------------------------------------------


def reserve(run: Run, tx: Tx) -> dict[str, Any]:
    book: places.Places = run.world.places
    boot = to_boot(run.params, tried.hosts(run), book.unusable() | tried.pools(run))
    for looks in range(places.LOOKS):
        if looks:
            book.refresh(tx)
        ranking = book.rank_hosts(boot, CANDIDATES)
        if looks and not ranking.candidates:
            break
        wait = looks > 1
        held: list[dict[str, Any]] = []
        for candidate in ranking.candidates:
            if len(held) == (1 if wait else run.world.settings.reserve_hosts):
                break
            if not _shares(run.params, candidate, held):
                one = _reserve_host(run, tx, candidate, rank=len(held), wait=wait)
                held += [one] if one else []
        if held:
            after_commit(tx, functools.partial(book.redraw, _hosts_of(held)))
            return {"candidates": [candidate.host.name for candidate in ranking.candidates], "reserved": held}
    image_cache.make_room_somewhere(run, tx, boot)
    waiting.for_others(run, tx, boot)
    before = f" after {'; '.join(failure.message for failure in run.failures)}" if run.failures else ""
    raise errors.NoValidHost(
        f"No host can hold this instance with its volumes{before}; the refusals say why.",
        refusals=book.refusals(boot),
    )


def unreserve(run: Run, tx: Tx) -> None:
    """Give back all that the request holds, whether it is still reserved or kept."""
    reservations.clear_all(tx, run.id)
    for brick_id, _, _ in wanted(run.params):
        claims.release(tx, brick_id)
    claims.release_host(tx, run.params["instance_id"])
    for volume in run.params["new"]:
        volumes.update(tx, volume["volume_id"], pool_id=None, backend_id=None)
    instances.update(tx, run.params["instance_id"], host_id=None, root_pool_id=None)
    after_commit(tx, functools.partial(run.world.places.redraw, _hosts_of(run.data["reserve"]["reserved"])))


def _hosts_of(reserved: Sequence[dict[str, Any]]) -> set[str]:
    """The hosts that are reserved, and those where their volumes would lie."""
    lie_on = (pools.parse(pool["name"]).host for held in reserved for pool in held["pools"].values())
    return {*(held["host"] for held in reserved), *lie_on}


def make_volumes(run: Run) -> dict[str, Any]:
    """On the first reserved host that can: the host comes back, the others' failures with it."""
    failures: list[dict[str, str]] = []
    with run.world.db.read() as tx:
        live = {row.id for row in reservations.of_request(tx, run.id)}
    for held in run.data["reserve"]["reserved"]:
        if held["reservation_id"] not in live:
            continue
        run.check()
        try:
            _make_on(run, held)
            return {**held, "failures": failures}
        except errors.BrickyardError as error:
            LOG.warning("flow %s: host %s failed: %s", run.id, held["host"], error.message)
            failures.append({"host": held["host"], "message": error.message, "pool": error.facts.get("pool", "")})
            if not elsewhere(error):
                raise
        run.check()  # it may have failed because we slept, and what lies there now is of whoever took over
        _unmake_on(run, held)
        with run.world.db.begin() as tx:
            reservations.clear(tx, held["reservation_id"])
    text = "; ".join(f"{failure['host']}: {failure['message']}" for failure in failures)
    raise errors.BrickError(
        f"No reserved host could make the volumes: {text or 'the reservations were cleared'}",
        pools=[failure["pool"] for failure in failures if failure["pool"]],
    )


def unmake_volumes(run: Run) -> None:
    for held in run.data["reserve"]["reserved"]:
        _unmake_on(run, held)


def keep(run: Run, tx: Tx) -> None:
    winner = run.data["volumes"]
    if not reservations.keep(tx, winner["reservation_id"]):
        raise errors.BrickError(f"The reservation of host {winner['host']} was cleared by an administrator.")
    reservations.clear_all(tx, run.id)
    for volume in run.params["new"]:
        pool = hosts.find_pool(tx, winner["pools"][volume["volume_id"]]["id"])
        if pool is None:
            raise errors.Unavailable(f"A pool of host {winner['host']} is gone.")
        record_place(tx, volume["volume_id"], pool)
    root = winner["pools"].get(run.params["instance_id"])
    host_id, root_pool_id = winner["host_id"], root["id"] if root else None
    instances.update(tx, run.params["instance_id"], host_id=host_id, root_pool_id=root_pool_id)
    after_commit(tx, functools.partial(run.world.places.redraw, _hosts_of(run.data["reserve"]["reserved"])))


def export(run: Run) -> None:
    """The bricks of other hosts, before the guest is started."""
    with reach.blaming(pool["name"] for pool in run.data["volumes"]["pools"].values()):
        guest_disks(run, *_given(run))


def unexport(run: Run) -> None:
    id = run.params["instance_id"]
    host, root_pool, attached = _given(run)
    every = [(volume["volume_id"], volume["pool"]) for volume in attached]
    for one in reach.far_disks(host, id, root_pool, every):
        reach.unexport(run, host, id, Kind(one["kind"]), one["id"], one["pool"])


def boot(run: Run) -> None:
    start_guest(run, *_given(run))


def _given(run: Run) -> tuple[str, str | None, list[dict[str, Any]]]:
    """The host that it boots on, the pool of its root disk, and its volumes."""
    p, winner = run.params, run.data["volumes"]
    taken = {brick_id: pool["name"] for brick_id, pool in winner["pools"].items()}
    new = [{**volume, "pool": taken[volume["volume_id"]], "read_only": False} for volume in p["new"]]
    return winner["host"], taken.get(p["instance_id"]), [*new, *p["existing"]]


def guest_disks(
    run: Run, host: str, root_pool: str | None, attached: Sequence[dict[str, Any]]
) -> tuple[verbs.BrickDisk, ...]:
    """The disks of the guest of the parameter `instance_id`, the root disk first; those of other hosts are exported."""
    id = run.params["instance_id"]
    disks = [reach.disk(run, host, id, Kind.ROOT, id, root_pool)] if root_pool is not None else []
    for volume in attached:
        how = {"read_only": volume["read_only"], "shared": volume["multiattach"]}
        disks.append(reach.disk(run, host, id, Kind.VOLUME, volume["volume_id"], volume["pool"], **how))
    return tuple(disks)


def start_guest(run: Run, host: str, root_pool: str | None, attached: Sequence[dict[str, Any]]) -> None:
    """Boot the guest of the parameters `instance_id`, `name`, `vcpus`, `memory_mib` and `image`; `attached`
    [{volume_id, pool, read_only, multiattach}] are its disks after the root disk, which `root_pool` None says it has
    none of."""
    p = run.params
    disks = guest_disks(run, host, root_pool, attached)
    kernel = initrd = None
    cmdline = ""
    image = p["image"]
    if image and image["kind"] == "kernel":
        kernel = str(run.world.images / image["files"]["kernel"])
        initrd = str(run.world.images / image["files"]["initrd"]) if "initrd" in image["files"] else None
        cmdline = f"{image['cmdline'] or ''} brickyard.name={p['name']} brickyard.id={p['instance_id']}".strip()
    run.world.nodes[host].boot(
        verbs.Boot(
            id=p["instance_id"],
            name=p["name"],
            vcpus=p["vcpus"],
            memory_mib=p["memory_mib"],
            disks=disks,
            kernel=kernel,
            initrd=initrd,
            cmdline=cmdline,
        )
    )


def unboot(run: Run) -> None:
    run.world.nodes[run.data["volumes"]["host"]].destroy(run.params["instance_id"])


def show(run: Run, tx: Tx) -> None:
    p, host = run.params, run.data["volumes"]["host"]
    for volume in p["new"]:
        attachments.insert(
            tx,
            id=volume["attachment_id"],
            volume_id=volume["volume_id"],
            instance_uuid=p["instance_id"],
            status=A.RESERVED,
            mode="rw",
        )
        store.end(tx, "volume", volume["volume_id"], "create", ok=True, fault=None)
    for volume in _given(run)[2]:
        show_attached(tx, volume["attachment_id"], volume["volume_id"], host, volume["pool"])
    store.end(tx, "instance", p["instance_id"], "boot", ok=True, fault=None)


def failed(run: Run, tx: Tx, error: errors.BrickyardError) -> None:
    p = run.params
    for volume in p["new"]:
        store.drop_created(tx, volume["volume_id"])
    for volume in p["existing"]:
        attachments.delete(tx, volume["attachment_id"])
        store.settle(tx, volume["volume_id"])
    store.end(tx, "instance", p["instance_id"], "boot", ok=False, fault=error.message, host_id=None)


def show_attached(tx: Tx, attachment_id: str, volume_id: str, host: str, pool: str) -> None:
    """An attachment of one of our own instances: complete, and its volume in use."""
    store.begin(tx, "attachment", attachment_id, "attach")
    store.end(
        tx,
        "attachment",
        attachment_id,
        "attach",
        ok=True,
        attached_host=host,
        attached_at=clock.stamp(),
        mountpoint=f"/dev/disk/by-id/virtio-{volume_id[:20]}",
        connection_info={
            "driver_volume_type": "nbd" if reach.is_far(host, pool) else "local",
            "volume_id": volume_id,
            "attachment_id": attachment_id,
        },
    )
    store.settle(tx, volume_id)


def _shares(p: dict[str, Any], candidate: placement.Candidate, held: Sequence[dict[str, Any]]) -> bool:
    """Whether it would make a brick in the very pool where one that is reserved already would: a claim is of one."""
    taken = {(brick_id, pool["id"]) for one in held for brick_id, pool in one["pools"].items()}
    mine = {(brick_id, pool.id) for (brick_id, _, _), pool in zip(wanted(p), candidate.pools, strict=True)}
    return not taken.isdisjoint(mine)


def _reserve_host(run: Run, tx: Tx, candidate: placement.Candidate, *, rank: int, wait: bool) -> dict[str, Any] | None:
    """Reserve one candidate, all of it or nothing; nothing, too, where another request is at it and we do not wait."""
    p = run.params
    savepoint = tx.begin_nested()  # before the lock: a host that has no room after all is let go
    host = hosts.hold_if_free(tx, candidate.host.name, wait=wait)
    if host is None:
        savepoint.rollback()
        return None
    bricks = {id: (pool, gib) for (id, gib, _), pool in zip(wanted(p), candidate.pools, strict=True)}
    id = reservations.reserve(
        tx,
        request_id=run.id,
        project_id=run.project_id,
        host_id=host.id,
        rank=rank,
        instance_id=p["instance_id"],
        vcpus=p["vcpus"],
        memory_mib=p["memory_mib"],
        bricks={brick_id: (pool.id, gib) for brick_id, (pool, gib) in bricks.items()},
        ttl_s=run.world.settings.reservation_ttl_s,
    )
    if id is None:
        savepoint.rollback()
        return None
    savepoint.commit()
    for pool, gib in bricks.values():
        run.world.places.claimed(pool.id, gib)
    taken = {brick_id: {"id": pool.id, "name": pool.name} for brick_id, (pool, _) in bricks.items()}
    return {"reservation_id": id, "host": host.name, "host_id": host.id, "pools": taken}


def _make_on(run: Run, held: dict[str, Any]) -> None:
    """Make all bricks on one host; an error says which pool it came from."""
    p = run.params
    for brick_id, size_gib, _ in wanted(p):
        pool = held["pools"][brick_id]["name"]
        try:
            if brick_id == p["instance_id"]:
                _make_root(run, pool)
            else:
                create_brick(run, pool, brick_id, size_gib, None)
        except errors.BrickyardError as error:
            error.facts["pool"] = pool
            raise


def _make_root(run: Run, pool: str) -> None:
    p, at = run.params, pools.parse(pool)
    label = Label(Kind.ROOT, p["instance_id"], run.project_id)
    image, size_bytes = disk_image(run, p["image"]["id"]), sizes.gib_to_bytes(p["root_gib"])
    run.world.nodes[at.host].import_brick(at.backend, image, label, size_bytes, run.progress(label.name))


def _unmake_on(run: Run, held: dict[str, Any]) -> None:
    for brick_id, pool in held["pools"].items():
        kind = Kind.ROOT if brick_id == run.params["instance_id"] else Kind.VOLUME
        with contextlib.suppress(errors.HostLost):  # what it has is looked at when it is back; the others are cleaned
            wiping.erase(run, pool["name"], name_of(kind, brick_id))


# definition --------------------------------------------------------------------------------------------------------

FLOW = Flow(
    "boot_instance",
    (
        Commit("reserve", do=reserve, undo=unreserve),
        Act("volumes", do=make_volumes, undo=unmake_volumes),
        Commit("keep", do=keep, undo=engine.nothing_in),
        Act("export", do=export, undo=unexport),
        Act("boot", do=boot, undo=unboot),
        Commit("show", do=show, undo=engine.nothing_in),
    ),
    failed=failed,
    attempts=3,
    again=elsewhere,
)
