"""`scripts/fleet`: a fleet of machines in namespaces of this one, to look at what happens when some of it breaks."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import psutil
from tests.fleet.network import run
from tests.fleet.plan import HOSTS_MAX

ROOT = Path(__file__).resolve().parents[2]
MARK = "brickyard-fleet"  # a file that says that a directory is ours to remove
VEILED = ("/etc", "/var/lib", "/run", "/dev", "/proc", "/sys", "/srv")
ORDER_S = 300


class Refused(click.ClickException):
    pass


class Fleet:
    """The fleet of a directory, from outside of it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @property
    def mark(self) -> Path:
        return self.directory / MARK

    def process(self) -> psutil.Process | None:
        """The process that all of it hangs on."""
        with contextlib.suppress(OSError, ValueError, psutil.NoSuchProcess):
            pid, began = self.mark.read_text().split()
            found = psutil.Process(int(pid))
            if abs(found.create_time() - float(began)) < 1 and found.status() != psutil.STATUS_ZOMBIE:
                return found
        return None

    def up(self, port: int, plan: dict[str, Any]) -> None:
        self.down()
        if os.geteuid() != 0:
            raise Refused("namespaces need root: run it as root")
        if any(self.directory.is_relative_to(veiled) for veiled in VEILED):
            raise Refused(f"--dir is {self.directory}; allowed: anywhere but below {', '.join(VEILED)}")
        if self.directory.exists() and any(self.directory.iterdir()):
            raise Refused(f"{self.directory} has something in it that is not ours: name another --dir")
        self.directory.mkdir(parents=True, exist_ok=True)
        with socket.create_server(("127.0.0.1", port)) as listener:
            os.set_inheritable(listener.fileno(), True)
            spaces = ["unshare", "-m", "-n", "-p", "-u", "-i", "--fork", "--mount-proc", "--kill-child"]
            module = [sys.executable, "-m", "tests.fleet.supervisor"]
            given = [str(self.directory), str(listener.fileno()), json.dumps(plan)]
            process = subprocess.Popen(
                [*spaces, *module, *given],
                stdout=subprocess.PIPE,
                stderr=None,
                stdin=subprocess.DEVNULL,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                pass_fds=(listener.fileno(),),
                start_new_session=True,
            )
            self.mark.write_text(f"{process.pid} {psutil.Process(process.pid).create_time()}")
            (self.directory / "port").write_text(str(listener.getsockname()[1]))
            try:
                assert process.stdout is not None
                came_up = process.stdout.readline() == b"up\n"
            except BaseException:
                self.down()
                raise
        if not came_up:
            process.wait()
            raise Refused(f"the fleet does not come up; see {self.directory}/*/log, and remove it with `down`")

    def down(self) -> None:
        """Everything, at once; nothing where there is nothing."""
        if not self.mark.exists():
            return
        process = self.process()
        if process is not None:
            children = process.children()
            for one in (*children, process):
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.send_signal(signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                psutil.wait_procs([process, *children], 60)
        shutil.rmtree(self.directory)

    def order(self, do: str, what: str = "", **more: Any) -> Any:
        with socket.socket(socket.AF_UNIX) as talk:
            talk.settimeout(ORDER_S)
            try:
                talk.connect(str(self.directory / "orders"))
            except OSError:
                raise Refused(f"no fleet is up in {self.directory}: `scripts/fleet up`") from None
            talk.sendall(json.dumps({"do": do, "what": what, **more}).encode() + b"\n")
            with talk.makefile() as answers:
                answer = json.loads(answers.read())
        if "error" in answer:
            raise Refused(answer["error"])
        return answer["said"]

    def env(self) -> dict[str, str]:
        url = f"https://localhost:{(self.directory / 'port').read_text()}"
        token = self.order("env")["token"]
        ca = str(self.directory / "tls" / "ca.pem")
        return {
            "BRICKYARD_URL": url, "BRICKYARD_TOKEN": token, "SSL_CERT_FILE": ca, "OS_CACERT": ca,
            "OS_AUTH_TYPE": "admin_token", "OS_TOKEN": token, "OS_ENDPOINT": f"{url}/v3",
            "OS_COMPUTE_ENDPOINT_OVERRIDE": f"{url}/v3", "OS_VOLUME_API_VERSION": "3.71",
        }  # fmt: skip

    def inside(self, machine: str, *command: str) -> list[str]:
        """The command line that runs a command on one of its machines."""
        process = self.process()
        if process is None:
            raise Refused(f"no fleet is up in {self.directory}: `scripts/fleet up`")
        [first] = process.children()
        enter = ["nsenter", "-t", str(first.pid), "-m", "-n", "-p", "-u", "-i"]
        return [*enter, *self.order("inside", machine), *command]


def run_on(fleet: Fleet, machine: str, *command: str) -> str:
    """What a command prints on a machine."""
    return run(*fleet.inside(machine, *command))


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--dir", "directory", type=click.Path(path_type=Path, resolve_path=True), envvar="BRICKYARD_FLEET",
    default="/var/tmp/brickyard-fleet", show_default=True, help="Where all of it lies. Also: BRICKYARD_FLEET.",
)  # fmt: skip
@click.pass_context
def fleet(ctx: click.Context, directory: Path) -> None:
    """Eight hosts in four racks and two zones, PostgreSQL, RabbitMQ, and two APIs and conductors behind a proxy, in
    namespaces of this machine. See docs/howto/run-a-test-fleet.md."""
    ctx.obj = Fleet(directory)


