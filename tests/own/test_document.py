"""The API document is valid and complete; health, metrics and the request line are there for operators."""

from __future__ import annotations

import logging
import re

import openapi_spec_validator
import pytest
import sqlalchemy as sa

from brickyard.api import own
from brickyard.db import hosts, schema
from brickyard.service import policy


def test_the_document_is_valid_openapi(api):
    document = api.json("GET", "/v1/openapi.json")
    assert document["openapi"] == "3.1.0"
    openapi_spec_validator.validate(document)


def test_every_own_route_is_in_the_document(api):
    paths = api.json("GET", "/v1/openapi.json")["paths"]
    for route in own.ROUTES:
        if route.path not in ("/", "/v3", "/v3/", "/v3/openapi"):
            assert route.method.lower() in paths[route.path], route.path


def test_every_operation_says_what_it_does(api):
    for methods in api.json("GET", "/v1/openapi.json")["paths"].values():
        for operation in methods.values():
            assert operation["summary"]


def test_every_policy_of_the_routes_is_known():
    for route in own.ROUTES:
        assert route.public or route.policy in policy.RULES, route.path


def test_what_is_shown_is_what_the_document_says(api):
    schemas = api.json("GET", "/v1/openapi.json")["components"]["schemas"]
    api.a_flavor()
    api.a_kernel()
    instance = api.json("POST", "/v1/instances", {"name": "i", "flavor": "small", "image": "tiny"}, 202)
    flow = api.done(instance["flow_id"])
    shown = {
        "Host": api.json("GET", "/v1/hosts/h1"),
        "Pool": api.json("GET", "/v1/pools/h1@raw"),
        "Flavor": api.json("GET", "/v1/flavors/small"),
        "Image": api.json("GET", "/v1/images/tiny"),
        "Instance": api.json("GET", f"/v1/instances/{instance['id']}"),
        "Flow": {name: value for name, value in flow.items() if name != "log"},
        "FlowEntry": flow["log"][0],
    }
    for name, value in shown.items():
        assert sorted(value) == sorted(schemas[name]["required"]), name


def test_health_is_ok_while_the_database_answers(api):
    result = api.call("GET", "/healthcheck")
    assert (result.status_code, result.text) == (200, "OK")
    api.site.db.begin = api.site.db.read = None  # as if it were gone
    assert api.call("GET", "/healthcheck").status_code == 503


def test_metrics_tell_requests_pools_backends_and_flows(api):
    api.a_volume(3)
    api.call("GET", "/v1/hosts/h1")
    api.call("GET", "/v1/hosts/nowhere")
    text = api.call("GET", "/metrics").text
    assert re.search(
        r'brickyard_http_request_seconds_count{method="GET",route="/v1/hosts/\{name\}",status="404"} [1-9]', text
    )
    assert 'brickyard_pool_claimed_gib{pool="h1@raw#raw"} 3.0' in text
    assert 'brickyard_backend_up{backend="h1@raw",driver="raw"} 1.0' in text
    assert 'brickyard_flows{name="create_volume",status="done"} 1.0' in text
    assert "nowhere" not in text


def test_each_request_writes_one_line(api, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO, "brickyard.request"):
        result = api.call("GET", "/v1/hosts/nowhere")
    [line] = [record for record in caplog.records if record.name == "brickyard.request"]
    assert (line.method, line.path, line.status) == ("GET", "/v1/hosts/nowhere", 404)
    assert line.request_id == result.headers["x-openstack-request-id"]
    assert line.seconds >= 0


def test_health_in_detail_names_every_part(api):
    found = api.json("GET", "/healthcheck", params={"detailed": "true"})
    assert found["status"] == "ok"
    assert [check["name"] for check in found["checks"]] == [
        "database",
        "conductor",
        "queue",
        "host h1",
        "backend h1@raw",
    ]
    with api.site.db.begin() as tx:
        hosts.update_host(tx, hosts.find_host(tx, "h1").id, heartbeat_at="2020-01-01T00:00:00.000000")
    found = api.json("GET", "/healthcheck?detailed")
    [host] = [check for check in found["checks"] if not check["ok"]]
    assert (found["status"], host["name"]) == ("degraded", "host h1") and "2020" in host["what"]
    assert api.call("GET", "/healthcheck").status_code == 200
    assert api.call("GET", "/healthcheck?detailed=perhaps").status_code == 400


def test_health_tells_of_a_conductor_that_is_gone_and_of_flows_that_wait_for_it(api):
    api.site.waker.stop()
    volume = api.json("POST", "/v3/volumes", {"volume": {"size": 1}}, 202)["volume"]
    with api.site.db.begin() as tx:
        tx.execute(sa.update(schema.flows).values(not_before="2020-01-01T00:00:00.000000"))
    plain = api.call("GET", "/healthcheck")
    assert plain.status_code == 503 and "conductor" in plain.text
    found = api.json("GET", "/healthcheck?detailed", status=503)
    wrong = {check["name"]: check["what"] for check in found["checks"] if not check["ok"]}
    assert found["status"] == "down" and wrong.keys() == {"conductor", "queue"}
    assert "janitor" in wrong["conductor"] and "1 flows wait" in wrong["queue"] and "2020-01-01" in wrong["queue"]
    text = api.call("GET", "/metrics").text
    assert "brickyard_flows_waiting 1.0" in text
    assert float(re.search(r"brickyard_flows_waiting_seconds (\d\S*)", text)[1]) > 1e8
    assert re.search(r'brickyard_flow_oldest_seconds{name="create_volume",status="running"} \d', text), volume


def test_metrics_tell_of_hosts_and_of_the_database(api):
    with api.site.db.begin() as tx:
        hosts.update_host(tx, hosts.find_host(tx, "h1").id, heartbeat_at="2020-01-01T00:00:00.000000", enabled=False)
    text = api.call("GET", "/metrics").text
    assert 'brickyard_host_up{host="h1"} 0.0' in text and 'brickyard_host_enabled{host="h1"} 0.0' in text
    assert float(re.search(r'brickyard_host_report_age_seconds{host="h1"} (\S+)', text)[1]) > 1e8
    assert 'brickyard_host_vcpus_total{host="h1"} 16.0' in text
    assert float(re.search(r"brickyard_database_bytes (\d\S*)", text)[1]) > 10000
    assert f'database="{api.site.db.dialect}"' in text and "process_resident_memory_bytes" in text
