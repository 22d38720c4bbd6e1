"""Thick logical volumes keep every promise of a driver, on disks that may hold anything."""

from __future__ import annotations

import pytest

from .lvm import LvmContract

pytestmark = [pytest.mark.guest, pytest.mark.timeout(1500)]


class TestThick(LvmContract):
    pass


del LvmContract
