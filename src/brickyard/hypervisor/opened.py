"""What a guest's QEMU has open for its disks: block nodes, with the keys of those that other hosts export.

A disk has one node, and two while it moves (`mirrors`), each under the name of its place.
"""

from __future__ import annotations

from typing import Any

from brickyard.hypervisor import disks, qmp

OBJECTS = "/objects"


def serials(monitor: qmp.Monitor) -> list[str]:
    """The disks that the guest has, by their devices."""
    found = (disks.serial_of(block.get("qdev", "")) for block in monitor.execute("query-block"))
    return sorted(serial for serial in found if serial is not None)


def used(monitor: qmp.Monitor, serial: str) -> str | None:
    """The name of the node right behind the guest's device; None without a device."""
    for block in monitor.execute("query-block"):
        if disks.serial_of(block.get("qdev", "")) == serial and "inserted" in block:
            return str(block["inserted"]["node-name"])
    return None


def node(monitor: qmp.Monitor, name: str) -> dict[str, Any] | None:
    nodes: list[dict[str, Any]] = monitor.execute("query-named-block-nodes")
    return next((node for node in nodes if node["node-name"] == name), None)


def forget(monitor: qmp.Monitor, serial: str, place: str) -> bool:
    """Close what nothing uses, and forget its key. Whether it was open."""
    name = disks.node_name(serial, place)
    was_open = node(monitor, name) is not None
    if was_open:
        monitor.execute("blockdev-del", {"node-name": name})
    key = disks.credentials_id(serial, place)
    if key in names(monitor, OBJECTS):
        monitor.execute("object-del", {"id": key})
    return was_open


def forget_all(monitor: qmp.Monitor, serial: str) -> bool:
    """The same for every place of a disk that has no device."""
    closed = [forget(monitor, serial, place) for place in disks.PLACES]
    return any(closed)


def names(monitor: qmp.Monitor, path: str) -> set[str]:
    """The properties of one of QEMU's objects: its children and links among them."""
    return {entry["name"] for entry in monitor.execute("qom-list", {"path": path})}
