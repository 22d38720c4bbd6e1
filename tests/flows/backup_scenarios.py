"""Scenarios of backups: whatever breaks, what is kept is whole or gone, and the volume is what it was."""

from __future__ import annotations

import base64
from typing import Any

from tests.flows.scenarios import (
    BOSS,
    ME,
    Scenario,
    new_volume,
    read,
    volume,
    with_instance,
    with_snapshot,
    with_volume,
    write,
)

from brickyard.backups.manifest import Where
from brickyard.core import errors
from brickyard.db import attachments, snapshots, store
from brickyard.db import backups as rows
from brickyard.service import audit, backups, restores
from brickyard.service.site import Site

Facts = dict[str, Any]


def backup(site: Site, id: str) -> Any:
    with site.db.read() as tx:
        return rows.find(tx, id)


def is_kept(site: Site, id: str) -> bool:
    try:
        return bool(site.world.nodes["h1"].find_backup(Where("volumes", id)).objects)
    except errors.NotFound:
        return False


def stored(site: Site) -> list[str]:
    """What lies in the place, whole or not."""
    return sorted(path.name for path in (site.world.images.parent / "kept").glob("volumes/*"))


def make(**asked: Any) -> Any:
    def start(site: Site, facts: Facts) -> None:
        given = {name: facts.get(value, value) for name, value in asked.items()}
        new = backups.NewBackup(volume_id=facts["volume"], **given)
        facts["backup"] = backups.create(site, ME, new).id

    return start


def new_backup(site: Site, facts: Facts, **asked: Any) -> str:
    make(**asked)(site, facts)
    site.waker.run_all()
    assert backup(site, facts["backup"]).status == "available"
    return str(facts["backup"])


def made(source: str = "available") -> Any:
    def done(site: Site, facts: Facts) -> None:
        row = backup(site, facts["backup"])
        assert (row.status, row.fault, row.object_count) == ("available", None, 2)
        assert is_kept(site, row.id)
        as_before(site, facts, source)
        assert audit.look(site) == []

    return done


def not_made(source: str = "available") -> Any:
    def failed(site: Site, facts: Facts) -> None:
        row = backup(site, facts["backup"])
        assert (row.status, bool(row.fault)) == ("error", True)
        assert row.id not in stored(site)
        as_before(site, facts, source)
        assert audit.look(site) == []

    return failed


def as_before(site: Site, facts: Facts, source: str) -> None:
    assert volume(site, facts["volume"]).status == source
    if "snapshot" in facts:
        with site.db.read() as tx:
            assert snapshots.find(tx, facts["snapshot"]).status == "available"
    own = {f"_snapshot-{facts['backup']}"} & {found.name for found in site.world.nodes["h1"].bricks("raw")}
    assert not own


def in_use(site: Site) -> Facts:
    """A volume that the guest of an instance has."""
    facts = with_instance(site)
    with site.db.read() as tx:
        facts["volume"] = attachments.of_instance(tx, facts["instance"])[0].volume_id
    write(site, facts["volume"], b"first")
    return facts


def with_full(site: Site) -> Facts:
    facts = with_volume(site)
    facts["full"] = new_backup(site, facts)
    write(site, facts["volume"], b"second")
    return facts


def with_backup(site: Site) -> Facts:
    facts = with_volume(site)
    facts["first"] = facts["backup"] = new_backup(site, facts)
    facts["target"] = new_volume(site)
    write(site, facts["target"], b"other")
    return facts


def restore(site: Site, facts: Facts) -> None:
    restores.restore(site, ME, facts["backup"], facts["target"], None)


def restored(site: Site, facts: Facts) -> None:
    assert (volume(site, facts["target"]).status, backup(site, facts["backup"]).status) == ("available", "available")
    assert read(site, facts["target"], 16) == b"first" + bytes(11)
    assert audit.look(site) == []


def not_restored(site: Site, facts: Facts) -> None:
    row = volume(site, facts["target"])
    assert (row.status, bool(row.fault), backup(site, facts["backup"]).status) == ("error_restoring", True, "available")
    with site.db.begin() as tx:
        store.force(tx, "volume", row.id, "available")
    restore(site, facts)
    site.waker.run_all()
    restored(site, facts)


def restore_new(site: Site, facts: Facts) -> None:
    facts["target"] = restores.restore(site, ME, facts["backup"], None, None).id


def not_restored_new(site: Site, facts: Facts) -> None:
    assert (volume(site, facts["target"]).status, backup(site, facts["backup"]).status) == ("error", "available")
    assert audit.look(site) == []


def delete(site: Site, facts: Facts) -> None:
    backups.delete(site, ME, facts["backup"])


def deleted(site: Site, facts: Facts) -> None:
    assert backup(site, facts["backup"]) is None
    assert facts["backup"] not in stored(site)


def not_deleted(site: Site, facts: Facts) -> None:
    row = backup(site, facts["backup"])
    assert (row.status, bool(row.fault)) == ("error_deleting", True)
    backups.force_delete(site, BOSS, row.id)
    site.waker.run_all()
    deleted(site, facts)


def being_made(site: Site) -> Facts:
    """A backup whose flow has not begun: it is queued behind the cancellation."""
    facts = with_volume(site)
    make()(site, facts)
    facts["flow"] = site.waker.woken.pop()
    return facts


def cancel(site: Site, facts: Facts) -> None:
    backups.force_delete(site, BOSS, facts["backup"])
    site.waker.wake(facts["flow"])


def cancelled(site: Site, facts: Facts) -> None:
    deleted(site, facts)
    as_before(site, facts, "available")


def forgotten(site: Site) -> Facts:
    """A backup that was exported and that nobody knows any more."""
    facts = with_backup(site)
    facts["record"] = restores.export_record(site, BOSS, facts["backup"])
    with site.db.begin() as tx:
        tx.execute(rows.backups.delete())
    return facts


def take_over(site: Site, facts: Facts) -> None:
    facts["backup"] = restores.import_record(
        site, BOSS, facts["record"]["backup_service"], facts["record"]["backup_url"]
    ).id


def taken_over(site: Site, facts: Facts) -> None:
    row = backup(site, facts["first"])
    assert (row.status, row.object_count, row.size_gib) == ("available", 2, 1)
    assert facts["first"].encode() in base64.b64decode(facts["record"]["backup_url"])
    restore(site, facts)
    site.waker.run_all()
    restored(site, facts)


def not_taken_over(site: Site, facts: Facts) -> None:
    row = backup(site, facts["first"])
    assert (row.status, bool(row.fault)) == ("error", True)
    assert is_kept(site, row.id)  # what fails to be taken over stays


SCENARIOS = (
    Scenario("create_backup", with_volume, make(), made(), not_made(), everywhere=False),
    Scenario("create_backup", with_full, make(incremental=True), made(), not_made()),
    Scenario("create_backup", with_snapshot, make(snapshot_id="snapshot"), made(), not_made(), everywhere=False),
    Scenario("create_backup", in_use, make(force=True), made("in-use"), not_made("in-use")),
    Scenario("restore_backup", with_backup, restore, restored, not_restored),
    Scenario("create_volume", with_backup, restore_new, restored, not_restored_new),
    Scenario("delete_backup", with_backup, delete, deleted, not_deleted),
    Scenario("cancel_backup", being_made, cancel, cancelled, cancelled),
    Scenario("import_backup", forgotten, take_over, taken_over, not_taken_over),
)
