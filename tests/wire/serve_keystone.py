"""A Keystone on loopback, run by the Python that `scripts/openstack` prints: serve_keystone.py DIRECTORY PORT

Everything is made in the one process, for each start of keystone-manage costs seconds: tables, keys, and an
administrator (admin, password `secret`, project admin). It is ready when the port answers. It reads its configuration,
DIRECTORY/keystone.conf, anew when it is sent SIGHUP.
"""

from __future__ import annotations

import base64
import os
import signal
import socketserver
import sys
import threading
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from wsgiref import simple_server

warnings.simplefilter("ignore")

CONFIG = """
[DEFAULT]
log_file = {directory}/keystone.log
[database]
connection = sqlite:///{directory}/keystone.db
[fernet_tokens]
key_repository = {directory}/keys
[fernet_receipts]
key_repository = {directory}/receipts
[identity]
password_hash_rounds = 4
[cache]
enabled = true
backend = dogpile.cache.memory
[oslo_policy]
enforce_scope = true
"""


class Server(socketserver.ThreadingMixIn, simple_server.WSGIServer):
    daemon_threads = True


class Quiet(simple_server.WSGIRequestHandler):
    """Writes one line for each request to stdout, which the tests read, with the end of the token it asks about."""

    def log_message(self, format: str, *args: object) -> None:
        sys.stdout.write(f"{self.command} {self.path} {self.headers.get('X-Subject-Token', '')[-16:]}\n")
        sys.stdout.flush()


def one_by_one(app: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """The application with one request in it at a time: on SQLite, two that write would fail each other."""
    turn = threading.Lock()

    def taken(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        with turn:
            return app(environ, start)

    return taken


def main(directory: Path, port: int) -> None:
    directory.mkdir(exist_ok=True)
    config = directory / "keystone.conf"
    config.write_text(CONFIG.format(directory=directory))
    os.environ["OS_KEYSTONE_CONFIG_FILES"] = str(config)
    for name in ("keys", "receipts"):  # 1 is used, 0 is the next one
        (directory / name).mkdir()
        for number in ("0", "1"):
            (directory / name / number).write_bytes(base64.urlsafe_b64encode(os.urandom(32)))
    sys.argv[1:] = []  # Keystone reads its options from there, too
    from keystone.server import wsgi
    from oslo_config.cfg import CONF

    app = one_by_one(wsgi.initialize_public_application())
    prepare(f"http://127.0.0.1:{port}/v3")
    signal.signal(signal.SIGHUP, lambda *_: CONF.reload_config_files())
    with simple_server.make_server("127.0.0.1", port, app, Server, Quiet) as server:
        server.serve_forever()


def prepare(url: str) -> None:
    """Tables, and the administrator with the usual roles and the catalog of this one service."""
    from keystone.cmd import bootstrap
    from keystone.common.sql import upgrades

    upgrades.offline_sync_database_to_version()
    bootstrap.backends.load_backends = dict  # they are loaded, and a second time is refused
    first = bootstrap.Bootstrapper()
    first.admin_username, first.admin_password, first.project_name = "admin", "secret", "admin"
    first.admin_role_name, first.service_name, first.region_id = "admin", "keystone", "RegionOne"
    first.public_url = first.internal_url = first.admin_url = url
    first.bootstrap()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
