"""The Grafana dashboard, as a table: `scripts/docs` writes deploy/grafana/brickyard.json from it."""

from __future__ import annotations

import json
from typing import Any

WIDTH, HEIGHT = 24, 7
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
HTTP = "brickyard_http_request_seconds"

Panel = tuple[str, str, str, int, dict[str, str]]  # title, kind, unit, width, legend → expression
# fmt: off
ROWS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    ("At a glance", (
        ("Service", "stat", "none", 4, {"{{version}} on {{database}}": "brickyard_info"}),
        ("Hosts up", "stat", "none", 4, {"up": "sum(brickyard_host_up)", "of": "count(brickyard_host_up)"}),
        ("Backends down", "stat", "none", 4, {"down": "sum(brickyard_backend_up == bool 0)"}),
        ("Flows that are being undone", "stat", "none", 4, {"undone": 'sum(brickyard_flows{status="unwinding"}) or vector(0)'}),
        ("Oldest flow that waits", "stat", "s", 4, {"waits": "max(brickyard_flows_waiting_seconds)"}),
        ("Instances held", "stat", "none", 4, {"held": "sum(brickyard_instances_held)"}),
    )),
    ("Requests", (
        ("Requests per second, by status", "timeseries", "reqps", 8, {"{{status}}": f"sum by (status) (rate({HTTP}_count[5m]))"}),
        ("95th percentile, by route", "timeseries", "s", 8, {"{{method}} {{route}}": f"topk(10, histogram_quantile(0.95, sum by (le, method, route) (rate({HTTP}_bucket[5m]))))"}),
        ("Errors of the service, by route", "timeseries", "reqps", 8, {"{{route}} {{status}}": f'sum by (route, status) (rate({HTTP}_count{{status=~"5.."}}[5m]))'}),
    )),
    ("Flows", (
        ("Open flows", "timeseries", "none", 8, {"{{name}} {{status}}": 'sum by (name, status) (brickyard_flows{status=~"running|unwinding"})'}),
        ("Age of the oldest", "timeseries", "s", 8, {"{{name}} {{status}}": "max by (name, status) (brickyard_flow_oldest_seconds)"}),
        ("Waiting for a conductor", "timeseries", "none", 4, {"flows": "max(brickyard_flows_waiting)"}),
        ("Setbacks of undos", "timeseries", "none", 4, {"{{name}}": "max by (name) (brickyard_flow_setbacks)"}),
    )),
    ("Storage", (
        ("Promised of what may be", "timeseries", "percentunit", 8, {"{{pool}}": "brickyard_pool_claimed_gib / (brickyard_pool_limit_gib > 0)"}),
        ("Really free", "timeseries", "percentunit", 8, {"{{pool}}": "brickyard_pool_free_gib / (brickyard_pool_total_gib > 0)"}),
        ("Waiting to be wiped", "timeseries", "gbytes", 8, {"{{pool}}": "brickyard_pool_wiping_gib"}),
        ("Thin pools: data and metadata", "timeseries", "percent", 8, {"{{pool}} data": "brickyard_pool_data_percent", "{{pool}} metadata": "brickyard_pool_metadata_percent"}),
        ("Stage of thin pools", "timeseries", "none", 8, {"{{pool}}": "brickyard_pool_stage"}),
        ("Backends", "timeseries", "none", 8, {"{{backend}} up": "brickyard_backend_up", "{{backend}} takes volumes": "brickyard_backend_enabled"}),
        ("Images kept: hits and misses", "timeseries", "ops", 12, {"{{pool}} hits": "rate(brickyard_image_cache_hits_total[1h])", "{{pool}} misses": "rate(brickyard_image_cache_misses_total[1h])"}),
        ("Images kept", "timeseries", "gbytes", 6, {"{{pool}}": "brickyard_image_cache_gib"}),
        ("Number of images kept", "timeseries", "none", 6, {"{{pool}}": "brickyard_image_cache_images"}),
    )),
    ("Resources", (
        ("Volumes", "timeseries", "none", 6, {"{{status}}": "sum by (status) (brickyard_volumes)"}),
        ("Snapshots", "timeseries", "none", 6, {"{{status}}": "sum by (status) (brickyard_snapshots)"}),
        ("Attachments", "timeseries", "none", 6, {"{{status}}": "sum by (status) (brickyard_attachments)"}),
        ("Instances", "timeseries", "none", 6, {"{{status}}": "sum by (status) (brickyard_instances)"}),
    )),
    ("Hosts", (
        ("Processors promised", "timeseries", "percentunit", 6, {"{{host}}": "brickyard_host_vcpus_claimed / (brickyard_host_vcpus_total > 0)"}),
        ("Memory promised", "timeseries", "percentunit", 6, {"{{host}}": "brickyard_host_memory_mib_claimed / (brickyard_host_memory_mib_total > 0)"}),
        ("Since the last report", "timeseries", "s", 6, {"{{host}}": "brickyard_host_report_age_seconds"}),
        ("Takes new work", "timeseries", "none", 6, {"{{host}}": "brickyard_host_enabled"}),
    )),
    ("The process", (
        ("Memory", "timeseries", "bytes", 6, {"{{instance}}": 'process_resident_memory_bytes{job="brickyard"}'}),
        ("Processor", "timeseries", "percentunit", 6, {"{{instance}}": 'rate(process_cpu_seconds_total{job="brickyard"}[5m])'}),
        ("Database", "timeseries", "bytes", 6, {"size": "brickyard_database_bytes", "free": "brickyard_database_free_bytes"}),
        ("Open files", "timeseries", "none", 6, {"{{instance}}": 'process_open_fds{job="brickyard"}'}),
    )),
)
# fmt: on


def dashboard() -> str:
    """The file that Grafana imports."""
    panels: list[dict[str, Any]] = []
    y = 0
    for heading, row in ROWS:
        panels.append({"type": "row", "title": heading, "gridPos": _at(0, y, WIDTH, 1)})
        x, y = 0, y + 1
        for panel in row:
            if x + panel[3] > WIDTH:
                x, y = 0, y + HEIGHT
            panels.append(_panel(panel, x, y))
            x += panel[3]
        y += HEIGHT
    found = {
        "uid": "brickyard",
        "title": "Brickyard",
        "description": "Written by scripts/docs. Change scripts/dashboard.py instead.",
        "tags": ["brickyard"],
        "schemaVersion": 37,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {
            "list": [{"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Source"}]
        },
        "panels": [{"id": number, **panel} for number, panel in enumerate(panels, 1)],
    }
    return json.dumps(found, indent=1) + "\n"


def _at(x: int, y: int, width: int, height: int) -> dict[str, int]:
    return {"x": x, "y": y, "w": width, "h": height}


def _panel(panel: Panel, x: int, y: int) -> dict[str, Any]:
    title, kind, unit, width, expressions = panel
    targets = [
        {"refId": chr(ord("A") + number), "datasource": SOURCE, "expr": expression, "legendFormat": legend}
        for number, (legend, expression) in enumerate(expressions.items())
    ]
    shown: dict[str, Any] = {
        "type": kind,
        "title": title,
        "datasource": SOURCE,
        "gridPos": _at(x, y, width, HEIGHT),
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "targets": targets,
    }
    if kind == "stat" and title == "Service":
        shown["options"] = {"textMode": "name"}
    return shown
