"""What lies inside a disk image of another format than raw, read and written as bytes: by qemu-nbd, over a socket.

qemu-nbd serves one client and ends with it, so one that lost its client to a death lets go of the image by itself.
"""

from __future__ import annotations

import bisect
import contextlib
import functools
import json
import os
import socket
import struct
import tempfile
from collections.abc import Iterator

from brickyard.brick import shell
from brickyard.core import errors
from brickyard.core.bricks import Export
from brickyard.core.sizes import MIB

HELLO = struct.Struct(">QQH")
OPTION = struct.Struct(">QII")
ANSWER = struct.Struct(">QIII")
REQUEST = struct.Struct(">IHHQQI")
REPLY = struct.Struct(">IIQ")
MAGIC, OPTIONS, ANSWERS = 0x4E42444D41474943, 0x49484156454F5054, 0x3E889045565A9
ASKED, SIMPLE = 0x25609513, 0x67446698
NO_ZEROES = 3  # fixed newstyle, and no padding
GO, ACK, INFO, ERROR = 7, 1, 3, 1 << 31
READ, WRITE, DISCONNECT, FLUSH, WRITE_ZEROES = 0, 1, 2, 3, 6
REQUEST_BYTES = 16 * MIB
ZERO_BYTES = 1024 * MIB
START_S, ANSWER_S, MAP_S = 30.0, 300.0, 600.0


@contextlib.contextmanager
def opened(path: str, format: str, *, writable: bool) -> Iterator[Client]:
    """The content of an image that nobody else has open. ToolFailed when it cannot be had."""
    mode = [] if writable else ["--read-only"]
    with _served([*mode, "--format", format], path, _map(["--format", format, path])) as client:
        yield client


@contextlib.contextmanager
def exported(export: Export) -> Iterator[Client]:
    """The content of a brick that another host exports to us. ToolFailed when it cannot be had."""
    with tempfile.TemporaryDirectory(prefix="brickyard-key-") as directory:
        with open(os.path.join(directory, "keys.psk"), "w", opener=_private, encoding="ascii") as file:
            file.write(f"{export.client}:{export.key}\n")
        key = ["--object", f"tls-creds-psk,id=tls,endpoint=client,dir={directory},username={export.client}"]
        server = f"file.server.type=inet,file.server.host={export.address},file.server.port={export.port}"
        source = f"driver=raw,file.driver=nbd,{server},file.export={export.name},file.tls-creds=tls"
        data = _map([*key, "--image-opts", source])
        with _served(["--read-only", *key, "--image-opts"], source, data) as client:
            yield client


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


@contextlib.contextmanager
def _served(options: list[str], source: str, data: list[tuple[int, int]]) -> Iterator[Client]:
    with socket.socket(socket.AF_UNIX) as connection, contextlib.ExitStack() as server:
        with tempfile.TemporaryDirectory(prefix="brickyard-nbd-") as directory:  # of no use once there is a connection
            at = os.path.join(directory, "socket")
            # --detect-zeroes is not asked for: who writes knows best what is zeros
            argv = ["qemu-nbd", *options, "--socket", at, "--cache", "writeback", "--discard", "unmap"]
            ready = functools.partial(_connected, connection, at)
            server.enter_context(shell.serving([*argv, source], ready=ready, timeout_s=START_S))
        connection.settimeout(ANSWER_S)
        client = Client(connection, data)
        yield client
        client.close()


def _connected(connection: socket.socket, at: str) -> bool:
    """The server serves one client, so this is the one connection; it is not there, or not listening, at first."""
    return connection.connect_ex(at) == 0


def _map(image: list[str]) -> list[tuple[int, int]]:
    """The parts (first byte, end) that hold anything, in order."""
    text = shell.run(["qemu-img", "map", "--output=json", *image], timeout_s=MAP_S)
    found: list[tuple[int, int]] = []
    for part in json.loads(text):
        if not part["data"] or part["zero"]:
            continue
        begin, end = part["start"], part["start"] + part["length"]
        if found and found[-1][1] == begin:
            begin = found.pop()[0]
        found.append((begin, end))
    return found


