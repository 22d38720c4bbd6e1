"""Every option of the configuration file, in one table. `ini.py` reads by it; `scripts/docs` prints it.

A row is: section, name, kind, default (as text; None: nothing, or found out as the help says), help. Section BACKEND
stands for each section that `enabled_backends` names. Kinds are the keys of `ini.KINDS`.
"""

from __future__ import annotations

import difflib
import ipaddress
import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from brickyard.core import settings

DEFAULT, BACKEND, KEYSTONE = "DEFAULT", "BACKEND", "keystone_authtoken"
ORIGIN = re.compile(r"https?://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:\d{1,5})?")
DATABASE = re.compile(r"sqlite:////.+|(postgresql\+psycopg|(mysql|mariadb)\+pymysql)://[^/]*/.+")


@dataclass(frozen=True, slots=True)
class Option:
    section: str
    name: str
    kind: str
    default: str | None
    help: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()

    @property
    def allowed(self) -> str:
        """What may stand there, in words."""
        if self.choices:
            return ", ".join(self.choices)
        words = {
            "number": "a whole number",
            "ratio": "a number",
            "flag": "true or false",
            "list": "names with commas between them",
            "labels": "name=value pairs with commas between them",
            "port": "a port from 1 to 65535",
            "ports": "the first and the last port, with a dash between them",
            "address": "one IP address of this host",
            "json": "a JSON object",
            "regex": "a regular expression",
            "origins": "* or https://host:port, with commas between them",
            "traces": "http://host:port or https://host:port, with or without a path",
            "broker": "rabbit://user:password@host:port/vhost",
            "database": "sqlite:////absolute/path, postgresql+psycopg://user:password@host/name or "
            "mysql+pymysql://user:password@host/name",
        }.get(self.kind, "text")
        if self.minimum is not None and self.maximum is not None:
            return f"{words} from {self.minimum:g} to {self.maximum:g}"
        return f"{words} from {self.minimum:g}" if self.minimum is not None else words


QUOTA_NAMES = {"per_volume_gigabytes": "per_volume_size_limit"}  # the one that operators know by another name


def quota_option(resource: str) -> str:
    return QUOTA_NAMES.get(resource, f"quota_{resource}")


def json_object(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("not an object")  # noqa: TRY004 - the one kind of error that a parser raises
    return value


def labels(text: str) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
    labels = {name.strip(): value.strip() for name, _, value in pairs}
    if not all(equals and name.strip() and value.strip() for name, equals, value in pairs) or len(labels) != len(pairs):
        raise ValueError("not name=value pairs")
    return labels


def ports(text: str) -> tuple[int, int]:
    first, last = (int(word) for word in text.split("-"))
    if not 0 < first <= last < 65536:
        raise ValueError("not ports")
    return first, last


def address(text: str) -> str:
    found = ipaddress.ip_address(text)
    if found.is_unspecified or found.is_multicast:
        raise ValueError("not the address of one host")
    return str(found)


def finite(number: float | None) -> float:
    if number is None or not math.isfinite(number):
        raise ValueError("not a finite number")
    return number


def database_url(text: str) -> str:
    if not DATABASE.fullmatch(text):
        raise ValueError("not a database")
    return text


def broker_url(text: str) -> tuple[tuple[str, ...], str, str, str]:
    """Servers as host:port, user, password and virtual host of rabbit://user:password@one:5672,two:5672/vhost."""
    parts = urlsplit(text)
    if parts.scheme not in ("rabbit", "amqp", "pyamqp") or parts.query or parts.fragment:
        raise ValueError("not a broker")
    servers, user, password = [], "", ""
    for one in parts.netloc.split(","):
        account, _, server = one.rpartition("@")
        if account:
            user, _, password = (unquote(part) for part in account.partition(":"))
        found = re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[^:\[\]/]+)(?::(\d+))?", server)
        if found is None or not 0 < int(found[2] or 5672) < 65536:
            raise ValueError("not a server")
        servers.append(f"{found[1]}:{found[2] or 5672}")
    return tuple(servers), user or "guest", password or "guest", unquote(parts.path.removeprefix("/")) or "/"


def origins(text: str) -> list[str]:
    """Origins as browsers send them: scheme and host, and the port unless it is the scheme's own."""
    found = [one.strip() for one in text.split(",") if one.strip()]
    if not all(one == "*" or ORIGIN.fullmatch(one) for one in found):
        raise ValueError("not origins")
    return found


