"""The message broker: a connection to it, one side that publishes and one that listens. What lies in it: layout.py.

A connection that breaks is made anew, for ever; what was under way is the business of whoever uses it.
"""

from __future__ import annotations

import contextlib
import logging
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any

import amqp
from kombu.connection import Connection

from brickyard.core import clock, errors
from brickyard.core.settings import Broker

LOG = logging.getLogger(__name__)
CONNECT_S, WRITE_S = 5.0, 15.0
ANSWER_S = 10.0  # a queue that is only coming back may leave the one who declares or consumes it without an answer
TICK_S = 1.0
AWAY_S = 10.0  # so long between two ticks, and this process was suspended
PAUSES_S = (0.2, 0.5, 1.0, 2.0, 5.0)
PAUSES_THERE = 2  # of these while the broker takes connections, and only what is wanted of it fails
TROUBLE = (*Connection("pyamqp://").connection_errors, *Connection("pyamqp://").channel_errors, OSError)


def connect(broker: Broker, name: str) -> Connection:
    """A connection to the first server that takes one; Unavailable says why none does."""
    failures = []
    for server in broker.servers:
        host, _, port = server.rpartition(":")
        connection = Connection(
            hostname=host.strip("[]"),
            port=int(port),
            userid=broker.user,
            password=broker.password,
            virtual_host=broker.virtual_host,
            transport="pyamqp",
            ssl=_tls(broker, host.strip("[]")),
            connect_timeout=CONNECT_S,
            heartbeat=broker.heartbeat_s,
            transport_options={"client_properties": {"connection_name": name}, "write_timeout": WRITE_S},
        )
        try:
            connection.ensure_connection(max_retries=1, interval_start=0, reraise_as_library_errors=False)
            connection.connection.sock.settimeout(ANSWER_S)
        except TROUBLE as error:
            _release(connection)
            failures.append(f"{server}: {_reason(error)}")
        else:
            return connection
    raise errors.Unavailable(f"The message broker cannot be used: {'; '.join(failures)}")


def _tls(broker: Broker, host: str) -> dict[str, Any] | bool:
    if broker.tls is None:
        return False
    found = {"ca_certs": broker.tls.ca_file, "certfile": broker.tls.cert_file, "keyfile": broker.tls.key_file}
    return {**found, "cert_reqs": ssl.CERT_REQUIRED, "server_hostname": host}


def _reason(error: BaseException) -> str:
    if isinstance(error, amqp.exceptions.AccessRefused):
        return f"access is refused ({error.reply_text or 'user, password or virtual host'})"
    if isinstance(error, amqp.exceptions.NotFound):
        return "it has no such queue or exchange; is this host enrolled, and does the service run?"
    return str(error) or type(error).__name__


def body(message: Any) -> bytes:
    """The library turns a body into text when its sender named an encoding."""
    return message.body if isinstance(message.body, bytes) else str(message.body).encode()


class Publisher:
    """Publishes from any thread, over one connection that is made when it is needed. Nothing is confirmed: whoever
    wants an answer asks until there is one. `lost` is called for a message that no queue takes, with its exchange, and
    with "" for one to an exchange that is not there."""

    def __init__(self, broker: Broker, name: str, lost: Callable[[str], None] = lambda exchange: None) -> None:
        self.broker, self.name, self.lost = broker, name, lost
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._channel: Any = None
        self._refused: tuple[float, str] | None = None  # until when nobody tries again, and why

    def publish(self, exchange: str, key: str, body: bytes, *, expires_s: float | None = None) -> None:
        """Unavailable when the broker does not take it. Not on disk: what is lost is said again."""
        more = {"expiration": str(int(expires_s * 1000))} if expires_s else {}
        message = amqp.Message(body, content_type="application/json", **more)
        with self._lock:
            try:
                self._open().basic_publish(message, exchange=exchange, routing_key=key, mandatory=True)
            except TROUBLE as error:
                self._drop(error)
                raise errors.Unavailable(f"The message broker cannot be used: {_reason(error)}") from error

    def tick(self) -> None:
        """To be called once a second or so: answers heartbeats, and hears of what could not be delivered."""
        with self._lock:
            if self._connection is None:
                return
            try:
                self._connection.heartbeat_check()
                with contextlib.suppress(TimeoutError):
                    while True:
                        self._connection.drain_events(timeout=0.001)
            except TROUBLE as error:
                self._drop(error)

    def close(self) -> None:
        with self._lock:
            self._drop()

    def _open(self) -> Any:
        if self._channel is not None and self._channel.is_open:
            return self._channel
        self._drop()
        if self._refused and clock.monotonic() < self._refused[0]:
            raise errors.Unavailable(self._refused[1])
        try:
            self._connection = connect(self.broker, self.name)
            self._channel = self._connection.channel()
        except errors.Unavailable as error:
            self._refused = clock.monotonic() + TICK_S, error.message
            raise
        self._channel.events["basic_return"].add(self._returned)
        return self._channel

    def _returned(self, error: Any, exchange: str, key: str, message: Any) -> None:
        self.lost(exchange)

    def _drop(self, error: BaseException | None = None) -> None:
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            _release(connection)
        if isinstance(error, amqp.exceptions.NotFound):
            self.lost("")


