"""Fixtures of the hypervisors: `rig` runs a test on both hosts, `real` on real QEMU only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import tiny

from . import rigs


@pytest.fixture(scope="session")
def tiny_image() -> Path:
    """The directory of the tiny Linux, built once and kept between runs."""
    return tiny.image()


@pytest.fixture(params=["memory", pytest.param("qemu", marks=pytest.mark.guest)])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[rigs.Rig]:
    if request.param == "memory":
        yield from rigs.memory_rig(tmp_path)
    else:
        yield from rigs.qemu_rig(tmp_path, request.getfixturevalue("tiny_image"))


@pytest.fixture
def real(tmp_path: Path, tiny_image: Path) -> Iterator[rigs.Rig]:
    yield from rigs.qemu_rig(tmp_path, tiny_image)
