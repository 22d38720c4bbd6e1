"""`brickyard brick`: the library alone, as a person and as a program use it. No service runs, there is no database."""

from __future__ import annotations

import os
import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest
from rig import Command
from tests.contract import loops

ONE = "0c1a4a5e-9a08-4c43-9cb5-ee24e4a2a2a1"
GIB = 1024**3


class Pool:
    """The command on one pool."""

    def __init__(self, driver: str, path: Path) -> None:
        self.path, self.words = path, ("brick", "--driver", driver, "--path", str(path))
        self.command = Command("http://127.0.0.1:9")  # nobody listens there, and nobody is asked

    def __call__(self, *words: str, code: int = 0) -> Any:
        return self.command(*self.words, *words, code=code)

    def json(self, *words: str, code: int = 0) -> Any:
        return self(*words, "-f", "json", code=code).json


@pytest.fixture(params=["raw", "qcow2", "vdi"])
def pool(request: pytest.FixtureRequest, tmp_path: Path) -> Pool:
    return Pool(request.param, tmp_path / "pool")


def test_a_brick_lives_from_create_to_delete(pool: Pool) -> None:
    assert "usable" in pool("check").out
    made = pool.json("create", "--size", "1", "--id", ONE, "--project", "blue")
    assert (made["did"], made["name"], made["brick"]["size_bytes"]) == ("changed", f"volume-{ONE}", GIB)
    assert pool.json("create", "--size", "1", "--id", ONE, "--project", "blue")["did"] == "already"
    kept = pool.json("snapshot", ONE)["name"]
    assert pool.json("show", kept)["parent"] == ONE
    copy = pool.json("clone", kept, "--size", "2")["name"]
    assert pool.json("show", copy)["size_bytes"] == 2 * GIB
    assert pool.json("grow", ONE, "--size", "1536M")["brick"]["size_bytes"] == GIB * 3 // 2
    assert pool.json("revert", ONE, kept)["did"] == "changed"
    assert pool.json("open", ONE)["size_bytes"] == GIB * 3 // 2
    assert pool.json("close", ONE)["did"] == "already"
    assert {row["name"] for row in pool.json("list")} == {f"volume-{ONE}", kept, copy}
    assert pool.json("usage")["provisioned_bytes"] == GIB * 9 // 2
    assert pool.json("wipe", copy)["method"] == "none"
    assert pool.json("audit") == []
    assert pool("delete", ONE, kept, copy).out.count("deleted") == 3
    assert "nothing was left to do" in pool("delete", ONE).out
    assert pool.json("list") == []


def test_tables_are_for_people(pool: Pool) -> None:
    pool("create", "--size", "1", "--id", ONE)
    shown = pool("list").out
    assert f"volume-{ONE}" in shown
    assert "1.0 GiB" in shown
    assert "ours" in shown
    assert pool("usage").out.startswith("total_bytes")


def test_an_image_is_imported_and_its_size_is_its_own(pool: Pool, tmp_path: Path) -> None:
    image = tmp_path / "image"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "64M"], check=True)
    made = pool.json("import", str(image), "--format", "qcow2", "--kind", "root", "--id", ONE)
    assert (made["name"], made["brick"]["size_bytes"]) == (f"root-{ONE}", 64 * 1024**2)
    refused = pool("import", str(image), "--format", "raw", code=1)
    assert "qcow2" in refused.err


def test_what_has_no_label_is_told_adopted_and_only_then_deleted(pool: Pool) -> None:
    pool("check")
    for name in ("old-disk", f"volume-{ONE}"):
        subprocess.run(["qemu-img", "create", "-q", "-f", pool.words[2], pool.path / name, "16M"], check=True)
    [found] = pool.json("audit", code=1)
    assert (found["kind"], found["name"]) == ("no_label", f"volume-{ONE}")
    assert "no label" in pool("delete", ONE, code=1).err
    assert pool.json("adopt", f"volume-{ONE}", "--project", "blue")["brick"]["project"] == "blue"
    assert pool.json("adopt", f"volume-{ONE}", "--project", "blue")["did"] == "already"
    other = str(uuid.uuid4())
    assert pool.json("adopt", "old-disk", "--kind", "snapshot", "--parent", ONE, "--id", other)["name"].endswith(other)
    pool("adopt", "old-disk", "--kind", "snapshot", code=2)
    assert pool.json("audit") == []
    pool("delete", ONE, other)


