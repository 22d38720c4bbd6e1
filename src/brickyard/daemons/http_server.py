"""granian inside this process: its connections are handled by compiled code, our application runs in its threads.

granian normally starts worker processes. `brickyard serve` has the conductor and the node in the same process as the
API, where a wake-up is a method call and the picture of all pools is one object, so a worker must be a thread.
granian has such a server, `MTServer`, and means it for Python without a global lock; it refuses to start on another
build because threads would not run at the same time there. That holds for every threaded Python server, and our
requests wait for the disk most of the time, so the refusal is overridden here and nothing else is. The decision, with
what was weighed and what would change our mind, is docs/decisions/0007-one-process.md.

The socket is shared in a way (SO_REUSEPORT) that lets a second process listen on the same port without an error. It is
tried first without that, so that two services never get each other's requests.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from granian.constants import Interfaces
from granian.log import LogLevels
from granian.server import mt

from brickyard.core import clock, errors

LOG = logging.getLogger(__name__)
THREADS = 32  # of Python; a list that streams progress holds one for as long as it is read
BACKLOG = 1024
READY_S = 10.0
TURN_S = 0.5
FINISH_S = 10.0  # how long requests may take to end after the signal to stop

# granian's own lines go the way of all others, and only when something is wrong.
LOG_CONFIG = {"loggers": {"_granian": {"handlers": [], "propagate": True}}}


class InProcess(mt.MTServer):
    """`on_ready` is called once the server answers; `ahead` with each read of Block Storage, before its turn."""

    def __init__(
        self,
        app: Callable[..., Any],
        *,
        host: str,
        port: int,
        on_ready: Callable[[], None],
        ahead: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        super().__init__(
            "brickyard",
            address=host,
            port=port,
            interface=Interfaces.WSGI,
            workers=1,
            blocking_threads=THREADS,
            backlog=BACKLOG,
            backpressure=BACKLOG,
            websockets=False,
            log_level=LogLevels.error,
            log_dictconfig=LOG_CONFIG,
        )
        self._stopping = threading.Event()
        self._app, self._on_ready = ending_streams(in_turn(app, ahead), self._stopping), on_ready

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then let the requests that run come to their end."""
        self.serve(target_loader=lambda *_args, **_options: self._app)
        if self.interrupt_children:
            raise errors.Unavailable("The HTTP server ended by itself; its last log line says why.")

    def _check_gil(self) -> None:
        pass  # see the docstring of the module

    def _serve_loop(self, spawn_target: Any, target_loader: Any) -> None:
        threading.Thread(target=self._announce, name="http-ready", daemon=True).start()
        super()._serve_loop(spawn_target, target_loader)  # type: ignore[no-untyped-call]

    def _announce(self) -> None:
        if _answers(self.bind_addr, self.bind_port):
            self._on_ready()
        else:
            LOG.error("nothing answers on %s port %s after %s s", self.bind_addr, self.bind_port, READY_S)

    def signal_handler_reload(self, *_args: Any, **_options: Any) -> None:
        LOG.info("SIGHUP does nothing here: to read the configuration again, restart")

    def shutdown(self, exit_code: int = 0) -> None:
        LOG.info("stopping: requests that run may end first")
        self._stopping.set()
        super().shutdown(0)  # type: ignore[no-untyped-call]

    def _stop_workers(self) -> None:
        """As granian's, except that a stream which never ends cannot hold us for ever."""
        deadline = clock.monotonic() + FINISH_S
        for worker in self.wrks:
            worker.terminate()
        for worker in self.wrks:
            worker.join(max(0.1, deadline - clock.monotonic()))
            if worker.is_alive():
                LOG.warning("requests still ran %s s after the signal to stop; they are cut off", FINISH_S)
        self.wrks.clear()


def in_turn(app: Callable[..., Any], ahead: Callable[[dict[str, Any]], None] | None = None) -> Callable[..., Any]:
    """The application, with one read of Block Storage at a time.

    Such a read is all Python and SQLite in memory, and Python runs one thread at a time anyway. Sixteen threads that
    take the interpreter from each other at every row answer fewer requests than one that finishes what it began. A read
    that takes long holds up the others for TURN_S and no longer. What waits for others is done `ahead` of the turn.
    """
    turn = threading.Lock()

    def call(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        if environ["REQUEST_METHOD"] != "GET" or not environ["PATH_INFO"].startswith("/v3"):
            return app(environ, start_response)
        if ahead is not None:
            ahead(environ)
        mine = turn.acquire(timeout=TURN_S)
        try:
            return app(environ, start_response)
        finally:
            if mine:
                turn.release()

    return call


def ending_streams(app: Callable[..., Any], stopping: threading.Event) -> Callable[..., Any]:
    """The application, with streams of events that end at their next line once `stopping` is set.

    Clients open such a stream again by themselves. Any other answer comes to its end, however long it is.
    """

    def call(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        kinds: list[str] = []

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            kinds.extend(value for name, value in headers if name.lower() == "content-type")
            return start_response(status, headers, exc_info)

        body = app(environ, start)
        return Ending(body, stopping) if any(kind.startswith("text/event-stream") for kind in kinds) else body

    return call


class Ending:
    """An iterable of a response that stops when the server does."""

    def __init__(self, body: Any, stopping: threading.Event) -> None:
        self._body, self._items, self._stopping = body, iter(body), stopping

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._stopping.is_set():
            raise StopIteration
        item: bytes = next(self._items)
        return item

    def close(self) -> None:
        if hasattr(self._body, "close"):
            self._body.close()


def check_free(host: str, port: int) -> None:
    """Raise Invalid unless this process could be the only one to listen there."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError as error:
        raise errors.Invalid(
            f"{host} port {port} cannot be listened on: {error.strerror}; choose another one with --listen and --port",
            field="port",
        ) from error


def leave(status: int) -> None:
    """End the process even if a thread of a cut-off request would not."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    logging.shutdown()
    os._exit(status)


def _answers(host: str, port: int) -> bool:
    deadline = clock.monotonic() + READY_S
    waited = threading.Event()
    while clock.monotonic() < deadline:
        try:
            socket.create_connection((host, port), timeout=1).close()
        except OSError:
            waited.wait(0.005)
        else:
            return True
    return False
