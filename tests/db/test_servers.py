"""PostgreSQL and MariaDB, for real: deadlocks, connections that are gone, full disks, servers that stop and start."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import pytest
import sqlalchemy as sa
from tests import engines

from brickyard.core import clock, errors
from brickyard.db import alone, claims, database, flows, hosts, migrate, schema, store
from brickyard.db.database import Database
from brickyard.service import lost_hosts

pytestmark = pytest.mark.slow


@pytest.fixture(params=["postgresql", "mariadb"])
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def db(kind: str) -> Iterator[Database]:
    """With the two rows of `things` that transactions fight for."""
    opened = engines.emptied(Database(engines.url(kind)))
    with opened.begin() as tx:
        for id in ("a", "b"):
            tx.execute(sa.insert(schema.projects).values(id=id, generation=0))
    yield opened
    opened.close()


def bump(tx: database.Tx, id: str) -> None:
    projects = schema.projects
    tx.execute(sa.update(projects).where(projects.c.id == id).values(generation=projects.c.generation + 1))


def generations(db: Database) -> dict[str, int]:
    with db.read() as tx:
        return dict(tx.execute(sa.select(schema.projects.c.id, schema.projects.c.generation)).all())


def test_both_sides_of_a_deadlock_come_to_their_end(db: Database) -> None:
    meet = threading.Barrier(2)
    runs: list[str] = []

    def side(first: str, second: str) -> None:
        def work() -> None:
            runs.append(first)
            with db.begin() as tx:
                bump(tx, first)
                if len(runs) <= 2:
                    meet.wait(60)
                bump(tx, second)

        db.repeating(work)

    threads = [threading.Thread(target=side, args=pair) for pair in (("a", "b"), ("b", "a"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert generations(db) == {"a": 2, "b": 2}
    assert len(runs) > 2, "there was no deadlock"


def test_what_has_committed_is_not_run_again(db: Database) -> None:
    runs = []

    def work() -> None:
        runs.append(1)
        with db.begin() as tx:
            bump(tx, "a")
        raise errors.Deadlock("later")

    with pytest.raises(errors.Deadlock):
        db.repeating(work)
    assert len(runs) == 1
    assert generations(db)["a"] == 1


def test_a_connection_that_the_server_ended_is_told_once_and_replaced(db: Database, kind: str) -> None:
    end = "SELECT pg_terminate_backend(:id)" if kind == "postgresql" else "KILL :id"
    own = "SELECT pg_backend_pid()" if kind == "postgresql" else "SELECT CONNECTION_ID()"

    def cut_off() -> None:
        with db.begin() as tx:
            bump(tx, "a")
            number = tx.scalar(sa.text(own))
            with db.engine.connect() as other:
                other.execute(sa.text(end), {"id": number})
            bump(tx, "b")

    with pytest.raises(errors.Unavailable, match="nothing was changed"):
        cut_off()
    with db.begin() as tx:
        bump(tx, "b")
    assert generations(db) == {"a": 0, "b": 1}


def test_a_server_that_is_killed_and_comes_back(db: Database, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "IDLE_S", 0.0)
    server = engines.server(kind)
    with db.read(), db.read():  # two connections that lie idle then
        pass
    server.stop(signal.SIGKILL)
    with pytest.raises(errors.Unavailable), db.begin() as tx:
        bump(tx, "a")
    server.start()
    with db.begin() as tx:
        bump(tx, "a")
    assert generations(db)["a"] == 1


def test_one_service_at_a_time(db: Database, kind: str) -> None:
    other = Database(engines.url(kind))
    second = alone.Alone(other, lost=lambda: None)
    with alone.Alone(db, lost=lambda: None), pytest.raises(errors.Conflict, match="Another service"):
        second.__enter__()
    with second:
        pass
    other.close()


def test_processes_share_a_database_that_nobody_has_alone(db: Database, kind: str) -> None:
    other = Database(engines.url(kind))

    def shared(of: Database) -> alone.Alone:
        return alone.Alone(of, lost=lambda: None, shared=True)

    with shared(db), shared(other):
        third = Database(engines.url(kind))
        with pytest.raises(errors.Conflict, match="Another service"):
            alone.Alone(third, lost=lambda: None).__enter__()
        third.close()
    with alone.Alone(db, lost=lambda: None), pytest.raises(errors.Conflict, match="serve`, which must be alone"):
        shared(other).__enter__()
    with shared(other), shared(db):
        pass
    other.close()


def test_a_lock_that_went_with_its_server_is_taken_again_or_given_up(
    db: Database, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alone, "LOOK_S", 0.05)
    server, lost, other = engines.server(kind), threading.Event(), Database(engines.url(kind))
    with alone.Alone(db, lost=lost.set):
        server.stop(signal.SIGKILL)
        server.start()
        taken = _until_conflict(other, lost)
        assert taken != lost.is_set(), "either it has the lock again, or it knows that it has not"
    other.close()


def test_who_ends_while_its_server_is_away_ends_quietly(
    db: Database, kind: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(alone, "LOOK_S", 0.05)
    server, deadline = engines.server(kind), clock.monotonic() + 60
    with alone.Alone(db, lost=lambda: None):
        server.stop(signal.SIGKILL)
        while "does not answer" not in caplog.text and clock.monotonic() < deadline:
            threading.Event().wait(0.05)
    server.start()
    assert "does not answer" in caplog.text


def _until_conflict(other: Database, lost: threading.Event) -> bool:
    """Whether the first one has the lock again: a second one tries for a while to come before it, and when it does,
    keeps the lock until the first one has looked."""
    for _ in range(100):
        try:
            with alone.Alone(other, lost=lambda: None):
                lost.wait(60)
                return False
        except errors.Conflict:
            return True
        except errors.Unavailable:
            continue
    raise AssertionError("the server does not answer")


def test_only_one_of_many_gets_the_last_gigabyte(db: Database) -> None:
    with db.begin() as tx:
        tx.execute(sa.insert(schema.hosts).values(id="h", name="h", labels={}, created_at="2026"))
        tx.execute(
            sa.insert(schema.volume_backends).values(
                id=1, name="h@b", host_id="h", driver="raw", volume_backend_name="b", availability_zone="nova"
            )
        )
        tx.execute(
            sa.insert(schema.pools).values(
                id="p", name="h@b#p", backend_id=1, total_gib=1, free_gib=1, limit_gib=1, capabilities={},
                created_at="2026",
            )
        )  # fmt: skip
    won: list[bool] = []
    start = threading.Barrier(16)

    def take(n: int) -> None:
        start.wait(30)

        def work() -> bool:
            with db.begin() as tx:
                return claims.claim(tx, pool_id="p", brick_id=f"brick-{n}", gib=1)

        won.append(db.repeating(work))

    threads = [threading.Thread(target=take, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(won) == [False] * 15 + [True]


def test_begin_keeps_the_status_that_it_found(db: Database) -> None:
    with db.begin() as tx:
        tx.execute(
            sa.insert(schema.volumes).values(
                id="v", project_id="p", user_id="u", size_gib=1, status="available", image_metadata={}, metadata={},
                created_at="2026",
            )
        )  # fmt: skip
        store.begin(tx, "volume", "v", "extend")
    with db.read() as tx:
        assert tx.execute(sa.select(schema.volumes.c.before, schema.volumes.c.status)).one() == (
            "available",
            "extending",
        )


def report(db: Database) -> str:
    with db.begin() as tx:
        return hosts.record_host(tx, name="h1", labels={}, vcpus=1, memory_mib=1, hypervisor=None)


def test_a_lost_host_that_is_heard_twice_at_once_is_looked_at_once(db: Database) -> None:
    id = report(db)
    with db.begin() as tx:
        hosts.lose_host(tx, id)
    with futures.ThreadPoolExecutor(1) as pool:
        with db.begin() as tx:
            hosts.hold(tx, id)  # as another conductor does that has heard it, too
            late = pool.submit(lost_hosts.heard, db, "h1")
            with contextlib.suppress(futures.TimeoutError):  # until it waits for this, or is not yet that far
                late.result(0.5)
            flows.insert(tx, id="f", name="return_host", params={}, project_id="", resource_id=id, request_id=None)
        assert late.result(60)
    with db.read() as tx:
        assert list(tx.scalars(sa.select(schema.flows.c.id))) == ["f"]


def test_two_conductors_record_a_new_host_at_the_same_time(db: Database) -> None:
    new = {"name": "h1", "labels": {}, "vcpus": 1, "memory_mib": 1, "hypervisor": None}
    with futures.ThreadPoolExecutor(1) as pool:
        with db.begin() as tx:
            id = hosts.record_host(tx, **new)
            late = pool.submit(report, db)
            with contextlib.suppress(futures.TimeoutError):  # until it waits for this, or is not yet that far
                late.result(0.5)
        assert late.result(60) == id


def test_a_report_that_meets_the_loss_of_its_host_does_not_count(db: Database) -> None:
    """Whether it comes before the loss is written or waits for that, no sign of life is left."""
    id = report(db)
    with futures.ThreadPoolExecutor(1) as pool:
        with db.begin() as tx:
            hosts.lose_host(tx, id)
            late = pool.submit(report, db)
            with contextlib.suppress(futures.TimeoutError):  # until it waits for this, or is not yet that far
                late.result(0.5)
        with pytest.raises(errors.HostLost):
            late.result(60)
    with db.read() as tx:
        assert hosts.find_host(tx, id).heartbeat_at is None


def test_a_new_database_is_made_and_checked(kind: str) -> None:
    db = Database(engines.url(kind))
    with db.begin() as tx:
        engines.forget_all(tx)
    assert migrate.upgrade(db) == (None, migrate.head())
    migrate.check(db)
    assert migrate.upgrade(db) == (migrate.head(), migrate.head())
    with db.begin() as tx:
        engines.forget_all(tx)
    db.close()


def test_the_revisions_lead_to_the_tables(kind: str) -> None:
    """As on SQLite, by walking them."""
    from alembic import autogenerate
    from alembic.runtime.migration import MigrationContext

    db = Database(engines.url(kind))
    with db.begin() as tx:
        engines.forget_all(tx)
    migrate.run(db, "head")
    with db.begin() as tx:
        assert (
            autogenerate.compare_metadata(MigrationContext.configure(tx, opts=migrate.OPTIONS), schema.metadata) == []
        )
        engines.forget_all(tx)
    db.close()
