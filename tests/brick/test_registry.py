"""Drivers are found by name, options are checked, and older names lead to ours or to a reason."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from brickyard import brick
from brickyard.brick import registry
from brickyard.core import errors


@pytest.mark.parametrize("name", ["raw", "qcow2", "vdi"])
def test_a_pool_is_made_for_its_owner_alone_if_its_parent_exists(tmp_path: Path, name: str) -> None:
    brick.load(name, {"path": str(tmp_path / "pool")}).check()
    assert stat.S_IMODE((tmp_path / "pool").stat().st_mode) == 0o700
    with pytest.raises(errors.BrickError, match="mount or create its parent"):
        brick.load(name, {"path": str(tmp_path / "absent" / "pool")})


def test_an_older_spelling_of_a_thin_group_is_one() -> None:
    assert brick.load("lvm", {"volume_group": "vg", "lvm_type": "thin"}).capabilities.thin
    assert not brick.load("lvm", {"volume_group": "vg", "devices": "/dev/vdb, /dev/vdc"}).capabilities.thin


def test_memory_needs_no_option() -> None:
    brick.load("memory", {}).check()


@pytest.mark.parametrize(
    ("name", "options", "field"),
    [
        ("raw", {}, "path"),
        ("raw", {"path": "relative"}, "path"),
        ("raw", {"path": "/x", "preallocate": "maybe"}, "preallocate"),
        ("raw", {"path": "/x", "cluster_size": "64k"}, "cluster_size"),
        ("qcow2", {"path": "/x", "preallocation": "some"}, "preallocation"),
        ("qcow2", {"path": "/x", "cluster_size": "3k"}, "cluster_size"),
        ("vdi", {"path": "/x", "preallocate": "yes"}, "preallocate"),
        ("memory", {"capacity_gib": "0"}, "capacity_gib"),
        ("lvm", {"path": "/x"}, "path"),
        ("lvm", {"devices": "vdb"}, "devices"),
        ("lvm", {"wipe_rate_mib": "0"}, "wipe_rate_mib"),
        ("lvm", {"lvm_type": "auto"}, "lvm_type"),
        ("lvm-thin", {"lvm_type": "default"}, "lvm_type"),
        ("lvm-thin", {"data_percent_max": "101"}, "data_percent_max"),
        ("lvm-thin", {"autoextend_keep_gib": "some"}, "autoextend_keep_gib"),
    ],
)
def test_an_option_that_is_wrong_is_named(name: str, options: dict[str, str], field: str) -> None:
    with pytest.raises(errors.Invalid, match=field) as caught:
        brick.load(name, options)
    assert caught.value.field == field


@pytest.mark.parametrize("cluster_size", ["512", "64k", "2M"])
@pytest.mark.parametrize("preallocation", ["off", "metadata", "falloc", "full"])
def test_options_of_qcow2_work(tmp_path: Path, cluster_size: str, preallocation: str) -> None:
    options = {"path": str(tmp_path / "pool"), "cluster_size": cluster_size, "preallocation": preallocation}
    driver = brick.load("qcow2", options)
    label = brick.Label(brick.Kind.VOLUME, "0a6b5ac4-8a4e-4f5a-9b0e-6e6c9a1f6b1d", "demo")
    driver.create(label, 4 * brick.MIB)
    driver.grow(label.name, 8 * brick.MIB)
    found = driver.find(label.name)
    assert found is not None
    assert found.size_bytes == 8 * brick.MIB
    assert driver.capabilities.thin == (preallocation in ("off", "metadata"))
    assert driver.capabilities.thin or found.used_bytes >= 8 * brick.MIB


@pytest.mark.parametrize("name", registry.FOREIGN)
def test_older_names_are_ours_with_a_warning(name: str) -> None:
    ours = brick.canonical(name)
    assert ours.name in registry.DRIVERS
    assert ours.warning is not None
    assert ours.name in ours.warning


@pytest.mark.parametrize("name", [*registry.REMOTE, "floppy", ""])
def test_drivers_that_are_not_here_are_refused_with_those_that_are(name: str) -> None:
    with pytest.raises(errors.Invalid, match=", ".join(registry.DRIVERS)):
        brick.load(name, {})
