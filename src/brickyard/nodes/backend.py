"""A backend of a node, as it is served."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from brickyard.brick import driver as contract


@dataclass(slots=True)
class Backend:
    """A section of the configuration, or a backend made through the API; `driver` is None while it is down."""

    name: str
    driver_name: str
    volume_backend_name: str
    availability_zone: str
    load: Callable[[], contract.Driver]
    options: Mapping[str, Any] = field(default_factory=dict)
    from_api: bool = False
    driver: contract.Driver | None = None
    why_down: str | None = None
