"""Thick logical volumes on disks of which it is known that every byte reads as zeros: less to do, the same promises."""

from __future__ import annotations

import pytest

from .lvm import LvmContract

pytestmark = [pytest.mark.guest, pytest.mark.thorough, pytest.mark.timeout(1500)]


class TestThickOnCleanDisks(LvmContract):
    clean = True


del LvmContract
