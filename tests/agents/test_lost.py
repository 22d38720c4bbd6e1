"""A real agent that is killed, declared lost, and comes back: with its old account, and enrolled anew."""

from __future__ import annotations

import pytest
from tests.agents.rig import Control, Site, until

pytestmark = pytest.mark.slow
OTHER = ("hosts/h2", "pools/h2@fast", "pools/h2@bulk")
OWN = ("pools/h1@fast", "pools/h1@bulk")


def enable(control: Control, *paths: str, enabled: bool = True) -> None:
    for path in paths:
        control.http.patch(f"/v1/{path}", json={"enabled": enabled}).raise_for_status()


def test_a_lost_host_is_cut_off_and_comes_back_by_enrolment_only(site: Site) -> None:
    control, h1, _ = site
    pool = {"host": "h1", "name": "extra", "driver": "raw", "path": str(h1.directory / "extra")}
    control.post("/v1/pools", pool, 201)
    enable(control, *OTHER, *OWN, enabled=False)
    kept = control.volume()
    control.becomes(kept, "available")
    assert (h1.directory / "extra" / f"volume-{kept}").exists()
    h1.hold()
    waiting = control.volume()
    until(h1.waits, "its brick is being made")
    h1.kill()
    h1.go_on()
    enable(control, *OTHER, *OWN)
    words = ("--url", control.url, "host", "lost", "h1")
    assert waiting in control.run(*words, "--dry-run")
    told = control.run(*words, "--confirm", "h1")  # and nobody waits for it any more
    assert kept in told and waiting not in told
    control.becomes(waiting, "available")
    assert control.host_of(waiting) == "h2"
    assert control.status(kept) == "error" and control.host_of(kept) == "h1"
    assert [agent["host"] for agent in control.get("/v1/agents")["agents"]] == ["h2"]

    h1.start()  # with the account that it had
    refused = control.http.post("/v1/hosts/h1/back")
    assert refused.status_code == 409 and "brickyard host enroll h1" in refused.text
    assert control.hosts_up() == {"h2"}
    h1.kill()
    (h1.state / "backends.json").unlink()  # it was imaged anew, and does not know of that pool
    h1.enroll(control)
    h1.start()
    until(lambda: "h1" in control.hosts_up(), "h1 is taken in again")
    assert control.status(kept) == "available"
    assert control.host_of(waiting) == "h2"

    def repaired() -> bool:
        """What was begun on h1 is of nobody, or another copy."""
        body = {"orphans": "remove", "grace_s": 0}
        found = control.post("/v1/audit", body, 200)["differences"]
        assert {one["name"] for one in found} <= {f"volume-{waiting}"}
        return not found

    until(repaired, "nothing is left of it")
    assert control.status(waiting) == "available"
    control.delete(kept, waiting)
    assert control.http.delete("/v1/pools/h1@extra").status_code == 204
