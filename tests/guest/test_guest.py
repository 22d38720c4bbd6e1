"""The guest itself: what the other tests here stand on."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = [pytest.mark.guest, pytest.mark.emulated]


def test_disks_are_empty_and_writable(disks: Callable[[int], list[str]]) -> None:
    for path in disks(2):
        with open(path, "r+b") as disk:
            assert disk.read(4096) == bytes(4096)
            disk.seek(0)
            disk.write(b"x" * 4096)


@pytest.mark.parametrize("target", ["thin-pool", "snapshot", "flakey", "log-writes", "raid", "crypt"])
def test_the_kernel_has_the_targets(target: str) -> None:
    subprocess.run(["modprobe", f"dm-{target}"], check=True)
    targets = subprocess.run(["dmsetup", "targets"], check=True, capture_output=True, text=True).stdout
    assert target in targets


def test_udev_answers_lvm(disks: Callable[[int], list[str]]) -> None:
    [disk] = disks(1)
    for command in (
        ["vgcreate", "-q", "check", disk],
        ["lvcreate", "-q", "-y", "-L", "16M", "-n", "one", "check"],
    ):
        subprocess.run(["lvm", *command, "--devices", disk], check=True, timeout=60)
    assert Path("/dev/check/one").exists()
    subprocess.run(["lvm", "vgremove", "-q", "-f", "check", "--devices", disk], check=True, timeout=60)
