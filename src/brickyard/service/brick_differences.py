"""What differs between rows and bricks, in both directions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from brickyard.core import bricks, sizes
from brickyard.core.bricks import Found, Kind
from brickyard.db import audit
from brickyard.db.audit import Placed, Records
from brickyard.service.differences import Difference, Repair, Seen

LARGER = ("disk",)  # drivers whose bricks are as large as they are, and not as they were asked to be


def known_bricks(records: Records, seen: Seen) -> Iterator[Difference]:
    """Bricks of rows: are they what the row says?"""
    for pool_id, listed in seen.bricks.items():
        pool, there = records.pools[pool_id], {found.name: found for found in listed}
        for row in records.placed.values():
            if row.pool_id != pool_id:
                continue
            found = there.get(row.name)
            if found is None:
                if row.status not in ("error_deleting", "deleting"):
                    text = "has a row and no brick: its content is lost; restore the pool, or delete it"
                    if row.kind is Kind.IMAGE:
                        text = "is kept for clones and has no brick: the next volume of its image makes it anew"
                    yield _of_row("missing_brick", pool.name, row, f"{row.name} {text}.")
            elif found.label is not None:
                for kind, text in _mismatches(row, found, exact=pool.driver not in LARGER):
                    yield _of_row(kind, pool.name, row, f"{row.name}: {text}.")


def _of_row(kind: str, where: str, row: Placed, message: str) -> Difference:
    return Difference(kind, where, row.name, message, (row.id,), project_id=row.project_id, pool_id=row.pool_id)


def _mismatches(row: Placed, found: Found, *, exact: bool) -> Iterator[tuple[str, str]]:
    assert found.label is not None
    label, gib = found.label, sizes.whole_gib(found.size_bytes)
    if label.kind is not row.kind or label.id != row.id:
        yield "kind", f"the row is of a {row.kind}, and its brick says that it is {label.name}; look at both"
    if label.project != row.project_id:
        yield "project", f"the row is of project {row.project_id}, and the brick of {label.project}; look at both"
    if row.generation is not None and label.generation != row.generation:
        yield "generation", f"the row is of generation {row.generation}, and the brick of {label.generation}"
    # A snapshot is as large as what it was taken of, which may be no whole GiB; what is adopted as a volume is grown.
    whole = row.kind is not Kind.SNAPSHOT or sizes.bytes_to_gib(found.size_bytes) != row.gib
    if found.size_bytes < sizes.gib_to_bytes(row.gib) and whole:
        yield "size", f"the row says {row.gib} GiB, and the brick has {found.size_bytes} bytes: its end is lost"
    elif gib > row.gib and exact:
        yield "size", f"the row says {row.gib} GiB, and the brick has {gib}; extend it to that"
    if found.wiping and row.status not in ("deleting", "error_deleting"):
        yield "wiping", f"its row is {row.status}, and its content is being wiped: it is lost; delete it"
    elif found.wiping and row.status == "error_deleting":
        yield "wiping", "its deletion failed and its wipe is not finished; delete it again"


def unknown_bricks(records: Records, seen: Seen) -> Iterator[Difference]:
    """Bricks without a row there. What has no label is not ours, and no repair ever touches it."""
    everywhere: dict[str, list[tuple[str, Found]]] = defaultdict(list)
    for pool_id, listed in seen.bricks.items():
        for found in listed:
            row = records.placed.get(found.name)
            if row is not None and row.pool_id == pool_id and found.label is not None:
                continue
            if found.label is None:
                yield _foreign(records, pool_id, found, row)
            elif found.wiping:
                yield _half_deleted(records, pool_id, found)
            elif row is None and (since := _lost_since(records, pool_id, found)):
                yield _lost(records, pool_id, found, since)
            elif row is not None:
                yield _elsewhere(records, seen, pool_id, found, row)
            else:
                everywhere[found.name].append((pool_id, found))
    chosen: dict[tuple[str, str], Found] = {}
    for name, places in everywhere.items():
        best = audit.best(places)
        for pool_id, found in places:
            if best is None or pool_id != best[0]:
                yield _contradiction(records, places, pool_id, found)
            else:
                chosen[pool_id, name] = found
    yield from _orphans(records, chosen)


def _foreign(records: Records, pool_id: str, found: Found, row: Placed | None) -> Difference:
    where, here = records.pools[pool_id].name, row is not None and row.pool_id == pool_id
    about = (row.id,) if row is not None and here else ()
    text = "has a row, and its label is gone or broken: restore it" if here else "is not ours: adopt it or move it away"
    return Difference("no_label", where, found.name, f"{found.name} says not whose it is. It {text}.", about)


def _elsewhere(records: Records, seen: Seen, pool_id: str, found: Found, row: Placed) -> Difference:
    assert found.label is not None
    here, there = records.pools[pool_id].name, records.pools[row.pool_id].name
    original = next((one for one in seen.bricks.get(row.pool_id, ()) if one.name == found.name), None)
    text = f"{found.name} lies here, and its row says that it lies on {there}"
    if original is None or original.label is None:
        return Difference("wrong_pool", here, found.name, f"{text}, where it is not seen; move it back.", (row.id,))
    older = found.label.generation < original.label.generation
    return Difference(
        "wrong_pool",
        here,
        found.name,
        f"{text}, where it is too: this is {'an older' if older else 'another'} copy.",
        (row.id,),
        repair=Repair.REMOVE if older else None,
        removal=Repair.REMOVE,
        found=(found,),
        project_id=found.label.project,
        pool_id=pool_id,
    )


def _contradiction(records: Records, places: Sequence[tuple[str, Found]], pool_id: str, found: Found) -> Difference:
    others = ", ".join(records.pools[other].name for other, _ in places if other != pool_id)
    text = f"{found.name} has no row, and {others} has one too; look at both and remove one"
    label = found.label
    assert label is not None
    return Difference(
        "contradiction", records.pools[pool_id].name, found.name, f"{text}.", (label.id,), project_id=label.project
    )


def _lost_since(records: Records, pool_id: str, found: Found) -> str | None:
    """Since when nothing is served from a brick any more, as itself or with its whole pool."""
    return records.lost.get(found.name) or records.lost.get(records.pools[pool_id].name)


def _lost(records: Records, pool_id: str, found: Found, since: str) -> Difference:
    assert found.label is not None
    text = f"{found.name} of project {found.label.project} was given up at {since}, when its host was lost: "
    text += "it may be older than what came after, and is not served under this name"
    return replace(_orphan("lost_brick", records, pool_id, found, text), release=Repair.DISOWN)


def _half_deleted(records: Records, pool_id: str, found: Found) -> Difference:
    text = f"{found.name} is being wiped, and no deletion of it runs"
    return _orphan("wiping", records, pool_id, found, text, repair=Repair.REMOVE)


def _orphans(records: Records, chosen: Mapping[tuple[str, str], Found]) -> Iterator[Difference]:
    """Bricks that say whose they are, and that no row knows."""
    families: dict[tuple[str, str], list[Found]] = defaultdict(list)
    for (pool_id, _), found in chosen.items():
        if found.label is not None and found.label.kind is Kind.SNAPSHOT and found.label.parent:
            families[pool_id, bricks.name_of(Kind.VOLUME, found.label.parent)].append(found)
    for (pool_id, name), found in chosen.items():
        label = found.label
        assert label is not None
        text, parent = f"{name} of project {label.project}", (pool_id, f"volume-{label.parent}")
        if label.id in records.volumes or label.id in records.snapshots:
            yield _orphan("wrong_pool", records, pool_id, found, f"{text} has a row that lies on no pool", removal=None)
        elif label.kind is Kind.IMAGE:
            text = f"{name} was kept for clones of image {label.parent}, and no row knows it: nothing is lost with it"
            yield _orphan("unknown_image", records, pool_id, found, text, Repair.REMOVE)
        elif label.kind is Kind.ROOT:
            text += " is the root disk of an instance that is not known; clone it to keep its content as a volume"
            yield _orphan("unknown_root", records, pool_id, found, text)
        elif label.kind is Kind.VOLUME:
            taken = (found, *families.get((pool_id, name), ()))
            yield _orphan("unknown_brick", records, pool_id, found, f"{text} has no row", Repair.ADOPT, taken=taken)
        elif parent in chosen:
            taken = (chosen[parent], *families[parent])
            yield _orphan("unknown_brick", records, pool_id, found, f"{text} has no row", Repair.ADOPT, taken=taken)
        elif (row := records.placed.get(parent[1])) is not None and row.pool_id == pool_id:
            yield _orphan("unknown_brick", records, pool_id, found, f"{text} has no row", Repair.ADOPT)
        else:
            text += f" is of volume {label.parent}, which is not there; clone it to keep its content as a volume"
            yield _orphan("snapshot_without_parent", records, pool_id, found, text)


def _orphan(
    kind: str,
    records: Records,
    pool_id: str,
    found: Found,
    text: str,
    repair: Repair | None = None,
    *,
    removal: Repair | None = Repair.REMOVE,
    taken: tuple[Found, ...] = (),
) -> Difference:
    assert found.label is not None
    return Difference(
        kind,
        records.pools[pool_id].name,
        found.name,
        f"{text}.",
        (found.label.id,),
        repair=repair,
        removal=removal,
        found=taken or (found,),
        project_id=found.label.project,
        pool_id=pool_id,
    )


def leftovers(records: Records, seen: Seen) -> Iterator[Difference]:
    for pool_id, left in seen.leftovers.items():
        for name, files in left.items():
            parsed = bricks.parse(name)
            text = f"{', '.join(files)}: left by a verb on {name} that died"
            about = (parsed[1],) if parsed else ()
            where = records.pools[pool_id].name
            yield Difference("leftovers", where, name, f"{text}.", about, repair=Repair.TIDY, pool_id=pool_id)


RULES = (known_bricks, unknown_bricks, leftovers)
