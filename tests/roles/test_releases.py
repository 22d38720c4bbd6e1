"""Two releases side by side on one database and one broker, while an upgrade is under way: each API works with each
conductor and each agent.

The next release is this one with a revision that adds. The release before is the first one, from the history where that
is there, which it need not be; otherwise this one, which then is the older of the two.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import engines, rabbit
from tests.agents.rig import NODE, ROOT, Control, Host, Process, until
from tests.collector import Collector

from brickyard.db import migrate
from brickyard.db.database import Database

pytestmark = pytest.mark.slow
FIRST = "33b80217022e6cac8d45a187731f7e156faea795"
NEXT = f"{len(migrate.revisions()) + 1:04}"
EXPANDING = f'''"""What the next release adds."""

import sqlalchemy as sa
from alembic import op

revision = "{NEXT}"
down_revision = "{migrate.head()}"
phase = "expand"


def upgrade() -> None:
    op.create_table("of_the_next", sa.Column("id", sa.String(36), primary_key=True))
    for table in ("volumes", "hosts", "pools", "flows", "flow_log", "volume_backends", "claims"):
        op.add_column(table, sa.Column("of_the_next", sa.String(36)))
        op.add_column(table, sa.Column("counted", sa.Integer(), nullable=False, server_default="0"))
'''


def before(room: Path) -> Path | None:
    """The sources of the first release; None where the history does not reach back so far."""
    room.mkdir()
    archive = subprocess.run(["git", "-C", str(ROOT), "archive", FIRST, "src"], capture_output=True, check=False)
    if archive.returncode != 0:
        return None
    subprocess.run(["tar", "-x", "-C", str(room)], input=archive.stdout, check=True)
    return room / "src"


def after(room: Path) -> Path:
    """The sources of the next release."""
    shutil.copytree(ROOT / "src", room / "src", ignore=shutil.ignore_patterns("__pycache__"))
    (room / f"src/brickyard/db/migrations/versions/{NEXT}_what_the_next_release_adds.py").write_text(EXPANDING)
    return room / "src"


class Sites:
    """An API, a conductor and an agent of each release."""

    def __init__(self, room: Path, broker: rabbit.Rabbit, url: str, collector: str) -> None:
        traced = f"[tracing]\nendpoint = {collector}\n"  # which the release before does not know
        more = f"[database]\nconnection = {url.replace('%', '%%')}\n{traced}"
        self.db = Database(url)
        sources = {"old": before(room / "before"), "new": after(room / "after")}
        self.apis, self.conductors, self.agents = {}, {}, {}
        for name, source in sources.items():
            api = Control(room / f"api-{name}", broker, "api", more)
            conductor = Process(room / f"conductor-{name}", api.config.read_text(), "conductor")
            agent = Host(room, name, NODE + traced)
            for process in (api, conductor, agent):
                process.sources = source
            self.apis[name], self.conductors[name], self.agents[name] = api, conductor, agent
        self.all: list[Process] = [*self.apis.values(), *self.conductors.values(), *self.agents.values()]

    def stop(self) -> None:
        for process in self.all:
            if not process.ended():
                process.kill(signal.SIGTERM)
        for api in self.apis.values():
            api.http.close()
        self.db.close()


@pytest.fixture
def sites(tmp_path: Path, broker: rabbit.Rabbit, collector: Collector) -> Iterator[Sites]:
    made = Sites(tmp_path, broker, engines.server("postgresql").url, collector.url)
    with made.db.begin() as tx:
        engines.forget_all(tx)
    try:
        yield made
    finally:
        made.stop()
        with made.db.begin() as tx:
            engines.forget_all(tx)


def test_the_release_before_works_on_beside_the_next_one(sites: Sites, collector: Collector) -> None:
    old, new = sites.apis["old"], sites.apis["new"]
    old.run("db", "upgrade", *old.where())
    old.start()
    assert f"and not {NEXT}" in new.run("db", "check", *new.where(), code=1)
    assert f"revision {NEXT}" in new.run("db", "upgrade", "--expand", *new.where())
    for api in (old, new):
        api.run("db", "check", *api.where())
    new.start()
    for conductor in sites.conductors.values():  # the old one, too, starts on what it does not know
        conductor.start()
    for agent in sites.agents.values():
        agent.enroll(new)
        agent.start()
    for api in (old, new):
        until(lambda api=api: api.hosts_up() >= {"old", "new"}, "both agents are heard")
        api.picture()
    work(sites)
    new.http.patch("/v1/hosts/old", json={"enabled": False}).raise_for_status()
    until(lambda: traced(new, collector), "a host is in a trace")
    for api in (old, new):
        assert api.get("/v1/audit")["differences"] == []


def traced(api: Control, collector: Collector) -> bool:
    """Whether a trace has reached a host: that takes a conductor and a host that both know of traces. Conductors are
    woken in turn, so of two volumes that are made one after the other each may make one."""
    made = [api.volume(), api.volume()]
    for id in made:
        api.becomes(id, "available")
    api.delete(*made)
    return any(span.name == "create_brick" for span in collector.spans())


def work(sites: Sites) -> None:
    """Volumes on each host, made through either API and deleted through the other one, by either conductor."""
    old, new = sites.apis["old"], sites.apis["new"]
    made: dict[Control, list[str]] = {old: [], new: []}
    while {old.host_of(id) for ids in made.values() for id in ids} != {"old", "new"}:
        assert len(made[old]) < 20, "volumes go to one host only"
        for api, ids in made.items():
            ids.append(api.volume())
            api.becomes(ids[-1], "available")
    old.delete(*made[new])
    new.delete(*made[old])
