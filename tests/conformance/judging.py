"""What `scripts/conformance` does: Keystone, Glance, Nova and our service on loopback, and Tempest's tests of volumes.

Tempest takes its users and projects from Keystone, finds the service in the catalog, and speaks every microversion that
is served. The exit status is 1 if a test failed, or was skipped for a reason that `expected.py` does not have.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from http import server
from pathlib import Path
from typing import Any

import click
import httpx

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "wire"))
sys.path.insert(0, str(Path(__file__).parents[2]))
import cloud
import computing
import expected
import report
from tests import ports
from waiting import until

from brickyard.api import versions

ROOT = Path(__file__).parents[2]
READY_S, END_S = 120, 60
IMAGE_BYTES = 4 * 1024 * 1024
DOCUMENT = ROOT / "docs" / "conformance.md"
ALL = (r"tempest\.api\.volume\.", r"tempest\.api\.compute\.volumes\.")
SERVICE = """
[DEFAULT]
host = judged
enabled_backends = first,second
auth_strategy = keystone
image_service = glance
report_interval = 1
[host]
hypervisor = memory
[first]
volume_driver = raw
[second]
volume_driver = raw
"""
TEMPEST = """
[DEFAULT]
log_file = {directory}/tempest.log
[oslo_concurrency]
lock_path = {directory}/locks
[auth]
use_dynamic_credentials = true
create_isolated_networks = false
admin_username = admin
admin_password = secret
admin_project_name = admin
admin_domain_name = Default
[identity]
uri_v3 = {keystone}
auth_version = v3
region = RegionOne
[enforce_scope]
cinder = true
[service_available]
cinder = true
glance = true
nova = true
neutron = true
swift = false
[volume]
catalog_type = volumev3
min_microversion = {oldest}
max_microversion = {newest}
backend_names = first,second
storage_protocol = local
vendor_name = Brickyard
backup_driver = posix
volume_type_multiattach = shared
[image-feature-enabled]
deactivate_image = true
[compute]
image_ref = {image}
image_ref_alt = {image}
flavor_ref = {small}
flavor_ref_alt = {large}
min_microversion = 2.1
max_microversion = latest
[compute-feature-enabled]
volume_multiattach = true
resize = true
[validation]
run_validation = false
security_group = false
security_group_rules = false
[volume-feature-enabled]
multi_backend = true
backup = true
snapshot = true
clone = true
manage_volume = true
manage_snapshot = true
extend_attached_volume = true
"""


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


class Network(server.BaseHTTPRequestHandler):
    """A network service that has nothing, for servers without a network. Without one Tempest leaves out whole classes
    of tests of which a few want a network, and with one it looks for security groups of the projects it removes."""

    def do_GET(self) -> None:
        noun = self.path.partition("?")[0].rpartition("/")[2].replace("-", "_")
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        answer = {"quota": {"port": -1}} if "/quotas/" in self.path else {noun: []}
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_: Any) -> None: ...


@contextlib.contextmanager
def network() -> Iterator[str]:
    with server.ThreadingHTTPServer(("127.0.0.1", 0), Network) as one:
        threading.Thread(target=one.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{one.server_address[1]}"
        one.shutdown()


@contextlib.contextmanager
def served(directory: Path) -> Iterator[dict[str, str]]:
    """A Keystone, a Glance, a Nova, and the service with them: what Tempest needs to know of them, by the names in its
    configuration above."""
    port, port_of_keystone, port_of_images = ports.free(3)
    with network() as networks, cloud.running(directory, port_of_keystone, answers, until) as keystone:
        keystone.populate(f"http://127.0.0.1:{port}/v3", f"http://127.0.0.1:{port_of_images}")
        neutron = keystone.admin().services.create("the network", type="network")
        keystone.admin().endpoints.create(neutron, networks, interface="public", region="RegionOne")
        config = directory / "brickyard.conf"
        config.write_text(SERVICE + cloud.CONFIG.format(url=keystone.url))
        where = ["--state-dir", str(directory / "state"), "--config-file", str(config)]
        with (directory / "brickyard.log").open("wb") as log:
            command = [sys.executable, "-m", "brickyard", "serve", "--port", str(port), *where]
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            until(lambda: process.poll() is not None or answers(port), READY_S)
            assert process.poll() is None, (directory / "brickyard.log").read_text()
            with (
                cloud.imaging(directory, keystone, answers, until),
                computing.running(directory, keystone, answers, until) as servers,
            ):
                shared = {"volume_type": {"name": "shared", "extra_specs": {"multiattach": "<is> True"}}}
                boss = keystone.session("admin", "admin")
                boss.post(f"http://127.0.0.1:{port}/v3/types", json=shared)
                small, large = servers.flavors
                yield {"keystone": keystone.url, "image": image(keystone), "small": small, "large": large}
        finally:
            process.terminate()
            process.wait(END_S)


def image(keystone: cloud.Cloud) -> str:
    """A public image, which is not that of a disk that boots: nothing here is booted. Its id."""
    images = f"{keystone.image}/v2/images"
    asked = {"name": "judged", "disk_format": "raw", "container_format": "bare", "visibility": "public"}
    with httpx.Client(headers={"X-Auth-Token": keystone.token("boss")}, timeout=READY_S) as http:
        made = http.post(images, json=asked).raise_for_status().json()
        octets = {"Content-Type": "application/octet-stream"}
        http.put(f"{images}/{made['id']}/file", content=os.urandom(IMAGE_BYTES), headers=octets).raise_for_status()
    return str(made["id"])


def judged(directory: Path, where: dict[str, str], patterns: tuple[str, ...], workers: int) -> tuple[report.Found, str]:
    """Run the tests whose names match a pattern; what became of each, and the version of Tempest."""
    made = subprocess.run([ROOT / "scripts" / "openstack", "tempest"], stdout=subprocess.PIPE, text=True, check=True)
    python = Path(made.stdout.strip())
    places = next(python.parents[1].glob("lib/python3*/site-packages"))
    config = directory / "tempest.conf"
    config.write_text(TEMPEST.format(**where, directory=directory, oldest=versions.MIN, newest=versions.MAX))
    environment = {
        "PATH": f"{python.parent}:/usr/bin:/bin",
        "HOME": str(directory),
        "TEMPEST_CONFIG_DIR": str(directory),
        "TEMPEST_CONFIG": config.name,
        "PYTHONWARNINGS": "ignore",
    }
    tests = ["--test-path", str(places / "tempest" / "api"), "--top-dir", str(places), "--parallel-class"]
    stestr = [str(python.parent / "stestr"), *tests]

    def told(*command: str, given: bytes = b"") -> bytes:
        return subprocess.run(
            command, input=given, cwd=directory, env=environment, check=True, stdout=subprocess.PIPE
        ).stdout

    told(*stestr, "init")
    listed = [name for name in told(*stestr, "list", *patterns).decode().split() if name.startswith("tempest.")]
    wanted = directory / "wanted"
    wanted.write_text("".join(f"{name}\n" for name in listed if not expected.left_out(name)))
    stream = told(*stestr, "run", "--subunit", "--concurrency", str(workers), "--load-list", str(wanted))
    events = told(str(python), str(Path(__file__).with_name("outcomes.py")), given=stream)
    (directory / "events.json").write_bytes(events)
    version = told(str(python), "-c", "from importlib import metadata; print(metadata.version('tempest'))")
    return report.gathered(listed, json.loads(events)), version.decode().strip()


@click.command()
@click.option("--workers", default=4, show_default=True, help="How many tests run at a time; they mostly wait.")
@click.option("--keep", type=click.Path(path_type=Path), help="Keep logs and databases in this new directory.")
@click.option("--document", type=click.Path(path_type=Path), default=DOCUMENT, help="Where a whole run is described.")
@click.argument("patterns", nargs=-1)
def main(workers: int, keep: Path | None, document: Path, patterns: tuple[str, ...]) -> None:
    """Run all tests, or those whose names match one of PATTERNS."""
    with contextlib.ExitStack() as stack:
        directory = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="brickyard-conformance.")))
        directory = directory.resolve()
        directory.mkdir(parents=True, exist_ok=True)
        where = stack.enter_context(served(directory))
        found, version = judged(directory, where, patterns or ALL, workers)
    click.echo(report.told(found))
    if not patterns:
        document.write_text(report.document(found, version))
    sys.exit(0 if report.good(found) else 1)


if __name__ == "__main__":
    main()
