"""States, as tables: one row is one action, and says everything about it.

`start`   the statuses an action may begin in (None: the resource does not exist yet)
`during`  the status while it runs; no two actions of a table share one, so a status names its action
`done`    the status after success;  `failed`  after failure
`crash`   what happens to an action whose conductor died: its flow is resumed (RETRY)

BEFORE is the status the resource came from; COUNT is computed from the attachments that remain; GONE removes the row.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from brickyard.core import errors

BEFORE = "<before>"
COUNT = "<count>"
GONE = "<gone>"


class Crash(enum.StrEnum):
    RETRY = "retry"
    NONE = "none"  # the action is one transaction: there is nothing to crash in


@dataclass(frozen=True, slots=True)
class Row:
    action: str
    start: frozenset[str | None]
    during: str
    done: str
    failed: str
    crash: Crash = Crash.RETRY


def row(
    action: str, start: Iterable[str | None], during: str, done: str, failed: str, crash: Crash = Crash.RETRY
) -> Row:
    return Row(action, frozenset(start), during, done, failed, crash)


class V(enum.StrEnum):
    """Volume statuses, with the names of the wire."""

    CREATING = "creating"
    AVAILABLE = "available"
    RESERVED = "reserved"
    ATTACHING = "attaching"
    IN_USE = "in-use"
    DETACHING = "detaching"
    EXTENDING = "extending"
    REVERTING = "reverting"
    RETYPING = "retyping"
    DOWNLOADING = "downloading"
    UPLOADING = "uploading"
    BACKING_UP = "backing-up"
    RESTORING_BACKUP = "restoring-backup"
    DELETING = "deleting"
    AWAITING_TRANSFER = "awaiting-transfer"
    UNMANAGING = "unmanaging"
    MAINTENANCE = "maintenance"
    ERROR = "error"
    ERROR_DELETING = "error_deleting"
    ERROR_EXTENDING = "error_extending"
    ERROR_RESTORING = "error_restoring"
    ERROR_UNMANAGING = "error_unmanaging"


class S(enum.StrEnum):
    """Snapshot statuses, with the names of the wire."""

    CREATING = "creating"
    AVAILABLE = "available"
    DELETING = "deleting"
    UNMANAGING = "unmanaging"
    RESTORING = "restoring"
    BACKING_UP = "backing-up"
    ERROR = "error"
    ERROR_DELETING = "error_deleting"


class A(enum.StrEnum):
    """Attachment statuses, with the names of the wire."""

    RESERVED = "reserved"
    ATTACHING = "attaching"
    ATTACHED = "attached"
    DETACHING = "detaching"
    DETACHED = "detached"
    ERROR_ATTACHING = "error_attaching"
    ERROR_DETACHING = "error_detaching"


class G(enum.StrEnum):
    """Statuses of groups and of group snapshots, with the names of the wire."""

    CREATING = "creating"
    AVAILABLE = "available"
    UPDATING = "updating"
    IN_USE = "in-use"
    DELETING = "deleting"
    ERROR = "error"
    ERROR_DELETING = "error_deleting"


class B(enum.StrEnum):
    """Backup statuses, with the names of the wire."""

    CREATING = "creating"
    AVAILABLE = "available"
    RESTORING = "restoring"
    DELETING = "deleting"
    ERROR = "error"
    ERROR_DELETING = "error_deleting"


class C(enum.StrEnum):
    """Statuses of cached images, which no wire shows."""

    CREATING = "creating"
    AVAILABLE = "available"
    DELETING = "deleting"
    ERROR_DELETING = "error_deleting"


class I(enum.StrEnum):  # noqa: E742 — V, S, A, G, B, C, I: one letter a table
    """Instance statuses."""

    BUILDING = "building"
    ACTIVE = "active"
    STOPPING = "stopping"
    STOPPED = "stopped"
    STARTING = "starting"
    DELETING = "deleting"
    ERROR = "error"
    ERROR_DELETING = "error_deleting"


ANY_VOLUME = frozenset(V)
OK = frozenset({V.AVAILABLE, V.IN_USE})
BAD = frozenset({V.ERROR, V.ERROR_EXTENDING, V.ERROR_RESTORING})

# fmt: off
VOLUME: Mapping[str, Row] = {r.action: r for r in (
    #   action          from                        during        done         failed
    row("create",       {None},                     V.CREATING,   V.AVAILABLE, V.ERROR),
    row("delete",       {V.AVAILABLE} | BAD | {V.ERROR_DELETING}, V.DELETING, GONE, V.ERROR_DELETING),
    row("unmanage",     {V.AVAILABLE, V.ERROR, V.ERROR_UNMANAGING}, V.UNMANAGING, GONE, V.ERROR_UNMANAGING),
    row("extend",       OK,                         V.EXTENDING,  COUNT,       V.ERROR_EXTENDING),
    row("revert",       {V.AVAILABLE},              V.REVERTING,  BEFORE,      V.ERROR),
    row("reimage",      {V.AVAILABLE, V.ERROR, V.RESERVED}, V.DOWNLOADING, COUNT, V.ERROR),
    row("retype",       OK,                         V.RETYPING,   BEFORE,      BEFORE),
    row("migrate",      OK,                         V.MAINTENANCE, BEFORE,     BEFORE),
    row("backup",       OK,                         V.BACKING_UP, COUNT,       COUNT),
    row("upload",       OK,                         V.UPLOADING,  COUNT,       COUNT),
    row("restore",      {V.AVAILABLE},              V.RESTORING_BACKUP, V.AVAILABLE, V.ERROR_RESTORING),
    row("reserve",      OK,                         V.RESERVED,   COUNT,       COUNT, Crash.NONE),
    row("attach",       OK | {V.RESERVED, V.ATTACHING, V.DETACHING}, V.ATTACHING, COUNT, COUNT),
    row("detach",       {V.IN_USE},                 V.DETACHING,  COUNT,       V.IN_USE, Crash.NONE),
    row("transfer",     {V.AVAILABLE},              V.AWAITING_TRANSFER, V.AVAILABLE, V.AVAILABLE, Crash.NONE),
)}
SNAPSHOT: Mapping[str, Row] = {r.action: r for r in (
    row("create",       {None},                     S.CREATING,   S.AVAILABLE, S.ERROR),
    row("delete",       {S.AVAILABLE, S.ERROR, S.ERROR_DELETING}, S.DELETING, GONE, S.ERROR_DELETING),
    row("unmanage",     {S.AVAILABLE, S.ERROR},     S.UNMANAGING, GONE,        S.ERROR),
    row("revert",       {S.AVAILABLE},              S.RESTORING,  BEFORE,      S.AVAILABLE),
    row("backup",       {S.AVAILABLE},              S.BACKING_UP, BEFORE,      S.AVAILABLE),
)}
ATTACHMENT: Mapping[str, Row] = {r.action: r for r in (
    # `attach` lasts from the connector to `complete`; one that fails leaves the volume reserved for who asked
    row("attach",       {A.RESERVED, A.ATTACHING, A.ATTACHED, A.ERROR_ATTACHING}, A.ATTACHING, A.ATTACHED, A.RESERVED),
    row("detach",       frozenset(A) - {A.DETACHING}, A.DETACHING, GONE,      BEFORE),
)}
# A group that is made of others, or goes with what is in it, waits for that: the last of its members ends it.
GROUP: Mapping[str, Row] = {r.action: r for r in (
    row("create",       {None},                     G.CREATING,   G.AVAILABLE, G.ERROR),
    row("update",       {G.AVAILABLE},              G.UPDATING,   BEFORE,      BEFORE, Crash.NONE),
    row("delete",       {G.AVAILABLE, G.ERROR, G.ERROR_DELETING}, G.DELETING, GONE, G.ERROR_DELETING),
)}
GROUP_SNAPSHOT: Mapping[str, Row] = {r.action: r for r in (
    row("create",       {None},                     G.CREATING,   G.AVAILABLE, G.ERROR),
    row("delete",       {G.AVAILABLE, G.ERROR, G.ERROR_DELETING}, G.DELETING, GONE, G.ERROR_DELETING),
)}
BACKUP: Mapping[str, Row] = {r.action: r for r in (
    row("create",       {None},                     B.CREATING,   B.AVAILABLE, B.ERROR),
    row("restore",      {B.AVAILABLE},              B.RESTORING,  BEFORE,      B.AVAILABLE),
    row("delete",       {B.AVAILABLE, B.ERROR},     B.DELETING,   GONE,        B.ERROR_DELETING),
)}
# An image that a pool keeps; one that could not be made is not kept.
CACHED_IMAGE: Mapping[str, Row] = {r.action: r for r in (
    row("create",       {None},                     C.CREATING,   C.AVAILABLE, GONE),
    row("delete",       {C.AVAILABLE, C.ERROR_DELETING}, C.DELETING, GONE, C.ERROR_DELETING),
)}
INSTANCE: Mapping[str, Row] = {r.action: r for r in (
    # an active one is booted again elsewhere when its host is lost and none of its disks with it
    row("boot",         {None, I.ACTIVE},           I.BUILDING,   I.ACTIVE,    I.ERROR),
    row("stop",         {I.ACTIVE},                 I.STOPPING,   I.STOPPED,   I.ACTIVE),
    row("start",        {I.STOPPED},                I.STARTING,   I.ACTIVE,    I.STOPPED),
    row("delete",       {I.ACTIVE, I.STOPPED, I.ERROR, I.ERROR_DELETING}, I.DELETING, GONE, I.ERROR_DELETING),
)}
# fmt: on

# What an administrator may set by hand with os-reset_status; `deleting` is refused, since only a flow may delete.
RESETTABLE_VOLUME = frozenset(V) - {V.DELETING, V.REVERTING, V.RETYPING, V.UNMANAGING, V.ERROR_UNMANAGING}
RESETTABLE_SNAPSHOT = frozenset(S)
RESETTABLE_BACKUP = frozenset({B.AVAILABLE, B.ERROR})
RESETTABLE_GROUP = frozenset(G)
RESETTABLE_GROUP_SNAPSHOT = frozenset(G) - {G.IN_USE}


def begin(table: Mapping[str, Row], action: str, now: str | None) -> Row:
    """The row of `action`, or InvalidState naming the statuses that would do."""
    found = table[action]
    if now not in found.start:
        allowed = " or ".join(sorted(s for s in found.start if s))
        raise errors.InvalidState(
            f"Invalid status: to {action} it must be {allowed}, but the current status is {now}.", field="status"
        )
    return found


def end(found: Row, *, ok: bool, before: str | None, attached: Iterable[str] = ()) -> str:
    """The next status after an action; `attached` are the statuses of the attachments that remain."""
    target = found.done if ok else found.failed
    if target == BEFORE:
        return before or V.ERROR
    return from_attachments(attached) if target == COUNT else target


FROM_ATTACHMENT = {A.ATTACHED: V.IN_USE, A.ATTACHING: V.ATTACHING, A.DETACHING: V.DETACHING, A.RESERVED: V.RESERVED}


def from_attachments(statuses: Iterable[str]) -> str:
    """The status of a volume that its attachments make: the alphabetically first live one decides."""
    live = sorted(s for s in statuses if s in FROM_ATTACHMENT)
    return FROM_ATTACHMENT[A(live[0])] if live else V.AVAILABLE


# What rests in one of these is `error` while its host is lost, and what it was when the host is back with its brick.
LOSABLE: Mapping[str, frozenset[str]] = {
    "volume": frozenset({V.AVAILABLE, V.AWAITING_TRANSFER, *FROM_ATTACHMENT.values()}),
    "snapshot": frozenset({S.AVAILABLE}),
    "instance": frozenset({I.ACTIVE, I.STOPPED}),
}
