"""Connects and disconnects as the compute service does, with os-brick, which has an environment of its own:

    os_brick_client.py connector HOST                       prints what a connector of this machine says
    os_brick_client.py connect CONNECTION_INFO              prints where the device is
    os_brick_client.py disconnect CONNECTION_INFO DEVICE

The first line of the output that begins with a brace is the answer, as JSON.
"""

import json
import sys

import os_brick
from os_brick import privileged
from os_brick.initiator import connector
from oslo_config import cfg

cfg.CONF([], project="client")
os_brick.setup(cfg.CONF)
privileged.default.set_client_mode(False)  # this is root already
verb, said, *rest = sys.argv[1:]
if verb == "connector":
    answer = connector.get_connector_properties("", "127.0.0.1", False, False, host=said)
else:
    info = json.loads(said)
    kind = info.pop("driver_volume_type")
    assert kind == "nvmeof", kind
    initiator = connector.InitiatorConnector.factory("NVMEOF", "", use_multipath=False, device_scan_attempts=30)
    if verb == "connect":
        answer = initiator.connect_volume(info)
    else:
        answer = {"gone": initiator.disconnect_volume(info, {"type": "block", "path": rest[0]})}
print(json.dumps(answer))
