"""Tempest judges our Block Storage v3: nothing fails, and nothing is left out but for a reason that is known.
docs/conformance.md is what it says."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.wire
ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(1800)
def test_tempest_finds_nothing(tmp_path: Path) -> None:
    page = tmp_path / "conformance.md"
    command = [ROOT / "scripts" / "conformance", "--keep", tmp_path / "kept", "--document", page]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert page.read_text() == (ROOT / "docs" / "conformance.md").read_text()
