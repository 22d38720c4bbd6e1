"""The OpenAPI document of v3: valid, complete, and of the microversion that was asked for. That every conversation is
as it says is looked at where they are held."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import falcon.testing
import openapi_spec_validator
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
import world
from brickyard.api import openapi_v3, versions
from brickyard.service import policy

OPERATIONS = list(openapi_v3.found(versions.MAX))


def ask(running: Any, version: str | None) -> Any:
    client: falcon.testing.TestClient = running[1]
    headers = {} if version is None else {"OpenStack-API-Version": f"volume {version}"}
    result = client.simulate_get("/v3/openapi.json", headers=headers)
    assert result.status_code == 200, result.text
    assert result.headers["Vary"] == "OpenStack-API-Version"
    return result.json


@pytest.mark.parametrize("version", ["3.0", "3.27", "3.44", "latest"])
def test_it_is_valid_openapi_of_the_version_that_was_asked_for(running: Any, version: str) -> None:
    document = ask(running, version)
    assert document["openapi"] == "3.1.0"
    assert document["info"]["x-microversion"] == (str(versions.MAX) if version == "latest" else version)
    openapi_spec_validator.validate(document)


def test_without_a_version_it_is_that_of_the_newest(running: Any) -> None:
    assert ask(running, None) == ask(running, "latest")


def test_it_needs_no_token(tmp_path: Path) -> None:
    with world.running(tmp_path, {"memory": "memory"}, auth_strategy="token") as made:
        assert ask(made, None)["security"] == [{"token": []}]
        assert made[1].simulate_get("/v3/volumes").status_code == 401


def test_what_came_later_is_not_in_the_description_of_an_older_version(running: Any) -> None:
    old, new = ask(running, "3.26"), ask(running, "3.27")
    assert set(new["paths"]) - set(old["paths"]) == {"/attachments", "/attachments/detail", "/attachments/{id}"}
    assert new["paths"]["/attachments"]["post"]["x-since"] == "3.27"

    def of(version: str) -> tuple[set[str], set[str], Any]:
        document = ask(running, version)
        listed = {one.get("name") for one in document["paths"]["/volumes"]["get"]["parameters"]}
        create = document["paths"]["/volumes"]["post"]["requestBody"]["content"]["application/json"]["schema"]
        return set(document["components"]["schemas"]["Volume"]["required"]), listed, create["properties"]["volume"]

    shown, listed, create = of("3.44")
    newer, more, closed = of("3.65")
    assert newer - shown == {"shared_targets", "service_uuid", "volume_type_id", "consumes_quota"}
    assert more - listed == {"with_count", "created_at", "updated_at", "consumes_quota"}
    assert "additionalProperties" not in create and closed["additionalProperties"] is False


def test_it_names_the_rule_that_decides_and_each_operation_once(running: Any) -> None:
    document = ask(running, "latest")
    found = [one for methods in document["paths"].values() for one in methods.values()]
    assert {one["x-policy"] for one in found if "x-policy" in one} <= set(policy.RULES)
    assert len({one["operationId"] for one in found}) == len(found) == len(OPERATIONS)


def test_what_the_page_for_those_who_know_cinder_says_is_not_there_is_not(running: Any) -> None:
    client: falcon.testing.TestClient = running[1]
    page = (Path(__file__).parents[2] / "docs" / "coming-from-cinder.md").read_text()
    assert f"microversions {versions.MIN} to {versions.MAX}" in page
    newest = {"OpenStack-API-Version": f"volume {versions.MAX}"}
    made = client.simulate_post("/v3/volumes", json={"volume": {"size": 1}}, headers=newest).json["volume"]["id"]
    waits = re.search(r"Nothing here waits for `(os-\w+)`", page)
    assert waits
    asked = client.simulate_post(f"/v3/volumes/{made}/action", json={waits[1]: {}}, headers=newest)
    assert (asked.status_code, "does not wait" in asked.text) == (400, True)
    newer = {"OpenStack-API-Version": f"volume 3.{versions.MAX.minor + 1}"}
    assert client.simulate_get("/v3/volumes", headers=newer).status_code == 406
