"""An operator's policy.yaml: what it changes for whom, and what is refused at the start."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import click.testing
import falcon.testing
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
import world
from brickyard.api import app
from brickyard.cli import main
from brickyard.core import errors
from brickyard.db import flows, tokens
from brickyard.service.policy import Policy

BLUE, RED = "b" * 32, "c" * 32
RULES = """
"cleaner": "role:cleaner and project_id:%(project_id)s"
"volume:delete": "rule:admin_api or rule:cleaner"
"volume_extension:services:index": "rule:admin_api or role:operator"
"volume:get_all_snapshots": "user_id:user-of-ann or project_id:cccccccccccccccccccccccccccccccc"
"volume:create_snapshot": "!"
"volume_extension:volume_host_attribute": "@"
"volume:get_all": []
"context_is_admin": "role:admin or role:chief"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(RULES)
    return path


def test_what_the_file_says_counts_and_no_more(tmp_path: Path, file: Path) -> None:
    people = {
        "ann": (BLUE, ["member"]),
        "cleo": (BLUE, ["member", "cleaner"]),
        "bob": (RED, ["member", "cleaner"]),
        "opa": (RED, ["operator"]),
        "chef": (RED, ["chief"]),
    }
    with world.running(tmp_path, {"memory": "memory"}, auth_strategy="token") as (site, _):
        client = falcon.testing.TestClient(app.create_app(dataclasses.replace(site, policy=Policy(file))))
        with site.db.begin() as tx:
            for name, (project, roles) in people.items():
                tokens.insert(tx, name, user_id=f"user-of-{name}", project_id=project, roles=roles)

        def ask(who: str, method: str, path: str, body: Any = None) -> Any:
            headers = {"X-Auth-Token": who, "OpenStack-API-Version": "volume 3.67"}
            return client.simulate_request(method, f"/v3{path}", headers=headers, json=body)

        def status(who: str, method: str, path: str, body: Any = None) -> int:
            return int(ask(who, method, path, body).status_code)

        volume = ask("ann", "POST", "/volumes", {"volume": {"size": 1}}).json["volume"]["id"]
        with site.db.read() as tx:
            made = [flow.id for flow in flows.list_(tx, open_only=True)]
        assert all(site.waker.wait(flow, 60) == "done" for flow in made)
        assert "os-vol-host-attr:host" in ask("ann", "GET", f"/volumes/{volume}").json["volume"]
        assert status("ann", "DELETE", f"/volumes/{volume}") == 403
        assert status("bob", "DELETE", f"/volumes/{volume}") == 404  # whatever a rule says, of another project
        assert status("ann", "POST", "/snapshots", {"snapshot": {"volume_id": volume}}) == 403
        assert [status(who, "GET", "/os-services") for who in ("ann", "opa", "chef")] == [403, 200, 200]
        assert [status(who, "GET", "/snapshots") for who in ("ann", "cleo", "bob")] == [200, 403, 200]
        assert status("opa", "GET", "/volumes") == 200
        assert [len(ask(who, "GET", "/volumes?all_tenants=1").json["volumes"]) for who in ("opa", "chef")] == [0, 1]
        assert status("cleo", "DELETE", f"/volumes/{volume}") == 202


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            '"volume:delete": "role:admin or (role:x"',
            r"rule 'volume:delete': 'role:admin or \(role:x' is not understood",
        ),
        ('"volume:delete": "admin"', "'admin' is not understood; allowed: role:NAME"),
        ('"volume:delete": "! or nonsense"', "rule 'volume:delete'.*not understood"),
        ('"volume:delete": "rule:admin_apy"', "there is no rule 'admin_apy'; is 'admin_api' meant?"),
        ('"volume:delete": "roles:admin"', "roles:admin cannot be decided here"),
        ('"volume:delete": "http://policy.example/check"', "http:.*cannot be decided here"),
        ('"volume:delete": "user_id:%(user_id)s"', r"user_id:%\(user_id\)s asks for what is not known"),
        ('"volume:delete": "is_admin:yes"', "is_admin:yes is never so"),
        ('"volume:delete": 7', "rule 'volume:delete': it is no text"),
        ('"a": "rule:b"\n"b": "not rule:a"', "rule 'a': it refers to itself: a → b → a"),
        ('"context_is_admin": "rule:admin_api"', "refers to itself: context_is_admin → admin_api → context_is_admin"),
        ("[volume:delete]", "must have lines of the form"),
        ('"volume:delete": "role:a', "is not YAML"),
        ("\udcff", "is not YAML"),
    ],
)
def test_a_mistake_is_refused_with_the_file_and_the_rule(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "policy.yaml"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(errors.Invalid, match=says) as refused:
        Policy(path)
    assert refused.value.message.startswith(str(path))


def test_a_rule_of_no_request_is_told(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text('"volume:delet": "role:admin"\n"mine": "role:x"\n"volume:get": "rule:mine"\n')
    [warning] = Policy(path).warnings
    assert warning.endswith("volume:delet is no rule of this service, so it is not used; is volume:delete meant?")


def test_the_command_shows_what_counts(tmp_path: Path, file: Path) -> None:
    config = tmp_path / "brickyard.conf"
    config.write_text(f"[oslo_policy]\npolicy_file = {file}\n")
    where = ["--state-dir", str(tmp_path / "state"), "--config-file", str(config)]
    run = click.testing.CliRunner().invoke
    shown = json.loads(run(main.main, ["-f", "json", "policy", "list", *where]).stdout)
    by_name = {row["rule"]: row for row in shown}
    assert by_name["volume:delete"]["check"] == "rule:admin_api or rule:cleaner"
    assert by_name["volume:delete"]["default"].startswith("rule:admin_api or (role:member")
    assert by_name["volume:get"]["check"] == by_name["volume:get"]["default"]
    changed = json.loads(run(main.main, ["-f", "json", "policy", "list", "--changed", *where]).stdout)
    assert len(changed) == 8
    file.write_text('"volume:get": "oops"')
    refused = run(main.main, ["policy", "list", *where])
    assert refused.exit_code == 1
    assert f"{file}: rule 'volume:get'" in refused.output
