"""`brickyard brick` on volume groups: the library alone, as a person and as a program use it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.cli.rig import Command

from brickyard.brick.lvm import groups
from brickyard.core.sizes import MIB

from .test_pools import run

pytestmark = [pytest.mark.guest, pytest.mark.timeout(600)]
GROUP = "handmade"
ONE = "0c1a4a5e-9a08-4c43-9cb5-ee24e4a2a2a1"
OTHER = "7b1de9c2-0f6e-4b57-9d0d-2f8c8b3f6a10"
BLOCK = b"written by hand " * 4096


class Pool:
    """The command on one volume group; nobody listens where a service would."""

    def __init__(self, driver: str) -> None:
        self.driver = driver
        self.words = ("brick", "--driver", driver, "-o", f"volume_group={GROUP}")
        self.command = Command("http://127.0.0.1:9")

    def __call__(self, *words: str, code: int = 0) -> Any:
        return self.command(*self.words, *words, code=code)

    def json(self, *words: str, code: int = 0) -> Any:
        return self(*words, "-f", "json", code=code).json

    def volumes(self) -> set[str]:
        names = run("lvm", "lvs", "--noheadings", "-o", "lv_name", GROUP).split()
        return {name for name in names if name != f"{GROUP}-pool"}


@pytest.fixture(params=["lvm", "lvm-thin"])
def pool(request: pytest.FixtureRequest, disks: Callable[[int], list[str]]) -> Iterator[Pool]:
    driver = str(request.param)
    groups.create(GROUP, disks(1), thin=driver == "lvm-thin")
    try:
        yield Pool(driver)
    finally:
        run("lvm", "vgremove", "-q", "-f", "-y", GROUP)
        assert run("dmsetup", "ls") == "No devices found"


@pytest.mark.thorough
def test_a_brick_lives_from_create_to_delete(pool: Pool) -> None:
    assert "usable" in pool("check").out
    made = pool.json("create", "--size", "16M", "--id", ONE, "--project", "blue")
    assert (made["did"], made["name"], made["brick"]["size_bytes"]) == ("changed", f"volume-{ONE}", 16 * MIB)
    assert pool.json("create", "--size", "16M", "--id", ONE, "--project", "blue")["did"] == "already"
    at = pool.json("open", ONE)
    assert (at["format"], at["size_bytes"]) == ("raw", 16 * MIB)
    with open(at["path"], "r+b") as file:
        file.write(BLOCK)
    assert pool.json("close", ONE)["did"] == "changed"
    kept = pool.json("snapshot", ONE, "--id", OTHER)["name"]
    assert pool.json("show", kept)["parent"] == ONE
    copy = pool.json("clone", kept, "--size", "32M")["name"]
    assert pool.json("grow", ONE, "--size", "24M")["brick"]["size_bytes"] == 24 * MIB
    assert pool.json("revert", ONE, kept)["did"] == "changed"
    with open(pool.json("open", copy)["path"], "rb") as file:
        assert file.read(len(BLOCK)) == BLOCK
    pool("close", copy)
    assert {row["name"] for row in pool.json("list")} == {f"volume-{ONE}", kept, copy} == pool.volumes()
    assert "blue" in pool("list").out
    assert pool.json("usage")["provisioned_bytes"] == (24 + 16 + 32) * MIB
    assert pool.json("audit") == []
    assert (pool.json("wipe", copy)["method"] == "none") == (pool.driver == "lvm-thin")
    assert pool("delete", ONE, kept, copy).out.count("deleted") == 3
    assert "nothing was left to do" in pool("delete", ONE).out
    assert pool.volumes() == set()


def test_what_has_no_label_is_told_adopted_and_only_then_deleted(pool: Pool) -> None:
    kind = ("-V", "16M", "--thinpool", f"{GROUP}-pool") if pool.driver == "lvm-thin" else ("-L", "16M")
    for name in ("old-disk", f"volume-{ONE}"):
        run("lvm", "lvcreate", "-q", "-y", *kind, "-n", name, GROUP)
    [told] = pool.json("audit", code=1)
    assert (told["kind"], told["name"]) == ("no_label", f"volume-{ONE}")
    assert "adopt" in pool("delete", ONE, code=1).err
    assert pool.volumes() == {"old-disk", f"volume-{ONE}"}
    assert pool.json("adopt", f"volume-{ONE}", "--project", "blue")["brick"]["project"] == "blue"
    assert pool.json("adopt", f"volume-{ONE}", "--project", "blue")["did"] == "already"
    assert pool.json("adopt", "old-disk", "--kind", "snapshot", "--parent", ONE, "--id", OTHER)["did"] == "changed"
    assert pool.json("audit") == []
    pool("delete", ONE, OTHER)
    assert pool.volumes() == set()


@pytest.mark.thorough
def test_an_audit_tells_leftovers_and_snapshots_whose_volume_is_gone(pool: Pool) -> None:
    half = str(uuid.uuid4())
    for id in (ONE, half):
        pool("create", "--size", "16M", "--id", id)
    kept = pool.json("snapshot", ONE)["name"]
    pool("delete", ONE)
    run("lvm", "lvchange", "-q", "--addtag", "brickyard.making", f"{GROUP}/volume-{half}")
    assert {(row["kind"], row["name"]) for row in pool.json("audit", code=1)} == {
        ("snapshot_without_parent", kept),
        ("leftovers", f"volume-{half}"),
    }
    pool("delete", half)
    copy = pool.json("clone", kept)["name"]
    pool("delete", kept)
    assert pool.json("audit") == []
    assert pool.volumes() == {copy}


def test_mistakes_are_told_in_a_line_and_by_the_exit_code(pool: Pool) -> None:
    words = ("brick", "--driver", pool.driver)
    assert "no volume group cinder-volumes" in pool.command(*words, "list", code=1).err  # which is the default
    assert "no volume group nothing" in pool.command(*words, "-o", "volume_group=nothing", "list", code=1).err
    assert "no brick" in pool("grow", ONE, "--size", "2", code=1).err
    if pool.driver == "lvm":
        assert "are needed" in pool("create", "--size", "10", "--id", ONE, code=1).err
        assert pool.volumes() == set()
    else:
        other = pool.command(*words, "-o", f"volume_group={GROUP}", "-o", "thin_pool=other", "check", code=1)
        assert "no thin pool other" in other.err
