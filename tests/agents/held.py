"""`brickyard`, for tests that want to be there in the middle of a verb: while the directory that BRICKYARD_TEST_HOLD
names is there, every step of the storage library waits, and says so by a file in it."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from pathlib import Path

from brickyard.brick import faults
from brickyard.cli.main import main

HELD = Path(os.environ["BRICKYARD_TEST_HOLD"])


def wait(name: str) -> None:
    while HELD.is_dir():
        with contextlib.suppress(FileNotFoundError):
            (HELD / f"{os.getpid()}-{threading.get_ident()}").write_text(name)
        time.sleep(0.02)


if __name__ == "__main__":
    with faults.installed(wait):
        main(prog_name="brickyard")