def traces_url(text: str) -> str:
    """The URL that spans are sent to: with the usual path where there is none."""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.port == 0:
        raise ValueError("not a collector")
    return text if parts.path.strip("/") else f"{text.rstrip('/')}/v1/traces"


def without_password(text: str) -> str:
    return re.sub(r"(://|,)[^@/,]*@", r"\1…@", text)


def regex(text: str) -> str:
    re.compile(text)
    return text


# fmt: off
TABLE: tuple[Option, ...] = (
    Option(DEFAULT, "state_path", "text", None, "Directory of the database, the images, the guests and, unless a section says otherwise, the bricks. The command line and BRICKYARD_STATE_DIR win over it."),
    Option(DEFAULT, "host", "text", None, "Name of this host in pools and services. Default: the host name of the machine."),
    Option(DEFAULT, "my_ip", "text", "127.0.0.1", "An address of this host, for other options to refer to as $my_ip."),
    Option(DEFAULT, "osapi_volume_listen", "text", "127.0.0.1", "Address that the API listens on. Other than loopback needs auth_strategy = keystone or token."),
    Option(DEFAULT, "osapi_volume_listen_port", "port", "8776", "Port that the API listens on."),
    Option(DEFAULT, "public_endpoint", "text", None, "URL that links in answers begin with, when a proxy stands in front. Default: as the request came."),
    Option(DEFAULT, "auth_strategy", "choice", "none", "none: every caller is an administrator, on loopback only. token: static tokens, see `brickyard token`. keystone: tokens of an identity service, see [keystone_authtoken]; needs the extra brickyard[keystone]. The older name noauth means none.", choices=("none", "token", "keystone", "noauth")),
    Option(DEFAULT, "debug", "flag", "false", "Whether the log has a line for each step of a flow and for each command that is run, too."),
    Option(DEFAULT, "project_id_regex", "regex", r"[0-9a-f\-]+", "What a project id in a URL looks like."),
    Option(DEFAULT, "osapi_max_limit", "number", "1000", "The longest page of a list.", minimum=1),
    Option(DEFAULT, "default_volume_type", "text", None, "Volume type of requests that name none. Default: none."),
    Option(DEFAULT, "storage_availability_zone", "text", "nova", "Availability zone of backends that name none, and of requests that name none."),
    Option(DEFAULT, "allow_availability_zone_fallback", "flag", "false", "Whether a request for an unknown zone is served in the default one."),
    Option(DEFAULT, "enabled_backends", "list", None, "Sections of this file, one backend each. Default: one raw backend, named local, under the state directory."),
    Option(DEFAULT, "multi_backend_support", "flag", "false", "Older spelling: makes multi_backend_configs count."),
    Option(DEFAULT, "multi_backend_configs", "list", None, "Older spelling of enabled_backends."),
    Option(DEFAULT, "service_down_time", "number", "60", "Seconds without a report after which a host counts as down.", minimum=1),
    Option(DEFAULT, "report_interval", "number", "10", "Seconds between two reports of a host.", minimum=1),
    Option(DEFAULT, "no_snapshot_gb_quota", "flag", "false", "Whether snapshots are left out of the gigabytes quota."),
    Option(DEFAULT, "reservation_ttl", "number", "600", "Seconds after which a reservation that nobody turned into an instance is cleared.", minimum=10),
    Option(DEFAULT, "reserve_hosts", "number", "3", "How many of the best hosts a boot reserves at a time.", minimum=1, maximum=32),
    Option(DEFAULT, "max_attempts", "number", "3", "How often a boot or create is tried on other hosts before it fails.", minimum=1, maximum=32),
    Option(DEFAULT, "conductor_threads", "number", "16", "Flows that run at the same time.", minimum=1, maximum=256),
    Option(DEFAULT, "flow_lease", "number", "60", "Seconds after which the work of a conductor that is silent is taken over by another one.", minimum=4, maximum=3600),
    Option(DEFAULT, "receipt_retention_days", "number", "365", "Days after which the receipt of a wipe is removed; 0: never.", minimum=0, maximum=36500),
    Option(DEFAULT, "image_max_gigabytes", "number", "64", "The largest image file that is accepted, in GiB.", minimum=1),
    Option(DEFAULT, "image_service", "choice", None, "Whose images volumes are made of and become. own: those of `brickyard image`. glance: those of the cloud's image service; needs auth_strategy = keystone. Default: glance where glance_api_servers says where it is, otherwise own.", choices=("own", "glance")),
    Option(DEFAULT, "glance_api_servers", "list", None, "URL of Glance; of several, with commas between them, the next is asked when one does not answer. Default: where the catalog of Keystone says, see glance_catalog_info."),
    Option(DEFAULT, "glance_catalog_info", "text", "image:glance:publicURL", "Which endpoint of the catalog is Glance: type, name and interface; the name does not matter."),
    Option(DEFAULT, "glance_ca_certificates_file", "text", None, "Certificates of the authorities that may have signed Glance's. Default: those that the machine trusts."),
    Option(DEFAULT, "glance_api_insecure", "flag", "false", "true: the certificate of Glance is not checked. For trials only."),
    Option(DEFAULT, "glance_num_retries", "number", "3", "How often a connection to Glance is tried again, and an image fetched or sent again that broke off.", minimum=0, maximum=100),
    Option(DEFAULT, "glance_request_timeout", "number", "60", "Seconds that Glance may take to answer, and between two pieces of an image.", minimum=1, maximum=3600),
    Option(DEFAULT, "os_region_name", "text", None, "The region of Glance in the catalog. Default: the first."),
    Option(DEFAULT, "enable_force_upload", "flag", "false", "Whether a volume in use may be uploaded as an image, with force: as it is at one moment, for which its guest is paused."),
    *(Option(DEFAULT, quota_option(name), "number", str(limit), f"Default quota of a project: {name.replace('_', ' ')}; -1 is unlimited.", minimum=-1) for name, limit in settings.QUOTAS.items()),
    Option(DEFAULT, "backup_driver", "text", "directory", "Where this host keeps backups. directory: below backup_posix_path. s3: in the bucket of backup_s3_store_bucket. none: nowhere. The class names cinder.backup.drivers.posix.PosixBackupDriver and cinder.backup.drivers.s3.S3BackupDriver mean the first two."),
    Option(DEFAULT, "backup_posix_path", "text", None, "Directory of the backups, absolute; its parent must exist. Hosts that mount the same one there restore each other's backups. Default: backups in the state directory, on the disk of the service: better another one."),
    Option(DEFAULT, "backup_container", "text", "volumebackups", "Container of backups whose request names none: a directory, or the first part of the names of objects."),
    Option(DEFAULT, "backup_s3_endpoint_url", "text", None, "URL of the object store. Default: that of Amazon."),
    Option(DEFAULT, "backup_s3_store_bucket", "text", "volumebackups", "The bucket; it is made if it is not there."),
    Option(DEFAULT, "backup_s3_store_access_key", "text", None, "Access key of the object store. Default: what boto3 finds in the environment or its own files."),
    Option(DEFAULT, "backup_s3_store_secret_key", "text", None, "The secret key that belongs to it."),
    Option(DEFAULT, "backup_s3_region", "text", "us-east-1", "Region of the bucket."),
    Option(DEFAULT, "backup_s3_verify_ssl", "flag", "true", "Whether the certificate of the object store is checked."),
    Option(DEFAULT, "backup_s3_ca_cert_file", "text", None, "Certificates of the authorities that may have signed it. Default: those that boto3 brings."),
    Option(DEFAULT, "backup_s3_timeout", "number", "60", "Seconds that the object store may take to connect, and between two pieces of an answer.", minimum=1, maximum=3600),
    Option(DEFAULT, "backup_s3_retry_max_attempts", "number", "4", "How often a request to the object store is tried.", minimum=1, maximum=100),
    Option(DEFAULT, "transport_url", "broker", None, "The message broker (RabbitMQ), for nodes on other hosts: rabbit://user:password@host:5672/vhost, several servers with commas between them. Default: none, the only node is the one in this process."),
    Option(DEFAULT, "rpc_response_timeout", "number", "60", "Seconds without a word after which a node that was asked something counts as silent; its work waits until it is back.", minimum=5),
    Option("oslo_messaging_rabbit", "ssl", "flag", "false", "Whether the broker is reached over TLS. Its certificate is checked, always."),
    Option("oslo_messaging_rabbit", "ssl_ca_file", "text", None, "Certificates of the authorities that may have signed the broker's. Default: those that the machine trusts."),
    Option("oslo_messaging_rabbit", "ssl_cert_file", "text", None, "Our own certificate, where the broker wants one."),
    Option("oslo_messaging_rabbit", "ssl_key_file", "text", None, "The key of that certificate."),
    Option("oslo_messaging_rabbit", "heartbeat_timeout_threshold", "number", "60", "Seconds after which a connection counts as broken on which nothing comes.", minimum=2, maximum=600),
    Option("agents", "management_url", "text", None, "The broker's management API, http(s)://user:password@host:15672, with an account that may make accounts: for `brickyard host enroll`."),
    Option("agents", "token_ttl", "number", "3600", "Seconds for which the token of an enrolment is good.", minimum=60),
    Option("agents", "embedded_node", "flag", "true", "Whether `brickyard serve` is a node itself. false: all nodes are agents on other hosts."),
    Option("database", "connection", "database", None, "URL of the database: postgresql+psycopg://user:password@host/name or mysql+pymysql://… (also mariadb+pymysql). Default: SQLite, brickyard.db in the state directory."),
    Option(KEYSTONE, "auth_url", "text", None, "URL of Keystone that tokens are checked at. Needed with auth_strategy = keystone."),
    Option(KEYSTONE, "www_authenticate_uri", "text", None, "URL of Keystone that clients without a token are told. Default: the public one of the catalog."),
    Option(KEYSTONE, "auth_type", "text", "password", "How this service itself logs in: password, v3applicationcredential or another plug-in of keystoneauth1."),
    Option(KEYSTONE, "username", "text", None, "The service's own user."),
    Option(KEYSTONE, "password", "text", None, "Its password."),
    Option(KEYSTONE, "user_domain_name", "text", None, "The domain of that user."),
    Option(KEYSTONE, "user_domain_id", "text", None, "The same by id."),
    Option(KEYSTONE, "project_name", "text", None, "The project in which it logs in."),
    Option(KEYSTONE, "project_id", "text", None, "The same by id."),
    Option(KEYSTONE, "project_domain_name", "text", None, "The domain of that project."),
    Option(KEYSTONE, "project_domain_id", "text", None, "The same by id."),
    Option(KEYSTONE, "system_scope", "text", None, "all: it logs in to the system, and not to a project."),
    Option(KEYSTONE, "application_credential_id", "text", None, "With auth_type = v3applicationcredential: its id."),
    Option(KEYSTONE, "application_credential_secret", "text", None, "And its secret."),
    Option(KEYSTONE, "interface", "choice", "internal", "Which endpoint of Keystone is used.", choices=("internal", "public", "admin")),
    Option(KEYSTONE, "region_name", "text", None, "In which region."),
    Option(KEYSTONE, "cafile", "text", None, "Certificates of the authorities that may have signed Keystone's. Default: those that the machine trusts."),
    Option(KEYSTONE, "certfile", "text", None, "Our own certificate, where Keystone wants one."),
    Option(KEYSTONE, "keyfile", "text", None, "The key of that certificate."),
    Option(KEYSTONE, "insecure", "flag", "false", "true: the certificate is not checked. For trials only."),
    Option(KEYSTONE, "service_type", "text", "volumev3", "This service's type in the catalog, by which access rules of application credentials name it."),
    Option(KEYSTONE, "service_token_roles", "list", "service", "Roles that make a token in X-Service-Token that of a service."),
    Option(KEYSTONE, "service_token_roles_required", "flag", "true", "false: any valid token counts as that of a service. Then users can take volumes from under their servers."),
    Option(KEYSTONE, "token_cache_time", "number", "300", "Seconds for which a token that was checked is believed; -1: none is.", minimum=-1, maximum=86400),
    Option(KEYSTONE, "memcached_servers", "list", None, "host:port of memcached, for several services to share what they checked; needs the extra brickyard[memcached]. Default: each process remembers by itself."),
    Option(KEYSTONE, "memcache_security_strategy", "choice", "None", "How what lies in memcached is protected: MAC from being changed, ENCRYPT from being read as well.", choices=("None", "MAC", "ENCRYPT")),
    Option(KEYSTONE, "memcache_secret_key", "text", None, "The key for that, the same for all who share it."),
    Option(KEYSTONE, "http_connect_timeout", "number", "30", "Seconds without an answer after which Keystone counts as down.", minimum=1, maximum=600),
    Option(KEYSTONE, "http_request_max_retries", "number", "3", "How often a connection to Keystone is tried again.", minimum=0, maximum=100),
    Option("nova", "interface", "choice", "public", "Which compute endpoint of the catalog is asked whether a server uses a volume, and told when that has grown.", choices=("public", "internal", "admin")),
    Option("nova", "region_name", "text", None, "In which region. Default: the first of the catalog."),
    Option("nova", "cafile", "text", None, "Certificates of the authorities that may have signed its. Default: those that the machine trusts."),
    Option("cors", "allowed_origin", "origins", None, "Pages whose scripts may call the API from a browser, a dashboard for example: https://host:port with commas between them; * for all. Default: none."),
    Option("cors", "allow_credentials", "flag", "true", "Whether the browser may send its cookies and certificates to the API. Not with *."),
    Option("cors", "expose_headers", "list", "X-OpenStack-Request-ID,OpenStack-API-Version", "Headers of answers that such scripts may read."),
    Option("cors", "max_age", "number", "3600", "Seconds for which a browser may remember what is allowed.", minimum=0),
    Option("cors", "allow_methods", "list", "GET,PUT,POST,DELETE,PATCH,HEAD", "Methods that they may use."),
    Option("cors", "allow_headers", "list", "X-Auth-Token,X-OpenStack-Request-ID,OpenStack-API-Version", "Headers that they may send."),
    Option("oslo_middleware", "enable_proxy_headers_parsing", "flag", "false", "Whether Forwarded and X-Forwarded-Proto, -Host, -Port and -Prefix are believed, for links in answers. Only where nobody reaches the API but through a proxy that sets them."),
    Option("oslo_policy", "policy_file", "text", None, "A policy.yaml with rules that differ from the defaults, see docs/reference/policy.md. It is read at the start."),
    Option("tracing", "endpoint", "traces", None, "Where spans of requests go, a collector that takes OTLP over HTTP: http://127.0.0.1:4318. Needs the extra otel. Headers and certificates for it are given in the environment variables of OpenTelemetry, OTEL_EXPORTER_OTLP_HEADERS and so on. Default: none are made."),
    Option("tracing", "sampling_ratio", "ratio", "1.0", "Of which part of the requests there are spans: 0.1 is one of ten. A request that comes with a traceparent is traced as that says.", minimum=0, maximum=1),
    Option("host", "labels", "labels", None, "Where this host stands: zone=z1,rack=r2 and any level between."),
    Option("host", "export_address", "address", None, "Address of this host at which guests of other hosts reach its bricks, by NBD over TLS. Default: its bricks are for its own guests."),
    Option("host", "export_ports", "ports", "10810-11809", "The ports for that, the first and the last: one for each brick and guest."),
    Option("host", "vcpus", "number", None, "Virtual processors for instances. Default: the machine's, less a sixteenth from eight up.", minimum=0),
    Option("host", "memory_mib", "number", None, "Memory for instances, in MiB. Default: the machine's, less a tenth and at least 512.", minimum=0),
    Option("host", "hypervisor", "choice", "qemu", "What runs instances here; none: storage only; memory: a simulation for tests.", choices=("qemu", "memory", "none")),
    Option("host", "acceleration", "choice", "auto", "Of QEMU. auto tries KVM with a small guest, and falls back to emulation.", choices=("auto", "kvm", "tcg")),
    Option(BACKEND, "volume_driver", "text", "raw", "The driver, by our name or by the name that older configurations use."),
    Option(BACKEND, "volume_backend_name", "text", None, "Name that volume types match; sections may share one. Default: the name of the section."),
    Option(BACKEND, "backend_availability_zone", "text", None, "Availability zone of this backend. Default: storage_availability_zone."),
    Option(BACKEND, "target_protocol", "choice", "nbd", "How its volumes reach other hosts. nbd: only instances of ours have them there. nvmet_tcp: besides, whoever attaches with a connector that says its NQN (the compute service, bare metal) gets them by NVMe over TCP, from export_address.", choices=("nbd", "nvmet_tcp")),
    Option(BACKEND, "reserved_percentage", "number", "0", "Percentage of the storage that is never promised.", minimum=0, maximum=100),
    Option(BACKEND, "max_over_subscription_ratio", "ratio", "1.0", "How often thin storage may be promised. 1.0: never more than there is.", minimum=1, maximum=1000),
    Option(BACKEND, "thin_warn_percent", "number", "80", "Of a thin pool: how full it really is, in data or metadata, when an administrator is told. It grows from here where it can.", minimum=10, maximum=98),
    Option(BACKEND, "thin_freeze_percent", "number", "90", "From here nothing new is made in it: no volume, clone or snapshot, and no volume there is extended.", minimum=10, maximum=99),
    Option(BACKEND, "thin_pause_percent", "number", "95", "From here the guests that write to it are paused, until there is room again.", minimum=10, maximum=100),
    Option(BACKEND, "image_volume_cache_enabled", "flag", "false", "Whether its pool keeps the images that volumes are made of, so that the second volume of an image is a clone. What is kept takes of the pool's room, and goes, the least recently used first, when volumes need it."),
    Option(BACKEND, "image_volume_cache_max_size_gb", "number", "0", "At most so many GiB are kept; 0: as many as fit.", minimum=0),
    Option(BACKEND, "image_volume_cache_max_count", "number", "0", "At most so many images are kept; 0: as many as fit.", minimum=0),
    Option(BACKEND, "extra_capabilities", "json", "{}", "Further capabilities for extra specs to match."),
)

