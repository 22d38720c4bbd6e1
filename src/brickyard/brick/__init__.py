"""The local storage library: volumes, snapshots and clones on the disks of this host. It needs nothing else.

from brickyard import brick

driver = brick.load("qcow2", {"path": "/srv/bricks"})
driver.check()
label = brick.Label(brick.Kind.VOLUME, str(uuid.uuid4()), project="demo")
driver.create(label, 10 * brick.GIB)           # may be repeated: Did.CHANGED, then Did.ALREADY
driver.grow(label.name, 20 * brick.GIB)
connection = driver.open(label.name)           # connection.path, .format, .size_bytes
driver.close(label.name)
driver.delete(label.name)
driver.usage(), driver.list()                  # what is really there
"""

from __future__ import annotations

from brickyard.brick.driver import (
    Adopter,
    Cloner,
    Differ,
    Driver,
    Importer,
    Progress,
    Reverter,
    Snapshotter,
    Tidier,
    Wiper,
)
from brickyard.brick.guard import Guard
from brickyard.brick.images import ImageFacts, inspect
from brickyard.brick.registry import DRIVERS, canonical, load
from brickyard.core.bricks import (
    Capabilities,
    Connection,
    Did,
    Found,
    Kind,
    Label,
    Receipt,
    Usage,
    WipeMethod,
    checked,
    name_of,
    parse,
)
from brickyard.core.sizes import GIB, KIB, MIB

__all__ = [
    "DRIVERS",
    "GIB",
    "KIB",
    "MIB",
    "Adopter",
    "Capabilities",
    "Cloner",
    "Connection",
    "Did",
    "Differ",
    "Driver",
    "Found",
    "Guard",
    "ImageFacts",
    "Importer",
    "Kind",
    "Label",
    "Progress",
    "Receipt",
    "Reverter",
    "Snapshotter",
    "Tidier",
    "Usage",
    "WipeMethod",
    "Wiper",
    "canonical",
    "checked",
    "inspect",
    "load",
    "name_of",
    "parse",
]
