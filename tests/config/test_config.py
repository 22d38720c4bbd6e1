"""What an operator may write, what it means, and what a mistake is answered with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from brickyard import config, ini, options
from brickyard.brick import registry
from brickyard.core import errors
from brickyard.core.settings import QUOTAS, Settings

Load = Callable[..., Settings]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def write_and_load(text: str = "", **more: object) -> Settings:
        file = tmp_path / "brickyard.ini"
        file.write_text(text)
        return config.load(state_dir=tmp_path / "state", files=[file], environ={}, **more)  # type: ignore[arg-type]

    return write_and_load


def refusal(load: Load, text: str) -> str:
    with pytest.raises(errors.Invalid) as caught:
        load(text)
    return caught.value.message


# no file ---------------------------------------------------------------------------------------------------------


def test_no_file_gives_one_raw_backend_on_loopback(tmp_path: Path) -> None:
    settings = config.load(state_dir=tmp_path, environ={})
    [backend] = settings.node.backends
    assert (backend.name, backend.driver, backend.options) == ("local", "raw", {"path": str(tmp_path / "bricks/local")})
    assert (settings.listen_host, settings.listen_port, settings.service.auth_strategy) == ("127.0.0.1", 8776, "none")
    assert settings.database_url == f"sqlite:///{tmp_path}/brickyard.db"
    assert backend.max_over_subscription_ratio == 1.0
    assert settings.warnings == ()


def test_what_is_nearer_wins_for_the_state_directory(tmp_path: Path) -> None:
    file = tmp_path / "x.conf"
    file.write_text("[DEFAULT]\nstate_path = /from/file\n")
    environ = {"BRICKYARD_STATE_DIR": "/from/environment"}
    assert config.load(state_dir=Path("/given"), files=[file], environ=environ).state_dir == Path("/given")
    assert config.load(files=[file], environ=environ).state_dir == Path("/from/environment")
    assert config.load(files=[file], environ={}).state_dir == Path("/from/file")


def test_a_file_in_the_state_directory_is_found(tmp_path: Path) -> None:
    (tmp_path / "brickyard.conf").write_text("[DEFAULT]\nhost = found\n")
    assert config.load(state_dir=tmp_path, environ={}).node.host == "found"


def test_the_environment_may_name_the_file(tmp_path: Path) -> None:
    (tmp_path / "other.conf").write_text("[DEFAULT]\nhost = other\n")
    environ = {"BRICKYARD_CONFIG": str(tmp_path / "other.conf")}
    assert config.load(state_dir=tmp_path, environ=environ).node.host == "other"


def test_a_later_file_wins_option_by_option(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("[DEFAULT]\nhost = a\nosapi_max_limit = 5\n")
    (tmp_path / "b").write_text("[DEFAULT]\nhost = b\n")
    settings = config.load(state_dir=tmp_path, files=[tmp_path / "a", tmp_path / "b"], environ={})
    assert (settings.node.host, settings.service.max_limit) == ("b", 5)


# backends --------------------------------------------------------------------------------------------------------

TWO = """
[DEFAULT]
enabled_backends = fast, bulk
[backend_defaults]
reserved_percentage = 5
cluster_size = 128k
[fast]
volume_driver = qcow2
volume_backend_name = SSD
[bulk]
path = /srv/bulk
reserved_percentage = 0
extra_capabilities = {"color": "blue"}
backend_availability_zone = z2
"""


def test_enabled_backends_name_their_sections(load: Load) -> None:
    fast, bulk = load(TWO).node.backends
    assert (fast.name, fast.driver, fast.volume_backend_name, fast.availability_zone) == (
        "fast",
        "qcow2",
        "SSD",
        "nova",
    )
    assert (bulk.name, bulk.driver, bulk.volume_backend_name, bulk.availability_zone) == ("bulk", "raw", "bulk", "z2")
    assert (bulk.options["path"], bulk.extra_capabilities) == ("/srv/bulk", {"color": "blue"})


def test_backend_defaults_reach_only_the_drivers_that_have_the_option(load: Load) -> None:
    fast, bulk = load(TWO).node.backends
    assert (fast.reserved_percentage, fast.options["cluster_size"]) == (5, "128k")
    assert bulk.reserved_percentage == 0
    assert "cluster_size" not in bulk.options


def test_driver_options_of_DEFAULT_do_not_leak_into_sections(load: Load) -> None:
    settings = load("[DEFAULT]\nenabled_backends = a\npreallocate = true\nreserved_percentage = 9\n[a]\n")
    assert "preallocate" not in settings.node.backends[0].options
    assert settings.node.backends[0].reserved_percentage == 0


def test_the_older_spelling_works_and_is_warned_of(load: Load) -> None:
    settings = load(
        "[DEFAULT]\nmulti_backend_support = True\nmulti_backend_configs = a,b\n[a]\n[b]\nvolume_driver = vdi\n"
    )
    assert [(b.name, b.driver) for b in settings.node.backends] == [("a", "raw"), ("b", "vdi")]
    assert any("enabled_backends" in warning for warning in settings.warnings)


def test_the_older_spelling_needs_its_switch(load: Load) -> None:
    settings = load("[DEFAULT]\nmulti_backend_configs = a\n[a]\n")
    assert [b.name for b in settings.node.backends] == ["local"]
    assert any("multi_backend_support" in warning for warning in settings.warnings)


def test_enabled_backends_win_over_the_older_spelling(load: Load) -> None:
    text = "[DEFAULT]\nenabled_backends = b\nmulti_backend_support = true\nmulti_backend_configs = a\n[a]\n[b]\n"
    assert [b.name for b in load(text).node.backends] == ["b"]


def test_volume_driver_in_DEFAULT_is_one_backend_with_the_options_of_DEFAULT(load: Load) -> None:
    [backend] = load("[DEFAULT]\nvolume_driver = qcow2\npath = /srv/x\ncluster_size = 2M\n").node.backends
    assert (backend.name, backend.driver) == ("default", "qcow2")
    assert backend.options == {"path": "/srv/x", "cluster_size": "2M"}


@pytest.mark.parametrize("older", sorted(registry.FOREIGN))
def test_older_driver_names_are_mapped_with_a_warning(load: Load, older: str) -> None:
    option = "available_devices" if registry.FOREIGN[older] == "disk" else "volume_group"
    settings = load(f"[DEFAULT]\nvolume_driver = {older}\n{option} = /dev/vdb\n")
    assert settings.node.backends[0].driver == registry.FOREIGN[older]
    assert settings.node.backends[0].options[option] == "/dev/vdb"
    assert any(older in warning for warning in settings.warnings)


@pytest.mark.parametrize("driver", [*sorted(registry.REMOTE), "acme.Driver", "RAW", "../raw"])
def test_unknown_drivers_are_refused_by_name(load: Load, driver: str) -> None:
    said = refusal(load, f"[DEFAULT]\nenabled_backends = a\n[a]\nvolume_driver = {driver}\n")
    assert driver in said and "[a]" in said and "raw, qcow2, vdi" in said


@pytest.mark.parametrize("driver", sorted(registry.DRIVERS))
def test_the_table_has_the_options_that_the_driver_takes(driver: str) -> None:
    given = {"path": "/nowhere"} if driver != "memory" else {}
    with pytest.raises(errors.Invalid) as caught:
        registry.load(driver, {**given, "no_such_option": "x"})
    assert sorted(caught.value.facts["allowed"].split(", ")) == sorted(options.of_driver(driver))


CLOUD = "[keystone_authtoken]\nauth_url = http://k\n[DEFAULT]\nauth_strategy = keystone\n"

# mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[DEFAULT]\nenabled_backends = a\n", ["a", "add [a]"]),
        ("[DEFAULT]\nenabled_backends = a\n[b]\npath = /x\n", ["sections are b"]),
        ("[DEFAULT]\nenabled_backends = a,a\n[a]\n", ["twice"]),
        ("[DEFAULT]\nenabled_backends = a@b\n[a@b]\n", ["a@b", "letters"]),
        ("[DEFAULT]\nenabled_backends = ..\n[..]\n", ["letters"]),
        ("[DEFAULT]\nenabled_backends = a\n[a]\npaht = /x\n", ["[a]", "paht", "path", "preallocate"]),
        ("[DEFAULT]\nenabled_backends = a\n[a]\ncluster_size = 2M\n", ["[a]", "cluster_size", "raw", "preallocate"]),
        ("[DEFAULT]\nenabled_backends = a\n[a]\nreserved_percentage = 101\n", ["[a]", "101", "from 0 to 100"]),
        ("[DEFAULT]\nenabled_backends = a\n[a]\nreserved_percentage = lots\n", ["lots"]),
        ("[DEFAULT]\nenabled_backends = a\n[a]\nmax_over_subscription_ratio = 0.5\n", ["0.5", "from 1"]),
        ("[DEFAULT]\nenabled_backends = a\n[a]\nmax_over_subscription_ratio = nan\n", ["nan"]),
        ("[DEFAULT]\nenabled_backends = a\n[a]\nmax_over_subscription_ratio = 1e308\n", ["1e308", "to 1000"]),
        ("[DEFAULT]\nenabled_backends = a\n[a]\nthin_warn_percent = 95\n", ["[a] thin_warn_percent 95", "lower than"]),
        ("[DEFAULT]\nenabled_backends = a\n[a]\nthin_pause_percent = 101\n", ["[a]", "101", "from 10 to 100"]),
        ("[DEFAULT]\nenabled_backends = a\n[a]\nextra_capabilities = [1]\n", ["extra_capabilities", "JSON object"]),
        ("[DEFAULT]\nenabled_backends = a,b\n[a]\npath = /x\n[b]\npath = /x/../x\n", ["[b]", "[a]", "/x"]),
        ("[DEFAULT]\nenabled_backends = a\n[backend_defaults]\npath = /x\n[a]\n", ["backend_defaults", "path"]),
        ("[DEFAULT]\nosapi_volume_listen_port = 0\n", ["osapi_volume_listen_port", "65535"]),
        ("[DEFAULT]\nosapi_max_limit = -1\n", ["osapi_max_limit", "from 1"]),
        ("[DEFAULT]\nquota_volumes = -2\n", ["quota_volumes", "from -1"]),
        ("[DEFAULT]\nno_snapshot_gb_quota = perhaps\n", ["perhaps", "true or false"]),
        ("[DEFAULT]\nhost = a@b\n", ["a@b", "without @"]),
        ("[DEFAULT]\nhost = $nothing\n", ["$nothing", "not set"]),
        ("[DEFAULT]\nhost = $host\n", ["itself"]),
        ("[DEFAULT]\nproject_id_regex = (\n", ["project_id_regex", "regular expression"]),
        ("[DEFAULT]\nauth_strategy = guess\n", ["guess", "none, token, keystone"]),
        ("[DEFAULT]\nservice_down_time = 5\n", ["service_down_time", "report_interval"]),
        ("[database]\nconnection = mysql://u:secret@h/x\n", ["connection", "mysql", "sqlite:////absolute/path"]),
        ("[DEFAULT]\nauth_strategy = keystone\n", ["[keystone_authtoken]", "auth_url is missing"]),
        ("[DEFAULT]\nglance_api_servers = http://h:9292\n", ["image_service", "auth_strategy = keystone"]),
        (CLOUD + "glance_api_servers = file:///x\n", ["glance_api_servers", "https://host:port"]),
        (CLOUD + "image_service = glance\nglance_catalog_info = x\n", ["image:name:publicURL"]),
        ("[cors]\nallowed_origin = dashboard.example\n", ["[cors] allowed_origin", "https://host:port"]),
        ("[keystone_authtoken]\ninsecure = perhaps\n", ["[keystone_authtoken] insecure", "true or false"]),
        ("[oslo_policy]\npolicy_file = /no/such/file\n", ["policy_file", "/no/such/file"]),
        ("[host]\nlabels = zone\n", ["labels", "name=value"]),
        ("[host]\nlabels = zone=a,zone=b\n", ["labels"]),
        ("[host]\nacceleration = hvf\n", ["acceleration", "auto, kvm, tcg"]),
        ("[host]\nvcpus = many\n", ["[host]", "vcpus"]),
        ("volume_driver = raw\n", ["Section"]),
        ("[DEFAULT]\nnonsense\n", ["nonsense"]),
    ],
)  # fmt: skip
def test_a_mistake_is_answered_with_where_and_what_is_allowed(load: Load, text: str, words: list[str]) -> None:
    said = refusal(load, text)
    assert "brickyard.ini" in said
    for word in words:
        assert word in said, said


def test_a_password_of_the_database_is_not_repeated(load: Load) -> None:
    assert "secret" not in refusal(load, "[database]\nconnection = mysql://u:secret@h/x\n")


def test_the_database_may_be_a_server(load: Load) -> None:
    url = "mysql+pymysql://u:secret@h/x"
    assert load(f"[database]\nconnection = {url}\n").database_url == url


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(errors.Invalid, match="missing.conf"):
        config.load(state_dir=tmp_path, files=[tmp_path / "missing.conf"], environ={})


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(errors.Invalid, match="binary is not a configuration file"):
        config.load(state_dir=tmp_path, files=[tmp_path / "binary"], environ={})


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "storage.example"])
def test_everybody_is_trusted_on_loopback_only(load: Load, host: str) -> None:
    assert "auth_strategy = token" in refusal(load, f"[DEFAULT]\nosapi_volume_listen = {host}\n")
    with pytest.raises(errors.Invalid):
        load("", listen=host)
    assert load(f"[DEFAULT]\nosapi_volume_listen = {host}\nauth_strategy = token\n").listen_host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_loopback_has_several_names(load: Load, host: str) -> None:
    assert load(f"[DEFAULT]\nosapi_volume_listen = {host}\n").listen_host == host


# what is not ours ------------------------------------------------------------------------------------------------


def test_options_of_other_services_are_warnings(load: Load) -> None:
    settings = load(
        "[DEFAULT]\nenabled_backends = a\nrpc_backend = rabbit\nlock_path = $state_path/locks\n"
        "[keystone_authtoken]\nusername = cinder\n"
        "[a]\nvolume_driver = raw\ntarget_helper = lioadm\nvolume_clear = zero\nacme_speed = 9\n"
    )
    said = "\n".join(settings.warnings)
    for name in ("rpc_backend", "lock_path", "target_helper", "volume_clear", "acme_speed"):
        assert name in said
    assert "keystone_authtoken" not in said
    assert "target_helper" not in settings.node.backends[0].options


def test_a_section_that_nobody_enables_is_mentioned(load: Load) -> None:
    settings = load("[DEFAULT]\nenabled_backends = a\n[a]\n[b]\nvolume_driver = raw\n")
    assert any("[b]" in warning for warning in settings.warnings)


def test_a_misspelt_auth_strategy_is_no_start(load: Load) -> None:
    with pytest.raises(errors.Invalid, match="auth_strategy meant"):
        load("[DEFAULT]\nauth_stratgy = token\n")


def test_a_misspelt_option_of_DEFAULT_has_a_suggestion(load: Load) -> None:
    assert any("quota_volumes meant" in warning for warning in load("[DEFAULT]\nquota_volume = 3\n").warnings)


@pytest.mark.parametrize("name", options.UNUSED)
def test_known_options_of_others_are_never_taken_for_mistakes(load: Load, name: str) -> None:
    load(f"[DEFAULT]\nenabled_backends = a\n[a]\n{name} = x\n")


# values ----------------------------------------------------------------------------------------------------------


def test_references_are_resolved(load: Load) -> None:
    settings = load("[DEFAULT]\nmy_ip = 127.0.0.9\nosapi_volume_listen = $my_ip\nhost = h-${my_ip}-$$5\n")
    assert (settings.listen_host, settings.node.host) == ("127.0.0.9", "h-127.0.0.9-$5")


def test_state_path_in_a_reference_is_the_directory_that_counts(load: Load, tmp_path: Path) -> None:
    text = "[DEFAULT]\nstate_path = /elsewhere\nenabled_backends = a\n[a]\npath = $state_path/mine\n"
    assert load(text).node.backends[0].options["path"] == str(tmp_path / "state" / "mine")


def test_a_regular_expression_may_end_in_a_dollar_sign(load: Load) -> None:
    assert load("[DEFAULT]\nproject_id_regex = [a-z]+$\n").service.project_id_regex == "[a-z]+$"


def test_labels_and_sizes_of_the_host(load: Load) -> None:
    node = load("[host]\nlabels = zone=z1, rack=r2\nvcpus = 3\nmemory_mib = 1024\nhypervisor = none\n").node
    assert (node.labels, node.vcpus, node.memory_mib, node.hypervisor) == (
        {"zone": "z1", "rack": "r2"},
        3,
        1024,
        "none",
    )


def test_a_machine_keeps_a_little_for_itself(load: Load) -> None:
    node = load().node
    assert node.vcpus >= 1 and node.memory_mib > 0


@pytest.mark.parametrize("resource", sorted(QUOTAS))
def test_every_quota_can_be_set(load: Load, resource: str) -> None:
    assert load(f"[DEFAULT]\n{options.quota_option(resource)} = 77\n").service.quotas[resource] == 77


def test_auto_oversubscription_is_one_with_a_warning(load: Load) -> None:
    settings = load("[DEFAULT]\nenabled_backends = a\n[a]\nmax_over_subscription_ratio = auto\n")
    assert settings.node.backends[0].max_over_subscription_ratio == 1.0
    assert any("auto" in warning for warning in settings.warnings)


def test_noauth_is_the_older_name_of_none(load: Load) -> None:
    settings = load("[DEFAULT]\nauth_strategy = noauth\n")
    assert settings.service.auth_strategy == "none" and settings.warnings


@pytest.mark.parametrize("option", options.TABLE, ids=lambda option: f"{option.section}.{option.name}")
def test_every_default_is_allowed_and_every_option_explained(option: options.Option) -> None:
    ini.value("here", option, None)
    assert option.help.endswith(".") and option.kind in ini.KINDS


def test_the_command_line_wins(load: Load) -> None:
    settings = load("[DEFAULT]\nosapi_volume_listen_port = 1000\n", listen="127.0.0.3", port=2000)
    assert (settings.listen_host, settings.listen_port) == ("127.0.0.3", 2000)


# the broker ------------------------------------------------------------------------------------------------------


def test_without_a_broker_there_are_no_agents(load: Load) -> None:
    settings = load("")
    assert settings.agents is None and settings.run_node


def test_the_broker_is_named_as_operators_know_it(load: Load, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("")
    settings = load(
        "[DEFAULT]\ntransport_url = rabbit://me:p%40ss@mq1:5671,me:p%40ss@[::1]/storage\nrpc_response_timeout = 30\n"
        f"[oslo_messaging_rabbit]\nssl = true\nssl_ca_file = {tmp_path}/ca.pem\nheartbeat_timeout_threshold = 20\n"
        "[agents]\nembedded_node = false\n"
    )
    agents = settings.agents
    assert agents is not None and not settings.run_node and agents.patience_s == 30
    broker = agents.broker
    assert (broker.servers, broker.user, broker.password) == (("mq1:5671", "[::1]:5672"), "me", "p@ss")
    assert (broker.virtual_host, broker.heartbeat_s) == ("storage", 20)
    assert broker.tls is not None and broker.tls.ca_file == str(tmp_path / "ca.pem")
    assert "p@ss" not in repr(settings)


@pytest.mark.parametrize(
    "url", ["mq1", "http://mq1", "rabbit://", "rabbit://u:secret@mq1:0", "rabbit://u:secret@mq1/a?b=c"]
)
def test_a_url_that_is_no_broker_is_refused_without_its_password(load: Load, url: str) -> None:
    said = refusal(load, f"[DEFAULT]\ntransport_url = {url}\n")
    assert "transport_url" in said and "rabbit://user:password@host:port/vhost" in said and "secret" not in said


def test_a_service_without_a_node_needs_a_broker(load: Load) -> None:
    assert "transport_url" in refusal(load, "[agents]\nembedded_node = false\n")


def test_a_certificate_that_is_not_there_is_told(load: Load) -> None:
    text = "[DEFAULT]\ntransport_url = rabbit://mq1\n[oslo_messaging_rabbit]\nssl = true\nssl_ca_file = /nowhere.pem\n"
    assert "ssl_ca_file" in refusal(load, text)


def test_spans_go_nowhere_unless_a_collector_is_named(load: Load) -> None:
    assert load().tracing is None
    found = load("[tracing]\nendpoint = http://127.0.0.1:4318\n").tracing
    assert found is not None and (found.endpoint, found.sampling_ratio) == ("http://127.0.0.1:4318/v1/traces", 1.0)
    found = load("[tracing]\nendpoint = https://u:secret@c/otlp/x\nsampling_ratio = 0.1\n").tracing
    assert found is not None and (found.endpoint, found.sampling_ratio) == ("https://u:secret@c/otlp/x", 0.1)
    assert "secret" not in repr(found)


@pytest.mark.parametrize(
    "url", ["collector:4318", "grpc://collector:4317", "http://", "http://u:secret@c:0", "http://c?x=y"]
)
def test_a_url_that_is_no_collector_is_refused_without_its_password(load: Load, url: str) -> None:
    said = refusal(load, f"[tracing]\nendpoint = {url}\n")
    assert "endpoint" in said and "http://host:port or https://host:port" in said and "secret" not in said


@pytest.mark.parametrize("ratio", ["-0.1", "1.1", "ten", "nan"])
def test_a_part_of_the_requests_is_between_none_and_all(load: Load, ratio: str) -> None:
    assert "a number from 0 to 1" in refusal(load, f"[tracing]\nsampling_ratio = {ratio}\n")
