"""What a backend can do, as the wire shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from brickyard.db.database import Row

PROPERTIES = {  # what drivers answer: title and description
    "thin_provisioning": ("Thin provisioning", "Volumes take space when it is written."),
    "snapshots": ("Snapshots", "The content of a volume can be kept."),
    "clones": ("Clones", "A volume can be made from a volume or snapshot of this backend."),
    "constant_time_clones": ("Constant-time clones", "Clones share their blocks until one of them is written."),
    "revert": ("Revert", "A volume can go back to its latest snapshot."),
    "imports": ("Images", "A volume can be made from an image."),
    "online_grow": ("Online extend", "A volume can grow while it is in use."),
    "multiattach": ("Multiattach", "A volume can be attached more than once."),
}


def capabilities(backend: Row, reported: Mapping[str, Any]) -> dict[str, Any]:
    can = {**reported, "thin_provisioning": reported.get("thin_provisioning_support")}
    return {
        "namespace": f"OS::Storage::Capabilities::{backend.name}",
        "vendor_name": reported["vendor_name"],
        "volume_backend_name": backend.volume_backend_name,
        "pool_name": reported["pool_name"],
        "driver_version": reported["driver_version"],
        "storage_protocol": reported["storage_protocol"],
        "display_name": backend.driver,
        "description": backend.description,
        "visibility": None,
        "replication_targets": [],
        "properties": {
            name: {"title": title, "description": description, "type": "boolean"}
            for name, (title, description) in PROPERTIES.items()
            if can.get(name)
        },
    }
