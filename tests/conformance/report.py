"""What became of Tempest's tests, in words: for a terminal, and as docs/conformance.md."""

from __future__ import annotations

import collections
import re
from typing import Any

import expected

from brickyard.api import versions

Found = list[dict[str, Any]]
CLASS = re.compile(r"(setUpClass|tearDownClass) \((?P<name>[\w.]+)\)")
HEAD = """# Conformance

<!-- Written by scripts/conformance. -->

Tempest is the test suite by which OpenStack clouds are judged. `scripts/conformance` runs its tests of Block Storage,
all of `tempest.api.volume`, and those of servers with volumes, all of `tempest.api.compute.volumes`, against a service
with two backends of raw files that asks a real Keystone who calls, has its images from a real Glance, and whose volumes
a real Nova attaches, with microversions {oldest} to {newest}.
Only the hypervisor is simulated, by Nova's own driver for tests. It says what failed and what was not run, and writes
this page.

**Tempest {tempest}: {counts}.**

What is not run, and why:

"""
FOOT = """
`scripts/test` runs all of it each time, and compares it with this page. It fails on any failure, and on a skip whose
reason is not in `tests/conformance/expected.py`.
"""


def gathered(listed: list[str], events: Found) -> Found:
    """One outcome for each test that is listed, and the failures of whole classes; `events` are of outcomes.py."""
    seen = {one["name"]: one for one in events if one["status"] != "exists"}
    whole = {match["name"]: one for name, one in seen.items() if (match := CLASS.fullmatch(name))}
    found = [one for one in whole.values() if one["status"] != "skip"]
    for name in listed:
        of_class = whole.get(name.split("[")[0].rpartition(".")[0])
        left_out = expected.left_out(name)
        if name in seen:
            one = seen[name]
            found.append({**one, "why": expected.why(one["reason"])})
        elif left_out:
            found.append({"name": name, "status": "skip", "why": left_out})
        elif of_class and of_class["status"] == "skip":
            found.append({**of_class, "name": name, "why": expected.why(of_class["reason"])})
        else:
            found.append({"name": name, "status": "never run", "said": ""})
    return found


def short(one: dict[str, Any]) -> str:
    """The name of a test without what all begin with and without its marks."""
    return str(one["name"]).replace("tempest.api.volume.", "").split("[")[0]


def failed(found: Found) -> Found:
    return [one for one in found if one["status"] not in ("success", "skip")]


def skipped(found: Found) -> Found:
    return [one for one in found if one["status"] == "skip"]


def good(found: Found) -> bool:
    """Whether something passed, nothing failed, and each skip has a reason that is expected."""
    passed = any(one["status"] == "success" for one in found)
    return passed and not failed(found) and all(one["why"] for one in skipped(found))


def counts(found: Found) -> str:
    passed = len(found) - len(failed(found)) - len(skipped(found))
    return f"{passed} passed, {len(failed(found))} failed, {len(skipped(found))} skipped"


def told(found: Found) -> str:
    """Each failure with what it printed, each skip with its reason, and the counts."""
    lines = [f"FAILED {one['name']} ({one['status']})\n{one['said']}" for one in failed(found)]
    for one in skipped(found):
        why = one["why"] or f"NOT EXPECTED: {one['reason']}"
        lines.append(f"skipped {short(one)}: {why}")
    return "\n".join([*lines, counts(found)])


def document(found: Found, tempest: str) -> str:
    """The page about a whole run of a version of Tempest."""
    by_reason = collections.defaultdict(list)
    for one in skipped(found):
        by_reason[one["why"] or one["reason"]].append(short(one))
    lines = []
    for why, names in sorted(by_reason.items()):
        lines += [f"- {why}", *(f"    - `{name}`" for name in sorted(names))]
    head = HEAD.format(tempest=tempest, counts=counts(found), oldest=versions.MIN, newest=versions.MAX)
    return head + "\n".join(lines) + "\n" + FOOT
