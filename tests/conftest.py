"""What all tests share: nothing of the machine's own configuration reaches them."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(("BRICKYARD_", "OS_")):
            monkeypatch.delenv(name)
