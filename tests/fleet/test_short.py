"""What breaks most often, on a small fleet: an instance at each distance from its volumes, a conductor that dies in the
middle, and a rack that is cut off for a while."""

from __future__ import annotations

import pytest
from tests.agents.rig import until
from tests.fleet.rig import Cloud

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(900)]
HOSTS = 4


def test_a_boot_at_each_distance_a_dead_conductor_and_a_rack_cut_off(cloud: Cloud) -> None:
    on = cloud.one_on_each()
    near, far, beside = (cloud.volume_near(same_host=[on[host]]) for host in ("h1", "h2", "h4"))
    for id in (near, far, beside):
        cloud.becomes(id, "available")
    wanted = {"host": [near], "rack": [on["h1"], on["h2"]], "zone": [far, on["h3"]]}
    booted = {name: cloud.boot(name, locality=name, volumes=volumes) for name, volumes in wanted.items()}
    for name, id in booted.items():
        assert cloud.boots(id) in {cloud.host_of(volume) for volume in wanted[name]}
    for name, id in booted.items():
        for volume in wanted[name]:
            cloud.prints(id, f"disk {volume[:20]} wrote: written by {name}")

    ids = [cloud.volume() for _ in range(6)]
    cloud.does("kill", "m1.conductor")
    for id in ids:
        cloud.becomes(id, "available")

    with cloud.is_cut("r2"):
        until(lambda: cloud.hosts_up() == {"h1", "h2"}, "the hosts of the rack are down")
        cloud.picture()
        assert cloud.http.delete(f"/v3/volumes/{beside}").status_code == 202
        new = cloud.boot("new", local_storage=[{"size_gib": 1}])
        assert cloud.boots(new) in ("h1", "h2")
        assert cloud.status(beside) == "deleting"
    until(lambda: cloud.status(beside) == "gone", "what waited for the rack is done")
    cloud.does("start", "m1.conductor")
