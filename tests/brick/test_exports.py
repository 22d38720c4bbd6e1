"""Bricks served to one guest of another host: who gets in, what comes back, and that nothing stays open."""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests import exporting

from brickyard.brick import exports
from brickyard.core import errors
from brickyard.core.bricks import Connection, Did, Export, Exported, Kind, name_of

MIB = 1024 * 1024


@pytest.fixture
def made(tmp_path: Path) -> Iterator[exports.Exports]:
    yield again(tmp_path)
    exporting.end(tmp_path)


def again(directory: Path, ports: tuple[int, int] = (exporting.FIRST, exporting.LAST)) -> exports.Exports:
    """The same exports in a new run of the service."""

    def opened(backend: str, name: str) -> Connection:
        path = directory / backend / name
        path.parent.mkdir(exist_ok=True)
        if not path.exists():
            path.write_bytes(b"\x11" * MIB)
        return Connection(str(path), "raw", MIB)

    return exports.Exports(directory / "exports", exports.Settings(exporting.address(0), *ports), opened)


def brick() -> Exported:
    return Exported("pool", name_of(Kind.VOLUME, str(uuid.uuid4())), str(uuid.uuid4()))


def test_the_named_client_reads_and_writes_and_the_same_again_is_the_same(
    made: exports.Exports, tmp_path: Path
) -> None:
    one = brick()
    found = made.make(one)
    assert made.make(one) == found
    assert made.every() == [one]
    assert len(exporting.servers(tmp_path)) == 1
    assert "wrote" in exporting.client(found, "read -P 0x11 0 4096", "write -P 0x22 0 4096")
    assert (tmp_path / "pool" / one.name).read_bytes()[:4097] == b"\x22" * 4096 + b"\x11"
    assert repr(found).count(found.key) == 0


def test_nobody_else_gets_in(made: exports.Exports) -> None:
    """Neither without TLS, nor with the key of another export of the same host, nor as somebody else with its key."""
    mine, other = made.make(brick()), made.make(brick())
    stranger = dataclasses.replace(mine, client=str(uuid.uuid4()))
    tries: list[tuple[Export, dict[str, Any]]] = [(mine, {"tls": False}), (mine, {"key": other.key}), (stranger, {})]
    for export, how in tries:
        with pytest.raises(AssertionError, match="TLS"):
            exporting.client(export, "read 0 512", **how)
    assert "read 512" in exporting.client(mine, "read 0 512")


def test_a_brick_of_the_same_name_in_another_backend_neither_replaces_nor_ends_it(made: exports.Exports) -> None:
    one = brick()
    found, other = made.make(one), dataclasses.replace(one, backend="other")
    with pytest.raises(errors.BrickError, match="audit --repair"):
        made.make(other)
    assert made.end(other.backend, other.name, other.client) is Did.ALREADY
    assert made.make(one) == found
    assert made.every() == [one]


def test_keys_are_for_nobody_else_to_read_and_on_no_command_line(made: exports.Exports, tmp_path: Path) -> None:
    found = made.make(brick())
    for path in (tmp_path / "exports").rglob("*"):
        mode = path.stat().st_mode & 0o777
        assert mode == 0o700 if path.is_dir() else mode & 0o077 == 0 or path.name == "pid", (path, oct(mode))
    [server] = exporting.servers(tmp_path)
    assert found.key not in " ".join(server.cmdline())


def test_what_is_read_only_takes_no_writes(made: exports.Exports) -> None:
    found = made.make(dataclasses.replace(brick(), read_only=True))
    with pytest.raises(AssertionError, match="read-only|Permission"):
        exporting.client(found, "write 0 512")


