"""The commands of docs/howto/use-the-openstack-client.md, as they stand there."""

from __future__ import annotations

import os
import re
import secrets
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from brickyard.db import database, tokens

pytestmark = pytest.mark.wire
PAGE = Path(__file__).parents[2] / "docs" / "howto" / "use-the-openstack-client.md"
CONSOLE = re.findall(r"```console\n(.*?)```", PAGE.read_text(), re.DOTALL)
MAIN = "import sys; from openstackclient.shell import main; sys.exit(main(sys.argv[1:]))"
SERVER = "3d1e4b6a-16c9-4a54-a6a0-5e8dca1f8a3c"
EXPORTS = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)


def test_the_commands_work_in_their_order(osc: Any) -> None:
    commands = [line.removeprefix("openstack ") for line in CONSOLE[0].splitlines()]
    assert len(commands) >= 10
    try:
        for command in commands:
            osc(command)
            if command.startswith(("volume create", "volume set", "volume snapshot create")):
                _settled(osc)
    finally:
        for attachment in osc.json("volume attachment list"):
            osc("volume attachment delete", attachment["ID"])
        osc("volume delete --purge data copy")
        osc.vanishes("volume", "data")
        osc.vanishes("volume", "copy")
        osc("quota delete --volume " + "0" * 32)


def _settled(osc: Any) -> None:
    for _ in range(200):
        if all(one["Status"] == "available" for one in osc.json("volume list") + osc.json("volume snapshot list")):
            return
    raise AssertionError(osc("volume list"))


def test_the_environment_is_enough_for_the_command_itself(service: Any, osc: Any) -> None:
    exported = dict(re.findall(r"export (\w+)=(\S+)", EXPORTS[0]))
    exported["OS_ENDPOINT"] = exported["OS_ENDPOINT"].replace("8776", str(service.port))
    done = subprocess.run(
        [sys.executable, "-c", MAIN],
        input="volume service list\nvolume type list\n",
        env={"PATH": os.environ["PATH"], **exported},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    # Of a file of commands this client always says 1 at the end, so that only what it shows tells.
    assert "wire@qcow2" in done.stdout, done.stderr
    assert "standard" in done.stdout


def test_the_environment_with_a_token_lists_a_volume_that_is_in_use(token_service: Any, osc_with_token: Any) -> None:
    token = secrets.token_hex()
    db = database.Database(database.sqlite_url(token_service.state_dir / "brickyard.db"))
    with db.begin() as tx:
        tokens.insert(tx, token, user_id="u", project_id="c" * 32, roles=["admin"])
    db.close()
    exported = dict(re.findall(r"export (\w+)=(.+)", EXPORTS[1]))
    exported |= {"OS_TOKEN": token, "OS_ENDPOINT": exported["OS_ENDPOINT"].replace("8776", str(token_service.port))}
    environ = {key: value.replace("$OS_ENDPOINT", exported["OS_ENDPOINT"]) for key, value in exported.items()}
    admin = osc_with_token.holding(token)
    admin("volume type create lent")
    admin("volume create --size 1 --type lent lent")
    admin.becomes("volume", "lent", "available")
    attachment = admin.json("volume attachment create lent --server", SERVER, "--connect", "--host", "wire")["ID"]
    admin("volume attachment complete", attachment)
    try:
        done = subprocess.run(
            [sys.executable, "-c", MAIN, "volume", "list"],
            env={"PATH": os.environ["PATH"], **environ},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "in-use" in done.stdout
        assert SERVER in done.stdout
    finally:
        admin("volume attachment delete", attachment)
        admin("volume delete lent")
        admin.vanishes("volume", "lent")
        admin("volume type delete lent")


def test_the_command_of_cinderclient_works(service: Any, osc: Any) -> None:
    words = shlex.split(CONSOLE[1].replace("8776", str(service.port)))
    assert words[0] == "cinder"
    main = "import sys; from cinderclient.shell import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", main, *words[1:]], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Volume Type" in done.stdout
