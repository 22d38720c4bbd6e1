"""Commands of LVM that die between what they write down and what they tell the kernel.

LVM writes the metadata of a group, and changes the devices in several calls. Who kills it between two of them leaves a
device that is too short, that stands still, or that waits with a table. The verb, called again, must mend that.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.contract.content import MIB, fill, holds, volume

from brickyard import brick
from brickyard.brick import shell
from brickyard.brick.guard import Guard
from brickyard.brick.lvm import groups
from brickyard.brick.lvm.thick import ThickDriver
from brickyard.brick.lvm.thin import ThinDriver
from brickyard.core import errors
from brickyard.core.bricks import Did, Kind, Label

from .lvm import mapped, run

pytestmark = [pytest.mark.guest, pytest.mark.timeout(1500)]
SIZE, LARGER = 8 * MIB, 16 * MIB
POOL = "ours-pool"
KILLER = Path(__file__).with_name("killed_lvm.py")
MOMENTS_MAX = 60  # more than any command has
Take = Callable[[int], list[str]]
WRAPPER = """\
#!/bin/sh
[ "$1" = "$KILLED_COMMAND" ] && exec {python} {killer} "$KILLED_MOMENT" /usr/sbin/lvm "$@"
exec /usr/sbin/lvm "$@"
"""


@pytest.fixture(params=["lvm", "lvm-thin"])
def driver(request: pytest.FixtureRequest, take: Take) -> Guard:
    [disk] = take(1)
    groups.create("ours", [disk], thin=request.param == "lvm-thin")
    if request.param == "lvm":
        return Guard(ThickDriver("ours", devices=[disk]), "lvm")
    found = Guard(ThinDriver("ours", POOL, devices=[disk]), "lvm-thin")
    found.check()
    return found


def device_bytes(path: str) -> int:
    with open(path, "rb") as device:
        return device.seek(0, os.SEEK_END)


def stopped() -> list[str]:
    """Mapped devices that stand still, or have a table that nobody took."""
    rows = run("dmsetup", "info", "-c", "--noheadings", "-o", "name,suspended,tables_loaded").splitlines()
    return [row for row in rows if row.startswith("ours") and not row.endswith(":Active:Live")]


def load(path: str, size_bytes: int) -> None:
    """A table for the first so many bytes, which waits until the device is resumed."""
    begin, _, *rest = run("dmsetup", "table", path).split()
    run("dmsetup", "load", path, "--table", " ".join([begin, str(size_bytes // 512), *rest]))


def test_a_volume_that_grew_without_its_device_is_whole_after_the_repeat(driver: Guard) -> None:
    label = volume()
    driver.create(label, SIZE)
    fill(driver, label.name, 7)
    path = driver.open(label.name).path
    assert driver.grow(label.name, LARGER) is Did.CHANGED
    load(path, SIZE)
    run("dmsetup", "suspend", path)
    assert driver.grow(label.name, LARGER) is Did.CHANGED
    assert device_bytes(path) == LARGER
    assert stopped() == []
    assert driver.grow(label.name, LARGER) is Did.ALREADY
    load(path, SIZE)
    run("dmsetup", "resume", path)
    assert device_bytes(path) == SIZE
    assert driver.grow(label.name, LARGER) is Did.CHANGED
    assert device_bytes(path) == LARGER
    load(path, SIZE)
    run("dmsetup", "resume", path)
    assert device_bytes(driver.open(label.name).path) == LARGER
    assert holds(driver, label.name, 7)


@pytest.mark.thorough
def test_a_pool_that_stands_still_goes_on(take: Take) -> None:
    [disk] = take(1)
    groups.create("ours", [disk], thin=True)
    driver, label = Guard(ThinDriver("ours", POOL, devices=[disk]), "lvm-thin"), volume()
    driver.create(label, SIZE)
    fill(driver, label.name, 7)
    driver.close(label.name)
    run("dmsetup", "suspend", "ours-ours--pool-tpool")
    again = Guard(ThinDriver("ours", POOL, devices=[disk]), "lvm-thin")
    again.open(label.name)
    assert stopped() == []
    assert holds(again, label.name, 7)


# LVM killed at each moment ---------------------------------------------------------------------------------------


def snapshot_of(label: Label, other: Label) -> Label:
    return Label(Kind.SNAPSHOT, other.id, label.project, parent=label.id)


def create(driver: Guard, label: Label, other: Label) -> None:
    driver.create(other, SIZE)


def grow(driver: Guard, label: Label, other: Label) -> None:
    driver.grow(label.name, LARGER)
    assert device_bytes(driver.open(label.name).path) == LARGER
    assert holds(driver, label.name, 0, SIZE, LARGER - SIZE)


def take_snapshot(driver: Guard, label: Label, other: Label) -> None:
    driver.snapshot(label.name, snapshot_of(label, other))


def close(driver: Guard, label: Label, other: Label) -> None:
    driver.close(label.name)
    assert mapped("ours") == []


def reopen(driver: Guard, label: Label, other: Label) -> None:
    driver.close(label.name)
    assert os.path.exists(driver.open(label.name).path)


def delete(driver: Guard, label: Label, other: Label) -> None:
    driver.delete(label.name)
    assert driver.find(label.name) is None


def open_after_boot(driver: Guard, label: Label, other: Label) -> None:
    assert os.path.exists(driver.open(label.name).path)


def delete_after_boot(driver: Guard, label: Label, other: Label) -> None:
    """The pool sleeps, so that `lvremove` activates it, tells it, and deactivates it again."""
    driver.delete(label.name)
    assert driver.find(label.name) is None


AFTER_BOOT = (open_after_boot, delete_after_boot)
# What no command tells the kernel is not here: a thick volume is closed before `lvremove`, which then only writes, and
# whatever makes something in a thin pool wakes it first.
CASES = [
    ("lvm", create, "lvcreate"),
    ("lvm", create, "lvchange"),
    ("lvm", grow, "lvextend"),
    ("lvm", take_snapshot, "lvcreate"),
    ("lvm", reopen, "lvchange"),
    ("lvm", delete, "lvchange"),
    ("lvm", open_after_boot, "lvchange"),
    ("lvm-thin", create, "lvcreate"),
    ("lvm-thin", grow, "lvextend"),
    ("lvm-thin", take_snapshot, "lvcreate"),
    ("lvm-thin", close, "lvchange"),
    ("lvm-thin", reopen, "lvchange"),
    ("lvm-thin", delete, "lvchange"),
    ("lvm-thin", delete, "lvremove"),
    ("lvm-thin", open_after_boot, "lvchange"),
    ("lvm-thin", delete_after_boot, "lvremove"),
]


@pytest.fixture
def wrapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    program = tmp_path / "lvm"
    program.write_text(WRAPPER.format(python=sys.executable, killer=KILLER))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    shell.find.cache_clear()
    yield monkeypatch
    monkeypatch.undo()
    shell.find.cache_clear()


@pytest.mark.thorough
@pytest.mark.parametrize(("driver", "act", "command"), CASES, indirect=["driver"])
def test_lvm_killed_at_any_moment_leaves_what_a_repeat_mends(
    driver: Guard, wrapped: pytest.MonkeyPatch, act: Callable[[Guard, Label, Label], None], command: str
) -> None:
    kind = driver.name
    for moment in range(1, MOMENTS_MAX):
        label, other = volume(), volume()
        driver.create(label, SIZE)
        fill(driver, label.name, 7)
        if act in AFTER_BOOT:
            run("lvm", "vgchange", "-an", "ours")
            driver = brick.load(kind, {"volume_group": "ours"})  # which has not seen the pool at work
        wrapped.setenv("KILLED_COMMAND", command)
        wrapped.setenv("KILLED_MOMENT", str(moment))
        try:
            act(driver, label, other)
            died = False
        except errors.ToolFailed as failed:
            if failed.returncode != 128 + signal.SIGKILL:
                raise
            died = True
        wrapped.delenv("KILLED_COMMAND")
        print(f"{act.__name__}, {command}, moment {moment}: {stopped()}", flush=True)
        act(driver, label, other)
        if act in AFTER_BOOT:
            driver.check()  # which every start of a service does
        assert stopped() == []
        if act not in (delete, delete_after_boot):
            assert holds(driver, label.name, 7)
        for one in (label, other, snapshot_of(label, other)):
            driver.delete(one.name)
        assert (list(driver.list()), driver.leftovers(), mapped("ours"), stopped()) == ([], {}, [], [])
        if not died:
            assert moment > 1, "it was killed nowhere"
            return
    pytest.fail("it has no end")