@fleet.command()
@click.option("--hosts", type=click.IntRange(1, HOSTS_MAX), default=HOSTS_MAX, show_default=True)
@click.option("--hypervisor", type=click.Choice(["qemu", "memory", "none"]), default="qemu", show_default=True)
@click.option("--vcpus", type=click.IntRange(1), default=4, show_default=True, help="Of each host.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Of the proxy on loopback. Default: a free one.")
@click.pass_obj
def up(fleet: Fleet, hosts: int, hypervisor: str, vcpus: int, port: int) -> None:
    """Make it. One that is there is removed first."""
    fleet.up(port, {"hosts": hosts, "hypervisor": hypervisor, "vcpus": vcpus})
    click.echo('It is up. In this shell:  eval "$(scripts/fleet env)"  and then, for example:  brickyard host list')


@fleet.command()
@click.pass_obj
def down(fleet: Fleet) -> None:
    """End and remove everything."""
    fleet.down()


@fleet.command()
@click.pass_obj
def status(fleet: Fleet) -> None:
    """What is up, cut, slow, off."""
    rows = fleet.order("status")
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in rows[0]}
    for row in ({name: name for name in rows[0]}, *rows):
        click.echo("  ".join(row[name].ljust(width) for name, width in widths.items()).rstrip())


@fleet.command()
@click.pass_obj
def env(fleet: Fleet) -> None:
    """What a shell needs to speak to it."""
    for name, value in fleet.env().items():
        click.echo(f"export {name}={value}")


@fleet.command(context_settings={"ignore_unknown_options": True})
@click.argument("machine")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def on(fleet: Fleet, machine: str, command: tuple[str, ...]) -> None:
    """Run COMMAND on a machine; without one, a shell."""
    sys.exit(subprocess.run(fleet.inside(machine, *(command or ("bash",))), check=False).returncode)


@fleet.command()
@click.argument("what")
@click.option("--rate", type=click.IntRange(8), default=1000, show_default=True, help="kbit/s, each way.")
@click.option("--delay", type=click.IntRange(0), default=0, help="Milliseconds, each way; needs a kernel with netem.")
@click.pass_obj
def slow(fleet: Fleet, what: str, rate: int, delay: int) -> None:
    """Make a cable slow: of a machine, a rack or a zone."""
    fleet.order("slow", what, rate=rate, delay=delay)


ORDERS = {
    "cut": "Cut a cable: of a machine, a rack or a zone.",
    "mend": "Put a cable back as it was.",
    "kill": "As a power cut: a machine, all of a rack or a zone. Or the process of a part, such as m1.api or h1.agent.",
    "stop": "End a part, or the parts of a machine, in order.",
    "start": "Turn on what was killed, with its parts; or start a part.",
    "enroll": "Enroll a host once more, as after it was lost, and start its agent.",
    "freeze": "Let a part, or the parts of a machine, stand still.",
    "thaw": "Let it go on.",
}


def _add(name: str, help: str) -> None:
    @fleet.command(name, help=help)
    @click.argument("what")
    @click.pass_obj
    def command(fleet: Fleet, what: str) -> None:
        fleet.order(name, what)


for name, help in ORDERS.items():
    _add(name, help)

if __name__ == "__main__":
    fleet(prog_name="scripts/fleet")