class Listener:
    """A thread that listens: `begin(channel)` says to what, each time anew that there is a connection; `tick(channel)`
    is called about once a second while there is one, `idle` also while there is none."""

    def __init__(
        self,
        broker: Broker,
        name: str,
        begin: Callable[[Any], None],
        tick: Callable[[Any], None],
        idle: Callable[[], None],
    ) -> None:
        self.broker, self.name, self.begin, self.tick, self.idle = broker, name, begin, tick, idle
        self.connected = threading.Event()
        self._ticked_s = self._heard_s = clock.monotonic()
        self._since_s = float("-inf")  # when it came back, if it has ever been away
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"{name}-listener", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float = 5) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def hears(self, within_s: float, settled_s: float) -> bool:
        """Whether the broker is there: something has come from it so recently, a heartbeat if nothing else, and it was
        not away so recently."""
        now_s = clock.monotonic()
        return self.connected.is_set() and now_s - self._heard_s <= within_s and now_s - self._since_s >= settled_s

    def was_away(self) -> bool:
        """This process was suspended: what comes now was sent to it long ago. The connection is made anew soon."""
        return clock.monotonic() - self._ticked_s > AWAY_S

    def at_work(self) -> None:
        """To be called now and then by a `begin` or `tick` that takes long, which looks like a suspension otherwise."""
        if not self.was_away():
            self._ticked_s = clock.monotonic()

    def _work(self) -> None:
        failures, missed = 0, False
        while not self._stopping.is_set():
            self.connected.clear()
            try:
                with self._connection() as connection:
                    self._since_s = clock.monotonic() if missed else self._since_s
                    failures = min(failures, PAUSES_THERE)
                    self._listen(connection)
            except (*TROUBLE, errors.BrickyardError) as error:
                missed = True
                failures = 0 if self.connected.is_set() else failures
                if failures == 0:
                    message = error.message if isinstance(error, errors.BrickyardError) else _reason(error)
                    LOG.warning("nothing is heard from the message broker, which is tried again: %s", message)
            except Exception:
                LOG.exception("listening to the message broker failed; it goes on")
            self.connected.clear()
            self.idle()
            self._stopping.wait(PAUSES_S[min(failures, len(PAUSES_S) - 1)])
            failures += 1

    def _listen(self, connection: Connection) -> None:
        channel = connection.channel()
        self._ticked_s = clock.monotonic()
        self.begin(channel)
        self.at_work()
        self._heard_s = clock.monotonic()
        self.connected.set()
        LOG.info("the message broker is there", extra={"server": f"{connection.hostname}:{connection.port}"})
        frames = 0
        while not self._stopping.is_set():
            until_s = clock.monotonic() + TICK_S
            with contextlib.suppress(TimeoutError):
                while (left_s := until_s - clock.monotonic()) > 0:
                    connection.drain_events(timeout=left_s)
            if connection.connection.bytes_recv != frames:
                frames, self._heard_s = connection.connection.bytes_recv, clock.monotonic()
            if self.was_away():
                raise errors.Unavailable("this process was suspended, and leaves out what was sent to it meanwhile")
            self._ticked_s = clock.monotonic()
            connection.heartbeat_check()
            self.tick(channel)
            self.idle()
            self.at_work()

    @contextlib.contextmanager
    def _connection(self) -> Iterator[Connection]:
        connection = connect(self.broker, self.name)
        try:
            yield connection
        finally:
            _release(connection)


def _release(connection: Connection) -> None:
    """Close it as well as may be: it may be broken in any way."""
    with contextlib.suppress(*TROUBLE, AttributeError, RuntimeError):
        connection.release()
