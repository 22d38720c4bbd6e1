"""A real Keystone in front: passwords, application credentials and scopes with the real client, and service tokens."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from waiting import until

pytestmark = pytest.mark.wire


class Rest:
    """Requests with the tokens of users, as other services send them."""

    def __init__(self, service: Any, cloud: Any) -> None:
        self.endpoint, self.cloud = service.endpoint, cloud

    def __call__(self, token: str | None, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        said = {"OpenStack-API-Version": "volume 3.67", **headers}
        if token:
            said["X-Auth-Token"] = token
        return httpx.request(method, self.endpoint + path, json=body, headers=said, timeout=60)

    def volume(self, token: str) -> str:
        made = self(token, "POST", "/volumes", {"volume": {"size": 1}})
        assert made.status_code == 202, made.text
        return self.available(token, made.json()["volume"]["id"])

    def available(self, token: str, id: str) -> str:
        """Wait until the volume is; its id. Asking the client itself costs a second each time."""
        deadline = time.monotonic() + 60
        while self(token, "GET", f"/volumes/{id}").json()["volume"]["status"] != "available":
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return id


@pytest.fixture(scope="module")
def cloud(keystone_service: Any) -> Any:
    return keystone_service[1]


@pytest.fixture(scope="module")
def rest(keystone_service: Any) -> Rest:
    made = Rest(*keystone_service)
    made(keystone_service[1].token("boss"), "POST", "/types", {"volume_type": {"name": "standard"}})
    return made


@pytest.fixture(scope="module")
def as_(osc_with_keystone: Any, cloud: Any, rest: Rest) -> Any:
    """The client logged in, by user."""
    return {user: osc_with_keystone.given(*cloud.login(user)) for user in cloud.users}


def test_users_log_in_with_passwords_and_projects_are_kept_apart(as_: Any, cloud: Any, rest: Rest) -> None:
    made = as_["ann"].json("volume create --size 1 mine")
    shown = rest(cloud.token("ann"), "GET", f"/volumes/{rest.available(cloud.token('ann'), made['id'])}").json()[
        "volume"
    ]
    assert shown["os-vol-tenant-attr:tenant_id"] == cloud.projects["blue"]
    assert [one["Name"] for one in as_["rob"].json("volume list")] == ["mine"]
    assert as_["bob"].json("volume list --all-projects") == []
    assert rest(cloud.token("bob"), "GET", f"/volumes/{shown['id']}").status_code == 404
    assert "volume:create" in as_["rob"].refused("volume create --size 1 x")
    assert [one["Name"] for one in as_["boss"].json("volume list --all-projects")] == ["mine"]
    as_["ann"]("volume delete mine")


def test_the_project_of_the_url_is_that_of_the_token(cloud: Any, rest: Rest) -> None:
    token = cloud.token("ann")
    assert rest(token, "GET", f"/{cloud.projects['blue']}/volumes").status_code == 200
    wrong = rest(token, "GET", f"/{cloud.projects['red']}/volumes")
    assert (wrong.status_code, "Malformed request url" in wrong.text) == (400, True)


def test_application_credentials_work_by_themselves_and_within_their_rules(
    as_: Any, osc_with_keystone: Any, cloud: Any, rest: Rest
) -> None:
    rules = '[{"service": "volumev3", "method": "GET", "path": "/v3/**"}]'
    for name, more in (("all", ()), ("look", ("--access-rules", rules))):
        as_["ann"](f"application credential create --secret hush {name}", *more)

    def holder(name: str) -> Any:
        return osc_with_keystone.given(
            *("--os-auth-type", "v3applicationcredential", "--os-auth-url", cloud.url),
            *("--os-application-credential-name", name, "--os-application-credential-secret", "hush"),
            *("--os-username", "ann", "--os-user-domain-id", "default"),
        )

    rest.available(cloud.token("ann"), holder("all").json("volume create --size 1 by-credential")["id"])
    assert [one["Name"] for one in holder("look").json("volume list")] == ["by-credential"]
    assert "401" in holder("look").refused("volume create --size 1 x")
    holder("all")("volume delete by-credential")


def test_the_system_is_administrated_without_a_project(as_: Any, cloud: Any, rest: Rest) -> None:
    assert as_["root"].json("volume service list")
    assert rest(cloud.token("root"), "GET", "/volumes?all_tenants=1").status_code == 200
    made = rest(cloud.token("root"), "POST", "/volumes", {"volume": {"size": 1}})
    assert (made.status_code, "log in to one, and not to the system" in made.text) == (400, True)
    for path in ("/volumes", "/os-services", "/snapshots/detail"):
        assert rest(cloud.token("eye"), "GET", path).status_code == 403, path


def test_our_own_commands_take_its_tokens(keystone_service: Any, cloud: Any) -> None:
    url = keystone_service[0].endpoint.removesuffix("/v3")
    command = [sys.executable, "-m", "brickyard", "--url", url, "--token", cloud.token("ann")]
    done = subprocess.run([*command, "-f", "json", "instance", "list"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
    refused = subprocess.run([*command, "host", "list"], capture_output=True, text=True, check=False)
    assert (refused.returncode, "brickyard:host_get" in refused.stderr) == (1, True), refused.stderr


def test_who_has_no_valid_token_is_told_where_to_get_one(cloud: Any, rest: Rest) -> None:
    for token in (None, "guessed"):
        refused = rest(token, "GET", "/volumes")
        assert refused.status_code == 401
        assert refused.json()["unauthorized"]["code"] == 401
        assert refused.headers["WWW-Authenticate"].startswith("Keystone uri=")
    forged = {"X-Identity-Status": "Confirmed", "X-User-Id": "u", "X-Project-Id": "p", "X-Roles": "admin"}
    assert rest(None, "GET", "/volumes", **forged).status_code == 401
    assert rest(cloud.token("ann"), "GET", "/os-services", **forged).status_code == 403
    assert httpx.get(rest.endpoint.removesuffix("/v3") + "/healthcheck").status_code == 200


def test_a_token_is_checked_once_and_then_remembered(cloud: Any, rest: Rest) -> None:
    token = cloud.session("ann", "blue").get_token()
    for _ in range(5):
        assert rest(token, "GET", "/volumes").status_code == 200
    until(lambda: cloud.validations(token))
    assert cloud.validations(token) == 1


SERVER = str(uuid.uuid4())


@pytest.fixture
def attached(cloud: Any, rest: Rest) -> Iterator[tuple[str, str]]:
    """A volume of ann's that a server uses: its id and the attachment's."""
    ann = cloud.token("ann")
    volume = rest.volume(ann)
    body = {"attachment": {"volume_uuid": volume, "instance_uuid": SERVER, "connector": {"host": "wire"}}}
    made = rest(ann, "POST", "/attachments", body)
    assert made.status_code == 200, made.text
    id = str(made.json()["attachment"]["id"])
    assert rest(ann, "POST", f"/attachments/{id}/action", {"os-complete": None}).status_code == 204
    cloud.nova.uses[SERVER] = id
    yield volume, id
    cloud.nova.uses.clear()
    cloud.nova.status = None
    rest(ann, "DELETE", f"/attachments/{id}")
    rest(ann, "DELETE", f"/volumes/{volume}")


def ways(volume: str, attachment: str) -> list[tuple[str, str, Any]]:
    """Every request that would take the volume away."""
    action = f"/volumes/{volume}/action"
    return [
        ("DELETE", f"/attachments/{attachment}", None),
        ("POST", action, {"os-detach": {}}),
        ("POST", action, {"os-detach": {"attachment_id": attachment}}),
        ("POST", action, {"os-terminate_connection": {"connector": {"host": "wire"}}}),
        ("POST", action, {"os-force_detach": {"attachment_id": attachment}}),
    ]


def test_nobody_takes_a_volume_from_under_a_server(cloud: Any, rest: Rest, attached: tuple[str, str]) -> None:
    """Not its owner, not an administrator, and not with a service token that is none; CVE-2023-2088."""
    volume, attachment = attached
    cloud.nova.asked.clear()
    ann, boss, nova = cloud.token("ann"), cloud.token("boss"), cloud.token("nova")
    for method, path, body in ways(volume, attachment):
        for token in (ann, boss):
            refused = rest(token, method, path, body)
            if "force" in str(body) and token == ann:
                assert refused.status_code == 403
                continue
            assert refused.status_code == 409, (path, body, refused.text)
            assert refused.json()["conflictingRequest"]["message"].startswith("ConflictNovaUsingAttachment")
    assert set(cloud.nova.asked) == {(SERVER, volume, "compute 2.89")}
    for false in (ann, boss):
        headers = {"X-Service-Token": false}
        assert rest(ann, "DELETE", f"/attachments/{attachment}", **headers).status_code == 401
    # the role on the user's own token is not a service token
    assert rest(nova, "DELETE", f"/attachments/{attachment}").status_code == 409
    assert rest(ann, "GET", f"/attachments/{attachment}").json()["attachment"]["status"] == "attached"


def test_nova_detaches_with_its_service_token(cloud: Any, rest: Rest, attached: tuple[str, str]) -> None:
    volume, attachment = attached
    cloud.nova.asked.clear()
    gone = rest(cloud.token("ann"), "DELETE", f"/attachments/{attachment}", **{"X-Service-Token": cloud.token("nova")})
    assert (gone.status_code, gone.json()) == (200, {"attachments": []})
    assert cloud.nova.asked == []
    assert rest(cloud.token("ann"), "GET", f"/volumes/{volume}").json()["volume"]["status"] == "available"


def test_a_server_is_told_that_its_volume_has_grown(cloud: Any, rest: Rest, attached: tuple[str, str]) -> None:
    """By the service's own user, for a hypervisor does not look by itself."""
    volume, _ = attached
    cloud.nova.told.clear()
    grown = rest(cloud.token("ann"), "POST", f"/volumes/{volume}/action", {"os-extend": {"new_size": 2}})
    assert grown.status_code == 202, grown.text
    until(lambda: cloud.nova.told)
    [(event, version, token)] = cloud.nova.told
    assert event == {"name": "volume-extended", "server_uuid": SERVER, "tag": volume, "status": "completed"}
    assert (version, cloud.believes(token)) == ("compute 2.51", True)
    after = rest(cloud.token("ann"), "GET", f"/volumes/{volume}").json()["volume"]
    assert (after["status"], after["size"]) == ("in-use", 2)


def test_what_the_compute_service_does_not_use_may_go(cloud: Any, rest: Rest, attached: tuple[str, str]) -> None:
    _, attachment = attached
    cloud.nova.status = 500
    unsure = rest(cloud.token("ann"), "DELETE", f"/attachments/{attachment}")
    assert (unsure.status_code, "does not say" in unsure.text) == (503, True)
    cloud.nova.status = None
    cloud.nova.uses[SERVER] = str(uuid.uuid4())  # of another attachment of the same volume
    assert rest(cloud.token("ann"), "DELETE", f"/attachments/{attachment}").status_code == 200
