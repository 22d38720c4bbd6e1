"""What we add to granian: streams that end when the service does, and a port that is nobody else's."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from brickyard.core import errors
from brickyard.daemons import http_server


class Body:
    def __init__(self) -> None:
        self.closed = False

    def __iter__(self) -> Iterator[bytes]:
        return iter([b"1", b"2", b"3"])

    def close(self) -> None:
        self.closed = True


def answer(kind: str, stopping: threading.Event) -> tuple[Any, Body, list[Any]]:
    body, started = Body(), []

    def app(environ: Any, start_response: Any) -> Body:
        start_response("200 OK", [("Content-Type", kind)])
        return body

    def start_response(*arguments: Any) -> None:
        started.append(arguments)

    return http_server.ending_streams(app, stopping)({}, start_response), body, started


def test_a_stream_of_events_ends_at_its_next_line_when_the_server_stops() -> None:
    stopping = threading.Event()
    stream, body, started = answer("text/event-stream; charset=utf-8", stopping)
    items = iter(stream)
    assert next(items) == b"1"
    stopping.set()
    assert list(items) == []
    stream.close()
    assert body.closed and started[0][0] == "200 OK"


def test_other_answers_come_to_their_end() -> None:
    stopping = threading.Event()
    stopping.set()
    stream, body, _ = answer("application/json", stopping)
    assert stream is body


def test_a_port_where_somebody_listens_is_refused() -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # as granian does: a plain bind would succeed
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(errors.Invalid, match="--port"):
            http_server.check_free("127.0.0.1", other.getsockname()[1])


def test_an_address_that_is_not_ours_is_refused() -> None:
    with pytest.raises(errors.Invalid, match="--listen"):
        http_server.check_free("192.0.2.1", 8776)


def test_a_read_that_hangs_holds_up_the_others_for_a_moment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "TURN_S", 0.05)
    release, entered = threading.Event(), threading.Event()

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/v3/hangs":
            entered.set()
            release.wait(30)
        return [b"answered"]

    call = http_server.in_turn(app)
    hanging = threading.Thread(target=call, args=({"REQUEST_METHOD": "GET", "PATH_INFO": "/v3/hangs"}, None))
    hanging.start()
    assert entered.wait(30)
    assert call({"REQUEST_METHOD": "GET", "PATH_INFO": "/v3/volumes"}, None) == [b"answered"]
    assert call({"REQUEST_METHOD": "POST", "PATH_INFO": "/v3/volumes"}, None) == [b"answered"]
    release.set()
    hanging.join(30)


def test_what_waits_for_others_is_done_before_the_turn() -> None:
    release, entered, asked = threading.Event(), threading.Event(), threading.Event()

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        entered.set()
        release.wait(30)
        return [b"answered"]

    def ahead(environ: dict[str, Any]) -> None:
        if environ["PATH_INFO"] == "/v3/second":
            assert entered.wait(30)  # the first one has its turn, and keeps it
            asked.set()

    call = http_server.in_turn(app, ahead)
    paths = ("/v3/first", "/v3/second")
    threads = [
        threading.Thread(target=call, args=({"REQUEST_METHOD": "GET", "PATH_INFO": path}, None)) for path in paths
    ]
    for thread in threads:
        thread.start()
    assert asked.wait(30)
    release.set()
    for thread in threads:
        thread.join(30)
