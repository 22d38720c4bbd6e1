"""What of Tempest is not run against us, and why."""

from __future__ import annotations

import re

# pattern of what Tempest says when it skips a test → why that is so
SKIPS = (
    (r"Attached encrypted volume extend is disabled", "Volumes are not encrypted here."),
    (r"hw_scsi_model=", "It looks at how a hypervisor presents a disk, and that of these servers is simulated."),
)
# pattern of the names of tests, with the marks behind them → why they are not run
LEFT_OUT = (
    (
        r"\.test_volume_backup_export_import\[",
        "It imports a backup under another id than it is stored by: see decision 25.",
    ),
)


def why(reason: str) -> str | None:
    """Why Tempest may skip a test for this reason; None: it may not."""
    return _first(SKIPS, reason)


def left_out(name: str) -> str | None:
    """Why the test is not run; None: it is."""
    return _first(LEFT_OUT, name)


def _first(table: tuple[tuple[str, str], ...], text: str) -> str | None:
    return next((why for pattern, why in table if re.search(pattern, text)), None)
