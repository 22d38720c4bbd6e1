"""A service with real guests, and the tiny image that they boot."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from brickyard.brick import shell

from .service import Service

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))


@pytest.fixture(scope="session")
def tiny() -> Path:
    cache = Path(os.environ.get("BRICKYARD_CACHE") or Path.home() / ".cache" / "brickyard")
    shell.run([str(ROOT / "scripts" / "tiny-image"), str(cache / "tiny")], timeout_s=600)
    return cache / "tiny"


@pytest.fixture
def service(tmp_path: Path, tiny: Path) -> Iterator[Service]:
    with Service(tmp_path).serving(tiny) as made:
        yield made
