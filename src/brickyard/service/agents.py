"""Agents: enrolled by administrators, each with an account of its own in the message broker.

`enroll` hands out a token that is good once and for a while. Whoever brings it gets the credentials of that host, and
nobody else can: what was given to an earlier one is no longer good then.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brickyard.core import errors, settings
from brickyard.db import agents
from brickyard.db.database import Row
from brickyard.nodes import layout
from brickyard.nodes.directory import Remote
from brickyard.service.site import Site

if TYPE_CHECKING:
    from brickyard.nodes.accounts import Accounts


def list_(site: Site) -> Sequence[Row]:
    with site.db.read() as tx:
        return agents.list_(tx)


def enroll(site: Site, host: str) -> tuple[str, str]:
    """Make room for the agent of a host; the token with which it gets its credentials, and until when it is good."""
    found = _settings(site)
    if not layout.HOST.fullmatch(host):
        raise errors.Invalid(
            f"host is {host!r}; allowed: letters, digits, dots, dashes, underscores, at most 190", field="host"
        )
    if host in site.world.nodes.own():
        raise errors.Conflict(f"Host {host} is the node of this service itself, and needs no agent.")
    _accounts(found)
    token = secrets.token_hex(32)  # it is typed as an argument, which must not begin with a dash
    with site.db.begin() as tx:
        until = agents.invite(tx, host, token, found.token_ttl_s)
    _remote(site).know(host)
    return token, until


def credentials(site: Site, token: str) -> dict[str, Any]:
    """What the agent needs to reach the broker, for a token that is good; it is used up."""
    found = _settings(site)
    made = _accounts(found)
    with site.db.begin() as tx:
        host = agents.take(tx, token)
    if host is None:
        raise errors.Unauthorized("This token is not good, or not any more; `brickyard host enroll` gives another one.")
    password = secrets.token_urlsafe(32)
    try:
        made.grant(host, password)
    except errors.Unavailable:
        with site.db.begin() as tx:
            agents.give_back(tx, host, token, found.token_ttl_s)
        raise
    tls = found.broker.tls
    return {
        "host": host,
        "servers": list(found.broker.servers),
        "user": layout.account(host),
        "password": password,
        "virtual_host": found.broker.virtual_host,
        "tls": tls is not None,
        "ca": Path(tls.ca_file).read_text(encoding="ascii") if tls is not None and tls.ca_file else None,
    }


def dismiss(site: Site, host: str) -> None:
    """Take its account from an agent. Its host, pools and volumes stay on record, and are down."""
    made = _accounts(_settings(site))
    with site.db.read() as tx:
        if agents.find(tx, host) is None:
            known = ", ".join(row.host for row in agents.list_(tx)[:20])
            raise errors.NotFound(f"Host {host} has no agent; there are: {known or 'none'}.")
    _remote(site).forget(host)
    made.revoke(host)
    with site.db.begin() as tx:
        agents.delete(tx, host)


def _settings(site: Site) -> settings.Agents:
    if site.agents is None:
        raise errors.Conflict("This service has no message broker: set transport_url, and start it again.")
    return site.agents


def _accounts(found: settings.Agents) -> Accounts:
    from brickyard.nodes import accounts  # with an HTTP client, for which a start need not wait

    if found.management_url is None:
        raise errors.Conflict("Accounts in the broker cannot be made: set management_url in [agents].")
    tls = found.broker.tls
    return accounts.reached(found.management_url, found.broker.virtual_host, tls.ca_file if tls else None)


def _remote(site: Site) -> Remote:
    remote = site.world.nodes.remote
    assert remote is not None  # there is one where there is a broker
    return remote
