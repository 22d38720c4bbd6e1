"""The network between the machines of a fleet: a switch in each rack, one in each zone, and one in the middle, with a
cable from everything to what it hangs on. The cable has the name of what hangs there, and can be cut or be slow."""

from __future__ import annotations

import json
import subprocess

from tests.fleet.plan import Plan


class Trouble(Exception):
    """Something that cannot be done, in words for whoever asked for it."""


def run(*argv: str, timeout_s: float = 120, text: str = "") -> str:
    """What a program prints that reads `text`; Trouble with what it says when it fails."""
    done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=timeout_s, check=False)
    if done.returncode != 0:
        raise Trouble(f"{' '.join(argv)}: {(done.stderr or done.stdout).strip()[-2000:]}")
    return str(done.stdout)


def bridge(what: str) -> str:
    return f"sw-{what}"


def lower(what: str) -> str:
    """The other end of the cable of a rack or a zone."""
    return f"{what}-low"


def build(plan: Plan) -> None:
    """The switches, and the cables between them."""
    above = plan.above()
    run("ip", "link", "set", "lo", "up")
    for what in {"core", *above.values()}:
        run("ip", "link", "add", bridge(what), "type", "bridge")
        run("ip", "link", "set", bridge(what), "up")
    for what in set(above.values()) - {"core"}:
        run("ip", "link", "add", what, "type", "veth", "peer", "name", lower(what))
        for end, switch in ((what, above[what]), (lower(what), what)):
            run("ip", "link", "set", end, "master", bridge(switch), "up")


def plug(plan: Plan, machine: str, pid: int) -> None:
    """A cable from a machine, whose namespace the process is in, to its switch."""
    inside = ("nsenter", "-t", str(pid), "-n")
    run("ip", "link", "add", machine, "type", "veth", "peer", "name", "eth0", "netns", str(pid))
    run("ip", "link", "set", machine, "master", bridge(plan.above()[machine]), "up")
    run(*inside, "ip", "address", "add", f"{plan.address(machine)}/16", "dev", "eth0")
    for link in ("lo", "eth0"):
        run(*inside, "ip", "link", "set", link, "up")


def cut(what: str) -> None:
    run("ip", "link", "set", what, "down")


def slow(what: str, ends: list[list[str]], rate_kbit: int, delay_ms: int) -> None:
    """Both ways. Each end: the words before `tc`, and the name of the device there."""
    shape = ["tbf", "rate", f"{rate_kbit}kbit", "burst", "32kb", "latency", "2s"]
    if delay_ms:
        shape = ["netem", "delay", f"{delay_ms}ms", "rate", f"{rate_kbit}kbit"]
    for *before, device in ends:
        try:
            run(*before, "tc", "qdisc", "replace", "dev", device, "root", *shape)
        except Trouble as error:
            mend(what, ends)
            if delay_ms and "kind is unknown" in str(error):
                raise Trouble("the kernel has no netem, so that nothing is delayed: leave --delay away") from None
            raise


def mend(what: str, ends: list[list[str]]) -> None:
    run("ip", "link", "set", what, "up")
    for *before, device in ends:
        if _shaped(before, device):
            run(*before, "tc", "qdisc", "delete", "dev", device, "root")


def state(what: str) -> str:
    """up, cut or slow."""
    found = json.loads(run("ip", "-json", "link", "show", "dev", what))[0]
    if "UP" not in found["flags"]:
        return "cut"
    return "slow" if _shaped([], what) else "up"


def _shaped(before: list[str], device: str) -> bool:
    found = run(*before, "tc", "qdisc", "show", "dev", device)
    return any(f"qdisc {kind}" in found for kind in ("tbf", "netem"))
