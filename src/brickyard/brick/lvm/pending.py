"""What a death leaves between the two halves of a thin pool, and how it is brought to its end.

LVM writes first into the metadata of the group what is to happen, and then tells the pool in the kernel. After a death
between the two, by a power cut or of the command alone, a volume is listed that the pool does not have ("No data
available" when it is activated), or the pool keeps one that nobody knows any more. The two count their changes, so it
shows. Activating the pool does not make up for it, in LVM 2.03.16; making or removing a volume does, and sends first
what was never sent.

What was never sent is a volume that nobody was told of. A snapshot that is made up for has the content that its source
has then. So it is done when a pool is activated after a boot, before any volume of it can be written; when the driver
begins; before anybody is told that what they want is there already; and when a volume cannot be opened.
"""

from __future__ import annotations

import contextlib

from brickyard.brick import shell
from brickyard.brick.lvm.command import Exists
from brickyard.brick.lvm.volumes import Volumes
from brickyard.core import errors
from brickyard.core.bricks import Did

SETTLING = "brickyard-settling"
TIMEOUT_S = 60.0
TRANSACTION = 3  # word of the status of a pool: begin, length, thin-pool, transaction


def settle(volumes: Volumes, pool: str) -> Did:
    """Let an active pool do what LVM has written down for it. May run twice."""
    with volumes.turn() as lvm:  # or somebody is between the two halves just now
        rows = lvm.report("lvs", "-o", "lv_name,transaction_id", volumes.name)["lv"]
        known = {row["lv_name"]: row["transaction_id"] for row in rows}
        if _transaction_of_kernel(volumes.name, pool) == known.get(pool) and SETTLING not in known:
            return Did.ALREADY
        with contextlib.suppress(Exists):
            lvm.change("lvcreate", "-ky", "-V", "1m", "-n", SETTLING, "--thinpool", pool, volumes.name)
        lvm.change("lvremove", "-y", volumes.place(SETTLING))
    return Did.CHANGED


def _transaction_of_kernel(group: str, pool: str) -> str:
    """The kernel's pool has a layer of its own from its first volume on."""
    plain = "-".join(part.replace("-", "--") for part in (group, pool))
    status = ""
    for line in shell.run(["dmsetup", "status", "--target", "thin-pool"], timeout_s=TIMEOUT_S).splitlines():
        name, _, told = line.partition(": ")
        if name in (plain, f"{plain}-tpool"):
            status = told
    words = status.split()
    if len(words) <= TRANSACTION or not words[TRANSACTION].isdigit():
        raise errors.BrickError(
            f"the thin pool {group}/{pool} does not work: {status or 'not active'}; repair it (lvconvert --repair)"
        )
    return words[TRANSACTION]
