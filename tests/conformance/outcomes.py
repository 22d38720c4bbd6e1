"""What became of each test in a stream of subunit, as JSON; run by the Python that has Tempest: outcomes.py < STREAM

One object per test: name, status (success, fail, skip, …), reason of a skip, what a failure printed, seconds.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import subunit
import testtools


def seen(case: dict[str, Any], found: list[dict[str, Any]]) -> None:
    """Keep one finished test; `case` is the dictionary of testtools."""
    details = {
        name: content.as_text() for name, content in case["details"].items() if content.content_type.type == "text"
    }
    began, ended = case["timestamps"]
    found.append(
        {
            "name": case["id"],
            "status": case["status"],
            "reason": details.get("reason", ""),
            "said": details.get("traceback", "") or "\n".join(details.values()),
            "seconds": (ended - began).total_seconds() if began and ended else 0,
        }
    )


def main() -> None:
    found: list[dict[str, Any]] = []
    result = testtools.StreamToDict(lambda case: seen(case, found))
    result.startTestRun()
    subunit.ByteStreamToStreamResult(sys.stdin.buffer, non_subunit_name="stdout").run(result)
    result.stopTestRun()
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
