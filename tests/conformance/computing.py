"""A Nova on loopback whose servers are simulated and whose volumes are not: it asks our service for each, as any Nova.

Its driver is Nova's own for tests, `fake`: it keeps in memory what a hypervisor would do. The rest is real: its API,
conductor, scheduler and compute service, Placement, a RabbitMQ and a PostgreSQL.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloud
import psutil
import sqlalchemy as sa
from tests import engines, ports, rabbit

ROOT = Path(__file__).parents[2]
SERVE = Path(__file__).with_name("serve_nova.py")
READY_S = 300
HOST = "judged"
USER, PASSWORD = "nova", "secret"
DATABASES = ("nova", "nova_api", "nova_cell0", "placement")
LOGIN = """
auth_url = {keystone}
auth_type = password
username = nova
password = secret
user_domain_id = default
project_name = service
project_domain_id = default
region_name = RegionOne
valid_interfaces = public
"""
# No server here is on a machine that could be slow or lost for real.
NOVA = """
[DEFAULT]
host = {host}
my_ip = 127.0.0.1
state_path = {directory}
log_dir = {directory}
transport_url = {broker}
compute_driver = fake.FakeDriverWithoutFakeNodes
rpc_response_timeout = 300
service_down_time = 600
update_resources_interval = 10
allow_resize_to_same_host = true
[api_database]
connection = {nova_api}
[database]
connection = {nova}
[conductor]
workers = 1
[scheduler]
workers = 1
discover_hosts_in_cells_interval = 2
[oslo_concurrency]
lock_path = {directory}/nova-locks
[cinder]
catalog_info = volumev3::publicURL
os_region_name = RegionOne
{login}
[glance]
region_name = RegionOne
valid_interfaces = public
[neutron]{login}
[placement]{login}
[service_user]
send_service_user_token = true
{login}
[keystone_authtoken]
service_token_roles = service
service_token_roles_required = true
{login}
"""
PLACEMENT = """
[DEFAULT]
log_file = {directory}/placement.log
[api]
auth_strategy = keystone
[placement_database]
connection = {placement}
sync_on_startup = true
[keystone_authtoken]{login}
"""


@dataclass
class Nova:
    """`flavors`: the ids of two."""

    url: str
    flavors: tuple[str, str]


@contextlib.contextmanager
def running(
    directory: Path, keystone: cloud.Cloud, answers: Callable[[int], bool], wait: Callable[..., None]
) -> Iterator[Nova]:
    """A Nova with one host, in the catalog of `keystone` in place of the compute service there."""
    made = subprocess.run([ROOT / "scripts" / "openstack", "nova"], stdout=subprocess.PIPE, text=True, check=True)
    python = Path(made.stdout.strip())
    api, placement = ports.free(2)
    facts = {"directory": directory, "host": HOST, "login": LOGIN.format(keystone=keystone.url), "broker": _broker()}
    facts |= _databases()
    (directory / "nova.conf").write_text(NOVA.format(**facts))
    (directory / "placement.conf").write_text(PLACEMENT.format(**facts))
    (directory / "api-paste.ini").write_text((python.parents[1] / "etc" / "nova" / "api-paste.ini").read_text())
    with contextlib.ExitStack() as stack:

        def start(role: str, *command: Path | str) -> subprocess.Popen[bytes]:
            out = stack.enter_context((directory / f"nova-{role}.out").open("wb"))
            process = subprocess.Popen(command, stdout=out, stderr=out)
            stack.callback(_end, process)
            return process

        tables = start("tables", python, SERVE, "tables", directory)
        assert tables.wait(READY_S) == 0, (directory / "nova-tables.out").read_text()
        _list(keystone, api, placement)
        served = {"placement": placement, "api": api}
        parts = [start(role, python, SERVE, role, directory, str(port)) for role, port in served.items()]
        wait(lambda: answers(api) and answers(placement), READY_S)
        for role in ("conductor", "scheduler", "compute"):
            parts.append(start(role, python.with_name(f"nova-{role}"), "--config-file", directory / "nova.conf"))
        boss = keystone.session("admin", "admin")
        url = f"http://127.0.0.1:{api}/v2.1"
        wait(lambda: boss.get(f"{url}/os-hypervisors").json()["hypervisors"], READY_S)
        assert [part.poll() for part in parts] == [None] * len(parts)
        yield Nova(url, (_flavor(boss, url, "small"), _flavor(boss, url, "large")))


def _end(process: subprocess.Popen[bytes]) -> None:
    """With its workers, which would outlive it. Nothing of it is kept, so it needs no time for that."""
    with contextlib.suppress(psutil.NoSuchProcess):
        parts = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        for part in parts:
            with contextlib.suppress(psutil.NoSuchProcess):
                part.kill()
    process.wait()


def _broker() -> str:
    """The URL of one, with a user whose password needs no quoting, for Nova quotes it twice."""
    broker = rabbit.server()
    with broker.management() as http:
        http.put(f"/users/{USER}", json={"password": PASSWORD, "tags": ""}).raise_for_status()
        may = {"configure": ".*", "write": ".*", "read": ".*"}
        http.put(f"/permissions/%2F/{USER}", json=may).raise_for_status()
    return f"rabbit://{USER}:{PASSWORD}@127.0.0.1:{broker.amqp}/"


def _databases() -> dict[str, str]:
    """The URL of each, which is empty."""
    url = engines.server("postgresql").url
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for name in DATABASES:
            connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {name}")
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    driver = url.replace("+psycopg:", "+psycopg2:")
    return {name: driver.replace("/postgres?", f"/{name}?") for name in DATABASES}


def _list(keystone: cloud.Cloud, api: int, placement: int) -> None:
    """Put both into the catalog."""
    admin = keystone.admin()
    compute = next(service for service in admin.services.list() if service.type == "compute")
    [endpoint] = admin.endpoints.list(service=compute)
    admin.endpoints.update(endpoint, url=f"http://127.0.0.1:{api}/v2.1")
    service = admin.services.create("the placement", type="placement")
    admin.endpoints.create(service, f"http://127.0.0.1:{placement}", interface="public", region="RegionOne")


def _flavor(boss: Any, url: str, name: str) -> str:
    asked = {"flavor": {"name": name, "ram": 64, "vcpus": 1, "disk": 1}}
    return str(boss.post(f"{url}/flavors", json=asked).json()["flavor"]["id"])
