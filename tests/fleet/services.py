"""What runs on each machine of a fleet, and how it is set up: with the commands of docs/howto/deploy.md,
use-postgresql.md and add-a-host.md."""

from __future__ import annotations

import json
import os
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests import certificates
from tests.engines import as_user
from tests.fleet.machine import Machine, Part
from tests.fleet.network import run
from tests.fleet.plan import BROKER, DATABASE, ENDPOINT, NAMES, PASSWORD, PROXY

DISK_GIB = 8
DATA = "/var/lib/service"
RABBIT = [
    "env", f"HOME={DATA}", "RABBITMQ_NODENAME=rabbit@mq", "RABBITMQ_CONFIG_FILE=/etc/brickyard/rabbitmq.conf",
    "RABBITMQ_CONF_ENV_FILE=/etc/brickyard/none", "RABBITMQ_ENABLED_PLUGINS_FILE=/etc/brickyard/plugins",
    f"RABBITMQ_MNESIA_BASE={DATA}", f"RABBITMQ_LOG_BASE={DATA}", f"RABBITMQ_PID_FILE={DATA}/pid",
    "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=+S 2:2 +sbwt none",
]  # fmt: skip
POSTGRESQL = {
    "listen_addresses": "*", "unix_socket_directories": "/run/tmp", "fsync": "off", "full_page_writes": "off",
    "max_connections": "300", "shared_buffers": "32MB",
}  # fmt: skip


def open_port(*ports: int) -> str:
    """A command that succeeds when something listens there."""
    return " && ".join(f"bash -c '</dev/tcp/127.0.0.1/{port}'" for port in ports)


def programs() -> Path:
    """Of PostgreSQL; the newest there are."""
    return max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))


def parts(machine: str, listener: int) -> list[Part]:
    """The services of a machine. `listener`: the descriptor of a socket on which the proxy listens as well."""
    if machine == "db":
        options = [word for name, value in POSTGRESQL.items() for word in ("-c", f"{name}={value}")]
        command = as_user("postgres", str(programs() / "postgres"), "-D", f"{DATA}/data", *options)
        ready = "pg_isready -q -h 127.0.0.1"  # to SIGTERM it would wait for its clients, and they for it
        return [Part("postgresql", command, ready, whole=True, stop=signal.SIGINT)]
    if machine == "mq":
        command = as_user("rabbitmq", *RABBIT, "/usr/lib/rabbitmq/bin/rabbitmq-server")
        return [Part("rabbitmq", command, open_port(5671, 15671), whole=True)]
    if machine == "proxy":
        command = ["haproxy", "-db", "-f", "/etc/brickyard/haproxy.cfg"]
        return [Part("haproxy", command, open_port(443), whole=True, inherits=(listener,))]
    if machine in NAMES:
        return [Part(name, ["brickyard", name], "") for name in ("api", "conductor")]
    return [Part("agent", ["brickyard", "node"], "")]


# files, before a machine is on ------------------------------------------------------------------------------------


def prepare(directory: Path, machines: list[str], listener: int) -> None:
    """One certificate for all that has one; a disk for each host."""
    tls = directory / "tls"
    tls.mkdir()
    certificates.make(tls, ENDPOINT, "mq1", "localhost", "127.0.0.1")
    for machine in machines:
        shutil.copy(tls / "ca.pem", directory / machine / "etc")
    for machine in ("mq", "proxy"):
        for name in ("server.pem", "server.key"):
            shutil.copy(tls / name, directory / machine / "etc")
    both = (tls / "server.pem").read_text() + (tls / "server.key").read_text()
    (directory / "proxy" / "etc" / "server.both").write_text(both)
    (directory / "proxy" / "etc" / "haproxy.cfg").write_text(PROXY.format(listener=listener))
    (directory / "mq" / "etc" / "rabbitmq.conf").write_text(BROKER)
    (directory / "mq" / "etc" / "plugins").write_text("[rabbitmq_management].\n")
    for machine, user in (("mq", "rabbitmq"), ("db", "postgres")):
        for path in (directory / machine / "lib", *(directory / machine / "etc").rglob("*")):
            shutil.chown(path, user, user)
    first, *others = [directory / machine / "disk" for machine in machines if machine not in NAMES]
    with first.open("wb") as file:
        os.truncate(file.fileno(), DISK_GIB * 1024**3)
    run("mkfs.xfs", "-q", str(first))
    for other in others:
        run("cp", "--sparse=always", str(first), str(other))


# the first start of a machine -------------------------------------------------------------------------------------


def make_database(machine: Machine) -> None:
    make = [str(programs() / "initdb"), "-D", f"{DATA}/data", "-U", "postgres", "-E", "UTF8", "--no-sync"]
    auth = ["--auth-local=trust", "--auth-host=scram-sha-256", "--locale=C.UTF-8"]
    machine.run(*as_user("postgres", *make, *auth))
    with (machine.directory / "lib" / "data" / "pg_hba.conf").open("a") as file:
        file.write("host all all 10.0.0.0/16 scram-sha-256\n")
    machine.start("postgresql")
    machine.run(*as_user("postgres", "psql", "-q", "-h", "/run/tmp", "-U", "postgres", "-f", "-"), text=DATABASE)


def make_broker(machine: Machine) -> None:
    machine.start("rabbitmq")

    def tell(words: list[str]) -> None:
        machine.run(*as_user("rabbitmq", *RABBIT, "/usr/lib/rabbitmq/bin/rabbitmqctl", "-q", *words))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(tell, (["add_vhost", "brickyard"], ["add_user", "brickyard", PASSWORD])))
        rights = ["set_permissions", "-p", "brickyard", "brickyard", ".*", ".*", ".*"]
        list(pool.map(tell, (["set_user_tags", "brickyard", "administrator"], rights)))


def make_token(control: Machine) -> str:
    words = ["--user", "operator", "--project", "fleet", "--role", "admin"]
    return control.run("brickyard", "token", "create", *words).split()[-1]


def enroll(control: Machine, host: Machine, token: str) -> None:
    """As an administrator on one machine, and as root on the other one."""
    made = control.run("env", f"BRICKYARD_TOKEN={token}", "brickyard", "-f", "json", "host", "enroll", host.name)
    host.run("brickyard", "node", "enroll", f"https://{ENDPOINT}", json.loads(made)["token"])
    host.start("agent")
