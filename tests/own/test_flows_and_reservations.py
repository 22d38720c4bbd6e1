"""Flows as their owners see them, live; and reservations, to look at, to hold longer, to give back."""

from __future__ import annotations

import json
import uuid

import pytest
from falcon import testing

from brickyard.db import hosts, reservations
from brickyard.service import flows


def events(text: str) -> list[tuple[str, dict]]:
    """Server-sent events as (event, data)."""
    found = []
    for block in text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found


def test_a_flow_shows_its_log(api):
    volume = api.a_volume()
    [flow] = api.json("GET", "/v1/flows", params={"resource_id": volume["id"]})["flows"]
    api.done(flow["id"])
    shown = api.json("GET", f"/v1/flows/{flow['id']}")
    assert (shown["name"], shown["status"], shown["resource_id"]) == ("create_volume", "done", volume["id"])
    steps = [(entry["step"], entry["event"]) for entry in shown["log"]]
    assert steps[0] == ("place", "done")
    assert steps[-1] == ("show", "done")
    assert api.json("GET", "/v1/flows", params={"open": "true"})["flows"] == []
    assert api.fault("GET", "/v1/flows", params={"limit": "0"})["field"] == "limit"
    api.fault("GET", f"/v1/flows/{uuid.uuid4()}", status=404)


def test_events_follow_a_flow_to_its_end_and_continue_after_a_break(api):
    api.a_flavor()
    api.a_kernel()
    body = {"name": "i", "flavor": "small", "image": "tiny", "local_storage": [{"size_gib": 1}]}
    flow_id = api.json("POST", "/v1/instances", body, 202)["flow_id"]
    result = api.call("GET", f"/v1/flows/{flow_id}/events")
    assert result.headers["content-type"].startswith("text/event-stream")
    found = events(result.text)
    assert [entry["seq"] for event, entry in found if event == "step"] == list(range(len(found) - 1))
    assert found[-1][0] == "flow"
    assert found[-1][1]["status"] == "done"
    rest = events(api.call("GET", f"/v1/flows/{flow_id}/events", headers={"Last-Event-ID": "1"}).text)
    assert rest == found[2:]
    assert api.fault("GET", f"/v1/flows/{flow_id}/events", headers={"Last-Event-ID": "x"})["field"] == "Last-Event-ID"


@pytest.fixture
def waiting(api):
    """A flow that no conductor runs."""
    api.site.waker.stop()
    volume = api.json("POST", "/v3/volumes", {"volume": {"size": 1}}, 202)["volume"]
    [flow] = api.json("GET", "/v1/flows", params={"resource_id": volume["id"]})["flows"]
    return flow


def test_a_watch_tells_that_it_is_alive_and_ends(api, waiting, monkeypatch):
    monkeypatch.setattr(flows, "HEARTBEAT_S", 0.0)
    monkeypatch.setattr(flows, "WATCH_S_MAX", 0.2)
    text = api.call("GET", f"/v1/flows/{waiting['id']}/events").text
    assert ": still here" in text
    assert events(text) == []


def test_watchers_are_bounded_and_hold_no_connection(api, waiting, monkeypatch):
    monkeypatch.setattr(flows, "HEARTBEAT_S", 0.0)
    path = f"/v1/flows/{waiting['id']}/events"
    streams = []
    for _ in range(flows.WATCHERS_MAX):
        streams.append(api.http.app(testing.create_environ(path), testing.StartResponseMock()))
        next(iter(streams[-1]))
    assert api.site.db.engine.pool.checkedout() < flows.WATCHERS_MAX / 2  # the idle ones of the site
    assert "watched already" in api.fault("GET", path, status=503)["message"]
    for stream in streams:
        stream.close()
    with pytest.raises(StopIteration):
        next(iter(streams[0]))
    again = api.http.app(testing.create_environ(path), testing.StartResponseMock())
    assert next(iter(again)) == b": still here\n\n"
    again.close()


def reserved(api, project: str) -> str:
    with api.site.db.begin() as tx:
        return reservations.reserve(
            tx,
            request_id=str(uuid.uuid4()),
            project_id=project,
            host_id=hosts.find_host(tx, "h1").id,
            rank=0,
            instance_id=str(uuid.uuid4()),
            vcpus=2,
            memory_mib=512,
            bricks={str(uuid.uuid4()): (hosts.list_pools(tx)[0].id, 3)},
            ttl_s=60,
        )


def test_reservations_are_shown_renewed_and_cleared(projects):
    admin, ann, bob, rob = (projects[name] for name in ("admin", "ann", "bob", "rob"))
    id = reserved(ann, "blue")
    [shown] = ann.json("GET", "/v1/reservations")["reservations"]
    assert (shown["id"], shown["host"], shown["gib"], shown["vcpus"], shown["memory_mib"]) == (id, "h1", 3, 2, 512)
    assert bob.json("GET", "/v1/reservations")["reservations"] == []
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/renew")):
        bob.fault(method, f"/v1/reservations/{id}{path}", status=404)
    rob.fault("DELETE", f"/v1/reservations/{id}", status=403)
    assert len(admin.json("GET", "/v1/reservations", params={"all_projects": "1"})["reservations"]) == 1
    assert ann.json("POST", f"/v1/reservations/{id}/renew")["expires_at"] > shown["expires_at"]
    assert admin.json("GET", "/v1/hosts/h1")["vcpus_claimed"] == 2
    ann.json("DELETE", f"/v1/reservations/{id}", status=204)
    ann.json("DELETE", f"/v1/reservations/{id}", status=404)
    assert admin.json("GET", "/v1/hosts/h1")["vcpus_claimed"] == 0
    assert admin.json("GET", "/v1/pools/h1@raw")["claimed_gib"] == 0
