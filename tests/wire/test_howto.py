"""The commands of docs/howto/use-the-openstack-client.md, as they stand there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.wire
PAGE = Path(__file__).parents[2] / "docs" / "howto" / "use-the-openstack-client.md"
CONSOLE = re.findall(r"```console\n(.*?)```", PAGE.read_text(), re.DOTALL)
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
        [sys.executable, "-c", "import sys; from openstackclient.shell import main; sys.exit(main(sys.argv[1:]))"],
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


def test_the_command_of_cinderclient_works(service: Any, osc: Any) -> None:
    words = shlex.split(CONSOLE[1].replace("8776", str(service.port)))
    assert words[0] == "cinder"
    main = "import sys; from cinderclient.shell import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", main, *words[1:]], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Volume Type" in done.stdout
