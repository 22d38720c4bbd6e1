"""How much the service writes into its log, changed while it runs and until it ends.

API, conductor and the nodes of this process have one log, so what is set for one of them holds for all. Agents, and
conductors and APIs that are other processes, write logs of their own and are not asked.
"""

from __future__ import annotations

import logging

from brickyard.core import errors
from brickyard.service import services
from brickyard.service.site import Site

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
BINARIES = (services.API, services.SCHEDULER, services.VOLUME, services.BACKUP)
ALL = ("", "*")


def get(site: Site, *, binary: str, server: str, prefix: str) -> list[tuple[str, str, dict[str, str]]]:
    """Binary, host and the level of each logger whose name begins with `prefix`, of what is asked for."""
    return [(binary, host, _levels(prefix)) for binary, host in _meant(site, binary, server)]


def set_(site: Site, level: str, *, binary: str, server: str, prefix: str) -> None:
    """Set the level of each logger whose name begins with `prefix`; nothing where none of the binaries runs."""
    if level.upper() not in LEVELS:
        raise errors.Invalid(f"level must be one of {', '.join(LEVELS)}, and not {level!r}.", field="level")
    if _meant(site, binary, server):
        for name in _names(prefix):
            logging.getLogger(name).setLevel(level.upper())


def _meant(site: Site, binary: str, server: str) -> list[tuple[str, str]]:
    if binary not in (*ALL, *BINARIES):
        raise errors.Invalid(f"binary must be *, or one of {', '.join(BINARIES)}; not {binary!r}.", field="binary")
    host = services.own_host(site)
    here = [(services.API, host), *([(services.SCHEDULER, host)] if site.waker.here else [])]
    here += [(one, own) for one in (services.VOLUME, services.BACKUP) for own in site.world.nodes.own()]
    return [(one, where) for one, where in here if binary in (*ALL, one) and server in ("", where)]


def _levels(prefix: str) -> dict[str, str]:
    return {name: logging.getLevelName(logging.getLogger(name).getEffectiveLevel()) for name in _names(prefix)}


def _names(prefix: str) -> list[str]:
    known = logging.root.manager.loggerDict
    return sorted(name for name, one in known.items() if isinstance(one, logging.Logger) and name.startswith(prefix))
