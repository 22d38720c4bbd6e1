"""What the steps of a flow work on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from brickyard.compute import Compute
from brickyard.core.settings import Service
from brickyard.db.database import Database
from brickyard.flows.long_work import Lane
from brickyard.flows.places import Places
from brickyard.glance import Glance
from brickyard.nodes.directory import Directory


@dataclass(slots=True)
class Bell:
    """How a flow tells the conductor of this process of others that may run now. Nobody may listen: it only saves the
    wait until the next look at the database."""

    ring: Callable[[str], None] = lambda id: None


@dataclass(frozen=True, slots=True)
class World:
    db: Database
    nodes: Directory
    places: Places
    settings: Service
    images: Path  # the directory of the image store: one file per SHA-256
    glance: Glance | None = None  # the cloud's image service; None: the images are those of the store
    compute: Compute | None = None  # the cloud's compute service; None: no server of one has volumes of ours
    long: Lane = field(default_factory=Lane)  # for steps that may take hours
    bell: Bell = field(default_factory=Bell)
