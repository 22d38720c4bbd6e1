"""What the earlier attempts of a boot have failed on: the next one goes elsewhere."""

from __future__ import annotations

from brickyard.flows.engine import Run


def hosts(run: Run) -> frozenset[str]:
    """The hosts that an earlier attempt failed on: the one it booted on, or all that it had reserved, but for those
    where a pool is to blame, there or on another host: another pool may do."""
    failed_on: set[str] = set()
    for past, failure in zip(run.tried, run.failures, strict=True):
        if "volumes" in past:
            if not failure.facts.get("pools"):
                failed_on.add(past["volumes"]["host"])
            failed_on.update(other["host"] for other in past["volumes"]["failures"])
        else:
            blamed = set(failure.facts.get("pools", ()))
            for held in past.get("reserve", {}).get("reserved", ()):
                if blamed.isdisjoint(pool["name"] for pool in held["pools"].values()):
                    failed_on.add(held["host"])
    return frozenset(failed_on)


def pools(run: Run) -> frozenset[str]:
    """The pools on which an earlier attempt could not make a brick."""
    return frozenset(pool for failure in run.failures for pool in failure.facts.get("pools", ()))
