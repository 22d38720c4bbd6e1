"""What a fleet is made of: its machines, where they stand, and the configuration of each, as docs/howto/deploy.md and
docs/howto/add-a-host.md have it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

HOSTS_MAX = 8
PASSWORD = "secret"
ENDPOINT = "storage.example"
NAMES = {  # name of a machine → its address and the other names it goes by
    "proxy": ("10.0.0.2", ENDPOINT),
    "db": ("10.0.0.5", "db1"),
    "mq": ("10.0.0.6", "mq1"),
    "m1": ("10.0.0.11", ""),
    "m2": ("10.0.0.12", ""),
}
CONTROL = """\
[DEFAULT]
osapi_volume_listen = {address}
auth_strategy = token
public_endpoint = https://storage.example
transport_url = rabbit://brickyard:secret@mq1:5671/brickyard
report_interval = 1
service_down_time = {down_s}
flow_lease = {lease_s}
rpc_response_timeout = {patience_s}
quota_volumes = -1
quota_gigabytes = -1
[oslo_messaging_rabbit]
ssl = true
ssl_ca_file = /etc/brickyard/ca.pem
heartbeat_timeout_threshold = 10
[agents]
management_url = https://brickyard:secret@mq1:15671
[database]
connection = postgresql+psycopg://brickyard:secret@db1/brickyard?target_session_attrs=read-write
[host]
hypervisor = none
"""
HOST = """\
[DEFAULT]
enabled_backends = fast
report_interval = 1
[oslo_messaging_rabbit]
heartbeat_timeout_threshold = 10
[host]
hypervisor = {hypervisor}
acceleration = tcg
vcpus = {vcpus}
memory_mib = 8192
labels = zone={zone},rack={rack}
export_address = {address}
[fast]
volume_driver = raw
path = /srv/fast
"""
PROXY = """\
global
    maxconn 400
defaults
    mode http
    timeout connect 5s
    timeout client 120s
    timeout server 120s
    option forwardfor
    option redispatch
    retries 3
frontend storage
    bind :443 ssl crt /etc/brickyard/server.both
    bind fd@{listener} ssl crt /etc/brickyard/server.both
    default_backend apis
backend apis
    balance roundrobin
    option httpchk GET /healthcheck
    server m1 m1:8776 check inter 1s fall 2 rise 1
    server m2 m2:8776 check inter 1s fall 2 rise 1
"""
BROKER = """\
listeners.tcp = none
listeners.ssl.1 = 5671
ssl_options.cacertfile = /etc/brickyard/ca.pem
ssl_options.certfile = /etc/brickyard/server.pem
ssl_options.keyfile = /etc/brickyard/server.key
ssl_options.verify = verify_none
management.ssl.port = 15671
management.ssl.cacertfile = /etc/brickyard/ca.pem
management.ssl.certfile = /etc/brickyard/server.pem
management.ssl.keyfile = /etc/brickyard/server.key
disk_free_limit.absolute = 10MB
log.file.level = warning
"""
DATABASE = f"""\
CREATE ROLE brickyard LOGIN PASSWORD '{PASSWORD}';
CREATE DATABASE brickyard OWNER brickyard ENCODING 'UTF8';
"""


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds: shorter than an operator would have them, so that one sees what happens."""

    down_s: int = 6
    lease_s: int = 6
    patience_s: int = 6


@dataclass(frozen=True, slots=True)
class Plan:
    """Two hosts in each rack, two racks in each zone."""

    hosts: int = HOSTS_MAX
    hypervisor: str = "qemu"
    vcpus: int = 4
    times: Times = Times()

    def host_names(self) -> list[str]:
        return [f"h{n}" for n in range(1, self.hosts + 1)]

    def machines(self) -> list[str]:
        return [*NAMES, *self.host_names()]

    def rack(self, host: str) -> str:
        return f"r{(int(host[1:]) + 1) // 2}"

    def zone(self, rack: str) -> str:
        return f"z{(int(rack[1:]) + 1) // 2}"

    def above(self) -> dict[str, str]:
        """What hangs on what: machine → rack → zone → the switch in the middle, which is called core."""
        racks = {host: self.rack(host) for host in self.host_names()}
        zones = {rack: self.zone(rack) for rack in racks.values()}
        return {**dict.fromkeys(NAMES, "core"), **racks, **zones, **dict.fromkeys(zones.values(), "core")}

    def below(self, what: str) -> list[str]:
        """The machines of a rack or a zone; a machine itself."""
        above = self.above()
        if what in self.machines():
            return [what]
        return [machine for one in above if above[one] == what for machine in self.below(one)]

    def address(self, machine: str) -> str:
        if machine in NAMES:
            return NAMES[machine][0]
        return f"10.0.{self.rack(machine)[1:]}.{machine[1:]}"

    def etc_hosts(self) -> str:
        named = [f"{self.address(name)} {name} {NAMES[name][1] if name in NAMES else ''}" for name in self.machines()]
        return "\n".join(["127.0.0.1 localhost", *named]) + "\n"

    def configuration(self, machine: str) -> str | None:
        """Of brickyard, on the machines that have one."""
        if machine in ("m1", "m2"):
            times = {name: getattr(self.times, name) for name in self.times.__slots__}
            return CONTROL.format(address=self.address(machine), **times)
        if machine in NAMES:
            return None
        rack, address = self.rack(machine), self.address(machine)
        more = {"hypervisor": self.hypervisor, "vcpus": self.vcpus}
        return HOST.format(zone=self.zone(rack), rack=rack, address=address, **more)

    def lay_out(self, directory: Path) -> None:
        """The files of every machine: its /etc/brickyard, and nothing in its /var/lib/brickyard yet."""
        for name in self.machines():
            etc = directory / name / "etc"
            for one in (etc, directory / name / "lib", directory / name / "log"):
                one.mkdir(parents=True)
            (directory / name / "hosts").write_text(self.etc_hosts())
            config = self.configuration(name)
            if config is not None:
                (etc / "brickyard.conf").write_text(config)