class Client:
    """`size_bytes` is the size of the disk. `data` are the parts that held anything when it was opened."""

    def __init__(self, connection: socket.socket, data: list[tuple[int, int]]) -> None:
        self._connection, self._data, self._cookie = connection, data, 0
        self._reach = 0  # the end of the last part that was written since
        self.size_bytes = self._hello()

    def holds(self, begin: int, end: int) -> bool:
        """False only if all of that reads as zeros. True before the last part that was written, whatever is there."""
        if begin < self._reach:
            return True
        at = bisect.bisect_right(self._data, begin, key=lambda part: part[1])
        return at < len(self._data) and self._data[at][0] < end

    def read(self, begin: int, length: int) -> bytes:
        pieces = []
        for at in range(begin, begin + length, REQUEST_BYTES):
            size = min(REQUEST_BYTES, begin + length - at)
            self._ask(READ, at, size)
            pieces.append(self._receive(size))
        return b"".join(pieces)

    def write(self, begin: int, content: bytes) -> None:
        for at in range(0, len(content), REQUEST_BYTES):
            piece = content[at : at + REQUEST_BYTES]
            self._ask(WRITE, begin + at, len(piece), piece)

    def zero(self, begin: int, length: int) -> None:
        if not self.holds(begin, begin + length):
            return  # formats that know no zeros would take room for them
        for at in range(begin, begin + length, ZERO_BYTES):
            self._ask(WRITE_ZEROES, at, min(ZERO_BYTES, begin + length - at))

    def flush(self) -> None:
        self._ask(FLUSH, 0, 0)

    def close(self) -> None:
        """Tell the server that this is the end; it has written everything by then."""
        self._cookie += 1
        self._connection.sendall(REQUEST.pack(ASKED, 0, DISCONNECT, self._cookie, 0, 0))
        with contextlib.suppress(OSError):
            self._connection.recv(1)  # it closes when it has ended

    # the protocol -----------------------------------------------------------------------------------------------

    def _hello(self) -> int:
        magic, options, _ = HELLO.unpack(self._receive(HELLO.size))
        if (magic, options) != (MAGIC, OPTIONS):
            raise self._broken("no greeting")
        # an export without a name, and no further questions
        wanted = struct.pack(">IH", 0, 0)
        self._connection.sendall(struct.pack(">I", NO_ZEROES) + OPTION.pack(OPTIONS, GO, len(wanted)) + wanted)
        size_bytes = -1
        while True:
            magic, _, kind, length = ANSWER.unpack(self._receive(ANSWER.size))
            content = self._receive(length)
            if magic != ANSWERS or kind & ERROR:
                raise self._broken(f"its answer is {kind:#x} {content[:200]!r}")
            if kind == INFO and content[:2] == b"\0\0":
                size_bytes = int(struct.unpack(">Q", content[2:10])[0])
            if kind == ACK:
                break
        if size_bytes < 0:
            raise self._broken("it says no size")
        return size_bytes

    def _ask(self, command: int, begin: int, length: int, content: bytes = b"") -> None:
        if command in (WRITE, WRITE_ZEROES):
            self._reach = max(self._reach, begin + length)
        self._cookie += 1
        self._connection.sendall(REQUEST.pack(ASKED, 0, command, self._cookie, begin, length))
        if content:
            self._connection.sendall(content)
        magic, error, cookie = REPLY.unpack(self._receive(REPLY.size))
        if magic != SIMPLE or cookie != self._cookie:
            raise self._broken("an answer that was not asked for")
        if error:
            raise OSError(error, os.strerror(error))

    def _receive(self, length: int) -> bytes:
        content = bytearray(length)
        view, got = memoryview(content), 0
        while got < length:
            count = self._connection.recv_into(view[got:])
            if count == 0:
                raise self._broken("it has ended")
            got += count
        return bytes(content)

    def _broken(self, why: str) -> errors.BrickError:
        return errors.BrickError(f"qemu-nbd is not understood: {why}; look at the log of the host, then repeat")