def test_an_end_cuts_off_and_leaves_nothing(made: exports.Exports, tmp_path: Path) -> None:
    one = brick()
    found = made.make(one)
    with socket.create_connection((found.address, found.port), 60) as connection:
        assert connection.recv(8) == b"NBDMAGIC"
        assert made.end(one.backend, one.name, one.client) is Did.CHANGED
        while connection.recv(4096):
            pass
    assert made.end(one.backend, one.name, one.client) is Did.ALREADY
    assert (exporting.servers(tmp_path), list((tmp_path / "exports").iterdir())) == ([], [])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((found.address, found.port), 60)
    assert made.make(one).key != found.key


def test_a_new_run_finds_what_is_served_and_restores_what_is_not(made: exports.Exports, tmp_path: Path) -> None:
    """As after a restart of the service, and after one of the host: the same port and the same key."""
    one, two = made.make(brick()), made.make(brick())
    [server] = [s for s in exporting.servers(tmp_path) if one.client in " ".join(s.cmdline())]
    server.kill()
    server.wait(60)
    later = again(tmp_path)
    assert len(later.every()) == 2
    later.keep()
    for export in (one, two):
        assert later.make(Exported("pool", export.name, export.client)) == export
        assert "read 512" in exporting.client(export, "read 0 512")
    assert len(exporting.servers(tmp_path)) == 2


def test_what_was_half_made_is_removed_by_the_next_run(made: exports.Exports, tmp_path: Path) -> None:
    one = brick()
    made.make(one)
    (tmp_path / "exports" / f"{one.name}.{one.client}" / "record.json").unlink()
    half = tmp_path / "exports" / f"{brick().name}.{one.client}"
    half.mkdir()
    again(tmp_path).keep()
    assert (exporting.servers(tmp_path), list((tmp_path / "exports").iterdir())) == ([], [])


def test_a_process_whose_directory_is_lost_is_ended(made: exports.Exports, tmp_path: Path) -> None:
    one = brick()
    made.make(one)
    (tmp_path / "exports" / f"{one.name}.{one.client}").rename(tmp_path / "elsewhere")
    again(tmp_path).keep()
    assert exporting.servers(tmp_path) == []


def test_one_that_cannot_come_back_keeps_no_other_from_it(made: exports.Exports, tmp_path: Path) -> None:
    one, two = made.make(brick()), made.make(brick())
    exporting.end(tmp_path)
    with socket.create_server((one.address, one.port)):
        later = again(tmp_path)
        later.keep()
        assert "read 512" in exporting.client(two, "read 0 512")
        assert len(exporting.servers(tmp_path)) == 1
    later.keep()
    assert "read 512" in exporting.client(one, "read 0 512")


def test_while_it_stands_still_nothing_is_written(made: exports.Exports, tmp_path: Path) -> None:
    one = brick()
    made.make(one)
    [server] = exporting.servers(tmp_path)
    with made.still(one.name):
        assert server.status() == "stopped"
        made.keep()
        assert server.status() == "stopped"
    assert server.status() != "stopped"
    with made.still(one.name):
        with made.still(one.name):
            assert server.status() == "stopped"
        made.keep()
        assert server.status() == "stopped", "another copy is not done yet"
    assert server.status() != "stopped"
    later = again(tmp_path)
    for _ in range(2):
        os.kill(server.pid, signal.SIGSTOP)  # by a run that died in the middle
        later.keep()
        assert server.status() != "stopped"
    with made.still(one.name):
        assert made.end(one.backend, one.name, one.client) is Did.CHANGED
    assert exporting.servers(tmp_path) == []


def test_what_grows_while_it_is_closed_is_served_as_it_was_and_larger(made: exports.Exports, tmp_path: Path) -> None:
    one, other = brick(), brick()
    found = made.make(one)
    made.make(other)
    exporting.client(found, "write -P 0x22 0 4096")
    with made.closed(one.name):
        assert len(exporting.servers(tmp_path)) == 1
        made.keep()
        assert made.make(one) == found
        assert len(exporting.servers(tmp_path)) == 1, "nobody serves it before it has grown"
        os.truncate(tmp_path / "pool" / one.name, 2 * MIB)
    assert made.make(one) == found
    assert "wrote" in exporting.client(found, "read -P 0x22 0 4096", f"write -P 0x33 {MIB} 4096")
    with made.still(one.name), pytest.raises(errors.BrickError, match="is being copied"), made.closed(one.name):
        pass
    assert len(exporting.servers(tmp_path)) == 2
    with pytest.raises(errors.NoSpace), made.closed(one.name):
        raise errors.NoSpace
    assert len(exporting.servers(tmp_path)) == 2


