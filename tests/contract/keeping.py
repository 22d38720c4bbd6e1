"""What drivers promise whose writes wait in a cache: what they say is safe on the disk, also that nothing was to do."""

from __future__ import annotations

import dataclasses

from brickyard.brick import faults
from brickyard.brick.guard import Guard
from brickyard.core.bricks import Did

from .content import SIZE, snapshot_of, volume
from .deaths import offers


class KeepingContract:
    def test_what_was_done_already_is_safe_on_the_disk_when_that_is_said(self, driver: Guard) -> None:
        """Whoever did it may have been killed before he had it written there, and then comes a power cut."""
        label, copy = volume(), volume()
        snapshot, sold = snapshot_of(label), dataclasses.replace(label, project="another")
        last = copy if offers(driver, "clones") else label
        for capability, verb, args in (
            ("", driver.create, (label, SIZE)),
            ("", driver.grow, (label.name, 2 * SIZE)),
            ("snapshots", driver.snapshot, (label.name, snapshot)),
            ("clones", driver.clone, (label.name, copy, 2 * SIZE)),
            ("", driver.relabel, (sold,)),
            ("", driver.delete, (last.name,)),
        ):
            if not offers(driver, capability):
                continue
            assert verb(*args) is Did.CHANGED  # type: ignore[operator]
            points: list[str] = []
            with faults.installed(points.append):
                assert verb(*args) is Did.ALREADY  # type: ignore[operator]
            assert "after fsync" in points, verb
