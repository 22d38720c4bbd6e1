"""What a death leaves between the two halves of a thin pool, and how it is brought to its end.

LVM writes first into the metadata of the group what is to happen, and then tells the pool in the kernel. After a death
between the two, by a power cut or of the command alone, a volume is listed that the pool does not have ("No data
available" when it is activated), or the pool keeps one that nobody knows any more. The two count their changes, so it
shows. Activating the pool does not make up for it, in LVM 2.03.16; making or removing a volume does, and sends first
what was never sent.

What was never sent is a volume that nobody was told of. A snapshot that is made up for has the content that its source
has then. So it is done when a pool is activated after a boot, before any volume of it can be written; when the driver
begins; before anybody is told that what they want is there already; and when a volume cannot be opened.

A pool is told twice, to make the volume and then its new number, and it keeps each at once. After a death between these
two LVM refuses every further change, because the pool has a volume already that it is to make. `forget` lets the pool
make it anew: nobody was told of it, and nobody has written to it.

A pool is activated part by part. After a death in between LVM refuses to activate it, because a part is active; see
`take_down`. The last part only shows that the pool is active; of it a device without a table may be left.
"""

from __future__ import annotations

import contextlib
import re

from brickyard.brick import shell
from brickyard.brick.lvm.command import Exists, Lvm
from brickyard.brick.lvm.volumes import Volumes
from brickyard.core import errors
from brickyard.core.bricks import Did

SETTLING = "brickyard-settling"
TIMEOUT_S = 60.0
THERE_ALREADY = re.compile(r"already contain thin device with device_id ([0-9]+)")  # so says LVM 2.03
PART_ACTIVE = "is prohibited while logical volume"
PARTS = ("_tmeta", "_tdata")
READ_ONLY = "R"  # in the second place of the attributes of a volume: so a person activates a part, to look at it
TRANSACTION = 3  # word of the status of a pool: begin, length, thin-pool, transaction


def settle(volumes: Volumes, pool: str) -> Did:
    """Let an active pool do what LVM has written down for it. May run twice."""
    with volumes.turn() as lvm:  # or somebody is between the two halves just now
        _remove_empty(device_of(volumes.name, pool))
        rows = lvm.report("lvs", "-o", "lv_name,transaction_id", volumes.name)["lv"]
        known = {row["lv_name"]: row["transaction_id"] for row in rows}
        if in_kernel(volumes.name, pool)[1][TRANSACTION] == known.get(pool) and SETTLING not in known:
            return Did.ALREADY
        try:
            _change_something(lvm, volumes.name, pool)
        except errors.ToolFailed as failed:
            if not forget(failed, lvm, volumes.name, pool):
                raise
            _change_something(lvm, volumes.name, pool)
    return Did.CHANGED


def _change_something(lvm: Lvm, group: str, pool: str) -> None:
    with contextlib.suppress(Exists):
        lvm.change("lvcreate", "-ky", "-V", "1m", "-n", SETTLING, "--thinpool", pool, group)
    lvm.change("lvremove", "-y", f"{group}/{SETTLING}")


def forget(failed: errors.ToolFailed, lvm: Lvm, group: str, pool: str) -> bool:
    """Take out of the pool what LVM could not make because it was there; whether the change may be tried again now.

    Only what LVM knows by this number, while the pool is one change behind LVM, and unless the command that failed was
    itself to make it: then it is a volume that an earlier one was making. Anything else may be data that LVM has lost,
    which is for a person to look at. The caller has the group's turn.
    """
    there = THERE_ALREADY.search(failed.stderr)
    if there is None:
        return False
    rows = lvm.report("lvs", "-o", "lv_name,pool_lv,thin_id,transaction_id", group)["lv"]
    written = next((int(row["transaction_id"]) for row in rows if row["lv_name"] == pool), 0)
    found = next((row["lv_name"] for row in rows if row["pool_lv"] == pool and row["thin_id"] == there[1]), None)
    device, status = in_kernel(group, pool)
    if found is None or found in failed.argv or int(status[TRANSACTION]) != written - 1:
        return False
    shell.run(["dmsetup", "message", device, "0", f"delete {there[1]}"], timeout_s=TIMEOUT_S)
    return True


def take_down(failed: errors.ToolFailed, lvm: Lvm, group: str, pool: str) -> bool:
    """Deactivate what is active of a pool that is not; whether the change may be tried again now. InUse where a process
    has it open. The caller has the group's turn."""
    if PART_ACTIVE not in failed.stderr:
        return False
    rows = lvm.report("lvs", "-a", "-o", "lv_name,lv_attr", group)["lv"]
    parts = {f"{pool}{part}" for part in PARTS}
    if any(row["lv_name"].strip("[]") in parts and row["lv_attr"][1] == READ_ONLY for row in rows):
        return False
    for part in sorted(parts):
        lvm.run("lvchange", "-an", f"{group}/{part}")
    return True


def in_kernel(group: str, pool: str) -> tuple[str, list[str]]:
    """The name of the kernel's pool, which has a layer of its own from its first volume on, and its status in words."""
    plain = device_of(group, pool)
    name = status = ""
    for line in shell.run(["dmsetup", "status", "--target", "thin-pool"], timeout_s=TIMEOUT_S).splitlines():
        mapped, _, told = line.partition(": ")
        if mapped in (plain, f"{plain}-tpool"):
            name, status = mapped, told
    words = status.split()
    if len(words) <= TRANSACTION or not words[TRANSACTION].isdigit():
        raise errors.BrickError(
            f"the thin pool {group}/{pool} does not work: {status or 'not active'}; repair it (lvconvert --repair)"
        )
    return name, words


def device_of(group: str, volume: str) -> str:
    """What the kernel calls the device of a volume, or of a part of a pool."""
    return "-".join(part.replace("-", "--") for part in (group, volume))


def _remove_empty(device: str) -> None:
    look = ("dmsetup", "info", "-c", "--noheadings", "-o", "tables_loaded", device)
    with contextlib.suppress(errors.ToolFailed):  # there is none
        if shell.run(look, timeout_s=TIMEOUT_S).strip() in ("None", "Inactive"):
            shell.run(["dmsetup", "remove", device], timeout_s=TIMEOUT_S)
