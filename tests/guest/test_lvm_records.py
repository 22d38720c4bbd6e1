"""Volume groups against the records: what an audit finds there, and what it repairs."""

from __future__ import annotations

import signal
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.rig import Command

from brickyard import brick
from brickyard.brick.guard import Guard
from brickyard.brick.lvm import groups
from brickyard.core.bricks import Kind, Label
from brickyard.core.sizes import GIB, MIB

from .test_pools import Service, run, until

pytestmark = [pytest.mark.guest, pytest.mark.thorough, pytest.mark.timeout(900)]
GROUP = "records"
CONFIG = """\
[DEFAULT]
host = h1
quota_gigabytes = -1
quota_volumes = -1
enabled_backends = kept
[host]
hypervisor = none
[kept]
volume_driver = {driver}
volume_group = {group}
"""


class Site(Service):
    """A service with one volume group, the library on the same group, and LVM itself."""

    def __init__(self, directory: Path, driver: str) -> None:
        super().__init__(directory, CONFIG.format(driver=driver, group=GROUP))
        self.driver = driver
        self.tool = Command(self.url)

    def start(self) -> None:
        """Until its pool is known to be there, which may be after the first answer."""
        super().start()
        until(lambda: self.pools().get("kept", {}).get("up"), "its pool is up")

    @property
    def library(self) -> Guard:
        return brick.load(self.driver, {"volume_group": GROUP})

    def volumes(self) -> dict[str, set[str]]:
        """Name → tags of the logical volumes, as LVM says; the thin pool aside."""
        rows = run("lvm", "lvs", "--noheadings", "--separator", " ", "-o", "lv_name,lv_tags", GROUP).splitlines()
        found = {name: set(tags.split(",")) for name, _, tags in (row.strip().partition(" ") for row in rows)}
        return {name: tags for name, tags in found.items() if name != f"{GROUP}-pool"}

    def audit(self, *words: str, code: int = 1) -> list[dict[str, Any]]:
        return list(self.tool("-f", "json", "audit", *words, code=code).json)

    def agree(self) -> None:
        assert self.audit(code=0) == []

    def stray(self, size_bytes: int = 64 * MIB) -> Label:
        """A volume of ours that the service does not know."""
        label = Label(Kind.VOLUME, str(uuid.uuid4()), "blue")
        self.library.create(label, size_bytes)
        return label

    def volume(self, id: str) -> dict[str, Any]:
        return dict(self.ask("GET", f"/v3/volumes/{id}")["volume"])


@pytest.fixture(params=["lvm", "lvm-thin"])
def site(request: pytest.FixtureRequest, tmp_path: Path, disks: Callable[[int], list[str]]) -> Iterator[Site]:
    driver = str(request.param)
    groups.create(GROUP, disks(4), thin=driver == "lvm-thin", clean=driver == "lvm")
    made = Site(tmp_path, driver)
    made.start()
    try:
        yield made
    finally:
        made.end(signal.SIGKILL)
        run("lvm", "vgremove", "-q", "-f", "-y", GROUP)
        assert run("dmsetup", "ls") == "No devices found"


def test_a_volume_that_nobody_knows_is_adopted_or_removed_after_its_time(site: Site) -> None:
    mine = site.a_volume(1, "kept")
    site.agree()
    found = site.stray()
    [told] = site.audit()
    assert (told["kind"], told["name"], told["repair"]) == ("unknown_brick", found.name, "adopt")
    [told] = site.audit("--repair", code=0)
    assert (told["action"], told["result"], told["error"]) == ("adopt", "done", None)
    site.agree()
    adopted = site.volume(found.id)
    assert (adopted["status"], adopted["size"]) == ("available", 1)
    [known] = [listed for listed in site.library.list() if listed.name == found.name]
    assert (known.size_bytes, known.label) == (GIB, found)
    assert site.pools()["kept"]["claimed_gib"] == 2
    site.drop_volume(found.id)

    rubbish = site.stray()
    [told] = site.audit("--repair", "--orphans", "remove")
    assert "grace period" in told["why_not"]
    assert rubbish.name in site.volumes()
    [told] = site.audit("--repair", "--orphans", "remove", "--grace", "0s", code=0)
    assert (told["name"], told["action"], told["result"]) == (rubbish.name, "remove", "done")
    assert set(site.volumes()) == {f"volume-{mine}"}
    [receipt] = site.ask("GET", "/v1/receipts", params={"brick_id": rubbish.id})["receipts"]
    assert (receipt["method"] == "none") == (site.driver == "lvm-thin")
    site.agree()


def test_what_vanished_is_told_and_what_is_not_ours_is_left_alone(site: Site) -> None:
    lost, theirs = site.a_volume(1, "kept"), f"volume-{uuid.uuid4()}"
    run("lvm", "lvremove", "-q", "-y", f"{GROUP}/volume-{lost}")
    kind = ("-V", "64M", "--thinpool", f"{GROUP}-pool") if site.driver == "lvm-thin" else ("-L", "64M")
    for name in (theirs, "accounting"):
        run("lvm", "lvcreate", "-q", "-y", *kind, "-n", name, GROUP)
    found = {told["name"]: told for told in site.audit("--repair", "--orphans", "remove", "--grace", "0s")}
    assert {name: told["kind"] for name, told in found.items()} == {
        f"volume-{lost}": "missing_brick",
        theirs: "no_label",
    }
    assert all(told["flow_id"] is None for told in found.values())
    assert lost in site.tool("audit", code=1).out
    assert set(site.volumes()) == {theirs, "accounting"}
    site.drop_volume(lost)
    run("lvm", "lvremove", "-q", "-y", f"{GROUP}/{theirs}")
    site.agree()
    assert set(site.volumes()) == {"accounting"}
    assert site.pools()["kept"]["claimed_gib"] == 0


def test_what_a_death_left_is_tidied_up(site: Site) -> None:
    """A volume that was never whole, and one that is deleted and not wiped: both are known by their tags."""
    half, wiping = site.stray(), site.stray()
    run("lvm", "lvchange", "-q", "--addtag", "brickyard.making", f"{GROUP}/{half.name}")
    expected = {half.name: ("leftovers", "tidy")}
    if site.driver == "lvm":
        run("lvm", "lvchange", "-q", "--addtag", "brickyard.wiping=0", f"{GROUP}/{wiping.name}")
        expected[wiping.name] = ("wiping", "remove")
    else:
        site.library.delete(wiping.name)
    assert {told["name"]: (told["kind"], told["repair"]) for told in site.audit()} == expected
    found = site.audit("--repair", "--grace", "0s", code=0)
    assert {told["name"]: told["result"] for told in found} == dict.fromkeys(expected, "done")
    assert site.volumes() == {}
    site.agree()
