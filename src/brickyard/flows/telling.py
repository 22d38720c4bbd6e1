"""What a flow that failed tells the owner, in the messages of the API."""

from __future__ import annotations

from brickyard.core import errors
from brickyard.db import messages
from brickyard.db.database import Tx
from brickyard.flows.engine import Run


def tell(run: Run, tx: Tx, error: errors.BrickyardError, *, kind: str, id: str, action: str, detail: str) -> None:
    """`kind` is "VOLUME", "VOLUME_SNAPSHOT" or "VOLUME_BACKUP"; `action` and `detail` are names of `db.messages`."""
    messages.insert(
        tx,
        project_id=run.project_id,
        request_id=run.request_id,
        resource_type=kind,
        resource_uuid=id,
        action=action,
        detail=detail,
        cause=error.message,
    )
