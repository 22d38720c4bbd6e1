"""The compute service of a cloud (Nova), told of what its servers would not notice by themselves.

Its users extend a volume here, and the hypervisor of a server that has the volume must look at it again; it waits for a
volume that is written anew here before it starts the server from it. Asked is only what `service/nova.py` asks, for a
caller; this is said by the service's own user, which needs the role `service`, or with an older Nova `admin`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

from brickyard.core import errors
from brickyard.core.settings import Compute as Settings
from brickyard.login import Login

TIMEOUT_S = 30.0


class Event(enum.StrEnum):
    EXTENDED = "volume-extended"
    REIMAGED = "volume-reimaged"


MICROVERSIONS = {Event.EXTENDED: "2.51", Event.REIMAGED: "2.93"}  # the first that know the event


class Compute:
    """`login` are the options of [keystone_authtoken] by which the service itself logs in."""

    def __init__(self, configured: Settings, login: Mapping[str, Any]) -> None:
        self._settings, self._login = configured, Login(login)

    def tell(self, event: Event, server_id: str, volume_id: str, *, ok: bool = True) -> None:
        """What became of a volume that a server has. Told twice does no harm, and a server that is gone needs nothing.

        Unavailable when the compute service does not take it. Without one in the catalog there is nobody to tell.
        """
        from keystoneauth1 import exceptions

        one = {"name": event, "server_uuid": server_id, "tag": volume_id, "status": "completed" if ok else "failed"}
        where = {
            "service_type": "compute",
            "interface": self._settings.interface,
            "region_name": self._settings.region,
        }
        try:
            answer = self._login.session().post(
                "os-server-external-events",
                endpoint_filter=where,
                headers={"OpenStack-API-Version": f"compute {MICROVERSIONS[event]}"},
                json={"events": [one]},
                verify=self._settings.ca_file or True,
                timeout=TIMEOUT_S,
                raise_exc=False,
            )
        except exceptions.EndpointNotFound:
            return
        except (exceptions.ClientException, OSError) as error:
            raise self._untold(server_id, volume_id, str(error)) from error
        if answer.status_code not in (200, 207, 404):  # 207: it knows the server, which is on no host
            raise self._untold(server_id, volume_id, f"it answers with status {answer.status_code}")

    def _untold(self, server_id: str, volume_id: str, why: str) -> errors.Unavailable:
        return errors.Unavailable(
            f"The compute service cannot be told of volume {volume_id} of server {server_id}: {why}; the user of "
            "[keystone_authtoken] needs a role that it takes external events of, service or admin."
        )
