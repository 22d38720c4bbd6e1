"""What of a Nova has no program of its own, run by the Python that `scripts/openstack nova` prints:
serve_nova.py tables|placement|api DIRECTORY [PORT]

DIRECTORY holds nova.conf and placement.conf. `tables` ends when those are made; the others answer at PORT.
"""

from __future__ import annotations

import os
import socketserver
import sys
import warnings
from pathlib import Path
from wsgiref import simple_server

warnings.simplefilter("ignore")


class Server(socketserver.ThreadingMixIn, simple_server.WSGIServer):
    daemon_threads = True


class Quiet(simple_server.WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None: ...


def tables(config: Path) -> None:
    """What `nova-manage` does for a first cell; in one process, for each start of it costs seconds."""
    from nova import config as options
    from nova.cmd import manage
    from oslo_config.cfg import CONF

    options.parse_args([sys.argv[0], "--config-file", str(config)])
    cells = manage.CellV2Commands()
    manage.ApiDbCommands().sync()
    cells.map_cell0(CONF.database.connection.replace("/nova?", "/nova_cell0?"))
    manage.DbCommands().sync()
    cells.create_cell("one")


def main(role: str, directory: Path, port: int) -> None:
    os.environ |= {"OS_NOVA_CONFIG_DIR": str(directory), "OS_PLACEMENT_CONFIG_DIR": str(directory)}
    sys.argv[1:] = []  # Nova reads its options from there, too
    if role == "tables":
        return tables(directory / "nova.conf")
    if role == "placement":
        from placement.wsgi.api import application
    else:
        from nova.wsgi.osapi_compute import application
    with simple_server.make_server("127.0.0.1", port, application, Server, Quiet) as server:
        server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 0)
