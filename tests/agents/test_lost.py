"""A real agent that is killed, declared lost, and comes back: with its old account, and enrolled anew."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import rabbit
from tests.agents import rig
from tests.agents.rig import Control, Host, Site, until

pytestmark = pytest.mark.slow
OTHER = ("hosts/stays", "pools/stays@fast", "pools/stays@bulk")
OWN = ("pools/goes@fast", "pools/goes@bulk")


@pytest.fixture
def site(tmp_path: Path, broker: rabbit.Rabbit) -> Iterator[Site]:
    """One of its own: whatever fails, no other test has to do with a host that is lost."""
    made = Site(Control(tmp_path / "control", broker), Host(tmp_path, "goes"), Host(tmp_path, "stays"))
    with rig.running(made):
        until(lambda: made.control.hosts_up() == {"goes", "stays"}, "both agents report")
        made.control.picture()
        yield made


def enable(control: Control, *paths: str, enabled: bool = True) -> None:
    for path in paths:
        control.http.patch(f"/v1/{path}", json={"enabled": enabled}).raise_for_status()


def test_a_lost_host_is_cut_off_and_comes_back_by_enrolment_only(site: Site) -> None:
    control, goes, _ = site
    pool = {"host": "goes", "name": "extra", "driver": "raw", "path": str(goes.directory / "extra")}
    control.post("/v1/pools", pool, 201)
    enable(control, *OTHER, *OWN, enabled=False)
    kept = control.volume()
    control.becomes(kept, "available")
    assert (goes.directory / "extra" / f"volume-{kept}").exists()
    goes.hold()
    waiting = control.volume()
    until(goes.waits, "its brick is being made")
    goes.kill()
    goes.go_on()
    enable(control, *OTHER, *OWN)
    words = ("--url", control.url, "host", "lost", "goes")
    assert waiting in control.run(*words, "--dry-run")
    told = control.run(*words, "--confirm", "goes")  # and nobody waits for it any more
    assert kept in told and waiting not in told
    control.becomes(waiting, "available")
    assert control.host_of(waiting) == "stays"
    assert control.status(kept) == "error" and control.host_of(kept) == "goes"
    assert [agent["host"] for agent in control.get("/v1/agents")["agents"]] == ["stays"]

    goes.start()  # with the account that it had
    refused = control.http.post("/v1/hosts/goes/back")
    assert refused.status_code == 409 and "brickyard host enroll goes" in refused.text
    assert "goes" not in control.hosts_up()
    goes.kill()
    (goes.state / "backends.json").unlink()  # it was imaged anew, and does not know of that pool
    goes.enroll(control)
    goes.start()
    until(lambda: "goes" in control.hosts_up(), "goes is taken in again")
    assert control.status(kept) == "available"
    assert control.host_of(waiting) == "stays"

    def repaired() -> bool:
        """What was begun on goes is of nobody, or another copy, and so is what was claimed for it."""
        body = {"orphans": "remove", "grace_s": 0}
        found = control.post("/v1/audit", body, 200)["differences"]
        assert {one["name"] for one in found} <= {f"volume-{waiting}", waiting}
        return not found

    until(repaired, "nothing is left of it")
    assert control.status(waiting) == "available"
    control.delete(kept, waiting)
