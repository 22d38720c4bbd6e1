"""One request can be followed through the log: from the API to the flow, its steps and the commands that they run."""

from __future__ import annotations

import uuid
from typing import Any

import httpx
import pytest

from .test_serve import Service, until
from .test_serve import service as service

pytestmark = pytest.mark.slow
CONFIGURATION = """[DEFAULT]
{}quota_gigabytes = -1
enabled_backends = q
[q]
volume_driver = qcow2
[host]
hypervisor = none
"""


def of_request(service: Service, size: int, **headers: str) -> list[dict[str, Any]]:
    """The lines of a request for a volume, and of what came of it."""
    answer = httpx.post(f"{service.url}/v3/volumes", json={"volume": {"size": size}}, headers=headers, timeout=60)
    id = answer.headers["x-openstack-request-id"]
    found: list[dict[str, Any]] = []

    def over() -> bool:
        found[:] = [line for line in service.log() if line.get("request_id") == id]
        messages = {line["message"] for line in found}
        return "request" in messages and bool(messages & {"flow is done", "flow has failed"})

    until(over, 60)
    return found


def test_a_request_its_flow_its_steps_and_its_commands_have_one_id(service: Service) -> None:
    service.config.write_text(CONFIGURATION.format("debug = true\n"))
    service.start()
    theirs = f"req-{uuid.uuid4()}"
    lines = of_request(service, 1, **{"X-OpenStack-Request-ID": theirs})
    by = {line["message"]: line for line in lines}
    assert by["request"]["global_request_id"] == theirs
    flow = httpx.get(f"{service.url}/v1/flows", timeout=60).json()["flows"][0]
    assert flow["request_id"] == by["request"]["request_id"]
    assert (by["flow is done"]["flow_id"], by["flow is done"]["flow"]) == (flow["id"], "create_volume")
    assert by["step has ended"]["step"] == "brick"
    command = by["command has ended"]
    assert "qemu-img" in command["command"][0] and command["status"] == 0
    assert (command["flow_id"], command["step"]) == (flow["id"], "brick")
    assert not [line for line in service.log() if line["message"] != "request" and "global_request_id" in line]


def test_without_debug_there_is_a_line_for_the_request_and_one_for_its_flow(service: Service) -> None:
    service.config.write_text(CONFIGURATION.format(""))
    service.start()
    lines = of_request(service, 1, **{"X-OpenStack-Request-ID": "what i like"})
    assert {line["message"] for line in lines} == {"request", "flow is done"}
    assert "global_request_id" not in lines[0]
    failed = {line["message"]: line for line in of_request(service, 900000)}["flow has failed"]
    assert failed["level"] == "warning" and "900000 GiB" in failed["error"]
