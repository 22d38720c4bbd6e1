"""A real agent that is killed, declared lost, and comes back: with its old account, and enrolled anew."""

from __future__ import annotations

import pytest
from tests.agents.rig import Control, Site, until

pytestmark = pytest.mark.slow
OTHER = ("hosts/h2", "pools/h2@fast", "pools/h2@bulk")


def enable_other(control: Control, enabled: bool) -> None:
    for path in OTHER:
        control.http.patch(f"/v1/{path}", json={"enabled": enabled}).raise_for_status()


def test_a_lost_host_is_cut_off_and_comes_back_by_enrolment_only(site: Site) -> None:
    control, h1, _ = site
    enable_other(control, enabled=False)
    kept = control.volume()
    control.becomes(kept, "available")
    h1.hold()
    waiting = control.volume()
    until(h1.waits, "its brick is being made")
    h1.kill()
    h1.go_on()
    enable_other(control, enabled=True)
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
    assert not h1.litter()
