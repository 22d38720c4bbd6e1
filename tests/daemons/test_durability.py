"""What was acknowledged survives kill -9: volumes that are asked for at once, and a service that dies among them."""

from __future__ import annotations

import concurrent.futures
import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests import ports

from brickyard.db import database

CLIENTS, EACH, KILL_AFTER = 8, 15, 30
WAIT_S = 120.0


@contextlib.contextmanager
def serving(directory: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A service that answers; killed when the block ends, if it still runs."""
    configuration = directory / "brickyard.ini"
    configuration.write_text(
        "[DEFAULT]\nenabled_backends = raw\nquota_volumes = -1\nquota_gigabytes = -1\n"
        "[raw]\nmax_over_subscription_ratio = 1000\n[host]\nhypervisor = none\n"
    )
    where = ["--state-dir", str(directory / "state"), "--config-file", str(configuration), "--port", str(port)]
    with (directory / "err").open("ab") as err:
        process = subprocess.Popen([sys.executable, "-m", "brickyard", "serve", *where], stdout=err, stderr=err)
    try:
        deadline = time.monotonic() + WAIT_S
        while True:
            assert process.poll() is None and time.monotonic() < deadline, (directory / "err").read_text()
            with contextlib.suppress(httpx.TransportError):
                httpx.get(f"http://127.0.0.1:{port}/v3/volumes", timeout=WAIT_S)
                break
            time.sleep(0.05)
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def create_until_it_dies(port: int, process: subprocess.Popen[bytes]) -> list[str]:
    """Ask for volumes from several clients at once, kill the service among the answers; the ids that were answered."""
    acknowledged: list[str] = []
    enough = threading.Event()

    def ask(number: int) -> None:
        with httpx.Client(timeout=WAIT_S) as client, contextlib.suppress(httpx.TransportError):
            for _ in range(EACH):
                answer = client.post(f"http://127.0.0.1:{port}/v3/volumes", json={"volume": {"size": 1}})
                assert answer.status_code == 202, answer.text
                acknowledged.append(answer.json()["volume"]["id"])
                if len(acknowledged) >= KILL_AFTER:
                    enough.set()

    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        asking = [pool.submit(ask, number) for number in range(CLIENTS)]
        assert enough.wait(WAIT_S)
        process.send_signal(signal.SIGKILL)
        for done in asking:
            done.result()
    return acknowledged


def all_available(port: int) -> dict[str, Any]:
    """Every volume by id, once none is being made any more."""
    deadline = time.monotonic() + WAIT_S
    while True:
        found = httpx.get(f"http://127.0.0.1:{port}/v3/volumes/detail", timeout=WAIT_S).json()["volumes"]
        if all(volume["status"] != "creating" for volume in found):
            return {volume["id"]: volume for volume in found}
        assert time.monotonic() < deadline, "volumes are still being created"
        time.sleep(0.05)


@pytest.mark.slow
def test_acknowledged_creates_survive_kill_9(tmp_path: Path) -> None:
    port = ports.one()
    with serving(tmp_path, port) as process:
        acknowledged = create_until_it_dies(port, process)
    assert KILL_AFTER <= len(acknowledged) < CLIENTS * EACH  # it died in the middle
    with serving(tmp_path, port):
        volumes = all_available(port)
    assert {id for id in acknowledged if id not in volumes} == set()
    assert {volume["status"] for volume in volumes.values()} == {"available"}
    # what is on the disk and in the accounts is what is listed: the unanswered ones too, and nothing else
    bricks = tmp_path / "state" / "bricks" / "raw"
    expected = {f"volume-{id}" for id in volumes}
    assert {path.name for path in bricks.iterdir()} == expected | {f".{name}.label" for name in expected} | {".lock"}
    assert all((bricks / name).stat().st_size == 1 << 30 for name in expected)
    db = database.Database(database.sqlite_url(tmp_path / "state" / "brickyard.db"))
    with db.read() as tx:
        claimed = tx.exec_driver_sql("SELECT sum(claimed_gib) FROM pools").scalar()
        claims = dict(tx.exec_driver_sql("SELECT brick_id, gib FROM claims").all())
        left_open = tx.exec_driver_sql("SELECT count(*) FROM flows WHERE status IN ('running', 'unwinding')").scalar()
    db.close()
    assert claims == dict.fromkeys(volumes, 1)
    assert (claimed, left_open) == (len(volumes), 0)
