"""Read the configuration: INI files in the form that operators know, into frozen values for everything below.

No file is needed. A problem names the file, the section, the option and what is allowed; an option of another service
that means nothing here is a warning, and a misspelt option of ours is an error. `ini.py` reads
the files; `options.py` has the table of what may be in them.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from brickyard import config_backups, ini, options
from brickyard.brick import registry
from brickyard.core import errors, fullness, image_cache, settings
from brickyard.ini import Files

BACKEND_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")  # it becomes a part of host@backend#pool, and of a path
MIB = 1024 * 1024
GIB = 1024**3


def load(
    *,
    state_dir: Path | None = None,
    files: Sequence[Path] = (),
    listen: str | None = None,
    port: int | None = None,
    broker: str | None = None,
    environ: Mapping[str, str] = os.environ,
) -> settings.Settings:
    """Settings from the command line's answers, the environment and the files, in this order of strength."""
    if state_dir is None and environ.get("BRICKYARD_STATE_DIR"):
        state_dir = Path(environ["BRICKYARD_STATE_DIR"])
    read = ini.read(files or _usual_files(state_dir, environ))
    if state_dir is None:
        state_dir = Path(read.value("DEFAULT", "state_path") or _usual_state_dir(environ))
    state_dir = Path(os.path.abspath(state_dir.expanduser()))
    read.sections.setdefault("DEFAULT", {})["state_path"] = str(state_dir)  # what $state_path means, whoever said it
    if broker:
        read.sections["DEFAULT"]["transport_url"] = broker.replace("$", "$$")
    service = _service(read)
    node = _node(read, state_dir, service)
    _unknown(read, {backend.name for backend in node.backends})
    host = listen or read.value("DEFAULT", "osapi_volume_listen")
    if service.auth_strategy == "none" and not _is_loopback(host):
        read.wrong(
            "DEFAULT",
            f"auth_strategy none trusts every caller, and {host} can be reached from elsewhere: "
            "set auth_strategy = token or keystone, or listen on 127.0.0.1",
            name="auth_strategy",
        )
    return settings.Settings(
        state_dir=state_dir,
        listen_host=host,
        listen_port=port or read.value("DEFAULT", "osapi_volume_listen_port"),
        database_url=_database_url(read, state_dir),
        node=node,
        service=service,
        agents=_agents(read),
        run_node=read.value("agents", "embedded_node"),
        debug=read.value("DEFAULT", "debug"),
        tracing=_tracing(read),
        warnings=tuple(dict.fromkeys(read.warnings)),
    )


# files -----------------------------------------------------------------------------------------------------------


def _usual_state_dir(environ: Mapping[str, str]) -> str:
    return "/var/lib/brickyard" if os.geteuid() == 0 else f"{environ.get('HOME', '~')}/.local/state/brickyard"


def _usual_files(state_dir: Path | None, environ: Mapping[str, str]) -> list[Path]:
    """The file that is read when none is named: the environment's, the state directory's, or the one in /etc."""
    if environ.get("BRICKYARD_CONFIG"):
        return [Path(environ["BRICKYARD_CONFIG"])]
    own = (state_dir or Path(_usual_state_dir(environ)).expanduser()) / "brickyard.conf"
    return [path for path in (own, Path("/etc/brickyard/brickyard.conf")) if path.is_file()][:1]


def _unknown(read: Files, backends: set[str]) -> None:
    """Warn of what stands in the files and nobody reads: it may be another service's, or misspelt."""
    sections = {option.section for option in options.TABLE} - {options.BACKEND}
    for section, values in read.sections.items():
        if section in backends or section == "backend_defaults":
            continue
        if section not in sections:
            if any(name in values for name in ("volume_driver", "path")):
                read.warnings.append(f"section [{section}] looks like a backend; enabled_backends does not name it")
            continue
        known = {*options.of_section(section), *(_single(read) if section == "DEFAULT" else ())}
        for name in sorted(set(values) - known):
            close = options.meant(name, known)
            said = f"[{section}] {name} is not an option" + (f"; is {close} meant?" if close else ".")
            if close == "auth_strategy":  # misspelt, it opens what was meant to be closed
                raise errors.Invalid(said, field=name)
            read.warnings.append(f"{said} It is not used.")


# the service -----------------------------------------------------------------------------------------------------


