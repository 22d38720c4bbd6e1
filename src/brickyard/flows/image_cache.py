"""The images that a pool keeps, so that the second volume of an image is a clone.

What is kept is a brick of a kind of its own, with a claim on its pool, a row and an id of its own; it belongs to no
project, and no quota counts it. It is found by the image and by everything that its content depends on, and only for a
request that was allowed to use that very image: whether the caller may is asked anew for each volume, before its flow
begins. Who is asked for longest ago goes first: when the limits of the pool are reached, and before anything is refused
for want of room. While a volume is being made of one it stays.
"""

from __future__ import annotations

import enum
import hashlib
import logging
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from brickyard import glance
from brickyard.core import clock, errors, fullness, image_cache, placement, pools, ranking, sizes
from brickyard.core.bricks import NOBODY, Kind, Label, name_of
from brickyard.core.states import C
from brickyard.db import cached_images, claims, flows, hosts, images, store
from brickyard.db.database import Row, Tx, after_commit
from brickyard.flows import places, wiping
from brickyard.flows.engine import Later, Run
from brickyard.flows.world import World
from brickyard.nodes import verbs

LOG = logging.getLogger(__name__)
WAIT_S = 1.0
AGAIN_S = 60.0  # after which what could not be removed is tried again
HELD = {"cached images"}  # as overviews.held calls them
CACHE, EVICT = "cache_image", "evict_image"  # the flows that make one, and remove it


class Cloned(enum.Enum):
    """What became of a volume that should be cloned."""

    YES = enum.auto()
    GONE = enum.auto()  # the image could not be kept
    BAD = enum.auto()  # what is kept could not be cloned


@dataclass(frozen=True, slots=True)
class Content:
    """The content of an image: `version` changes with everything that it depends on; `gib` holds it."""

    image_id: str
    version: str
    gib: int


def content_of(tx: Tx, source: Mapping[str, Any]) -> Content | None:
    """The content of the image that a volume is made of; None where too little is known of it to keep it."""
    facts = source.get("facts")
    if facts is None:
        found = images.find(tx, source["id"])
        if not found or "disk" not in found[0].files:
            return None
        known: list[object] = [found[0].format, found[0].files["disk"]]
        return _content(source["id"], known, found[0].virtual_size_bytes)
    image = msgspec.convert(facts, glance.Image)
    size_bytes = image.virtual_size_bytes or (image.size_bytes if image.disk_format == "raw" else 0)
    if not size_bytes or not (image.hash_value or image.checksum):
        return None
    known = [image.disk_format, image.hash_algorithm, image.hash_value, image.checksum, image.updated_at]
    return _content(image.id, known, size_bytes)


def _content(image_id: str, known: Sequence[object], size_bytes: int) -> Content:
    version = hashlib.sha256(msgspec.json.encode(known)).hexdigest()
    return Content(image_id, version, max(1, sizes.bytes_to_gib(size_bytes)))


# for a volume ------------------------------------------------------------------------------------------------------


def use(run: Run, tx: Tx, pool: Row, volume_id: str, source: Mapping[str, Any] | None) -> str | None:
    """The id of what the pool keeps of the image of a volume that was placed there, or begins to keep now; None: it
    keeps none. It stays until the volume lets go of it."""
    limits = image_cache.limits(pool.capabilities)
    if limits is None or source is None or source["kind"] != "image":
        return None
    content = content_of(tx, source)
    if content is None:
        return None
    row = cached_images.of(tx, pool.id, content.image_id, content.version)
    if row is not None:  # whoever would remove it holds it as well
        store.hold(tx, "cached_image", row.id)
        row = cached_images.find(tx, row.id)
        usable = row is not None and row.status in (C.CREATING, C.AVAILABLE)
        cached_images.count(tx, pool.id, hit=usable)
        id = row.id if row is not None and usable else None
    else:
        cached_images.count(tx, pool.id, hit=False)
        id = _begin(run, tx, pool, content, source, limits)
    if id is not None:
        cached_images.use(tx, id, volume_id)
    return id


def _begin(
    run: Run, tx: Tx, pool: Row, content: Content, source: Mapping[str, Any], limits: image_cache.Limits
) -> str | None:
    """Begin to keep an image, and to remove others if the limits say so; None if it cannot be kept."""
    there = [row for row in cached_images.on_pool(tx, pool.id) if row.status != C.DELETING]
    idle = [row for row in there if row.status != C.CREATING and not row.used]
    going = [row for row in idle if row.image_id == content.image_id]  # as the image was before
    idle = [row for row in idle if row not in going]

    def fits() -> bool:
        kept = [row for row in there if row not in going]
        return limits.allows(sum(row.size_gib for row in kept) + content.gib, len(kept) + 1)

    while not fits() and idle:
        going.append(idle.pop(0))
    id = str(uuid.uuid4())
    if not fits() or not claims.claim(tx, pool_id=pool.id, brick_id=id, gib=content.gib):
        return None
    after_commit(tx, lambda: run.world.places.claimed(pool.id, content.gib))
    for row in going:
        evict(run.world, tx, row.id, run.request_id)
    cached_images.insert(
        tx, id=id, pool_id=pool.id, image_id=content.image_id, version=content.version, size_gib=content.gib
    )
    params = {"cached_id": id, "pool": pool.name, "pool_id": pool.id, "gib": content.gib, "source": dict(source)}
    _queue(run.world, tx, CACHE, id, params, run.request_id)
    return id


