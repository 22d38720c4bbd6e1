"""What all tests share: nothing of the machine's own configuration reaches them."""

from __future__ import annotations

import logging
import os

import pytest

# A line for each request of a test that polls would hide, in the report of a failure, what failed.
for name in ("httpx", "httpcore"):
    logging.getLogger(name).setLevel(logging.WARNING)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(("BRICKYARD_", "OS_")):
            monkeypatch.delenv(name)
