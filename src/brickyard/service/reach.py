"""Which volumes an instance may have: those of its own host, and of others as far away as it asked for. And how a
volume reaches who is no instance of ours: on its own host, or by NVMe where its backend allows that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from brickyard.core import bricks, errors, pools, topology
from brickyard.core.states import I
from brickyard.db import attachments, hosts, instances, store
from brickyard.db.database import Row, Tx
from brickyard.flows import reach
from brickyard.service import abilities

NVMET_TCP = "nvmet_tcp"  # the value of target_protocol


def check(tx: Tx, instance: Row, volume: Row) -> None:
    """Invalid unless a volume reaches an instance that runs: from its host, or by an export from near enough."""
    if volume.host is None:
        raise errors.Invalid(f"Volume {volume.id} lies on no host; wait until it is available.", field="volume_id")
    name = pools.parse(volume.host).host
    if name == instance.host:
        return
    here, there = hosts.find_host(tx, instance.host), hosts.find_host(tx, name)
    where = f"Volume {volume.id} is on {volume.host} and the instance on {instance.host}"
    locality, required = instance.request.get("locality", topology.HOST), instance.request.get("required", True)
    levels = topology.Levels()
    if here is None or there is None or (required and _distance(here, there, levels) > levels.index(locality)):
        raise errors.Invalid(
            f"{where}, which asked for volumes of its own {locality}; boot an instance with the volume, and it goes "
            "where the volume is, or one with a wider locality.",
            field="volume_id",
        )
    if there.export_address is None:
        raise errors.Invalid(
            f"{where}, and {name} exports no volumes; boot an instance with the volume, or have export_address set "
            "there.",
            field="volume_id",
        )


def way(tx: Tx, volume: Row, connector: Mapping[str, Any]) -> tuple[pools.PoolName, str]:
    """The volume's pool, and the NQN of the connector's host when that is another one; "" on the volume's own. Invalid
    when the volume cannot be had there."""
    host = connector.get("host")
    if not isinstance(host, str) or not host:
        raise errors.Invalid("The connector must say its host: where the volume will be used.", field="host")
    if volume.host is None:
        raise errors.InvalidState(f"Volume {volume.id} has no place yet; wait until it is available.", field="status")
    place = pools.parse(volume.host)
    if host == place.host:
        return place, ""
    where = f"Volume {volume.id} is on host {place.host}, and the connector is of host {host}"
    pool, there = hosts.find_pool(tx, volume.pool_id), hosts.find_host(tx, place.host)
    if pool is None or (pool.capabilities or {}).get("target_protocol") != NVMET_TCP:
        raise errors.Invalid(
            f"{where}: volumes of backend {place.backend} are not exported over the network to others than instances "
            f"of ours; connect it on {place.host}, or have target_protocol = {NVMET_TCP} set for that backend.",
            field="host",
        )
    if there is None or there.export_address is None:
        raise errors.Invalid(
            f"{where}, and {place.host} exports no volumes; connect it there, or have export_address set on that host.",
            field="host",
        )
    if not connector.get("nqn"):
        raise errors.Invalid(
            f"{where}, to which it goes by NVMe over TCP: the connector must say its nqn, which is in "
            "/etc/nvme/hostnqn there.",
            field="nqn",
        )
    return place, bricks.checked_nqn(connector["nqn"])


def _distance(here: Row, there: Row, levels: topology.Levels) -> int:
    places = (topology.places(row.name, row.labels, levels) for row in (here, there))
    return topology.distance(*places)


def far_disks(tx: Tx, instance: Row) -> list[dict[str, Any]]:
    """Those of its disks that lie on other hosts, for its deletion."""
    if instance.host is None:
        return []
    mine = [(volume.id, volume.host) for volume in reach.attached(tx, instance)]
    return reach.far_disks(instance.host, instance.id, instance.root_pool, mine)


def check_growth(tx: Tx, volume: Row) -> dict[str, str] | None:
    """Refuse to extend a volume in use that cannot grow: for its driver, or since several have it, of several hosts.
    The instance of another host that has it and runs, as extend_volume takes it."""
    abilities.require(tx, volume.pool_id, "online_extend_support", field="status")
    own = attachments.of_volume(tx, volume.id)
    for row in own:
        if attachments.is_exported(row):
            raise errors.InvalidState(
                f"Volume {volume.id} is attached to host {row.attached_host}, which cannot see it grow; detach it "
                "there first."
            )
    far = [row for row in own if (row.connection_info or {}).get("driver_volume_type") == "nbd"]
    if not far:
        return None
    if len(own) > 1:
        raise errors.InvalidState(
            f"Volume {volume.id} is attached to instance {far[0].instance_uuid} of another host and to others: it "
            "does not grow meanwhile; detach it there first."
        )
    store.hold(tx, "instance", far[0].instance_uuid)
    instance = instances.find(tx, far[0].instance_uuid)
    if instance is None or instance.status not in (I.ACTIVE, I.STOPPED):
        raise errors.InvalidState(
            f"Volume {volume.id} is attached to instance {far[0].instance_uuid}, which is "
            f"{instance.status if instance is not None else 'gone'}; extend it when that is active or stopped."
        )
    return {"id": instance.id, "host": instance.host} if instance.status == I.ACTIVE else None