def _service(read: Files) -> settings.Service:
    def default(name: str) -> Any:
        return read.value("DEFAULT", name)

    if (strategy := default("auth_strategy")) == "noauth":
        read.warnings.append("auth_strategy noauth is an older name: write none")
        strategy = "none"
    if strategy == "keystone" and not read.value(options.KEYSTONE, "auth_url"):
        read.wrong(
            options.KEYSTONE, "auth_url is missing: auth_strategy is keystone, so say where it is", name="auth_url"
        )
    policy_file = read.value("oslo_policy", "policy_file")
    if policy_file is not None and not Path(policy_file).is_file():
        read.wrong("oslo_policy", f"policy_file is {policy_file!r}, and there is no such file", name="policy_file")
    if default("service_down_time") <= default("report_interval"):
        read.wrong("DEFAULT", "service_down_time must be longer than report_interval, or every host flaps")
    return settings.Service(
        default_volume_type=default("default_volume_type"),
        availability_zone=default("storage_availability_zone"),
        allow_availability_zone_fallback=default("allow_availability_zone_fallback"),
        max_limit=default("osapi_max_limit"),
        public_endpoint=default("public_endpoint"),
        project_id_regex=default("project_id_regex"),
        auth_strategy=strategy,
        keystone={name: read.value(options.KEYSTONE, name) for name in options.of_section(options.KEYSTONE)},
        cors=_cors(read),
        proxy_headers=read.value("oslo_middleware", "enable_proxy_headers_parsing"),
        compute=settings.Compute(*(read.value("nova", name) for name in ("interface", "region_name", "cafile"))),
        glance=_glance(read, strategy),
        no_snapshot_gb_quota=default("no_snapshot_gb_quota"),
        enable_force_upload=default("enable_force_upload"),
        quotas={name: default(options.quota_option(name)) for name in settings.QUOTAS},
        policy_file=Path(policy_file) if policy_file else None,
        service_down_time_s=default("service_down_time"),
        report_interval_s=default("report_interval"),
        reservation_ttl_s=default("reservation_ttl"),
        reserve_hosts=default("reserve_hosts"),
        max_attempts=default("max_attempts"),
        conductor_threads=default("conductor_threads"),
        flow_lease_s=default("flow_lease"),
        receipt_retention_days=default("receipt_retention_days"),
        image_max_bytes=default("image_max_gigabytes") * GIB,
    )


def _glance(read: Files, strategy: str) -> settings.Glance | None:
    def default(name: str) -> Any:
        return read.value("DEFAULT", name)

    servers = tuple(default("glance_api_servers") or ())
    if (default("image_service") or ("glance" if servers else "own")) == "own":
        return None
    if strategy != "keystone":
        said = f"image_service is glance, which needs auth_strategy = keystone, and that is {strategy}"
        read.wrong("DEFAULT", said, name="image_service")
    for url in servers:
        if not url.startswith(("http://", "https://")):
            said = f"glance_api_servers has {url!r}; allowed: http://host:port or https://host:port"
            read.wrong("DEFAULT", said, name="glance_api_servers")
    kind, _, interface = default("glance_catalog_info").rpartition(":")
    if kind.partition(":")[0] != "image" or interface not in ("publicURL", "internalURL", "adminURL"):
        said = (
            f"glance_catalog_info is {default('glance_catalog_info')!r}; allowed: image:name:publicURL, or internalURL"
        )
        read.wrong("DEFAULT", said, name="glance_catalog_info")
    return settings.Glance(
        servers=servers,
        interface=interface.removesuffix("URL"),
        region=default("os_region_name"),
        ca_file=default("glance_ca_certificates_file"),
        insecure=default("glance_api_insecure"),
        retries=default("glance_num_retries"),
        timeout_s=default("glance_request_timeout"),
    )


def _cors(read: Files) -> settings.Cors:
    def words(name: str) -> tuple[str, ...]:
        return tuple(read.value("cors", name) or ())

    return settings.Cors(
        allowed_origins=words("allowed_origin"),
        allow_credentials=read.value("cors", "allow_credentials"),
        expose_headers=words("expose_headers"),
        allow_methods=words("allow_methods"),
        allow_headers=words("allow_headers"),
        max_age_s=read.value("cors", "max_age"),
    )


