"""The examples of the reference are exchanges that took place: here, and again at each run.

What is checked in is compared with what is answered now. `scripts/examples` writes it anew."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
import examples

import described
import world
from brickyard.api import operations

REFUSED = {  # by every service like this one: no clusters, no replicas, no moves that wait for somebody
    "GET /clusters/{name}",
    "PUT /clusters/enable",
    "PUT /clusters/disable",
    "PUT /os-services/failover",
    "PUT /os-services/failover_host",
    "POST /volumes/{id}/action#os-migrate_volume_completion",
    "POST /volumes/{id}/action#os-extend_volume_completion",
    "POST /groups/{id}/action#enable_replication",
    "POST /groups/{id}/action#disable_replication",
    "POST /groups/{id}/action#failover_replication",
    "POST /groups/{id}/action#list_replication_targets",
}
RECORD = "BRICKYARD_RECORD" in os.environ


@pytest.fixture
def exchanges(tmp_path: Path) -> Any:
    level = logging.getLogger("brickyard.request").level
    backends = {"fast": "memory", "files": "raw", "more": "raw"}
    try:
        with world.running(tmp_path, backends, auth_strategy="token", quotas={"gigabytes": 10**7}) as made:
            yield examples.record(*made, tmp_path)
    finally:
        logging.getLogger("brickyard.request").setLevel(level)


def test_the_examples_are_what_the_service_answers(exchanges: dict[str, Any]) -> None:
    text = json.dumps(exchanges, indent=1, ensure_ascii=False) + "\n"
    if RECORD:
        examples.PAGE.write_text(text)
    kept = json.loads(examples.PAGE.read_text())
    stale = [key for key in sorted({*kept, *exchanges}) if kept.get(key) != exchanges.get(key)]
    assert not stale, "run scripts/examples: " + json.dumps({key: [kept.get(key), exchanges.get(key)] for key in stale})


def test_each_operation_has_an_example_that_is_as_described(exchanges: dict[str, Any]) -> None:
    assert set(exchanges) == set(operations.TABLE)
    assert {key for key, exchange in exchanges.items() if exchange["status"] >= 400} == REFUSED
    for key, exchange in exchanges.items():
        path, body = exchange["request"]["path"].partition("?")[0], exchange["request"]["body"]
        content = json.dumps(exchange["answer"]).encode() if exchange["answer"] is not None else b""
        method = key.partition(" ")[0]
        if operations.TABLE[key].answer == "Bare":
            continue  # a null is no empty body
        described.check(method, path, f"volume {examples.VERSION}", body, exchange["status"], content)
