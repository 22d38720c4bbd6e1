"""Thick logical volumes keep every promise of a driver, on disks that may hold anything."""

from __future__ import annotations

import pytest

from brickyard.brick.guard import Guard

from .lvm import LvmContract

pytestmark = [pytest.mark.guest, pytest.mark.timeout(1500)]


class TestThick(LvmContract):
    @pytest.mark.thorough  # sixteen times zeros for all that is made; the thin volumes do it each time
    def test_sixteen_threads_work_on_bricks_of_their_own(self, driver: Guard) -> None:
        super().test_sixteen_threads_work_on_bricks_of_their_own(driver)


del LvmContract
