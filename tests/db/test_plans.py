"""What a project asks for costs what it has, however much others have: nothing is found by looking at every row."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import falcon.testing
import pytest
from tests import crowd

from brickyard.db import tokens
from brickyard.service.site import Site

sys.path.insert(0, str(Path(__file__).parents[1]))
import world

MINE = 40
OTHERS, EACH = 60, 50
ASKED = (
    "/v3/volumes?limit=20",
    "/v3/volumes/detail",
    "/v3/volumes/detail?status=in-use",
    "/v3/volumes/detail?name=volume+3",
    "/v3/volumes/detail?with_count=true&limit=5&sort=created_at:asc",
    "/v3/volumes/summary",
    "/v3/volumes/{volume}",
    "/v3/snapshots/detail",
    "/v3/attachments/detail",
    "/v3/messages",
    "/v3/limits",
    "/v3/os-quota-sets/mine?usage=true",
    "/v1/flows?resource_id={volume}",
    "/v1/flows?limit=20",
    "/v1/instances",
)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Site, falcon.testing.TestClient]]:
    with world.running(tmp_path, {"memory": "memory"}, auth_strategy="token", project_id_regex="mine") as made:
        with made[0].db.begin() as tx:
            tokens.insert(tx, "secret", user_id="me", project_id="mine", roles=["member"])
        made[0].waker.stop()  # its own looks at the database are none of the caller's
        yield made


def test_no_request_of_a_project_looks_at_the_rows_of_others(site: tuple[Site, falcon.testing.TestClient]) -> None:
    made, client = site
    headers = {"X-Auth-Token": "secret", "OpenStack-API-Version": "volume 3.67"}
    crowd.fill(made.db, ["mine"], MINE)
    volume = client.simulate_get("/v3/volumes?limit=1", headers=headers).json["volumes"][0]["id"]

    def ask(path: str) -> tuple[int, list[str], str]:
        """How many statements it takes, and those that read everything; and the answer."""
        with crowd.statements(made.db) as captured:
            answer = client.simulate_get(path.format(volume=volume), headers=headers)
        assert answer.status_code == 200, (path, answer.text)
        return len(captured), crowd.scans(made.db, captured), answer.text

    before = {path: ask(path) for path in ASKED}
    crowd.fill(made.db, [f"other-{number}" for number in range(OTHERS)], EACH)
    for path in ASKED:
        number, scans, answer = ask(path)
        assert (number, answer) == (before[path][0], before[path][2]), path
        assert not scans, (path, scans)


def test_a_new_volume_is_counted_against_its_project_alone(site: tuple[Site, falcon.testing.TestClient]) -> None:
    made, client = site
    crowd.fill(made.db, [f"other-{number}" for number in range(OTHERS)], EACH)
    with crowd.statements(made.db) as captured:
        body = {"volume": {"size": 1, "name": "new"}}
        answer = client.simulate_post("/v3/volumes", json=body, headers={"X-Auth-Token": "secret"})
    assert answer.status_code == 202, answer.text
    assert not crowd.scans(made.db, captured)
