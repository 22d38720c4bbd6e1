"""The control plane of `bench/fleet.py`: PostgreSQL, RabbitMQ, `brickyard api` and `brickyard conductor`, as processes.

The servers are those of the tests (tests/engines.py, tests/rabbit.py): they lie in memory, so no figure has the time of
a disk in it.
"""

from __future__ import annotations

import json
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psutil
import sqlalchemy as sa
from tests import engines, ports, rabbit

from brickyard.db.database import Database

START_S, PATIENCE_S = 120.0, 600.0
CONFIG = """\
[DEFAULT]
host = control
transport_url = {url}
report_interval = {interval}
quota_volumes = -1
quota_gigabytes = -1
[agents]
management_url = {management}
embedded_node = false
[host]
hypervisor = none
[database]
connection = {database}
"""


def until(true: Callable[[], Any], what: str, timeout_s: float = PATIENCE_S, pause_s: float = 0.1) -> float:
    """Wait until it is; how long it took."""
    started = time.perf_counter()
    while not true():
        if time.perf_counter() - started > timeout_s:
            raise SystemExit(f"{what}: not within {timeout_s:.0f} s")
        time.sleep(pause_s)
    return time.perf_counter() - started


class Process:
    def __init__(self, room: pathlib.Path, name: str, *words: str) -> None:
        self.name, self.log = name, room / f"{name.replace(' ', '-')}.log"
        self.out = self.log.with_suffix(".out")
        with self.out.open("wb") as out, self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *words], stdout=out, stderr=log, stdin=subprocess.PIPE, start_new_session=True
            )

    def said(self) -> bool:
        """Whether it has said that it is ready; ends the benchmark when it has died instead."""
        if self.process.poll() is not None:
            raise SystemExit(f"{self.name} ended:\n{self.log.read_text()[-3000:]}")
        return bool(self.out.read_text())

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Control:
    def __init__(self, room: pathlib.Path, database: str, conductors: int, interval: int) -> None:
        self.room, self.conductors = room, conductors
        self.rabbit, self.server = rabbit.server(), engines.server(database)
        self.rabbit.start()
        self.db = Database(self.server.url)
        self.port = ports.one()
        config = room / "brickyard.conf"
        more = {"url": self.rabbit.url(), "management": self.rabbit.management_url, "interval": interval}
        config.write_text(CONFIG.format(database=self.server.url.replace("%", "%%"), **more))
        self.where = ["--state-dir", str(room / "state"), "--config-file", str(config)]
        self.http = httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}",
            timeout=300,
            headers={"OpenStack-API-Version": "volume 3.60"},
            limits=httpx.Limits(max_connections=128),
        )
        self.processes: dict[str, Process] = {}
        upgrade = [sys.executable, "-m", "brickyard", "db", "upgrade", *self.where]
        subprocess.run(upgrade, check=True, stdout=subprocess.DEVNULL)

    def start(self) -> float:
        """All of it; the seconds until it serves."""
        began = time.perf_counter()
        self._run("api", "-m", "brickyard", "api", "--port", str(self.port), *self.where)
        for number in range(self.conductors):
            self._run(f"conductor {number + 1}", "-m", "brickyard", "conductor", *self.where)
        for process in self.processes.values():
            until(process.said, f"{process.name} is ready", START_S)
        return time.perf_counter() - began

    def _run(self, name: str, *words: str) -> None:
        self.processes[name] = Process(self.room, name, *words)

    def end(self) -> None:
        for process in self.processes.values():
            process.stop()
        self.processes.clear()

    def close(self) -> None:
        self.end()
        self.http.close()
        self.db.close()

    # asked --------------------------------------------------------------------------------------------------------

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.http.request(method, path, json=body)
        if not answer.is_success:
            raise SystemExit(f"{method} {path} answered {answer.status_code}: {answer.text[:500]}")
        return answer.json() if answer.content else None

    def enroll(self, names: list[str], file: pathlib.Path) -> float:
        """An account for the agent of each host, as `brickyard node enroll` gets it; the seconds that it took."""

        def one(name: str) -> Any:
            token = self.ask("POST", "/v1/agents", {"host": name})["token"]
            return self.ask("POST", "/v1/agents/credentials", {"token": token})

        began = time.perf_counter()
        with ThreadPoolExecutor(16) as pool:
            told = list(pool.map(one, names))
        file.write_text(json.dumps(told))
        return time.perf_counter() - began

    def scalar(self, statement: str) -> Any:
        with self.db.read() as tx:
            return tx.execute(sa.text(statement)).scalar()

    # load ---------------------------------------------------------------------------------------------------------

    def trees(self) -> dict[str, list[psutil.Process]]:
        """What runs, with its children."""
        roots = {name: process.process.pid for name, process in self.processes.items()}
        assert self.server.process is not None
        roots |= {"database": self.server.process.pid, "broker": self.rabbit.pid}
        found = {}
        for name, pid in roots.items():
            parent = psutil.Process(pid)
            found[name] = [parent, *parent.children(recursive=True)]
        return found

    def spent_s(self) -> dict[str, float]:
        """Seconds of processor time of each, until now."""
        spent: dict[str, float] = {}
        for name, processes in self.trees().items():
            for process in processes:
                try:
                    times = process.cpu_times()
                except psutil.NoSuchProcess:
                    continue
                spent[name] = spent.get(name, 0.0) + times.user + times.system
        return spent

    def resident_mb(self, name: str) -> float:
        return sum(process.memory_info().rss for process in self.trees()[name]) / 1e6

    def counters(self) -> dict[str, int]:
        """What the database has done since it was started; nothing where it does not say."""
        if self.db.dialect != "postgresql":
            return {}
        statement = (
            "SELECT xact_commit AS commits, tup_inserted + tup_updated + tup_deleted AS rows_written, "
            "tup_fetched + tup_returned AS rows_read FROM pg_stat_database WHERE datname = current_database()"
        )
        with self.db.read() as tx:
            row = tx.execute(sa.text(statement)).one()
        return {name: int(value) for name, value in row._mapping.items()}
