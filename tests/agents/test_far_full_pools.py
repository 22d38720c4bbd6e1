"""A pool fills up under a guest of another host: it is paused before that, and goes on when there is room."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import rabbit, small
from tests.agents import test_reach as reach
from tests.agents.rig import Site, until

from brickyard.hypervisor import qemu

pytestmark = [pytest.mark.slow, pytest.mark.guest, pytest.mark.root, pytest.mark.timeout(900)]
HELD = ("paused", ("far pool west@far",))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[small.Small]:
    made = small.Small(tmp_path / "thin", 16 * 1024)
    yield made
    made.remove()


@pytest.fixture
def site(
    tmp_path_factory: pytest.TempPathFactory, broker: rabbit.Rabbit, tiny_image: Path, disk: small.Small
) -> Iterator[Site]:
    more = f"max_over_subscription_ratio = 3\npath = {disk.path}\n"
    with reach.started(tmp_path_factory.mktemp("full"), broker, tiny_image, more) as made:
        yield made


def test_a_guest_waits_while_the_pool_of_another_host_is_almost_full(site: Site, disk: small.Small) -> None:
    control, east, west = site
    id = reach.boot(control, "writer", image="counting", volumes=[reach.far_volume(control)])
    near = reach.boot(control, "bystander", image="tiny", local_storage=[{"size_gib": 1}], locality="host")
    reach.prints(control, id, "counted 1")

    def guest(id: str) -> tuple[str, tuple[str, ...]]:
        return next((one.status, one.held) for one in qemu.Qemu(east.state).list() if one.id == id)

    def why() -> str | None:
        found: str | None = control.get(f"/v1/instances/{id}")["paused_reason"]
        return found

    disk.fill(96)
    until(lambda: guest(id) == HELD, "the guest is paused")
    assert guest(near) == ("running", ())
    until(lambda: "pool west@far of another host is almost full" in (why() or ""), "its owner can see why")

    # An agent that starts again does not let it go, nor is it let go while nobody can say how full the pool is.
    for host in (east, west):
        host.kill()
    east.start()
    until(lambda: "west" not in control.hosts_up(), "west is down")
    assert guest(id) == HELD
    west.start()
    until(lambda: control.hosts_up() >= {"east", "west"}, "both are back")
    assert guest(id) == HELD

    disk.fill(50)
    until(lambda: guest(id) == ("running", ()), "the guest goes on")
    until(lambda: why() is None, "its owner can see it")
    reach.prints(control, id, f"counted {reach.counted(control, id) + 2}")
    assert "I/O error" not in control.http.get(f"/v1/instances/{id}/console").text