PATH = ("path", "Directory of the bricks, absolute; its parent must exist. Default: bricks/<section> in the state directory.")
GROUP = (
    ("volume_group", "Name of the volume group. Default: cinder-volumes."),
    ("volume_group_uuid", "Its uuid: a group of the same name that is another one is refused. Default: not checked across restarts."),
    ("devices", "Absolute paths with commas between them; LVM looks at no other device. Default: where the group was found."),
    ("raid1", "true: what is made is mirrored on two devices. Default: false."),
    ("lvm_type", "default, or thin, which means the driver lvm-thin."),
    ("wipe_rate_mib", "At most so many MiB per second are written to wipe volumes, and disks that are drained. Default: no limit."),
)
DISKS = (
    ("devices", "Disks, as absolute paths with commas between them, that `brickyard pool create` prepared for this driver. Needed."),
    ("wipe_rate_mib", "At most so many MiB per second are written to wipe. Default: no limit."),
)
# Options of the drivers: (name, help) each. The drivers themselves check the values when they load.
DRIVERS: dict[str, tuple[tuple[str, str], ...]] = {
    "raw": (PATH, ("preallocate", "true: a volume takes its whole size at once. Default: false, sparse files.")),
    "qcow2": (PATH, ("preallocation", "off, metadata, falloc or full. Default: off."), ("cluster_size", "A power of two from 512 to 2M. Default: 64k.")),
    "vdi": (PATH,),
    "lvm": GROUP,
    "lvm-thin": (
        *GROUP,
        ("thin_pool", "Name of the thin pool. Default: <volume_group>-pool."),
        ("make_thin_pool", "true: make the pool when it is not there. Default: false."),
        ("data_percent_max", "How full the pool may really be before nothing more is promised. Default: 90."),
        ("metadata_percent_max", "The same of its metadata. Default: 80."),
        ("autoextend_threshold", "How full the pool, or its metadata, is when it grows by itself. Default: 75."),
        ("autoextend_percent", "By how much of its size it grows then. Default: 0, never."),
        ("autoextend_keep_gib", "What is left free in the group when it grows, in GiB. Default: 0."),
    ),
    "disk": (*DISKS, ("available_devices", "Older spelling of devices.")),
    "partition": DISKS,
    "memory": (("capacity_gib", "Size of the simulated storage. Default: 1024."), ("preallocate", "true: behaves as thick storage. Default: false.")),
}
# fmt: on

