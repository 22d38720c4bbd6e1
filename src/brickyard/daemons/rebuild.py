"""`brickyard db rebuild`: volumes and snapshots from what the bricks say of themselves, after a database was lost.

It adds what is missing and changes nothing that is there, so it may run twice, die anywhere, and run on a database that
was not lost at all. Everything is written in one transaction. What comes back has its id, project, size, generation,
pool and claim; names, types, metadata and users are lost with the database, and so are instances.

What labels contradict is decided in docs/decisions/0014-what-a-rebuild-believes.md.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, field

from brickyard.cli import tables
from brickyard.cli.tables import Column
from brickyard.core import errors, pools, sizes
from brickyard.core.bricks import PREFIX, Found, Kind, Label, name_of
from brickyard.core.states import V
from brickyard.db import audit, flows, hosts, store
from brickyard.db.database import Database, Row
from brickyard.nodes import verbs
from brickyard.service import reports

NOTES = (
    Column("Where", lambda row: row["where"]),
    Column("What", lambda row: row["kind"], whole=True),
    Column("Name", lambda row: row["name"], whole=True),
    Column("Why", lambda row: row["message"]),
)
REFUSED = ("contradiction", "snapshot_without_parent", "pool_down")  # ours, and not taken

NEXT = (
    "Pools that were made with `brickyard pool create` are not in the database any more. Start the service and make "
    "each again on the same directory or volume group: what lies there comes back with it. Then ask `brickyard audit`."
)


@dataclass(frozen=True, slots=True)
class Note:
    """Something that a person should know of."""

    kind: str
    where: str
    name: str
    message: str


@dataclass(slots=True)
class Outcome:
    """Names of bricks by what became of them, and what was not taken."""

    taken: list[tuple[str, Found]] = field(default_factory=list)  # (pool, brick): new rows
    known: int = 0  # they had rows already
    notes: list[Note] = field(default_factory=list)

    def note(self, kind: str, where: str, name: str, message: str) -> None:
        self.notes.append(Note(kind, where, name, message))

    @property
    def complete(self) -> bool:
        """Whether everything that says it is ours is in the database now."""
        return not any(note.kind in REFUSED for note in self.notes)


def run(db: Database, node: verbs.Node, *, dry_run: bool = False) -> Outcome:
    """Rebuild from the pools of this host. Conflict when the database has work in progress."""
    with db.read() as tx:
        if flows.list_(tx, open_only=True, limit=1):
            raise errors.Conflict(
                "The database has work in progress: start the service and let it finish, then ask `brickyard audit`."
            )
    report = node.report()
    if not dry_run:
        reports.record(db, report)
    outcome = Outcome()
    found = _look(node, report, outcome)
    chosen = _choose(found, outcome)
    used = _used(node)
    if dry_run:
        _count(db, chosen, outcome)
    else:
        _grow(node, chosen, used)
        _write(db, chosen, used, outcome)
    return outcome


def _look(node: verbs.Node, report: verbs.Report, outcome: Outcome) -> dict[str, list[tuple[str, Found]]]:
    """Name of a brick → the pools where it lies, of all bricks that say whose they are."""
    found: dict[str, list[tuple[str, Found]]] = defaultdict(list)
    for backend in report.backends:
        pool = str(pools.PoolName(report.host, backend.name, backend.volume_backend_name))
        if not backend.up:
            why = f"Its bricks were not looked at: {backend.why_down}; repair it and rebuild again."
            outcome.note("pool_down", pool, backend.name, why)
            continue
        for brick in node.bricks(backend.name):
            if brick.label is None:
                text = "It does not say whose it is, and was left alone."
                outcome.note("no_label", pool, brick.name, text)
            elif brick.wiping:
                text = "It was deleted and not wiped yet; `brickyard audit --repair` goes on with that."
                outcome.note("wiping", pool, brick.name, text)
            elif brick.label.kind is Kind.IMAGE:
                text = "It was kept for clones of an image; `brickyard audit --repair` removes it, and nothing is lost."
                outcome.note("cached_image", pool, brick.name, text)
            elif brick.label.kind is Kind.ROOT:
                text = "The root disk of an instance that is lost. It stays; clone it to have it as a volume."
                outcome.note("root", pool, brick.name, f"{text} Project {brick.label.project}.")
            else:
                found[brick.name].append((pool, brick))
    return found


def _choose(found: dict[str, list[tuple[str, Found]]], outcome: Outcome) -> list[tuple[str, Found]]:
    """What to take, the volumes first."""
    chosen: dict[str, tuple[str, Found]] = {}
    for name, places in sorted(found.items()):
        best = audit.best(places)
        for pool, brick in places:
            if best is None:
                others = ", ".join(other for other, _ in places if other != pool)
                text = f"{others} has it too, of the same generation: none was taken. Remove one, and rebuild again."
                outcome.note("contradiction", pool, name, text)
            elif pool != best[0] and brick.label is not None:
                text = f"{best[0]} has a later generation of it, which was taken; this one was left alone."
                outcome.note("older_copy", pool, name, text)
        if best is not None:
            chosen[name] = best
    volumes = [one for one in chosen.values() if _label(one[1]).kind is Kind.VOLUME]
    snapshots = []
    for pool, brick in chosen.values():
        label = _label(brick)
        if label.kind is Kind.SNAPSHOT:
            parent = chosen.get(name_of(Kind.VOLUME, label.parent)) if label.parent else None
            if parent is None or parent[0] != pool or _label(parent[1]).project != label.project:
                text = (
                    f"It is a snapshot of volume {label.parent} of project {label.project}, which is not in this pool."
                )
                outcome.note("snapshot_without_parent", pool, brick.name, f"{text} Clone it to have it as a volume.")
            else:
                snapshots.append((pool, brick))
    return [*volumes, *snapshots]


def _used(node: verbs.Node) -> dict[str, str]:
    """Id of a volume → what still runs with it: the guest, here or where it is exported to, or a host, by NVMe. Guests
    and exports outlive the service and its database."""
    exported = {
        one.name.removeprefix(PREFIX[Kind.VOLUME]): f"Host {one.nqn}" if one.nqn else f"Guest {one.client}"
        for one in node.exports()
    }
    guests = [guest for guest in node.guests() if guest.status != "stopped"]
    here = {serial: f"Guest {guest.id}" for guest in guests for serial in guest.serials}
    return exported | here


def _grow(node: verbs.Node, chosen: list[tuple[str, Found]], used: dict[str, str]) -> None:
    """A volume is whole GiB; one that was made by hand may not be."""
    for pool, brick in chosen:
        label = _label(brick)
        if label.kind is Kind.VOLUME and brick.size_bytes % sizes.GIB and label.id not in used:
            whole = sizes.gib_to_bytes(sizes.bytes_to_gib(brick.size_bytes))
            node.grow_brick(pools.parse(pool).backend, brick.name, whole)


def _write(db: Database, chosen: list[tuple[str, Found]], used: dict[str, str], outcome: Outcome) -> None:
    with db.begin() as tx:
        rows: dict[str, Row] = {row.name: row for row in hosts.list_pools(tx)}
        for pool, brick in chosen:
            label = _label(brick)
            if not audit.restore(tx, rows[pool], label, brick.size_bytes):
                outcome.known += 1
                continue
            audit.restored(tx, label)
            outcome.taken.append((pool, brick))
            if label.id in used:
                store.reset(tx, "volume", label.id, V.MAINTENANCE)
                text = f"{used[label.id]} still runs with it, so it is in maintenance. End that, then set it available"
                outcome.note("in_use", pool, brick.name, f"{text}: openstack volume set --state available")


def _count(db: Database, chosen: list[tuple[str, Found]], outcome: Outcome) -> None:
    """What `_write` would do."""
    with db.read() as tx:
        for pool, brick in chosen:
            if audit.placed(tx, _label(brick).kind, _label(brick).id) is None:
                outcome.taken.append((pool, brick))
            else:
                outcome.known += 1


def _label(brick: Found) -> Label:
    assert brick.label is not None
    return brick.label


def show(outcome: Outcome, form: str, *, dry_run: bool) -> None:
    """Tell a person, or a program, what came back and what did not."""
    taken = [
        {"pool": pool, "name": brick.name, "size_bytes": brick.size_bytes, "project_id": _label(brick).project}
        for pool, brick in outcome.taken
    ]
    notes = [asdict(note) for note in outcome.notes]
    if form == "json":
        tables.say(form, "", {"taken": taken, "known": outcome.known, "notes": notes})
        return
    number, verb = Counter(_label(brick).kind for _, brick in outcome.taken), "would be" if dry_run else "are"
    lines = [f"{number[Kind.VOLUME]} volumes and {number[Kind.SNAPSHOT]} snapshots {verb} back"]
    lines += [f"  {pool}: {count}" for pool, count in sorted(Counter(pool for pool, _ in outcome.taken).items())]
    lines += [f"{outcome.known} were in the database already"] if outcome.known else []
    tables.say(form, "\n".join(lines))
    if notes:
        tables.rows(form, notes, NOTES, "")
    if outcome.taken and not dry_run:
        tables.say(form, NEXT)
