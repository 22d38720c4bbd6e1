"""Every command and method of the real clients that speaks to this API is used in some test here, or has a reason."""

from __future__ import annotations

import importlib.metadata
import inspect
import re
from pathlib import Path

import cinderclient.v3.client
import pytest
from cinderclient import api_versions
from keystoneauth1 import noauth, session
from openstack.block_storage.v3 import _proxy

pytestmark = [pytest.mark.wire, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
HERE = Path(__file__).parent
TESTS = {path: path.read_text() for path in HERE.glob("test_*.py") if path != Path(__file__)}
GUIDE = (HERE.parents[1] / "docs" / "howto" / "use-the-openstack-client.md").read_text()

# a pattern of what no test uses, and why
COMMANDS = {
    r"volume backup (record import|unset)": "the client sends them where no version of the API has a request",
    r"extension show|quota list": "they ask the identity and compute services before this one",
    r"availability zone list|limits show|quota .*|extension list|project .*": "named with their options instead",
}
METHODS = {
    r"import_backup|(fetch|get|set|delete)_backup_metadata": "sent where no version of the API has a request",
    r"export_backup|reset_backup": "older names, which the SDK warns of",
    r"create_image|upload_volume_to_image": "volumes are not uploaded as images",
    r"reset_snapshot|reset_group_state|reset_group_snapshot_state": "older names, which the SDK warns of",
}
MANAGERS = {
    r"cgsnapshots\.update": "no version of the API has this request",
    r"volumes\.upload_to_image": "volumes are not uploaded as images",
    r"group_snapshots\.update": "no version of the API has this request",
    r"(group_types|volume_types)\.(get|default)": "used through find(), which lists",
    r".*\.(convert_into_with_meta|server_api_version)": "no request of its own, or that of the version document",
}


def unused(names: set[str], used: set[str], reasons: dict[str, str]) -> list[str]:
    excused = {name for name in names for pattern in reasons if re.fullmatch(pattern, name)}
    return sorted(names - used - excused)


def test_every_command_of_the_openstack_client() -> None:
    entries = importlib.metadata.entry_points(group="openstack.volume.v3")
    names = {entry.name.replace("_", " ") for entry in entries}
    assert len(names) > 80
    said = "\n".join([*TESTS.values(), GUIDE])
    used = {name for name in names if re.search(rf"\b{name}\b", said)}
    used |= {f"{noun} show" for noun in re.findall(r'(?:becomes|vanishes)\((?:osc, )?"([a-z ]+)"', said)}
    assert not unused(names, used, COMMANDS)


def test_every_method_of_the_sdk() -> None:
    names = {name for name, one in vars(_proxy.Proxy).items() if inspect.isfunction(one) and not name.startswith("_")}
    said = "\n".join(text for path, text in TESTS.items() if "sdk" in text)
    used = {name for name in names if re.search(rf"\bstorage\.{name}\b", said)}
    assert not unused(names, used, METHODS)


def test_every_method_of_cinderclient() -> None:
    sess = session.Session(auth=noauth.NoAuth(endpoint="http://127.0.0.1"))
    made = cinderclient.v3.client.Client(session=sess, api_version=api_versions.APIVersion("3.67"))
    names = {
        f"{manager}.{name}"
        for manager, one in vars(made).items()
        if type(one).__module__.startswith("cinderclient.v3")
        for name, method in inspect.getmembers(type(one), inspect.isfunction)
        if not name.startswith("_") and method.__module__.startswith("cinderclient.v3")
    }
    assert len(names) > 100
    said = "\n".join(TESTS.values())
    used = {name for name in names if re.search(rf"\bcinder\.{re.escape(name)}\b", said)}
    assert not unused(names, used, MANAGERS)
