"""What a flow has left on a host that was declared lost: nobody can undo it there, and nobody waits for that.

The host is looked at when it comes back, and until then nothing on it is served; what it has and no row knows, an audit
tells of.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from brickyard.core import errors

if TYPE_CHECKING:
    from brickyard.flows.engine import Run

LOG = logging.getLogger(__name__)


def undo(step: Callable[[Run], None], run: Run) -> dict[str, Any] | None:
    """Undo an Act. What its log entry says: why something was left, or nothing."""
    try:
        step(run)
    except errors.HostLost as lost:
        LOG.warning("flow %s: an undo is left out: %s", run.id, lost.message)
        return {"left": lost.message}
    return None
