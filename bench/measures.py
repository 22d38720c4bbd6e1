"""What is measured, each a function of a running service that returns a figure; see `service.py` for the table."""

from __future__ import annotations

import json
import pathlib
import statistics
import subprocess
import sys
import time
import uuid
from typing import Any

import ranking
import running

from brickyard.core import inventory

LOAD = pathlib.Path(__file__).with_name("load.py")
LISTED = 1000
BURST, BURST_CONCURRENCY = 200, 32
SETTLE_S = 120.0
PAUSE_S = 0.001  # between two looks of a client that waits; a look costs about as much


def load(service: running.Service, requests: list[list[Any]], **order: Any) -> dict[str, Any]:
    """Run load.py in a process of its own; an answer that is not the expected one ends the benchmark."""
    text = json.dumps({"port": service.port, "requests": requests, **order})
    done = subprocess.run([sys.executable, str(LOAD)], input=text, capture_output=True, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    if result["failed"] or result["unanswered"]:
        raise SystemExit(f"not every request was served: {result}")
    return result


def alone_ms(service: running.Service, path: str, times: int, figure: str = "p50_ms") -> float:
    """The median, or another figure, of `times` requests one after the other."""
    return float(load(service, [["GET", path, None]], concurrency=1, count=times)[figure])


# volumes ---------------------------------------------------------------------------------------------------------


def prepare(service: running.Service) -> None:
    """A volume type for each backend."""
    for name in ("raw", "qcow2"):
        made = service.ask("POST", "/v3/types", {"volume_type": {"name": name}}, expect=200)
        specs = {"extra_specs": {"volume_backend_name": name}}
        service.ask("POST", f"/v3/types/{made['volume_type']['id']}/extra_specs", specs, expect=200)


def create_ms(service: running.Service, type_: str) -> float:
    """From the request to the first look that finds the volume available."""
    body = {"volume": {"size": 1, "volume_type": type_, "name": "bench"}}
    started = time.perf_counter()
    id = service.ask("POST", "/v3/volumes", body, expect=202)["volume"]["id"]
    while (status := service.ask("GET", f"/v3/volumes/{id}", expect=200)["volume"]["status"]) == "creating":
        if time.perf_counter() > started + SETTLE_S:
            break
        time.sleep(PAUSE_S)
    if status != "available":
        raise SystemExit(f"volume {id} became {status}")
    return (time.perf_counter() - started) * 1e3


def qemu_img_ms(directory: pathlib.Path) -> float:
    """`qemu-img create` by itself, with what makes its file safe: the same as our create promises."""
    path = directory / f"{uuid.uuid4()}.qcow2"
    started = time.perf_counter()
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), "1G"], check=True)
    spent = time.perf_counter() - started
    path.unlink()
    return spent * 1e3


def burst_s(service: running.Service, number: int) -> float:
    """From the first of `number` requests for a raw volume to the last of them being available."""
    before = _count(service, "available")
    body = {"volume": {"size": 1, "volume_type": "raw", "metadata": {"made": "by the benchmark"}}}
    started = time.perf_counter()
    load(service, [["POST", "/v3/volumes", body]], concurrency=BURST_CONCURRENCY, count=number, expect=202)
    while (creating := _count(service, "creating")) and time.perf_counter() < started + SETTLE_S:
        time.sleep(0.01)
    spent = time.perf_counter() - started
    if creating or _count(service, "available") != before + number:
        raise SystemExit(f"{number} volumes were asked for; {_count(service, 'available') - before} are available")
    return spent


def fill(service: running.Service, total: int) -> list[str]:
    """Have exactly `total` volumes; their ids."""
    if missing := total - _count(service, "available"):
        burst_s(service, missing)
    return [volume["id"] for volume in service.ask("GET", "/v3/volumes", expect=200)["volumes"]]


def _count(service: running.Service, status: str) -> int:
    answer = service.ask("GET", f"/v3/volumes?status={status}&limit=1&with_count=true", expect=200)
    return int(answer["count"])


def show_per_s(service: running.Service, ids: list[str], seconds: float) -> float:
    requests = [["GET", f"/v3/volumes/{id}", None] for id in ids[:200]]
    return float(load(service, requests, concurrency=16, seconds=seconds)["per_second"])


def list_per_s(service: running.Service, seconds: float) -> float:
    return float(load(service, [["GET", "/v3/volumes/detail", None]], concurrency=8, seconds=seconds)["per_second"])


# attachments -----------------------------------------------------------------------------------------------------


def attachment_ms(service: running.Service, volume_id: str) -> float:
    """Reserve, connect, complete, delete: what one attach and detach of an instance asks of us."""
    host = service.ask("GET", f"/v3/volumes/{volume_id}", expect=200)["volume"]["os-vol-host-attr:host"].partition("@")[
        0
    ]
    connector = {"connector": {"host": host, "ip": "127.0.0.1", "initiator": "bench", "os_type": "linux"}}
    started = time.perf_counter()
    asked = {"attachment": {"volume_uuid": volume_id, "instance_uuid": str(uuid.uuid4())}}
    id = service.ask("POST", "/v3/attachments", asked, expect=200)["attachment"]["id"]
    service.ask("PUT", f"/v3/attachments/{id}", {"attachment": connector}, expect=200)
    service.ask("POST", f"/v3/attachments/{id}/action", {"os-complete": None}, expect=204)
    service.ask("DELETE", f"/v3/attachments/{id}", expect=200)
    return (time.perf_counter() - started) * 1e3


# placement -------------------------------------------------------------------------------------------------------


def decision_ms(pools: int, decisions: int = 200) -> float:
    """One placement of a volume of a type, among so many pools."""
    _, decide = ranking.shapes(pools)["volume, type"]
    return ranking.measured(inventory.Inventory(ranking.hosts(pools)), decide, decisions)["p50_ms"]


def median(figures: list[float]) -> float:
    return statistics.median(figures)