def test_an_audit_tells_leftovers_and_snapshots_whose_volume_is_gone(pool: Pool) -> None:
    pool("create", "--size", "1", "--id", ONE)
    kept = pool.json("snapshot", ONE)["name"]
    pool("delete", ONE)
    (pool.path / f".volume-{ONE}.tmp").write_bytes(b"half")
    assert {(row["kind"], row["name"]) for row in pool.json("audit", code=1)} == {
        ("snapshot_without_parent", kept),
        ("leftovers", f"volume-{ONE}"),
    }
    assert "tidied up" in pool("tidy", f"volume-{ONE}").out
    assert "nothing was left to do" in pool("tidy", f"volume-{ONE}").out
    assert [row["kind"] for row in pool.json("audit", code=1)] == ["snapshot_without_parent"]
    assert "not the name of a brick" in pool("tidy", "../x", code=1).err


def test_mistakes_are_told_in_a_line_and_by_the_exit_code(tmp_path: Path) -> None:
    pool, command = Pool("raw", tmp_path / "pool"), Command("http://127.0.0.1:9")
    for words, part in (
        (("brick", "list"), "--driver"),
        (("brick", "--driver", "ceph", "list"), "raw"),
        (("brick", "--driver", "raw", "list"), "path"),
        (("brick", "--driver", "raw", "-o", "nonsense", "list"), "NAME=VALUE"),
        (("brick", "--driver", "raw", "--path", str(tmp_path / "p"), "-o", "colour=red", "list"), "preallocate"),
        ((*pool.words, "create", "--size", "lots"), "512M"),
        ((*pool.words, "create"), "--size"),
    ):
        assert part in command(*words, code=2).err
    for words, part in (
        (("show", ONE), "list"),
        (("show", "nonsense"), "not the name of a brick"),
        (("create", "--size", "1", "--id", "nonsense"), "not the name"),
        (("grow", ONE, "--size", "2"), "no brick"),
    ):
        assert part in pool(*words, code=1).err
    assert "cannot be created" in Pool("raw", tmp_path / "no" / "parent")("list", code=1).err


def test_options_of_drivers_come_as_text(tmp_path: Path) -> None:
    pool = Pool("qcow2", tmp_path / "pool")
    pool.words = (*pool.words, "-o", "cluster_size=1M", "-o", "preallocation=metadata")
    pool("create", "--size", "1", "--id", ONE)
    info = subprocess.run(["qemu-img", "info", pool.path / f"volume-{ONE}"], capture_output=True, text=True, check=True)
    assert "cluster_size: 1048576" in info.stdout
    assert "preallocate" in Command("")("brick", "drivers").out


@pytest.mark.slow
def test_long_work_shows_a_bar_in_a_terminal_and_nowhere_else(tmp_path: Path) -> None:
    pool = Pool("raw", tmp_path / "pool")
    pool("create", "--size", "64M", "--id", ONE)
    with open(pool.path / f"volume-{ONE}", "r+b") as file:
        file.write(os.urandom(32 * 1024**2))
    shown = "\n".join(pool.command.on_a_terminal(100, *pool.words, "clone", ONE))
    assert "copying" in shown
    assert "100%" in shown
    quiet = pool.command.really(*pool.words, "clone", ONE)
    assert quiet.err == ""
    assert quiet.out.count("\n") == 1


@pytest.mark.root
@pytest.mark.parametrize("driver", ["partition", "disk"])
def test_disks_are_worked_on_like_directories(tmp_path: Path, driver: str) -> None:
    """Whatever the registry has, with its options as they are in a configuration file; a delete wipes, and says so."""
    disks = loops.new_pool(tmp_path, driver, (64 * 1024**2, 96 * 1024**2))
    try:
        command = Command("http://127.0.0.1:9")
        words = ("brick", "--driver", driver, "-o", f"devices={','.join(disks)}")
        made = command(*words, "create", "--size", "8M", "--id", ONE, "-f", "json").json
        assert (made["did"], made["brick"]["labelled"]) == ("changed", True)
        assert command(*words, "create", "--size", "8M", "--id", ONE, "-f", "json").json["did"] == "already"
        assert f"volume-{ONE}" in command(*words, "list").out
        at = command(*words, "open", ONE, "-f", "json").json
        with open(at["path"], "r+b") as file:
            file.write(b"secret")
        command(*words, "close", ONE)
        receipt = command(*words, "wipe", ONE, "-f", "json").json
        assert receipt["method"] != "none"
        [wiping] = command(*words, "audit", "-f", "json", code=1).json
        assert wiping["kind"] == "wiping"
        assert "deleted" in command(*words, "delete", ONE).out
        assert command(*words, "audit", "-f", "json").json == []
    finally:
        loops.forget_all()
