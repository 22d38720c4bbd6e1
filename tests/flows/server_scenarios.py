"""Scenarios of servers of the compute service: whatever breaks, one that has a volume is told what became of it."""

from __future__ import annotations

import functools
import json
import uuid
from typing import Any

from tests import imaging
from tests.flows.move_scenarios import rest
from tests.flows.scenarios import BOSS, IMAGE, ME, Scenario, volume, with_flavor, with_volume

from brickyard.compute import Compute
from brickyard.core import settings
from brickyard.core.states import A
from brickyard.db import attachments, flows, messages, store
from brickyard.service import reimage as reimaging
from brickyard.service import volumes
from brickyard.service.site import Site

Facts = dict[str, Any]
TOLD: list[dict[str, Any]] = []


@functools.cache
def compute() -> imaging.Fake:
    """One that believes whatever it is told."""

    def hears(handler: Any) -> None:
        said = handler.rfile.read(int(handler.headers["Content-Length"]))
        TOLD.append({**json.loads(said)["events"][0], "version": handler.headers["OpenStack-API-Version"]})
        imaging.sends(b"{}", 2)(handler)

    made = imaging.Fake()
    made.does = hears
    return made


def with_server(site: Site) -> Facts:
    """A volume that a server of the compute service has."""
    return for_server(site, with_volume(site), A.ATTACHED)


def for_server(site: Site, facts: Facts, status: str) -> Facts:
    known = Compute(settings.Compute(), {"auth_type": "none", "endpoint": compute().url})
    object.__setattr__(site.world, "compute", known)
    server = str(uuid.uuid4())
    with site.db.begin() as tx:
        attachments.insert(tx, id=str(uuid.uuid4()), volume_id=facts["volume"], status=status, instance_uuid=server)
        store.settle(tx, facts["volume"])
    return {**facts, "server": server}


def extend(site: Site, facts: Facts) -> None:
    volumes.extend(site, ME, facts["volume"], 3, attached=True)
    site.waker.run_all()
    rest(site)


def told(site: Site, facts: Facts) -> None:
    rest(site)
    assert volume(site, facts["volume"]).size_gib == 3
    event = {"name": "volume-extended", "tag": facts["volume"], "status": "completed", "version": "compute 2.51"}
    assert {"server_uuid": facts["server"], **event} in TOLD
    assert ended(site, facts) == ["done"]


def not_told(site: Site, facts: Facts) -> None:
    """The volume has grown all the same, and its owner can read that the server does not know."""
    assert (volume(site, facts["volume"]).status, volume(site, facts["volume"]).size_gib) == ("in-use", 3)
    assert ended(site, facts) == ["failed"]
    with site.db.read() as tx:
        assert [row.resource_uuid for row in tx.execute(messages.messages.select())] == [facts["volume"]]


def with_rebuilt(site: Site) -> Facts:
    """A volume that a server starts from, which is rebuilt and waits for it."""
    return for_server(site, with_flavor(site), A.RESERVED)


def reimage(site: Site, facts: Facts) -> None:
    reimaging.reimage(site, BOSS, facts["volume"], IMAGE, reserved=True)


def reimaged(site: Site, facts: Facts) -> None:
    hears_of(site, facts, "reserved", "completed")


def not_reimaged(site: Site, facts: Facts) -> None:
    """It does not wait for ever."""
    hears_of(site, facts, "error", "failed")


def hears_of(site: Site, facts: Facts, status: str, said: str) -> None:
    rest(site)
    assert volume(site, facts["volume"]).status == status
    event = {"name": "volume-reimaged", "tag": facts["volume"], "status": said, "version": "compute 2.93"}
    heard = [one for one in TOLD if one["server_uuid"] == facts["server"]]
    assert heard and all(one == {"server_uuid": facts["server"], **event} for one in heard)


def ended(site: Site, facts: Facts) -> list[str]:
    with site.db.read() as tx:
        return [row.status for row in flows.of_resource(tx, facts["server"])]


SCENARIOS = (
    Scenario("tell_server", with_server, extend, told, not_told),
    Scenario("reimage_volume", with_rebuilt, reimage, reimaged, not_reimaged),
)
