"""The one door to outside programs."""

from __future__ import annotations

import os
import time

import pytest

from brickyard.brick import faults, shell
from brickyard.core import errors


def test_output_and_input_are_text() -> None:
    assert shell.run(["cat"], timeout_s=10, input="brick\n" * 50000) == "brick\n" * 50000


def test_the_locale_is_c() -> None:
    assert shell.run(["sh", "-c", "echo $LC_ALL"], timeout_s=10) == "C\n"


def test_a_failure_keeps_status_and_stderr() -> None:
    with pytest.raises(errors.ToolFailed, match="exit status 3: broken") as caught:
        shell.run(["sh", "-c", "echo broken >&2; exit 3"], timeout_s=10)
    assert (caught.value.returncode, caught.value.stderr) == (3, "broken\n")


def test_a_full_disk_is_told_as_such() -> None:
    with pytest.raises(errors.NoSpace):
        shell.run(["sh", "-c", "echo 'write error: No space left on device' >&2; exit 1"], timeout_s=10)


def test_a_time_limit_ends_the_command_and_its_children() -> None:
    seen: list[str] = []
    before = time.monotonic()
    with pytest.raises(errors.ToolFailed, match="stopped after"):
        shell.run(["sh", "-c", "sleep 60 & echo $!; wait"], timeout_s=2, watch=seen.append)
    assert time.monotonic() - before < 50
    child = seen[0].strip()
    deadline = time.monotonic() + 60
    while _alive(child) and time.monotonic() < deadline:
        pass
    assert not _alive(child)


def _alive(pid: str) -> bool:
    """A killed process whose new parent has not looked yet is a zombie, and dead."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_missing_program_is_an_error_that_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    shell.find.cache_clear()
    monkeypatch.setattr(shell.shutil, "which", lambda *_, **__: None)
    with pytest.raises(errors.BrickError, match="install package qemu-utils"):
        shell.run(["qemu-img", "--version"], timeout_s=10)
    shell.find.cache_clear()


def test_a_command_has_a_point_before_and_after_it() -> None:
    points: list[str] = []
    with faults.installed(points.append):
        shell.run(["true"], timeout_s=10)
    assert len(points) == 2


def test_a_command_holds_the_lock_of_the_verb_that_started_it() -> None:
    reader, writer = os.pipe()
    with shell.holding(writer):
        assert shell.run(["sh", "-c", f"test -e /proc/self/fd/{writer} && echo held"], timeout_s=10) == "held\n"
    os.close(reader)
    os.close(writer)