def _agents(read: Files) -> settings.Agents | None:
    found = read.value("DEFAULT", "transport_url")
    if found is None:
        if not read.value("agents", "embedded_node"):
            read.wrong("agents", "embedded_node is false, and without transport_url there is no other node: set it")
        return None

    def rabbit(name: str) -> Any:
        return read.value("oslo_messaging_rabbit", name)

    files = {name: rabbit(f"ssl_{name}") for name in ("ca_file", "cert_file", "key_file")}
    for name, path in files.items():
        if path is not None and not Path(path).is_file():
            said = f"ssl_{name} is {path!r}, and there is no such file"
            read.wrong("oslo_messaging_rabbit", said, name=f"ssl_{name}")
    servers, user, password, virtual_host = found
    tls = settings.Tls(**files) if rabbit("ssl") else None
    return settings.Agents(
        broker=settings.Broker(
            servers, user, password, virtual_host, tls=tls, heartbeat_s=rabbit("heartbeat_timeout_threshold")
        ),
        patience_s=read.value("DEFAULT", "rpc_response_timeout"),
        management_url=read.value("agents", "management_url"),
        token_ttl_s=read.value("agents", "token_ttl"),
    )


def _database_url(read: Files, state_dir: Path) -> str:
    url: str | None = read.value("database", "connection")
    if url is None:
        return f"sqlite:///{state_dir / 'brickyard.db'}"
    return url


def _tracing(read: Files) -> settings.Tracing | None:
    endpoint, ratio = (read.value("tracing", name) for name in ("endpoint", "sampling_ratio"))
    return settings.Tracing(endpoint, ratio) if endpoint else None


def _is_loopback(host: str) -> bool:
    return host == "localhost" or re.fullmatch(r"127(\.\d{1,3}){3}|::1", host) is not None


# the node --------------------------------------------------------------------------------------------------------


