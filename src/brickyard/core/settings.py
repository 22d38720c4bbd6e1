"""What an operator may set, as frozen values. `config.py` reads them from files; nothing below it knows where from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

QUOTAS = {
    "volumes": 10,
    "snapshots": 10,
    "gigabytes": 1000,
    "backups": 10,
    "backup_gigabytes": 1000,
    "groups": 10,
    "per_volume_gigabytes": -1,
}


@dataclass(frozen=True, slots=True)
class Backend:
    """One section of the configuration: a driver with its options."""

    name: str
    driver: str
    volume_backend_name: str
    availability_zone: str
    options: Mapping[str, str]  # for the driver
    reserved_percentage: int = 0
    max_over_subscription_ratio: float = 1.0
    extra_capabilities: Mapping[str, object] = field(default_factory=dict)
    target_protocol: str = "nbd"  # nbd | nvmet_tcp
    thin_warn_percent: int = 80
    thin_freeze_percent: int = 90
    thin_pause_percent: int = 95
    image_volume_cache_enabled: bool = False
    image_volume_cache_max_size_gb: int = 0  # 0: as much as fits
    image_volume_cache_max_count: int = 0


@dataclass(frozen=True, slots=True)
class S3:
    """A bucket of an object store. Without keys, boto3 looks for them where it always does."""

    bucket: str
    endpoint_url: str | None = None
    access_key: str | None = None
    secret_key: str | None = field(default=None, repr=False)
    region: str = "us-east-1"
    verify: bool = True
    ca_file: str | None = None
    timeout_s: int = 60
    retries: int = 4


@dataclass(frozen=True, slots=True)
class Backups:
    """Where this host keeps backups: in a directory, or in an object store."""

    container: str  # of backups whose request names none
    directory: Path | None = None
    s3: S3 | None = None


@dataclass(frozen=True, slots=True)
class Exports:
    """Where this host serves bricks to guests of other hosts: an address of its own, and the ports for it."""

    address: str
    first_port: int
    last_port: int


@dataclass(frozen=True, slots=True)
class Node:
    """This host: what it is called, where it stands, what it may give to instances."""

    host: str
    labels: Mapping[str, str]
    vcpus: int
    memory_mib: int
    acceleration: str = "auto"  # auto | kvm | tcg
    hypervisor: str = "qemu"  # qemu | memory | none
    backends: tuple[Backend, ...] = ()
    backups: Backups | None = None  # None: none are made here
    exports: Exports | None = None  # None: bricks are for the guests of this host


@dataclass(frozen=True, slots=True)
class Tls:
    """Files in PEM form. Without `ca_file` the authorities that the machine trusts count."""

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None


@dataclass(frozen=True, slots=True)
class Broker:
    """The message broker, as this process uses it. `servers` are host:port; the first one that answers is used."""

    servers: tuple[str, ...]
    user: str
    password: str = field(repr=False)
    virtual_host: str = "/"
    tls: Tls | None = None
    heartbeat_s: int = 60


@dataclass(frozen=True, slots=True)
class Agents:
    """What the control plane needs for nodes that are other processes."""

    broker: Broker
    patience_s: int = 60  # without a word a node counts as silent
    management_url: str | None = field(default=None, repr=False)  # of the broker; it may carry a password
    token_ttl_s: int = 3600


@dataclass(frozen=True, slots=True)
class Tracing:
    """Where spans go, by OTLP over HTTP, and of which part of the requests that bring no trace of their own."""

    endpoint: str = field(repr=False)  # it may carry a password
    sampling_ratio: float = 1.0


@dataclass(frozen=True, slots=True)
class Cors:
    """Which pages' scripts may call the API from a browser, and what they may send and read."""

    allowed_origins: tuple[str, ...] = ()  # none: none may; "*": all, without the browser's credentials
    allow_credentials: bool = True
    expose_headers: tuple[str, ...] = ()
    allow_methods: tuple[str, ...] = ()
    allow_headers: tuple[str, ...] = ()
    max_age_s: int = 3600


@dataclass(frozen=True, slots=True)
class Compute:
    """How the compute service is found in a caller's catalog. `interface`: public | internal | admin."""

    interface: str = "public"
    region: str | None = None  # None: the first one
    ca_file: str | None = None


@dataclass(frozen=True, slots=True)
class Glance:
    """How the image service is reached: at `servers`, or else where the catalog says."""

    servers: tuple[str, ...] = ()  # in turn, when one does not answer
    interface: str = "public"
    region: str | None = None  # None: the first one
    ca_file: str | None = None
    insecure: bool = False
    retries: int = 3
    timeout_s: int = 60


@dataclass(frozen=True, slots=True)
class Service:
    """What the API and the conductor need to know."""

    default_volume_type: str | None = None
    availability_zone: str = "nova"
    allow_availability_zone_fallback: bool = False
    max_limit: int = 1000
    public_endpoint: str | None = None
    project_id_regex: str = r"[0-9a-f\-]+"
    auth_strategy: str = "none"  # none | token | keystone
    keystone: Mapping[str, Any] = field(default_factory=dict, repr=False)  # options of keystonemiddleware, by name
    compute: Compute = Compute()
    glance: Glance | None = None  # None: the images are our own
    cors: Cors = Cors()
    proxy_headers: bool = False  # whether a proxy in front is believed what it says of a request
    no_snapshot_gb_quota: bool = False
    quotas: Mapping[str, int] = field(default_factory=lambda: dict(QUOTAS))
    policy_file: Path | None = None
    service_down_time_s: int = 60
    report_interval_s: int = 10
    reservation_ttl_s: int = 600
    reserve_hosts: int = 3  # how many of the best hosts a boot reserves
    max_attempts: int = 3
    conductor_threads: int = 16
    flow_lease_s: int = 60
    receipt_retention_days: int = 365  # 0: for ever
    image_max_bytes: int = 64 * 1024**3
    enable_force_upload: bool = False  # whether volumes in use may become images


@dataclass(frozen=True, slots=True)
class Settings:
    state_dir: Path
    listen_host: str
    listen_port: int
    database_url: str
    node: Node
    service: Service
    agents: Agents | None = None  # None: there is no node but the one in this process
    run_node: bool = True  # whether this process is a node itself
    debug: bool = False  # the log says what every step and command does
    tracing: Tracing | None = None  # None: no spans are made
    warnings: tuple[str, ...] = ()  # about what was read, for the log of the start
