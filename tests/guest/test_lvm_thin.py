"""Thin logical volumes keep every promise of a driver."""

from __future__ import annotations

import pytest

from .lvm import LvmContract

pytestmark = [pytest.mark.guest, pytest.mark.timeout(1500)]


class TestThin(LvmContract):
    thin = True


del LvmContract
