"""One trace of a request through all processes: what a collector of OpenTelemetry gets from real ones."""

from __future__ import annotations

import json
import secrets
import signal
from typing import Any

import pytest
from tests.agents.rig import until
from tests.collector import Collector, Span
from tests.roles.fleet import Fleet

pytestmark = pytest.mark.slow
OURS = {"request_id", "flow_id", "flow", "step", "attempt", "epoch", "status", "resource_id", "project_id", "user_id",
        "host", "verb"}  # fmt: skip
STANDARD = {"http.request.method", "http.route", "http.response.status_code", "url.path", "process.executable.name"}


class Caller:
    """Somebody whose request is part of a trace of their own."""

    def __init__(self, sampled: bool = True) -> None:
        self.trace, self.span = secrets.token_hex(16), secrets.token_hex(8)
        self.header = {"traceparent": f"00-{self.trace}-{self.span}-{'01' if sampled else '00'}"}

    def creates(self, fleet: Fleet, size_gib: int = 1, **more: Any) -> tuple[str, str]:
        """A volume; its id, and the id of the request."""
        body = {"volume": {"size": size_gib, **more}}
        answer = fleet.a1.http.post("/v3/volumes", json=body, headers=self.header)
        assert answer.status_code == 202, answer.text
        return answer.json()["volume"]["id"], answer.headers["x-openstack-request-id"]


def named(spans: list[Span], name: str) -> list[Span]:
    return [span for span in spans if span.name == name]


def way_up(spans: list[Span], span: Span) -> list[tuple[str, str]]:
    """The span, the one that it is below, and so on: service and name of each."""
    known = {one.id: one for one in spans}
    found = [(span.service, span.name)]
    while span.parent in known:
        span = known[span.parent]
        found.append((span.service, span.name))
    return [*found, ("", span.parent)]


@pytest.fixture(scope="module")
def bulk(running: Fleet) -> str:
    """A volume type whose bricks a command makes."""
    body = {"volume_type": {"name": "bulk", "extra_specs": {"volume_backend_name": "bulk"}}}
    return str(running.a1.post("/v3/types", body, 200)["volume_type"]["id"])


def test_one_trace_leads_from_the_caller_to_the_command_on_the_host(
    fleet: Fleet, collector: Collector, bulk: str
) -> None:
    caller = Caller()
    id, request = caller.creates(fleet, volume_type=bulk)
    fleet.a1.becomes(id, "available")
    spans = until(
        lambda: (
            named(found := collector.spans(caller.trace), "flow create_volume")
            and named(found, "run qemu-img create")
            and named(found, "POST /v3/volumes")
            and named(found, "create_brick")
            and found
        ),
        "the spans of all processes are there",
    )
    [command] = named(spans, "run qemu-img create")
    assert way_up(spans, command) == [
        ("brickyard-node", "run qemu-img create"),
        ("brickyard-node", "create_brick"),
        ("brickyard-conductor", "ask create_brick"),
        ("brickyard-conductor", "step brick"),
        ("brickyard-conductor", "flow create_volume"),
        ("brickyard-api", "POST /v3/volumes"),
        ("", caller.span),
    ]
    assert {span.facts["brickyard.request_id"] for span in spans} == {request}
    [flow], [verb], [asked] = (
        named(spans, name) for name in ("flow create_volume", "create_brick", "POST /v3/volumes")
    )
    assert (flow.facts["brickyard.resource_id"], flow.facts["brickyard.status"]) == (id, "done")
    assert verb.facts["brickyard.host"] == fleet.a1.host_of(id)
    assert (verb.facts["brickyard.step"], verb.facts["brickyard.flow"]) == ("brick", "create_volume")
    assert (asked.facts["http.route"], asked.facts["http.response.status_code"]) == ("/v3/volumes", 202)
    keys = {key for span in spans for key in span.facts}
    assert keys <= {f"brickyard.{name}" for name in OURS} | STANDARD, "nothing else is told: no commands, no headers"
    line = next(line for line in fleet.a1.logged() if line.get("request_id") == request)
    assert line["trace_id"] == caller.trace, "the log leads to the trace"


def test_what_another_conductor_goes_on_with_is_in_the_same_trace(fleet: Fleet, collector: Collector) -> None:
    caller = Caller()
    for host in fleet.hosts.values():
        host.hold()
    id, _ = caller.creates(fleet)
    until(lambda: any(host.waits() for host in fleet.hosts.values()), "the brick is being made")
    for conductor in (fleet.c1, fleet.c2):
        conductor.kill(signal.SIGKILL)
    fleet.go_on()
    fleet.start()
    fleet.a1.becomes(id, "available")
    [flow] = until(lambda: named(collector.spans(caller.trace), "flow create_volume"), "the flow's span is there")
    assert flow.facts["brickyard.epoch"] == 2, "the span of the killed one was never over"
    spans = until(
        lambda: (
            len(named(found := collector.spans(caller.trace), "create_brick")) == 2
            and named(found, "POST /v3/volumes")
            and found
        ),
        "both calls of the host are there",
    )
    [asked] = named(spans, "POST /v3/volumes")
    assert (flow.parent, asked.parent) == (asked.id, caller.span)
    again = [
        verb
        for verb in named(spans, "create_brick")
        if ("brickyard-conductor", "flow create_volume") in way_up(spans, verb)
    ]
    assert len(again) == 1, "the other one is below the span that was never over"


def test_an_error_is_told_where_it_happened(fleet: Fleet, collector: Collector) -> None:
    caller = Caller()
    id, _ = caller.creates(fleet, 900)
    fleet.a1.becomes(id, "error")
    [flow] = until(lambda: named(collector.spans(caller.trace), "flow create_volume"), "the flow's span is there")
    assert flow.error is not None and "900 GiB" in flow.error
    assert flow.facts["brickyard.status"] == "failed"
    fleet.a1.delete(id)


def test_a_request_that_its_caller_does_not_trace_is_not(fleet: Fleet, collector: Collector) -> None:
    quiet, seen = Caller(sampled=False), Caller()
    id, _ = quiet.creates(fleet)
    fleet.a1.becomes(id, "available")
    id, _ = seen.creates(fleet)
    fleet.a1.becomes(id, "available")
    until(lambda: named(collector.spans(seen.trace), "flow create_volume"), "the one after it is there")
    assert collector.spans(quiet.trace) == []


def test_nobody_hears_of_what_nobody_asked_for(fleet: Fleet, collector: Collector) -> None:
    for _ in range(3):
        assert fleet.a1.http.get("/healthcheck").text == "OK"
        fleet.a1.http.get("/metrics")
    caller = Caller()
    id, _ = caller.creates(fleet)
    fleet.a1.becomes(id, "available")
    until(lambda: named(collector.spans(caller.trace), "flow create_volume"), "the flow's span is there")
    roots = {span.name.split()[0] for span in collector.spans() if not span.parent}
    assert roots <= {"GET", "POST", "PUT", "DELETE", "flow"}, roots
    assert not [span for span in collector.spans() if span.facts.get("url.path") in ("/healthcheck", "/metrics")]


def test_what_is_carried_is_no_parameter_of_the_flow(fleet: Fleet) -> None:
    caller = Caller()
    id, _ = caller.creates(fleet)
    fleet.a1.becomes(id, "available")
    flow = fleet.a1.flow_of(id, "create_volume")
    assert caller.trace not in json.dumps(fleet.a1.get(f"/v1/flows/{flow['id']}"))
