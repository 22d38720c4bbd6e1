"""Whether a server of the compute service uses a volume: asked for the caller, with the token of the caller.

A user who takes away an attachment that a server still uses leaves that server with a device which may be another
project's next. So the compute service is asked, and only what it does not know, or no longer, may go.
"""

from __future__ import annotations

from typing import Any

import msgspec

from brickyard.core import errors
from brickyard.core.settings import Compute
from brickyard.service.site import Caller

MICROVERSION = "2.89"  # the first one whose answers say which attachment a server uses
TIMEOUT_S = 30.0


def uses(compute: Compute, caller: Caller, server_id: str, volume_id: str, attachment_id: str) -> bool:
    """Whether the server uses the volume by this attachment. Without a compute service there is no server.

    Unavailable when it does not answer, or says something else than yes or no.
    """
    endpoint = _endpoint(compute, caller)
    if endpoint is None:
        return False
    import httpx  # which costs a start a quarter of a second, and is needed by few services

    url = f"{endpoint.rstrip('/')}/servers/{server_id}/os-volume_attachments/{volume_id}"
    headers = {
        "X-Auth-Token": caller.token or "",
        "OpenStack-API-Version": f"compute {MICROVERSION}",
        "X-OpenStack-Request-ID": caller.request_id,
    }
    try:
        with httpx.Client(verify=_trust(compute), timeout=TIMEOUT_S, trust_env=False) as client:
            answer = client.get(url, headers=headers)
        if answer.status_code == 404:
            return False
        if answer.status_code == 200:
            return bool(answer.json()["volumeAttachment"].get("attachment_id") == attachment_id)
    except (httpx.HTTPError, OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise _unknown(volume_id, server_id, f"{type(error).__name__}") from error
    raise _unknown(volume_id, server_id, f"status {answer.status_code}")


def _unknown(volume_id: str, server_id: str, why: str) -> errors.Unavailable:
    return errors.Unavailable(
        f"The compute service does not say whether server {server_id} uses volume {volume_id} ({why}): try again, or "
        "detach it there."
    )


def _trust(compute: Compute) -> Any:
    if compute.ca_file is None:
        return True
    import ssl

    return ssl.create_default_context(cafile=compute.ca_file)


def _endpoint(compute: Compute, caller: Caller) -> str | None:
    """The compute endpoint of the caller's catalog."""
    if not caller.catalog:
        return None
    for service in msgspec.json.decode(caller.catalog):
        if service.get("type") != "compute":
            continue
        for endpoint in service.get("endpoints", ()):
            url = endpoint.get(f"{compute.interface}URL")
            if url and compute.region in (None, endpoint.get("region")):
                return str(url)
    return None
