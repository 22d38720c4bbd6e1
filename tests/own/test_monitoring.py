"""What alerts and dashboard ask for is what the service exports, by name and label; the rules fire when they should."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from brickyard.db import processes

DEPLOY = Path(__file__).parents[2] / "deploy"
ALERTS = DEPLOY / "prometheus" / "alerts.yaml"
DASHBOARD = DEPLOY / "grafana" / "brickyard.json"
USED = re.compile(r"\b((?:brickyard|process)_[a-z_]+)\b(?:\{([^}]*)\})?")
FROM_PROMETHEUS = {"job", "instance"}  # labels that the scrape adds


def rules() -> list[dict[str, str]]:
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def expressions() -> dict[str, str]:
    found = {rule["alert"]: rule["expr"] for rule in rules()}
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            found[f"{panel['title']} {target['refId']}"] = target["expr"]
    return found


@pytest.fixture
def exported(api) -> dict[str, set[str]]:
    """Name of a metric as it is asked for → its labels; those without a series now have a line of their own as well."""
    api.call("GET", "/v1/hosts/h1")
    api.a_volume()
    api.site.waker.stop()
    api.json("POST", "/v3/volumes", {"volume": {"size": 1}}, 202)  # a flow that is open
    with api.site.db.begin() as tx:
        processes.beat(tx, "p1", "cinder-api", "h1")
    text = api.call("GET", "/metrics").text
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        found.setdefault(family.name, set())
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def test_every_metric_and_label_of_alerts_and_dashboard_is_exported(exported: dict[str, set[str]]) -> None:
    unknown = []
    for where, expression in expressions().items():
        asked = USED.findall(expression)
        assert asked or expression.startswith("up{"), where
        for name, matchers in asked:
            labels = set(re.findall(r"(\w+)\s*[=!]", matchers)) - FROM_PROMETHEUS
            if name == "brickyard_database_free_bytes":  # there is none on a server
                continue
            if not labels <= exported.get(name, {"nothing"} if name not in exported else set()):
                unknown.append(f"{where}: {name}{sorted(labels)}")
            if name not in exported:
                unknown.append(f"{where}: {name}")
    assert not unknown


def test_labels_that_alerts_group_by_and_name_are_exported(exported: dict[str, set[str]]) -> None:
    for rule in rules():
        asked = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))
        for group in re.findall(r"by \(([^)]*)\)", rule["expr"]):
            asked |= {label.strip() for label in group.split(",")}
        known = set().union(*(exported.get(name, set()) for name, _ in USED.findall(rule["expr"])))
        assert asked - FROM_PROMETHEUS <= known, rule["alert"]


def test_every_exported_metric_of_ours_is_shown_or_watched(exported: dict[str, set[str]]) -> None:
    """A figure that nobody looks at is one that nobody will miss: show it, or do not export it."""
    used = {
        re.sub(r"_(bucket|count|sum|total)$", "", name)
        for text in expressions().values()
        for name, _ in USED.findall(text)
    }
    ours = {re.sub(r"_(bucket|count|sum|total)$", "", name) for name in exported if name.startswith("brickyard_")}
    assert ours <= used


def test_the_rules_fire_when_they_should_and_not_otherwise() -> None:
    tried = {case["name"] for case in yaml.safe_load((DEPLOY / "prometheus" / "alerts_test.yaml").read_text())["tests"]}
    assert tried == {rule["alert"] for rule in rules()}
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool here: it comes with the package prometheus")
    for command in (["check", "rules", ALERTS.name], ["test", "rules", "alerts_test.yaml"]):
        done = subprocess.run([promtool, *command], cwd=ALERTS.parent, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
