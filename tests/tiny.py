"""The tiny Linux that guests of the tests boot: built once, and kept between runs."""

from __future__ import annotations

import os
from pathlib import Path

from brickyard.brick import shell

ROOT = Path(__file__).resolve().parents[1]


def image() -> Path:
    """The directory that `scripts/tiny-image` makes."""
    cache = Path(os.environ.get("BRICKYARD_CACHE") or Path.home() / ".cache" / "brickyard")
    shell.run([str(ROOT / "scripts" / "tiny-image"), str(cache / "tiny")], timeout_s=600)
    return cache / "tiny"
