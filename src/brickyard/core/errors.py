"""Every error of the program, in one tree.

BrickyardError
├── Invalid            400  the request itself is wrong; `field` says where
│   ├── InvalidState   400  the resource is in a status that does not allow the action
│   └── UnsafeImage    400  an image that no tool may open
│       └── DamagedImage 400  one that is cut off, or says what cannot be
├── Unauthorized       401
├── Forbidden          403
├── NotFound           404
├── NotAcceptable      406  a microversion that is not served
├── Conflict           409
│   ├── LostRace       409  somebody else changed it first; repeat the request
│   └── Cancelled      409  work that was ended on request before it was done
├── OverQuota          413
├── NoValidHost        409  nothing can hold the request; carries the refusals
├── BrickError         500  a driver could not do its work
│   ├── DeviceInUse    409  a device that somebody uses, or that holds something; `found` says what
│   ├── BrickMismatch  500  a brick of that name exists and is another one
│   ├── NoSpace        500  the pool is full
│   ├── DamagedBackup  500  a part of a backup is missing or not what was stored; the message names it
│   └── ToolFailed     500  an outside command failed: command, exit status, stderr
├── GuestError         409  the hypervisor could not do its work
├── UndoFailed         500  a rollback failed too; carries both causes
└── Unavailable        503  a host or backend is down
    ├── HostLost       503  its host was declared lost: nobody asks it for anything until it is taken in again
    └── Unreachable    503  a node does not answer; nobody knows what it does, and the same may be asked again

The docstring of a class is its default message. `status` is the HTTP status.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class BrickyardError(Exception):
    """Something went wrong inside Brickyard."""

    status = 500

    def __init__(self, message: str | None = None, **facts: Any) -> None:
        self.message = message or (self.__class__.__doc__ or "").strip()
        self.facts = facts
        super().__init__(self.message)


class Invalid(BrickyardError):
    """The request is not valid."""

    status = 400

    def __init__(self, message: str | None = None, *, field: str | None = None, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.field = field


class InvalidState(Invalid):
    """The status of the resource does not allow this action."""


class UnsafeImage(Invalid):
    """The image is refused because opening it could read other files."""


class DamagedImage(UnsafeImage):
    """The image is damaged or cut off; upload it again."""


class Unauthorized(BrickyardError):
    """A valid token is needed: send it in the X-Auth-Token header."""

    status = 401


class Forbidden(BrickyardError):
    """Policy does not allow this action."""

    status = 403


class NotFound(BrickyardError):
    """The resource could not be found."""

    status = 404


class NotAcceptable(BrickyardError):
    """This microversion is not served."""

    status = 406


class Conflict(BrickyardError):
    """The request conflicts with the state of the resource."""

    status = 409


class LostRace(Conflict):
    """Another request changed the resource first; repeat the request."""


class Deadlock(LostRace):
    """Two transactions waited for each other, and the database ended this one; repeat the request."""


class Cancelled(Conflict):
    """This was cancelled on request."""


class OverQuota(BrickyardError):
    """The quota of the project does not allow this."""

    status = 413


class NoValidHost(BrickyardError):
    """No host can hold this request; `refusals` says why, host by host."""

    status = 409

    def __init__(self, message: str | None = None, refusals: Sequence[dict[str, Any]] = ()) -> None:
        super().__init__(message, refusals=list(refusals))


class BrickError(BrickyardError):
    """The storage driver could not do this."""


class DeviceInUse(BrickError):
    """The device is in use, or something is on it; `found` says what."""

    status = 409

    def __init__(self, message: str | None = None, found: Sequence[str] = ()) -> None:
        super().__init__(message, found=list(found))
        self.found = tuple(found)


class BrickMismatch(BrickError):
    """A brick of this name exists already, and it is not the one that was asked for."""


class NoSpace(BrickError):
    """The pool has not enough space left."""


class DamagedBackup(BrickError):
    """A part of the backup is missing or damaged; restore another backup of the volume."""


class ToolFailed(BrickError):
    """An outside command failed."""

    def __init__(self, argv: Sequence[str], returncode: int, stderr: str) -> None:
        super().__init__(f"{' '.join(argv)}: exit status {returncode}: {stderr.strip()}")
        self.argv, self.returncode, self.stderr = tuple(argv), returncode, stderr


class GuestError(BrickyardError):
    """The hypervisor could not do this."""

    status = 409


class UndoFailed(BrickyardError):
    """A rollback failed after the error that it answered."""

    def __init__(self, causal: BaseException, rollback: BaseException) -> None:
        super().__init__(f"{causal}; and undoing it failed: {rollback}")
        self.causal, self.rollback = causal, rollback


class Unavailable(BrickyardError):
    """The host or backend that owns this resource is down; try again when it is up."""

    status = 503


class ImageServiceUnavailable(Unavailable):
    """The image service of the cloud does not answer; try again when it does."""


class Unreachable(Unavailable):
    """The host of this resource does not answer; it is asked again when it does."""


class HostLost(Unavailable):
    """The host of this resource was declared lost."""


class Superseded(Conflict):
    """This was asked under an earlier claim of its flow: somebody else has the flow now, and it does not count."""


def revived(kind: str, message: str, facts: Mapping[str, Any] | None = None) -> BrickyardError:
    """An error that was written down or has travelled: of its own class where that takes a message, otherwise of the
    nearest one above it that does. A class that nobody knows here is a BrickyardError."""
    found = globals().get(kind)
    if not (isinstance(found, type) and issubclass(found, BrickyardError)):
        found = BrickyardError
    while found in (ToolFailed, UndoFailed):
        found = found.__bases__[0]
    error: BrickyardError = found(message)
    error.facts.update(facts or {})
    if isinstance(error, Invalid):
        error.field = error.facts.pop("field", None)
    if isinstance(error, DeviceInUse):
        error.found = tuple(error.facts.get("found", ()))
    return error
