"""The load: so many connections that stay open, each asking again as soon as it has its answer.

    echo '{"port": 8776, "concurrency": 16, "seconds": 3, "requests": [["GET", "/v3", null]]}' | python bench/load.py

One thread and raw sockets, because the service shares the processors with it. Runs for `seconds`, or until `count`
requests are answered. Only answers with the status `expect` (200) count; all others are errors, and are told apart.
"""

from __future__ import annotations

import collections
import itertools
import json
import selectors
import socket
import statistics
import sys
import time
from typing import Any

TIMEOUT_S = 120.0


class Connection:
    """One connection: `sent` is when its open request went out."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.pieces: list[bytes] = []
        self.missing = -1  # bytes until the answer is complete; -1: its head is not complete
        self.sent = 0.0

    def send(self, request: bytes) -> None:
        self.pieces, self.missing, self.sent = [], -1, time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> bytes | None:
        """The first line of the answer once all of it is there."""
        piece = self.socket.recv(1 << 20)
        if not piece:
            raise ConnectionError("the service closed a connection")
        self.pieces.append(piece)
        if self.missing >= 0:
            self.missing -= len(piece)
        else:
            text = b"".join(self.pieces)
            head, end, rest = text.partition(b"\r\n\r\n")
            if not end:
                return None
            self.missing = _length(head) - len(rest)
        return self.pieces[0][:15] if self.missing == 0 else None


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise ConnectionError(f"an answer without a length: {head[:200]!r}")


def rendered(method: str, path: str, body: Any) -> bytes:
    content = json.dumps(body).encode() if body is not None else b""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "OpenStack-API-Version: volume 3.67"]
    if content:
        lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
    return "\r\n".join([*lines, "", ""]).encode() + content


def run(order: dict[str, Any]) -> dict[str, Any]:
    """Load the service as ordered; what was answered, and how fast."""
    requests = itertools.cycle([rendered(*request) for request in order["requests"]])
    good = f"HTTP/1.1 {order.get('expect', 200)}".encode()[:12]
    left = order.get("count", sys.maxsize)
    answered, failed = 0, collections.Counter[str]()
    spent: list[float] = []
    waiting = selectors.DefaultSelector()
    for _ in range(min(order["concurrency"], left)):
        connection = Connection(order["port"])
        waiting.register(connection.socket, selectors.EVENT_READ, connection)
    started = time.perf_counter()
    deadline = started + order.get("seconds", TIMEOUT_S)
    busy = len(waiting.get_map())
    for key in list(waiting.get_map().values()):
        left -= 1
        key.data.send(next(requests))
    while busy and (events := waiting.select(TIMEOUT_S)):
        for key, _ in events:
            first = key.data.receive()
            if first is None:
                continue
            now = time.perf_counter()
            spent.append(now - key.data.sent)
            if first[:12] == good:
                answered += 1
            else:
                failed[first.decode(errors="replace")] += 1
            if left > 0 and now < deadline:
                left -= 1
                key.data.send(next(requests))
            else:
                busy -= 1
                waiting.unregister(key.fileobj)
                key.data.socket.close()
    seconds = time.perf_counter() - started
    spent.sort()
    return {
        "seconds": seconds, "answered": answered, "unanswered": busy, "failed": dict(failed),
        "per_second": answered / seconds, "p10_ms": spent[len(spent) // 10] * 1e3,
        "p50_ms": statistics.median(spent) * 1e3,
        "p99_ms": spent[int(len(spent) * 0.99)] * 1e3, "max_ms": spent[-1] * 1e3,
    }  # fmt: skip


if __name__ == "__main__":
    json.dump(run(json.load(sys.stdin)), sys.stdout)
