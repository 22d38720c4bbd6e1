"""`brickyard audit`: a table for people, JSON and exit codes for programs, and repairs that it waits for."""

from __future__ import annotations

import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from rig import CONFIG, Command, serve

from brickyard.brick import raw
from brickyard.core.bricks import Kind, Label

GIB = 1024**3


@pytest.fixture(scope="module")
def bricks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("audited") / "state" / "bricks" / "fast"


@pytest.fixture(scope="module")
def audited(bricks: Path) -> Iterator[Command]:
    """A service of its own: what is put into its pools by hand is nobody else's business."""
    directory = bricks.parents[2]
    with (directory / "log").open("wb") as log:
        process, url = serve(directory, CONFIG, log)
        try:
            yield Command(url)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
            process.stdout.close()


def stray(bricks: Path, kind: Kind = Kind.VOLUME) -> Label:
    label = Label(kind, str(uuid.uuid4()), "blue")
    raw.driver(str(bricks)).create(label, GIB)
    return label


def test_agreement_is_said_and_exits_with_0(audited: Command) -> None:
    assert "agree" in audited("audit").out
    assert audited("audit", "-f", "json").json == []
    assert audited("audit", "--repair").code == 0


def test_a_difference_exits_with_1_until_it_is_repaired(audited: Command, bricks: Path) -> None:
    label = stray(bricks)
    shown = audited("audit", code=1).out
    assert label.name in shown
    assert "adopt" in shown
    assert "adopt" in audited("audit", "--dry-run", code=1).out
    [found] = audited("audit", "--repair", "-f", "json").json
    assert (found["action"], found["result"], found["error"]) == ("adopt", "done", None)
    assert "agree" in audited("audit").out


def test_what_waits_for_its_grace_period_exits_with_1(audited: Command, bricks: Path) -> None:
    label = stray(bricks)
    found = audited("audit", "--repair", "--orphans", "remove", code=1).out
    assert "grace period" in found
    assert (bricks / label.name).exists()
    audited("audit", "--repair", "--orphans", "remove", "--grace", "0s")
    assert not (bricks / label.name).exists()


def test_what_no_repair_touches_exits_with_1_for_ever(audited: Command, bricks: Path) -> None:
    name = f"volume-{uuid.uuid4()}"
    (bricks / name).write_bytes(b"mine")
    try:
        assert "no_label" in audited("audit", "--repair", "--orphans", "remove", "--grace", "0", code=1).out
        assert (bricks / name).read_bytes() == b"mine"
    finally:
        (bricks / name).unlink()


def test_a_wrong_time_is_a_mistake_on_the_line(audited: Command) -> None:
    assert "24h" in audited("audit", "--grace", "soon", code=2).err
