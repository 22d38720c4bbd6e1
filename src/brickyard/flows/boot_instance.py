"""Boot an instance together with its local storage: the reason this project exists.

reserve   the best hosts that can hold instance and volumes, compute and capacity     undo: give everything back
volumes   on the best of them, make the root disk and the new volumes; a host that    undo: delete them, wherever
          fails is cleaned, its reservation cleared, and the next one tried; one
          that is silent is forsaken, and waited for only if there is no other
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

from brickyard.core import clock, errors, pools, sizes
from brickyard.core.bricks import Kind, Label, name_of
from brickyard.core.states import A
from brickyard.db import attachments, hosts, instances, reservations, store
from brickyard.db.database import Tx, after_commit
from brickyard.flows import engine, forsaking, reach, wiping
from brickyard.flows.create_volume import create_brick, elsewhere, record_place
from brickyard.flows.engine import Act, Commit, Flow, Run
from brickyard.flows.image_files import disk_image
from brickyard.flows.reserving import hosts_of, reserve, unreserve, wanted
from brickyard.nodes import verbs

LOG = logging.getLogger(__name__)

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


# implementations ---------------------------------------------------------------------------------------------------


def make_volumes(run: Run) -> dict[str, Any]:
    """On the first reserved host that can: the host comes back, the others' failures with it."""
    failures: list[dict[str, str]] = []
    with run.world.db.read() as tx:
        live = {row.id for row in reservations.of_request(tx, run.id)}
    for held in run.data["reserve"]["reserved"]:
        if held["reservation_id"] not in live:
            continue
        run.check()
        live.discard(held["reservation_id"])
        try:
            _make_on(run, held)
            return {**held, "failures": failures}
        except errors.BrickyardError as error:
            LOG.warning("flow %s: host %s failed: %s", run.id, held["host"], error.message)
            if isinstance(error, errors.Unreachable) and not (run.world.nodes.hears() and (live or _others(run))):
                raise  # it is waited for
            failures.append({"host": held["host"], "message": error.message, "pool": _blamed(error)})
            if not elsewhere(error):
                raise
        run.check()  # it may have failed because we slept, and what lies there now is of whoever took over
        try:
            _unmake_on(run, held)
        except errors.Unreachable:
            forsaking.forsake(run, held)
            continue
        with run.world.db.begin() as tx:
            reservations.clear(tx, held["reservation_id"])
    text = "; ".join(f"{failure['host']}: {failure['message']}" for failure in failures)
    raise errors.BrickError(
        f"No reserved host could make the volumes: {text or 'the reservations were cleared'}",
        pools=[failure["pool"] for failure in failures if failure["pool"]],
    )


def _others(run: Run) -> bool:
    """Whether another attempt may find hosts that this one has not reserved."""
    found = run.data["reserve"]
    return run.attempt < FLOW.attempts and len(found["candidates"]) > len(found["reserved"])


def _blamed(error: errors.BrickyardError) -> str:
    """The pool that an error came from; none where its whole host is silent."""
    return "" if isinstance(error, errors.Unreachable) else str(error.facts.get("pool", ""))


def unmake_volumes(run: Run) -> None:
    with run.world.db.read() as tx:
        left = forsaking.forsaken(tx, [id for id, _, _ in wanted(run.params)])
    for held in run.data["reserve"]["reserved"]:
        if not any(pool["id"] in left[brick_id] for brick_id, pool in held["pools"].items()):
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
    after_commit(tx, functools.partial(run.world.places.redraw, hosts_of(run.data["reserve"]["reserved"])))


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