def clone(run: Run, id: str, pool: str, label: Label, size_gib: int) -> Cloned:
    """Make the brick of a volume of what the pool keeps; Later while that is being made. Unless it is cloned nothing
    is there afterwards, and the caller makes the brick in another way."""
    with run.world.db.read() as tx:
        row = cached_images.find(tx, id)
    if row is None:
        return Cloned.GONE
    if row.status == C.CREATING:
        raise Later(WAIT_S)
    at = pools.parse(pool)
    node: verbs.Node = run.world.nodes[at.host]
    try:
        origin, progress = name_of(Kind.IMAGE, id), run.progress(label.name)
        node.clone_brick(at.backend, origin, label, sizes.gib_to_bytes(size_gib), None, progress)
    except (errors.Unreachable, errors.HostLost):
        raise
    except errors.BrickyardError as error:
        LOG.warning("%s of %s cannot be cloned, so the image is fetched again: %s", origin, pool, error.message)
        wiping.erase(run, pool, label.name)
        return Cloned.BAD
    return Cloned.YES


# making room -------------------------------------------------------------------------------------------------------


def evict(world: World, tx: Tx, id: str, request_id: str | None) -> str | None:
    """Begin to remove what a pool keeps, unless somebody uses it; the flow that does."""
    store.hold(tx, "cached_image", id)
    row = cached_images.find(tx, id)
    pool = hosts.find_pool(tx, row.pool_id) if row is not None else None
    if row is None or pool is None:
        return None
    try:
        store.begin(tx, "cached_image", id, "delete", where=cached_images.UNUSED)
    except errors.InvalidState:
        return None
    params = {"cached_id": id, "pool": pool.name, "pool_id": pool.id, "gib": row.size_gib}
    return _queue(world, tx, EVICT, id, params, request_id)


def make_room(run: Run, tx: Tx, needs_gib: Mapping[str, int]) -> None:
    """Before pools (by id) are refused that have less room than this: Later, where enough of it is taken by images
    that they keep and that nobody uses; those are removed meanwhile, or are being removed."""
    chosen: list[str] = []
    waits = False
    for pool_id, gib in needs_gib.items():
        pool = hosts.find_pool(tx, pool_id)
        if pool is None or pool.stage in fullness.CLOSED:
            return
        kept = cached_images.on_pool(tx, pool_id)
        going_gib = sum(row.size_gib for row in kept if row.status == C.DELETING)
        room_gib = places.limit_gib(pool) - pool.claimed_gib + going_gib
        waits = waits or going_gib > 0
        for row in kept:
            if room_gib < gib and _may_go(row):
                chosen.append(row.id)
                room_gib += row.size_gib
        if room_gib < gib:
            return
    if chosen or waits:
        raise Later(WAIT_S, lambda tx: _evict_all(run.world, tx, chosen, run.request_id))


def _may_go(row: Row) -> bool:
    """Whether it can be removed now; what could not be is tried again later, and not by the same who waits for it."""
    if row.status == C.ERROR_DELETING:
        return (row.updated_at or "") < clock.stamp(-AGAIN_S)
    return row.status == C.AVAILABLE and not row.used


def empty(world: World, tx: Tx, pool_id: str, request_id: str | None) -> list[str]:
    """Begin to remove all that a pool keeps and nobody uses; the flows that do."""
    kept = cached_images.on_pool(tx, pool_id)
    return [flow for row in kept if (flow := evict(world, tx, row.id, request_id)) is not None]


def _evict_all(world: World, tx: Tx, ids: Sequence[str], request_id: str | None) -> None:
    for id in ids:
        evict(world, tx, id, request_id)


def make_room_somewhere(run: Run, tx: Tx, request: placement.Ask | placement.Boot) -> None:
    """`make_room` for a request that no place takes, at the best place that would if no images were kept there."""
    if not (freed_gib := cached_images.freeable_gib(tx)):
        return
    site = run.world.places.with_room(tx, freed_gib)
    if isinstance(request, placement.Boot):
        asks, found = request.volumes, ranking.rank_hosts(site, request)
    else:
        asks, found = (request,), ranking.rank_pools(site, request)
    for candidate in found.candidates:
        needs_gib: dict[str, int] = {}
        for pool, ask in zip(candidate.pools, asks, strict=True):
            needs_gib[pool.id] = needs_gib.get(pool.id, 0) + ask.size_gib
        make_room(run, tx, needs_gib)


def _queue(world: World, tx: Tx, name: str, id: str, params: dict[str, Any], request_id: str | None) -> str:
    flow_id = str(uuid.uuid4())
    flows.insert(tx, id=flow_id, name=name, params=params, project_id=NOBODY, resource_id=id, request_id=request_id)
    after_commit(tx, lambda: world.bell.ring(flow_id))
    return flow_id
