"""What Block Storage v3 answers about backups: the name of each answer → its JSON Schema."""

from __future__ import annotations

from brickyard.api.schemas.shapes import Schema
from brickyard.api.schemas.shown import (
    BOOLEAN,
    ID,
    LINKS,
    MAYBE_ID,
    MAYBE_TEXT,
    MAYBE_TIME,
    NAMED,
    TEXT,
    TEXTS,
    TIME,
    WHOLE,
    many,
    one,
    shown,
    since,
)

_BACKUP: dict[str, Schema] = {
    **NAMED,
    **LINKS,
    "status": TEXT,
    "size": WHOLE,
    "object_count": WHOLE,
    "availability_zone": MAYBE_TEXT,
    "container": MAYBE_TEXT,
    "created_at": TIME,
    "updated_at": MAYBE_TIME,
    "description": MAYBE_TEXT,
    "fail_reason": MAYBE_TEXT,
    "volume_id": ID,
    "is_incremental": BOOLEAN,
    "has_dependent_backups": BOOLEAN,
    "snapshot_id": MAYBE_ID,
    "data_timestamp": TIME,
    "os-backup-project-attr:project_id": since("3.18", TEXT),
    "metadata": since("3.43", TEXTS),
    "user_id": since("3.56", TEXT),
}

ANSWERS: dict[str, Schema] = {
    "BackupBrief": shown({**NAMED, **LINKS}),
    "BackupsBrief": many("backups", "BackupBrief", "backups_links", counted=True),
    "BackupNamed": one("backup", "BackupBrief"),
    "Backup": shown(_BACKUP, "os-backup-project-attr:project_id", "user_id"),
    "Backups": many("backups", "Backup", "backups_links", counted=True),
    "BackupShown": one("backup", "Backup"),
    "BackupRestored": shown({"restore": shown({"backup_id": ID, "volume_id": ID, "volume_name": MAYBE_TEXT})}),
    "BackupRecord": shown({"backup-record": shown({"backup_service": TEXT, "backup_url": TEXT})}),
}
