"""Many clients and one pool: the limit is never exceeded, and nobody is refused while there is room."""

from __future__ import annotations

import random
import re
import threading
import time
from pathlib import Path
from typing import Any

import falcon.testing
import pytest
import sqlalchemy as sa
from tests import world
from tests.flows import soundness

from brickyard.db import flows, quotas, schema
from brickyard.service import volumes
from brickyard.service.site import Caller, Site

CLIENTS = 64
ROUNDS = 6
LIMIT_GIB = 60


def client(site: Site, http: falcon.testing.TestClient, n: int, seed: int, failures: list[BaseException]) -> None:
    """Create, extend and delete at random, and forget what failed, as people do."""
    chance, mine = random.Random(f"{seed}-{n}"), list[str]()
    base = f"/v3/{n % 4:032x}/volumes"  # one of four projects
    try:
        for _ in range(ROUNDS):
            if mine and chance.random() < 0.5:
                act(http, base, chance, mine)
            else:
                answer = http.simulate_post(base, json={"volume": {"size": chance.randint(1, 5)}})
                assert answer.status_code == 202, answer.text
                mine.append(answer.json["volume"]["id"])
        for id in mine:
            settled(site, id)
    except BaseException as error:
        failures.append(error)


def act(http: falcon.testing.TestClient, base: str, chance: random.Random, mine: list[str]) -> None:
    """Extend or delete one; 400 and 409 are fine: it is still being created, or is that large already."""
    id = chance.choice(mine)
    if chance.random() < 0.3:
        answer = http.simulate_post(f"{base}/{id}/action", json={"os-extend": {"new_size": chance.randint(2, 8)}})
    else:
        answer = http.simulate_delete(f"{base}/{id}")
        if answer.status_code == 202:
            mine.remove(id)
    assert answer.status_code in (202, 400, 409), answer.text


def settled(site: Site, id: str) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        with site.db.read() as tx:
            if all(flow.status in ("done", "failed") for flow in flows.of_resource(tx, id)):
                return
        time.sleep(0.3)
    raise AssertionError(f"volume {id} does not come to rest")


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_concurrent_clients_never_exceed_the_limit_nor_are_refused_with_room_left(tmp_path: Path, seed: int) -> None:
    quota = {"volumes": -1, "gigabytes": -1, "snapshots": -1, "per_volume_gigabytes": -1}
    with world.running(tmp_path, {"one": "raw"}, quotas=quota) as (site, http):
        with site.db.begin() as tx:
            tx.execute(sa.update(schema.pools).values(limit_gib=LIMIT_GIB))
            tx.execute(sa.update(schema.storages).values(limit_gib=LIMIT_GIB))
        failures: list[BaseException] = []
        threads = [threading.Thread(target=client, args=(site, http, n, seed, failures)) for n in range(CLIENTS)]
        watch = Watch(site)
        watch.start()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        watch.stop()
        assert failures == []
        assert watch.most <= LIMIT_GIB
        check_refusals(site)
        check_quotas(site)
        soundness.check(site)


class Watch(threading.Thread):
    """Looks at the pool all the time."""

    def __init__(self, site: Site) -> None:
        super().__init__(daemon=True)
        self.site, self.most, self._stopping = site, 0, threading.Event()

    def run(self) -> None:
        while not self._stopping.wait(0.02):
            with self.site.db.read() as tx:
                self.most = max(self.most, tx.scalar(sa.select(schema.pools.c.claimed_gib)) or 0)

    def stop(self) -> None:
        self._stopping.set()
        self.join()


def check_refusals(site: Site) -> None:
    """Each refusal is true: what was promised and what was asked exceed the limit together."""
    refused = 0
    for flow in soundness.rows(site, schema.flows):
        for refusal in flow.refusals or ():
            found = re.match(r"(\d+) GiB asked, (\d+) of (\d+) GiB are promised", refusal["message"])
            if found:
                asked, promised, limit = map(int, found.groups())
                assert asked + promised > limit
                refused += 1
    assert refused, "the pool was never full, so the test has shown nothing"


def check_quotas(site: Site) -> None:
    """What a project uses is what its rows add up to."""
    rows: list[Any] = soundness.rows(site, schema.volumes)
    for project in {row.project_id for row in rows}:
        with site.db.read() as tx:
            in_use, reserved = quotas.usage(tx, project)
        mine = [row for row in rows if row.project_id == project]
        assert in_use["volumes"] + reserved["volumes"] == len(mine)
        assert in_use["gigabytes"] + reserved["gigabytes"] == sum(row.size_gib for row in mine)


def test_pools_on_one_file_system_promise_it_once_together(tmp_path: Path) -> None:
    with world.running(tmp_path, {"one": "raw", "two": "raw", "three": "qcow2"}) as (site, _):
        with site.db.begin() as tx:
            tx.execute(sa.update(schema.storages).values(limit_gib=7))
        site.world.places.refresh()
        me = Caller("user", "project", ("member", "reader"), "req-1")
        ids = [volumes.create(site, me, volumes.NewVolume(size_gib=1)).id for _ in range(9)]
        for id in ids:
            settled(site, id)
        statuses = sorted(row.status for row in soundness.rows(site, schema.volumes))
        assert statuses == ["available"] * 7 + ["error"] * 2
        [storage] = soundness.rows(site, schema.storages)
        assert storage.claimed_gib == 7
        soundness.check(site)
