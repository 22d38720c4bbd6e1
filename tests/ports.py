"""Ports for servers of tests."""

from __future__ import annotations

import contextlib
import secrets
import socket
from pathlib import Path

FIRST, WIDTH = 11000, 20000


def free(count: int) -> list[int]:
    """Ports of loopback that nobody listens at, below those that the system gives to clients: one of these may be taken
    between this call and the start of its server, or while a server is down that comes back, by any connection that
    anybody opens. They are drawn from the system, for `random` draws the same ones in each run of the tests."""
    below = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    last = min(FIRST + WIDTH, below)
    found: list[int] = []
    while len(found) < count:
        port = FIRST + secrets.randbelow(last - FIRST) if last > FIRST else 0
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            port = int(probe.getsockname()[1])
            if port not in found:
                found.append(port)
    return found


def one() -> int:
    return free(1)[0]
