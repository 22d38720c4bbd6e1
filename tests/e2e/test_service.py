"""The service of these tests itself: whatever goes wrong with it, nothing of it runs on."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from .service import Service

pytestmark = pytest.mark.guest


def test_nothing_runs_on_when_the_end_fails(tmp_path: Path, tiny: Path) -> None:
    service = Service(tmp_path)

    def fails() -> None:
        with service.serving(tiny):
            service.settled(service.boot("one"))
            assert service.guests()
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fails()
    assert service.process is not None
    assert not psutil.pid_exists(service.process.pid)
    assert not service.guests()


def test_nothing_runs_on_when_the_beginning_fails(tmp_path: Path) -> None:
    service = Service(tmp_path)
    with pytest.raises(FileNotFoundError), service.serving(tmp_path / "no-image"):
        raise AssertionError
    assert service.process is not None
    assert not psutil.pid_exists(service.process.pid)
