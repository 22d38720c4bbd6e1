"""What a host says of itself does not wait for what it keeps up beside that."""

from __future__ import annotations

import threading
import uuid
from pathlib import Path
from typing import Any

from tests import exporting, world

from brickyard.brick import serving
from brickyard.core import sizes
from brickyard.core.bricks import Kind, Label
from brickyard.daemons import own_node


class Slow(serving.Simulated):
    """Whoever starts an export waits until `go_on` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.go_on = threading.Event(), threading.Event()

    def start(self, *args: Any) -> None:
        self.asked.set()
        assert self.go_on.wait(60)
        super().start(*args)


def test_a_host_reports_while_an_export_is_slow_to_come_back(tmp_path: Path) -> None:
    node = world.node("h1", tmp_path, {"raw": "raw"}, None, exports=exporting.here(0))
    label = Label(Kind.VOLUME, str(uuid.uuid4()), "project")
    node.create_brick("raw", label, sizes.gib_to_bytes(1))
    node.export("raw", label.name, str(uuid.uuid4()))
    assert node.exporting is not None
    slow = node.exporting.server = Slow()  # which has forgotten what it served, as after a restart of the host
    reports: list[object] = []
    reporter = own_node.Reporter(node, lambda: reports.append(node.report()), 0.05)
    reporter.start()
    try:
        assert slow.asked.wait(60) and reporter.wait_for_first(60)
        before = len(reports)
        for _ in range(600):
            if len(reports) > before + 2:
                break
            threading.Event().wait(0.1)
        assert len(reports) > before + 2 and not slow.served
        slow.go_on.set()
        for _ in range(600):
            if slow.served:
                break
            threading.Event().wait(0.1)
        assert slow.served
    finally:
        slow.go_on.set()
        reporter.stop()
