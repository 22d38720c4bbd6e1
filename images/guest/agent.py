"""Runs commands for the host, one at a time: JSON lines in, JSON lines out, over a virtio serial port.

In   {"argv": [...], "env": {...}, "timeout_s": n}
Out  {"ready": true} once   {"out": "text"} as it comes   {"exit": n}

A host that goes away ends its command.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time

PORT = "/dev/virtio-ports/brickyard.agent"


class Gone(Exception):
    """The host has closed its end."""


def say(port, **message):
    data = json.dumps(message).encode() + b"\n"
    while data:
        data = data[os.write(port, data) :]


def command(port):
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(port, 65536)
        if not piece:  # nobody is there
            line = b""
            time.sleep(0.05)
        line += piece
    return json.loads(line)


def run(port, directory, argv, env, timeout_s):
    path = f"{os.environ['PATH']}:/opt/brickyard/site-packages/bin"
    here = {"PATH": path, "HOME": "/root", "LC_ALL": "C.UTF-8", "BRICKYARD_GUEST": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    here["PYTHONPATH"] = f"{directory}/src:/opt/brickyard/site-packages"
    try:
        process = subprocess.Popen(
            argv,
            cwd=directory,
            env={**here, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        say(port, out=f"{error}\n")
        return 127
    try:
        return output(port, process, time.monotonic() + timeout_s)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def output(port, process, deadline):
    """Until the command has ended and nothing more comes; children that it left running hold up nobody."""
    waiting = select.poll()
    waiting.register(port, 0)  # POLLHUP is always told
    waiting.register(process.stdout, select.POLLIN)
    while time.monotonic() < deadline:
        events = dict(waiting.poll(200))
        if events.get(port, 0) & select.POLLHUP:
            raise Gone
        if events.get(process.stdout.fileno()):
            piece = os.read(process.stdout.fileno(), 65536)
            if not piece:
                return process.wait()
            say(port, out=piece.decode(errors="replace"))
        elif process.poll() is not None:
            return process.returncode
    say(port, out="the guest's time limit is over\n")
    return 124


def main():
    port = os.open(PORT, os.O_RDWR)
    say(port, ready=True)
    while True:
        message = command(port)
        try:
            status = run(port, sys.argv[1], message["argv"], message.get("env", {}), message.get("timeout_s", 3600))
            say(port, exit=status)
        except Gone:
            pass


main()