OTHER_PROTOCOLS = ("iscsi", "iser", "nvmet_rdma")  # of target_protocol, in other services' files
# Options of other services' files for local storage. They are not misspelt, and mean nothing here: a warning says so.
# fmt: off
UNUSED = (
    "backend_host", "chap_password", "chap_username", "disk_geometry", "filter_function", "goodness_function",
    "image_upload_use_cinder_backend", "iscsi_helper", "iscsi_ip_address", "iscsi_protocol", "lvm_conf_file",
    "lvm_mirrors", "lvm_share_target", "lvm_suppress_fd_warnings", "num_volume_device_scan_tries", "nvmet_ns_id",
    "nvmet_port_id", "report_discard_supported", "target_helper", "target_ip_address", "target_port", "target_prefix",
    "target_secondary_ip_addresses", "use_chap_auth", "volume_clear", "volume_clear_ionice",
    "volume_clear_size", "volume_dd_blocksize", "volumes_dir", "volume_name_template", "snapshot_name_template",
)
# fmt: on


def of_section(section: str) -> dict[str, Option]:
    return {option.name: option for option in TABLE if option.section == section}


def of_driver(driver: str) -> tuple[str, ...]:
    """Names of the driver's own options."""
    return tuple(name for name, _help in DRIVERS.get(driver, ()))


def meant(name: str, known: Iterable[str]) -> str | None:
    """The option that a misspelt name is close to."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=0.75)), None)
