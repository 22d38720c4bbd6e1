"""A pytest plugin for inside the guest: prints each report as a line that the pytest outside can read."""

from __future__ import annotations

import json
from typing import Any

import pytest

MARK = "\x1ereport "


class Reporter:
    def __init__(self, config: pytest.Config) -> None:
        self.config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        data: Any = self.config.hook.pytest_report_to_serializable(config=self.config, report=report)
        self.config.get_terminal_writer().line("\n" + MARK + json.dumps(data), flush=True)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Reporter(config), "guest-reporter")
