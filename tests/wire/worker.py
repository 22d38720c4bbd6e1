"""The real `openstack` client in one process: a command per line on stdin, as JSON; its result on stdout.

Starting the client costs seconds, running a command of it a fraction of one. This is its own program, so that what the
client does to logging and warnings stays in here.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys

from openstackclient import shell
from osc_lib import clientmanager


def main() -> None:
    for line in sys.stdin:
        forget()
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = shell.OpenStackShell().run(json.loads(line))
            except SystemExit as stop:  # how its argument parser refuses
                code = stop.code
        print(json.dumps({"code": code, "out": out.getvalue(), "err": err.getvalue()}), flush=True)


def forget() -> None:
    """Make new connections: the client keeps those of its first command, whoever asks next."""
    for cached in vars(clientmanager.ClientManager).values():
        if isinstance(cached, clientmanager.ClientCache):
            cached._handle = None


if __name__ == "__main__":
    main()
