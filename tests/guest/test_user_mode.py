"""The guest whose kernel is a process: one in which time stands still ends, and does not keep the tests for ever."""

from __future__ import annotations

import os
import signal

import pytest

from .vm import user_mode

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="the root of a guest is made by root"),
    pytest.mark.timeout(1500),  # whoever runs it first builds that root
]


def test_a_guest_that_stands_still_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    if not user_mode.works():
        pytest.skip("no kernel runs in user mode here: it takes ptrace, and memory from which programs may be run")
    guest = user_mode.Guest(disks=1, disk_mib=16, memory_mib=256)
    printed: list[str] = []

    def out(line: str) -> None:
        printed.append(line)
        if line == "up\n":
            assert guest.process is not None
            monkeypatch.setattr(user_mode, "STILL_S", 1.0)
            os.kill(guest.process.pid, signal.SIGSTOP)

    assert guest.run(["sh", "-c", "echo up; sleep 1000"], out, timeout_s=600) == 1
    assert "guest: it stood still for 1 s and was ended\n" in printed
    assert guest.process is not None
    assert guest.process.returncode == -signal.SIGKILL
