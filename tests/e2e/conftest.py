"""A service with real guests, and the tiny image that they boot."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import tiny as image

from .service import Service

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))


@pytest.fixture(scope="session")
def tiny() -> Path:
    return image.image()


@pytest.fixture
def service(tmp_path: Path, tiny: Path) -> Iterator[Service]:
    with Service(tmp_path).serving(tiny) as made:
        yield made
