"""Every call of LVM names its devices and brings its own configuration; failures say what they mean and what to do."""

from __future__ import annotations

import pytest

from brickyard.brick.lvm import command, groups
from brickyard.brick.lvm.command import Exists, InUse, Lvm, MissingDevice
from brickyard.core import errors


def test_a_command_sees_its_devices_only_and_leaves_nothing_behind() -> None:
    argv = Lvm(["/dev/null", "/dev/zero"]).argv("lvs", "vg")
    assert argv[:4] == ["lvm", "lvs", "--devices", "/dev/null,/dev/zero"]
    for setting in ("archive=0", "monitoring=0", "use_lvmpolld=0", "scan_lvs=0", "issue_discards=0"):
        assert setting in argv[argv.index("--config") + 1]
    assert "--devices" not in Lvm().argv("pvs")


@pytest.mark.parametrize(
    ("stderr", "meaning", "advice"),
    [
        ('Volume group "vg" has insufficient free space (2 extents): 4 required.', errors.NoSpace, "add a device"),
        ("Insufficient suitable allocatable extents for logical volume : 4 more required", errors.NoSpace, "delete"),
        ("Free space in pool vg/p is above threshold, new volumes are not allowed.", errors.NoSpace, "delete"),
        ('Volume group "vg" not found\n  Cannot process volume group vg', errors.NotFound, "devices"),
        ('Failed to find logical volume "vg/x"', errors.NotFound, "devices"),
        ('Logical Volume "x" already exists in volume group "vg"', Exists, "another name"),
        ("Logical volume vg/x in use.", InUse, "stop the process"),
        ("Logical volume vg/x contains a filesystem in use.", InUse, "stop the process"),
        ("Cannot change VG vg while PVs are missing.", MissingDevice, "bring the device back"),
        ("Multiple VGs found with the same name: skipping vg", errors.BrickMismatch, "rename"),
        ("Something else.", errors.ToolFailed, "Something else"),
    ],
)
def test_a_failure_is_told_as_what_it_means(stderr: str, meaning: type[errors.BrickyardError], advice: str) -> None:
    error = command.explained(errors.ToolFailed(["lvm", "lvcreate"], 5, f"  WARNING: noise\n  {stderr}\n"))
    assert type(error) is meaning
    assert advice in error.message


@pytest.mark.parametrize("name", ["", "-x", "a b", "a/b", "..", ".", "ü", "x" * 101, "a;b"])
def test_a_name_that_lvm_or_a_path_would_take_otherwise_is_refused(name: str) -> None:
    with pytest.raises(errors.Invalid):
        groups.checked(name)


@pytest.mark.parametrize(
    ("devices", "raid1"), [([], False), (["vdb"], False), (["/dev/a,/dev/b"], False), (["/dev/null"], True)]
)
def test_a_group_needs_devices_that_make_sense(devices: list[str], raid1: bool) -> None:
    with pytest.raises(errors.Invalid):
        groups.create("vg", devices, raid1=raid1)
