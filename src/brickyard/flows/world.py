"""What the steps of a flow work on."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from brickyard.core.settings import Service
from brickyard.db.database import Database
from brickyard.flows.long_work import Lane
from brickyard.flows.places import Places
from brickyard.glance import Glance
from brickyard.nodes.directory import Directory


@dataclass(frozen=True, slots=True)
class World:
    db: Database
    nodes: Directory
    places: Places
    settings: Service
    images: Path  # the directory of the image store: one file per SHA-256
    glance: Glance | None = None  # the cloud's image service; None: the images are those of the store
    long: Lane = field(default_factory=Lane)  # for steps that may take hours
