"""What a service manager is told (sd_notify): that the service answers, and that it is about to end.

A datagram to the socket that the manager names in NOTIFY_SOCKET. Without one, nobody waits for it.
"""

from __future__ import annotations

import logging
import os
import socket

LOG = logging.getLogger(__name__)


def tell(state: str) -> None:
    """For example READY=1; several lines at once are allowed. That the manager does not listen stops nothing."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return
    if address.startswith("@"):  # a name that is in no directory
        address = f"\0{address[1:]}"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
            manager.sendto(state.encode(), address)
    except OSError as error:
        LOG.warning("the service manager could not be told %s: %s", state, error)
