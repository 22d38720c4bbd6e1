"""Fixtures of the hypervisors: `rig` runs a test on both hosts, `real` on real QEMU only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from brickyard.brick import shell

from . import rigs

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def tiny_image() -> Path:
    """The directory of the tiny Linux, built once and kept between runs."""
    cache = Path(os.environ.get("BRICKYARD_CACHE") or Path.home() / ".cache" / "brickyard")
    shell.run([str(ROOT / "scripts" / "tiny-image"), str(cache / "tiny")], timeout_s=600)
    return cache / "tiny"


@pytest.fixture(params=["memory", pytest.param("qemu", marks=pytest.mark.guest)])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[rigs.Rig]:
    if request.param == "memory":
        yield from rigs.memory_rig(tmp_path)
    else:
        yield from rigs.qemu_rig(tmp_path, request.getfixturevalue("tiny_image"))


@pytest.fixture
def real(tmp_path: Path, tiny_image: Path) -> Iterator[rigs.Rig]:
    yield from rigs.qemu_rig(tmp_path, tiny_image)
