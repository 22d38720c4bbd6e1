"""From settings, or from what the API was given, to the backends that a node runs."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from brickyard import config
from brickyard.brick import driver, registry
from brickyard.core import errors, fullness, image_cache, pools, settings
from brickyard.nodes import local

# Not the driver's: what the accounting and the scheduler need to know of a backend.
SHARES = ("reserved_percentage", "max_over_subscription_ratio", "extra_capabilities")
ACCOUNTING = (*SHARES, "target_protocol", *fullness.OPTIONS, *image_cache.OPTIONS)


def configured(backend: settings.Backend) -> local.Backend:
    """A section of the configuration."""
    return _backend(backend, {name: getattr(backend, name) for name in ACCOUNTING}, from_api=False)


class Maker:
    """Builds backends that are made through the API, by the rules of the configuration."""

    def __init__(self, state_dir: Path, zone: str, taken: Mapping[str, local.Backend]) -> None:
        self.state_dir, self.zone = state_dir, zone
        self.taken = taken  # the node's own, which grows as backends are added

    def __call__(self, name: str, given: Mapping[str, Any]) -> local.Backend:
        """`given`: `driver`, `availability_zone` and otherwise what a section of the configuration may say."""
        texts = {
            _option(key): _text(value)
            for key, value in given.items()
            if value is not None and key not in pools.SERVICE_ONLY
        }
        unused: list[str] = []
        backend = config.backend(
            f"backend {name}:", name, texts, state_dir=self.state_dir, zone=self.zone, warnings=unused
        )
        if ignored := [line for line in unused if "is not used" in line]:
            raise errors.Invalid("; ".join(ignored))
        if path := backend.options.get("path"):
            for other in self.taken.values():
                if other.name != name and os.path.realpath(other.options.get("path", "/")) == os.path.realpath(path):
                    raise errors.Conflict(f"{path} is the path of backend {other.name} already: give each its own.")
        accounting = {name: getattr(backend, name) for name in ACCOUNTING}
        return _backend(backend, {**given, **accounting}, from_api=True)

    def again(self, name: str, given: Mapping[str, Any]) -> local.Backend:
        """One that was made in an earlier run. If it cannot be made now, it is there and down, with the reason."""
        try:
            return self(name, given)
        except errors.BrickyardError as error:
            reason = error

        def load() -> driver.Driver:
            raise reason

        return local.Backend(
            name=name,
            driver_name=str(given.get("driver", "raw")),
            volume_backend_name=str(given.get("volume_backend_name") or name),
            availability_zone=str(given.get("availability_zone") or self.zone),
            load=load,
            options=dict(given),
            from_api=True,
        )


def _backend(backend: settings.Backend, options: Mapping[str, Any], *, from_api: bool) -> local.Backend:
    def load() -> driver.Driver:
        return registry.load(backend.driver, backend.options)

    place = {name: backend.options[name] for name in (*pools.PLACE, "devices") if name in backend.options}
    return local.Backend(
        name=backend.name,
        driver_name=backend.driver,
        volume_backend_name=backend.volume_backend_name,
        availability_zone=backend.availability_zone,
        load=load,
        options={**options, **place},
        from_api=from_api,
    )


def _option(key: str) -> str:
    return {"driver": "volume_driver", "availability_zone": "backend_availability_zone"}.get(key, key)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else json.dumps(value)