def _node(read: Files, state_dir: Path, service: settings.Service) -> settings.Node:
    host = read.value("DEFAULT", "host") or socket.gethostname()
    if re.search(r"[@#\s/]", host) or len(host) > 190:
        read.wrong("DEFAULT", f"host is {host!r}; allowed: a name without @, #, / and spaces", name="host")
    vcpus, memory_mib = read.value("host", "vcpus"), read.value("host", "memory_mib")
    address = read.value("host", "export_address")
    cpus, memory = os.cpu_count() or 1, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // MIB
    return settings.Node(
        host=host,
        labels=read.value("host", "labels") or {},
        vcpus=cpus - cpus // 16 - (1 if 8 <= cpus < 16 else 0) if vcpus is None else vcpus,
        memory_mib=max(0, memory - max(512, memory // 10)) if memory_mib is None else memory_mib,
        acceleration=read.value("host", "acceleration"),
        hypervisor=read.value("host", "hypervisor"),
        backends=_backends(read, state_dir, service.availability_zone),
        backups=config_backups.read(read, state_dir),
        exports=settings.Exports(address, *read.value("host", "export_ports")) if address else None,
    )


def _backends(read: Files, state_dir: Path, zone: str) -> tuple[settings.Backend, ...]:
    sections = _sections(read)
    found = []
    for name, texts in sections.items():
        label = name if name in read.sections else "DEFAULT"
        where = f"{', '.join(read.names) or 'defaults'}: [{label}]"
        found.append(backend(where, name, texts, state_dir=state_dir, zone=zone, warnings=read.warnings))
    paths: dict[str, str] = {}
    for one in found:
        path = os.path.realpath(one.options["path"]) if "path" in one.options else None
        if path is not None and path in paths:
            read.wrong(one.name, f"path is {path!r}, which is the path of [{paths[path]}] already: give each its own")
        if path is not None:
            paths[path] = one.name
    return tuple(found)


def _sections(read: Files) -> dict[str, dict[str, str]]:
    """Backends by name, with the texts of their options: sections of `enabled_backends`, or one of [DEFAULT]."""
    names = read.value("DEFAULT", "enabled_backends")
    older = read.value("DEFAULT", "multi_backend_configs")
    if older and not names and not read.value("DEFAULT", "multi_backend_support"):
        read.warnings.append("multi_backend_configs does not count: multi_backend_support is not true")
    elif older and not names:
        read.warnings.append("multi_backend_support and multi_backend_configs are older: write enabled_backends")
        names = older
    elif older and older != names:
        read.warnings.append("multi_backend_configs does not count beside enabled_backends")
    single = _single(read)
    if not names:
        if "volume_driver" not in single:
            return {"local": {}}
        read.warnings.append(
            "volume_driver in [DEFAULT] makes one backend named default: better name it by enabled_backends"
        )
        return {"default": single}
    if "volume_driver" in single:
        read.warnings.append("volume_driver in [DEFAULT] does not count beside enabled_backends")
    if len(set(names)) != len(names):
        read.wrong("DEFAULT", f"enabled_backends names a section twice: {', '.join(names)}", name="enabled_backends")
    shared = read.texts("backend_defaults")
    if "path" in shared:
        read.wrong("backend_defaults", "path cannot be shared: give each backend its own", name="path")
    return {name: _section(read, name, shared) for name in names}


def _section(read: Files, name: str, shared: Mapping[str, str]) -> dict[str, str]:
    if name not in read.sections:
        others = sorted(set(read.sections) - {option.section for option in options.TABLE} - {"backend_defaults"})
        there = f"the sections are {', '.join(others)}" if others else "there is no such section"
        read.wrong("DEFAULT", f"enabled_backends names {name!r}, and {there}; add [{name}]", name="enabled_backends")
    own = read.texts(name)
    driver = own.get("volume_driver") or shared.get("volume_driver") or "raw"
    fitting = {*options.of_section(options.BACKEND), *options.of_driver(_canonical(driver))}
    return {**{key: text for key, text in shared.items() if key in fitting}, **own}


def _canonical(driver: str) -> str:
    try:
        return registry.canonical(driver).name
    except errors.Invalid:
        return driver  # refused in `backend`, which can say where it stands


def _single(read: Files) -> dict[str, str]:
    """What [DEFAULT] says of the one backend that it describes."""
    known = {*options.of_section(options.BACKEND), *options.UNUSED}
    known.update(name for driver in options.DRIVERS for name in options.of_driver(driver))
    return {name: read.text("DEFAULT", name) or "" for name in read.sections.get("DEFAULT", {}) if name in known}


def backend(
    where: str, name: str, texts: Mapping[str, str], *, state_dir: Path, zone: str, warnings: list[str]
) -> settings.Backend:
    """One backend from the texts of its options; also for those that are made through the API."""
    if not BACKEND_NAME.fullmatch(name):
        raise errors.Invalid(
            f"{where} is no name for a backend: {name!r}; allowed: letters, digits, dots, dashes, underscores",
            field="name",
        )
    table = options.of_section(options.BACKEND)
    if texts.get("max_over_subscription_ratio") == "auto":
        warnings.append(f"{where} max_over_subscription_ratio auto is not used: 1.0 counts")
        texts = {**texts, "max_over_subscription_ratio": "1.0"}
    if texts.get("target_protocol") in options.OTHER_PROTOCOLS:
        warnings.append(f"{where} target_protocol {texts['target_protocol']} is not used: nbd counts")
        texts = {**texts, "target_protocol": "nbd"}
    values = {option.name: ini.value(where, option, texts.get(option.name)) for option in table.values()}
    try:
        canonical = registry.canonical(values["volume_driver"])
    except errors.Invalid as error:
        raise errors.Invalid(f"{where} volume_driver: {error.message}", field="volume_driver", **error.facts) from error
    if canonical.warning:
        warnings.append(f"{where} {canonical.warning}")
    fullness.thresholds(values, where)
    own = _driver_options(where, canonical.name, {k: v for k, v in texts.items() if k not in table}, warnings)
    if "path" in options.of_driver(canonical.name):
        own.setdefault("path", str(state_dir / "bricks" / name))
    return settings.Backend(
        name=name,
        driver=canonical.name,
        volume_backend_name=values["volume_backend_name"] or name,
        availability_zone=values["backend_availability_zone"] or zone,
        options=own,
        reserved_percentage=values["reserved_percentage"],
        max_over_subscription_ratio=values["max_over_subscription_ratio"],
        extra_capabilities=values["extra_capabilities"],
        **{name: values[name] for name in ("target_protocol", *fullness.OPTIONS, *image_cache.OPTIONS)},
    )


def _driver_options(where: str, driver: str, texts: Mapping[str, str], warnings: list[str]) -> dict[str, str]:
    """The driver's own options. Another driver's, or a misspelt one, is an error: silence would lose what was meant."""
    if driver not in options.DRIVERS:
        return dict(texts)
    mine = options.of_driver(driver)
    known = {
        *options.of_section(options.BACKEND),
        *(name for one in options.DRIVERS for name in options.of_driver(one)),
    }
    kept = {}
    for name, text in texts.items():
        close = None if name in options.UNUSED else options.meant(name, known)
        if name in mine:
            kept[name] = text
        elif close:
            hint = f"; is {close} meant?" if close != name else ""
            allowed = ", ".join((*mine, *options.of_section(options.BACKEND)))
            raise errors.Invalid(
                f"{where} {name} is not an option of driver {driver}{hint} Allowed: {allowed}",
                field=name,
                allowed=allowed,
            )
        else:
            warnings.append(f"{where} {name} is not an option of Brickyard and is not used")
    return kept
