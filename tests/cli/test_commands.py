"""Every noun from the command line: what is shown at which width, how errors read, which exit code they have."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import rig

from brickyard.cli import instances, session, steps


def test_help_lists_every_command_and_loads_none(tmp_path):
    script = (
        "import sys\nfrom brickyard.cli import main\n"
        "try: main.main(['--help'])\nexcept SystemExit: pass\n"
        "print([name for name in ('httpx', 'rich', 'falcon', 'sqlalchemy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    for name in ("boot", "explain", "instance", "serve", "completion"):
        assert f"\n  {name} " in done.stdout


def test_a_service_that_is_not_there_is_exit_code_3(brickyard):
    ended = brickyard("host", "list", code=3, BRICKYARD_URL="http://127.0.0.1:9")
    assert "cannot reach http://127.0.0.1:9" in ended.err
    assert "brickyard serve" in ended.err
    assert ended.err.count("\n") == 1
    brickyard.really("--url", "http://127.0.0.1:9", "boot", "--flavor", "f", "n", code=3)


def test_a_url_that_is_none_is_a_usage_error(brickyard):
    assert "http://" in brickyard("--url", "nonsense", "host", "list", code=2).err


def test_hosts_are_listed_and_labelled(brickyard):
    assert "h1" in brickyard("host", "list").out
    assert "room=7" in brickyard("host", "set", "h1", "--label", "room=7").out
    assert "room" not in brickyard("host", "set", "h1", "--label", "room=").out
    assert "maintenance" in brickyard("host", "set", "h1", "--disable", "--reason", "maintenance").out
    assert brickyard("host", "set", "h1", "--enable", "-f", "json").json["enabled"] is True
    assert "there are: h1" in brickyard("host", "show", "h9", code=1).err
    brickyard("host", "set", "h1", code=2)
    brickyard("host", "set", "h1", "--label", "x", code=2)


def test_what_a_lost_host_takes_with_it_is_shown(brickyard):
    made = httpx.post(f"{brickyard.url}/v3/volumes", json={"volume": {"size": 1, "name": "mine"}}).json()["volume"]
    shown = brickyard("host", "lost", "h1", "--dry-run").out
    assert made["id"] in shown and "no backup elsewhere" in shown
    assert made["id"] in ids(brickyard)
    assert "this service itself" in brickyard("host", "lost", "h1", "--confirm", "h1", code=1).err
    assert "not lost" in brickyard("host", "back", "h1", code=1).err
    httpx.delete(f"{brickyard.url}/v3/volumes/{made['id']}").raise_for_status()
    deadline = time.monotonic() + 60
    while made["id"] in ids(brickyard):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_drain_names_what_stays(brickyard):
    made = httpx.post(f"{brickyard.url}/v3/volumes", json={"volume": {"size": 1, "name": "mine"}}).json()["volume"]
    deadline = time.monotonic() + 60
    while httpx.get(f"{brickyard.url}/v3/volumes/{made['id']}").json()["volume"]["status"] == "creating":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert brickyard("host", "drain", "h1", "--dry-run", "-f", "json").json["status"] == "none"
    stayed = brickyard("host", "drain", "h1", code=1)
    assert "are left on h1" in stayed.err and made["id"] in stayed.out and "stays" in stayed.out
    assert brickyard("host", "show", "h1", "-f", "json").json["disabled_reason"] == "It is drained."
    assert "not being drained" in brickyard("host", "drain", "h1", "--cancel", code=1).err
    brickyard("host", "set", "h1", "--enable")
    assert "flow_id" in brickyard("host", "drain", "h1", "--no-wait", "-f", "json").json
    brickyard("host", "set", "h1", "--enable")
    httpx.delete(f"{brickyard.url}/v3/volumes/{made['id']}").raise_for_status()
    while made["id"] in ids(brickyard):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def ids(brickyard):
    """The volumes that would be lost with the host."""
    return [row["id"] for row in brickyard("host", "lost", "h1", "--dry-run", "-f", "json").json["volumes"]]


def test_pools_are_made_shown_and_deleted(brickyard, tmp_path):
    words = ("pool", "create", "extra", "--host", "h1", "--driver", "raw", "--path", str(tmp_path / "extra"))
    assert "through the API" in brickyard(*words).out
    brickyard(*words)
    assert "h1@extra#extra" in brickyard("pool", "list").out
    assert "disabled" in brickyard("pool", "set", "h1@extra#extra", "--disable").out
    assert "deleted" in brickyard("pool", "delete", "h1@extra").out
    error = brickyard("pool", "create", "x", "--host", "h1", "--driver", "floppy", "--path", "/x", code=1).err
    assert "allowed: raw, qcow2, vdi" in error
    assert "configuration" in brickyard("pool", "delete", "h1@fast", code=1).err


def test_pools_say_where_they_lie_and_hosts_what_disks_they_have(brickyard):
    [fast] = [pool for pool in brickyard("pool", "list", "-f", "json").json if pool["backend"] == "h1@fast"]
    assert fast["path"].endswith("/bricks/fast")
    assert fast["path"] in brickyard("pool", "list").out
    assert fast["path"] in brickyard("pool", "show", "h1@fast").out
    brickyard("host", "devices", "h1")
    assert all(device["confirmation"] for device in brickyard("host", "devices", "h1", "-f", "json").json)
    words = ("pool", "create", "x", "--host", "h1", "--driver", "lvm-thin")
    assert "raid1" in brickyard(*words, "--volume-group", "vg", "--raid1", code=1).err
    assert "two devices" in brickyard(*words, "--device", "/dev/null", "--raid1", code=1).err
    assert "not a block device" in brickyard(*words, "--device", "/dev/null", "--wipe", "s", code=1).err
    assert "configuration" in brickyard("pool", "extend", "h1@fast", "--device", "/dev/null", code=1).err
    assert "configuration" in brickyard("pool", "drain", "h1@fast", "--device", "/dev/null", "--no-wait", code=1).err
    assert "configuration" in brickyard("pool", "remove-device", "h1@fast", "--device", "/dev/null", code=1).err


def test_receipts_are_listed_and_shown(ready):
    made = ready("boot", "--flavor", "small", "--image", "tiny", "--local-storage", "1", "wiped", "-f", "json").json
    volume = made["volumes"][0]["volume_id"]
    ready("instance", "delete", "--volumes", "wiped")
    deadline = time.monotonic() + 60
    while not (found := ready("receipt", "list", "--brick", volume, "-f", "json").json):
        assert time.monotonic() < deadline
    assert f"volume-{volume}" in ready("receipt", "list").out
    assert found[0]["verified"] in ready("receipt", "show", found[0]["id"]).out
    assert "Nothing was deleted" in ready("receipt", "list", "--project", "nobody").out
    ready("receipt", "show", "nothing", code=1)


def test_options_of_a_driver_travel_to_the_node(brickyard, tmp_path):
    words = ("pool", "create", "opt", "--host", "h1", "--driver", "raw", "--path", str(tmp_path / "opt"))
    assert "thick" in brickyard(*words, "--option", "preallocate=true").out
    brickyard("pool", "delete", "h1@opt")
    assert "nonsense" in brickyard(*words, "--option", "nonsense=1", code=1).err
    brickyard(*words, "--option", "nonsense", code=2)


def test_flavors_are_made_shown_and_deleted(brickyard):
    brickyard("flavor", "create", "fat", "--vcpus", "4", "--memory", "16384", "--local-storage", "20")
    assert "16 GiB" in brickyard("flavor", "show", "fat").out
    assert "20 GiB" in brickyard("flavor", "list").out
    assert "exists already" in brickyard("flavor", "create", "fat", "--vcpus", "1", "--memory", "64", code=1).err
    assert "deleted" in brickyard("flavor", "delete", "fat").out
    brickyard("flavor", "create", "f", "--vcpus", "0", "--memory", "64", code=2)


def test_images_are_uploaded_listed_and_deleted(brickyard, tmp_path):
    disk = tmp_path / "d.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(disk), "2G"], check=True)
    made = brickyard("image", "create", "disk", "--disk", str(disk), "--format", "qcow2", "-f", "json").json
    assert (made["status"], made["min_gib"]) == ("active", 2)
    assert "2 GiB" in brickyard("image", "list").out
    assert "qcow2" in brickyard("image", "create", "lie", "--disk", str(disk), "--format", "raw", code=1).err
    assert "lie" not in brickyard("image", "list").out
    assert "deleted" in brickyard("image", "delete", "disk").out
    brickyard("image", "create", "x", code=2)
    brickyard("image", "create", "x", "--disk", str(disk), code=2)
    brickyard("image", "create", "x", "--kernel", str(disk), "--format", "raw", code=2)
    brickyard("image", "create", "x", "--disk", str(tmp_path / "none"), "--format", "raw", code=2)


def test_an_instance_is_shown_read_changed_and_deleted(ready):
    made = ready("boot", "--flavor", "small", "--image", "tiny", "--local-storage", "1", "whole", "-f", "json").json
    assert "whole" in ready("instance", "list").out
    assert made["id"] in ready("instance", "show", "whole").out
    assert "ready" in ready("instance", "console", "whole").out
    other = ready("boot", "--flavor", "small", "--image", "tiny", "--local-storage", "1", "giver", "-f", "json").json
    volume = other["volumes"][0]["volume_id"]
    assert volume in ready("instance", "attach", "whole", volume, code=1).err
    ready("instance", "delete", "giver")
    assert "is attached to whole" in ready("instance", "attach", "whole", volume).out
    assert "is detached from whole" in ready("instance", "detach", "whole", volume).out
    assert "deleted" in ready("instance", "delete", "--volumes", "whole").out
    assert "no instance called whole" in ready("instance", "show", "whole", code=1).err


def test_a_followed_console_ends_with_the_instance(ready):
    ready("boot", "--flavor", "small", "--image", "tiny", "spoken", "-f", "json")
    words = [rig.BRICKYARD, "--url", ready.url, "instance", "console", "--follow", "spoken"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "brickyard" in process.stdout.readline()
        ready("instance", "delete", "spoken")
        assert process.wait(60) == 0


@pytest.mark.parametrize(
    ("before", "now", "new"),
    [
        ("", "one\n", "one\n"),
        ("one\n", "one\n", ""),
        ("one\n", "one\ntwo\n", "two\n"),
        ("one\ntwo\n", "two\nthree\n", "three\n"),
        ("one\n", "something else\n", "something else\n"),
    ],
)
def test_a_followed_console_prints_each_line_once(before, now, new):
    assert instances.new_part(before, now) == new


def test_two_of_one_name_need_an_id(ready):
    for _ in range(2):
        ready("boot", "--flavor", "small", "--image", "tiny", "twin")
    error = ready("instance", "show", "twin", code=1).err
    assert "2 instances are called twin" in error
    for instance in ready("instance", "list", "-f", "json").json:
        if instance["name"] == "twin":
            ready("instance", "delete", instance["id"])


def test_nothing_reserved_is_said(brickyard):
    assert "Nothing is reserved" in brickyard("reservation", "list").out
    assert brickyard("reservation", "list", "-f", "json").json == []
    assert "could not be found" in brickyard("reservation", "clear", "00000000-0000-4000-8000-000000000000", code=1).err


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize(
    "words", ["host list", "pool list", "flavor list", "image list", "instance list", "flow list --limit 5"]
)
def test_a_table_fits_its_terminal_and_no_id_is_cut(ready, columns, words):
    def ids() -> set[str]:
        return {row["id"] for row in ready(*words.split(), "-f", "json").json if "id" in row}

    before = ids()
    shown = ready.on_a_terminal(columns, *words.split())
    assert max(len(line.rstrip()) for line in shown) <= columns
    if "host" not in words and "pool" not in words and "flavor" not in words:
        for id in before & ids():  # a flow of the service's own may have begun in between
            assert any(id in line for line in shown), shown


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed(brickyard, shell):
    assert "_BRICKYARD_COMPLETE" in brickyard("completion", shell).out
    words = {"COMP_WORDS": "brickyard inst", "COMP_CWORD": "1"}
    assert "instance" in brickyard.really(_BRICKYARD_COMPLETE="bash_complete", **words).out


def test_a_token_is_asked_for_and_used(tmp_path):
    config = rig.CONFIG.replace("[DEFAULT]", "[DEFAULT]\nauth_strategy = token")
    process, url = rig.serve(tmp_path, config, subprocess.DEVNULL)
    brickyard = rig.Command(url)
    try:
        assert "BRICKYARD_TOKEN" in brickyard("flavor", "list", code=1).err
        made = brickyard.really("token", "create", "--user", "u", "--project", "p", *rig.where(tmp_path))
        token = made.out.split()[-1]
        assert "There are no flavors" in brickyard("flavor", "list", BRICKYARD_TOKEN=token).out
        assert "Policy" in brickyard("--token", token, "host", "list", code=1).err
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


def test_a_watch_goes_on_when_the_events_break_off(ready, monkeypatch):
    """With every place of a watcher taken, the flow is asked for again and again instead."""
    made = ready("boot", "--no-wait", "--flavor", "small", "--image", "tiny", "polled", "-f", "json").json

    class Broken(httpx.HTTPTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            if request.url.path.endswith("/events"):
                return httpx.Response(503, json={"error": {"code": 503, "message": "too many"}})
            return super().handle_request(request)

    talk = session.Session(ready.url, None, "table", Broken())
    deadline = time.monotonic() + 60
    assert steps.follow(talk, made["flow_id"])["status"] == "done"
    assert time.monotonic() < deadline
    talk.http.close()
    ready("instance", "delete", "polled")