def test_ports_that_are_taken_are_passed_by_and_their_end_is_told(tmp_path: Path) -> None:
    first = exporting.LAST + 1
    made = again(tmp_path, (first, first + 1))
    try:
        with socket.create_server((exporting.address(0), first)):
            assert made.make(brick()).port == first + 1
            with pytest.raises(errors.Unavailable, match=f"every port from {first} to {first + 1} is taken"):
                made.make(brick())
            assert len(made.every()) == 1
    finally:
        exporting.end(tmp_path)


def test_an_address_of_another_host_is_told(tmp_path: Path) -> None:
    made = again(tmp_path)
    assert made.settings is not None
    made.settings = dataclasses.replace(made.settings, address="192.0.2.1")
    with pytest.raises(errors.BrickError, match=r"192\.0\.2\.1.*export_address"):
        made.make(brick())
    assert made.every() == []


def test_what_was_exported_before_the_address_was_taken_away_is_there_until_its_end(
    made: exports.Exports, tmp_path: Path
) -> None:
    one = brick()
    found = made.make(one)
    exporting.end(tmp_path)
    later = again(tmp_path)
    later.settings = None
    later.keep()
    assert later.make(one) == found
    assert "read 512" in exporting.client(found, "read 0 512")
    with pytest.raises(errors.Unavailable, match="set export_address"):
        later.make(brick())
    assert later.end(one.backend, one.name, one.client) is Did.CHANGED
    assert exporting.servers(tmp_path) == []


def test_an_address_that_was_changed_is_that_of_the_next_export(made: exports.Exports, tmp_path: Path) -> None:
    one = brick()
    before = made.make(one)
    later = again(tmp_path)
    assert later.settings is not None
    later.settings = dataclasses.replace(later.settings, address=exporting.address(1))
    later.keep()
    assert "read 512" in exporting.client(before, "read 0 512"), "who uses it goes on"
    after = later.make(one)
    assert (after.address, len(exporting.servers(tmp_path))) == (exporting.address(1), 1)
    assert "read 512" in exporting.client(after, "read 0 512")


@pytest.mark.parametrize(("name", "client"), [("volume-../x", str(uuid.uuid4())), (brick().name, "../x")])
def test_no_name_reaches_a_path_unchecked(made: exports.Exports, name: str, client: str) -> None:
    with pytest.raises(errors.Invalid, match="uuid"):
        made.make(Exported("pool", name, client))
    with pytest.raises(errors.Invalid, match="uuid"):
        made.end("pool", name, client)


def test_one_that_a_killed_service_was_about_to_start_is_waited_for_or_ended(
    made: exports.Exports, tmp_path: Path
) -> None:
    """It listens a moment later than it is there, and then holds the brick: nobody is told before, nor left with it."""
    one = brick()
    found = made.make(one)
    [server] = exporting.servers(tmp_path)
    command = server.cmdline()
    for slow in (True, False):
        server.kill()
        server.wait()
        (tmp_path / "exports" / f"{one.name}.{one.client}" / "pid").unlink(missing_ok=True)
        with subprocess.Popen(["bash", "-c", f'sleep 2; exec {command[0]} "$@"', *command]):
            if slow:
                assert again(tmp_path).make(one) == found
                assert "read 512" in exporting.client(found, "read 0 512")
                [server] = exporting.servers(tmp_path)
            else:
                assert again(tmp_path).end(one.backend, one.name, one.client) is Did.CHANGED
    assert exporting.servers(tmp_path) == []
