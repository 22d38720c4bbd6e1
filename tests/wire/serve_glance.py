"""A Glance on loopback, run by the Python that `scripts/openstack` prints: serve_glance.py DIRECTORY PORT KEYSTONE

It keeps images in a directory and its records in SQLite, checks tokens at KEYSTONE (as user glance, password `secret`,
of project service), and is ready when the port answers. Each request is a line in its output.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

from werkzeug import serving

warnings.simplefilter("ignore")

CONFIG = """
[DEFAULT]
log_file = {directory}/glance.log
enabled_backends = files:file
enabled_import_methods = []
worker_self_reference_url = http://127.0.0.1:{port}
node_staging_uri = file://{directory}/staging
[database]
connection = sqlite:///{directory}/glance.db
[glance_store]
default_backend = files
[files]
filesystem_store_datadir = {directory}/images
[os_glance_staging_store]
filesystem_store_datadir = {directory}/staging
[os_glance_tasks_store]
filesystem_store_datadir = {directory}/tasks
[paste_deploy]
flavor = keystone
config_file = {paste}
[keystone_authtoken]
auth_url = {keystone}
auth_type = password
username = glance
password = secret
user_domain_id = default
project_name = service
project_domain_id = default
service_token_roles = service
service_token_roles_required = true
"""


class Quiet(serving.WSGIRequestHandler):
    """Writes one line for each request to stdout, which the tests read."""

    def log_request(self, *_: object) -> None:
        sys.stdout.write(f"{self.command} {self.path}\n")
        sys.stdout.flush()


def main(directory: Path, port: int, keystone: str) -> None:
    for name in ("", "images", "staging", "tasks"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    paste = Path(sys.prefix) / "etc" / "glance" / "glance-api-paste.ini"
    (directory / "glance-api.conf").write_text(
        CONFIG.format(directory=directory, port=port, keystone=keystone, paste=paste)
    )
    os.environ["OS_GLANCE_CONFIG_DIR"] = str(directory)
    sys.argv[1:] = []  # Glance reads its options from there, too
    (directory / "glance-cache.conf").touch()
    from glance.common import wsgi_app
    from glance.db import sqlalchemy as _  # noqa: F401
    from glance.db.sqlalchemy import api, models
    from oslo_config import cfg

    cfg.CONF([], project="glance", default_config_files=[str(directory / "glance-api.conf")])
    models.register_models(api.get_engine())
    cfg.CONF.reset()
    app = wsgi_app.init_app()
    # A server that takes what is sent in chunks, as some clients send images.
    serving.make_server("127.0.0.1", port, app, threaded=True, request_handler=Quiet).serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
