"""How long a decision takes over 1,000, 10,000 and 100,000 pools: the median of 200, per shape of request.

    python bench/ranking.py [--json FILE] [--pools N ...] [--decisions N]

Four pools a host, twenty hosts a rack, four zones, two kinds of backend, room and instances spread at random by a
fixed seed. Each decision is preceded by the replacement of one pool, because in life a claim follows each decision.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import json
import pathlib
import platform
import random
import statistics
import time
from collections.abc import Callable

from brickyard.core import inventory, placement, ranking

CAPABILITIES = ({"storage_protocol": "local", "multiattach": False}, {"storage_protocol": "local", "nvme": True})
FAST = {"volume_backend_name": "fast"}
SLOW = {"volume_backend_name": "slow"}
Decision = Callable[[inventory.Inventory, int], object]
GOALS_MS = {1_000: 1.0, 10_000: 3.0, 100_000: 25.0}


def pool(host: str, zone: str, number: int, dice: random.Random, fullness: float) -> placement.PoolView:
    limit = 1800
    claimed = min(int(limit * dice.uniform(fullness, min(1.0, fullness + 0.6))), limit)
    kind = number % 2
    return placement.PoolView(
        id=f"{host}-{number}", name=f"{host}@{('fast', 'slow')[kind]}#p{number}", host=host,
        backend=("fast", "slow")[kind], backend_name=("fast", "slow")[kind], zone=zone, driver="lvm", total_gib=1800,
        limit_gib=limit, claimed_gib=claimed, free_gib=1800 - claimed, thin=kind == 1, volumes=dice.randrange(40),
        capabilities=CAPABILITIES[kind],
    )  # fmt: skip


def hosts(pools: int, fullness: float = 0.2, busy: float = 0.2) -> list[placement.HostView]:
    dice = random.Random(1)
    listed = []
    for number in range(pools // 4):
        name, zone = f"h{number:05d}", f"az{number % 4}"
        listed.append(
            placement.HostView(
                name=name,
                labels={"zone": zone, "rack": f"r{number // 80}"},
                vcpus_total=64,
                vcpus_claimed=int(64 * dice.uniform(busy, 1.0)),
                memory_mib_total=262144,
                memory_mib_claimed=int(262144 * dice.uniform(busy, 1.0)),
                up=number % 50 != 7,
                why_down="silent",
                enabled=True,
                pools=tuple(pool(name, zone, at, dice, fullness) for at in range(4)),
                compute=True,
            )
        )
    return listed


def shapes(pools: int) -> dict[str, tuple[bool, Decision]]:
    """Name → (whether all pools are almost full, the decision)."""
    ask, boot = placement.Ask, placement.Boot
    three = (ask(700, FAST),) * 3
    near = f"h{pools // 8:05d}"
    two = (ask(20, FAST), ask(100, SLOW))
    query = '["and", [">=", "$free_capacity_gb", 1200], ["=", "$volume_backend_name", "fast"]]'
    return {
        "volume, any type": (False, lambda inv, n: ranking.rank_pools(inv, ask(20 + n % 9))),
        "volume, type": (False, lambda inv, n: ranking.rank_pools(inv, ask(20 + n % 9, FAST))),
        "volume, type, zone": (False, lambda inv, n: ranking.rank_pools(inv, ask(20, FAST, frozenset({"az1"})))),
        "volume, near a host": (False, lambda inv, n: ranking.rank_pools(inv, ask(20 + n % 9, FAST, near=near))),
        "volume, query hint": (False, lambda inv, n: ranking.rank_pools(inv, ask(20, query=query))),
        "boot, 1 volume": (False, lambda inv, n: ranking.rank_hosts(inv, boot(4, 8192, (ask(20, FAST),)))),
        "boot, 2 volumes": (False, lambda inv, n: ranking.rank_hosts(inv, boot(4, 8192, two))),
        "boot, 2 volumes, rack": (False, lambda inv, n: ranking.rank_hosts(inv, boot(4, 8192, two, locality="rack"))),
        "boot, 2 volumes, preferred": (
            False,
            lambda inv, n: ranking.rank_hosts(inv, boot(4, 8192, two, required=False)),
        ),
        "boot, existing volume": (False, lambda inv, n: ranking.rank_hosts(inv, boot(1, 512, holders=(near,)))),
        "boot, 8 volumes": (False, lambda inv, n: ranking.rank_hosts(inv, boot(4, 8192, two * 4))),
        "volume, almost all full": (True, lambda inv, n: ranking.rank_pools(inv, ask(40, FAST))),
        "boot, almost all full": (True, lambda inv, n: ranking.rank_hosts(inv, boot(4, 8192, (ask(30, FAST),) * 2))),
        "boot, full, preferred": (
            True,
            lambda inv, n: ranking.rank_hosts(inv, boot(4, 8192, (ask(30, FAST),) * 2, required=False)),
        ),
        # The bad cases, measured a tenth as often: every host must be looked at, or paired in vain, or explained.
        "boot, seldom fits, all hosts": (False, lambda inv, n: list(ranking.search(inv, boot(1, 512, three)))),
        "boot, none, explained, all hosts": (False, lambda inv, n: ranking.rank_hosts(inv, boot(4000, 8192, two))),
        "boot, no vcpus, all hosts": (False, lambda inv, n: list(ranking.search(inv, boot(4000, 8192, two)))),
    }


def measured(
    inv: inventory.Inventory, decide: Callable[[inventory.Inventory, int], object], decisions: int
) -> dict[str, float]:
    dice = random.Random(2)
    names = list(inv.entries)
    started = time.perf_counter()
    decide(inv, 0)
    first = time.perf_counter() - started
    spent, replaced = [], []
    for number in range(decisions):
        pool = inv.entries[dice.choice(names)].pool
        changed = dataclasses.replace(pool, claimed_gib=min(pool.claimed_gib + 1, pool.limit_gib))
        started = time.perf_counter()
        inv.replace(changed)
        between = time.perf_counter()
        decide(inv, number)
        spent.append(time.perf_counter() - between)
        replaced.append(between - started)
    spent.sort()
    return {
        "first_ms": first * 1e3, "p50_ms": statistics.median(spent) * 1e3,
        "p99_ms": spent[int(len(spent) * 0.99)] * 1e3,
        "replace_p50_ms": statistics.median(replaced) * 1e3,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--pools", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--decisions", type=int, default=200)
    options = parser.parse_args()
    rows = []
    for pools in options.pools:
        for full in (False, True):
            listed = hosts(pools, 0.97, 0.2) if full else hosts(pools)
            started = time.perf_counter()
            inv = inventory.Inventory(listed)
            prepared = (time.perf_counter() - started) * 1e3
            gc.collect()
            gc.freeze()  # the inventory lives as long as the process; collections need not look at it
            print(f"\n{pools} pools{', almost full' if full else ''}: prepared in {prepared:.0f} ms")
            print(f"  {'request':32} {'first ms':>9} {'p50 ms':>9} {'p99 ms':>9} {'replace p50 ms':>15}")
            for name, (wants_full, decide) in shapes(pools).items():
                if wants_full == full:
                    often = options.decisions if "all hosts" not in name else max(options.decisions // 10, 1)
                    row = measured(inv, decide, often)
                    rows.append({"pools": pools, "request": name, "prepare_ms": prepared, **row})
                    numbers = f"{row['first_ms']:9.3f} {row['p50_ms']:9.3f} {row['p99_ms']:9.3f}"
                    print(f"  {name:32} {numbers} {row['replace_p50_ms']:15.3f}", flush=True)
    if options.json:
        machine = {"python": platform.python_version(), "machine": platform.machine()}
        options.json.write_text(json.dumps({"where": machine, "goals_ms": GOALS_MS, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
