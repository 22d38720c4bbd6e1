"""The process that a fleet hangs on: the first one of namespaces of its own, in which all the others are. When it ends,
for whatever reason, the kernel ends and removes everything that is in them.

It makes the fleet, says `up` on its standard output, and then takes orders from a socket: a line of JSON each, `{"do":
word, "what": name, …}`, answered by `{"said": text}` or `{"error": text}`.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.fleet import network, services
from tests.fleet.machine import Machine, say
from tests.fleet.network import Trouble
from tests.fleet.plan import Plan, Times

AT_ONCE = 4
SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGTERM, "freeze": signal.SIGSTOP, "thaw": signal.SIGCONT}


class Fleet:
    def __init__(self, directory: Path, plan: Plan, listener: int) -> None:
        self.directory, self.plan, self.listener = directory, plan, listener
        self.token = ""
        images = directory / "images"
        self.machines = {
            name: Machine(
                name,
                directory / name,
                None if name in ("proxy", "db", "mq") else images,
                {part.name: part for part in services.parts(name, listener)},
            )
            for name in plan.machines()
        }
        self._lock = threading.Lock()  # one at a time changes a machine
        self._began = time.monotonic()

    # the beginning ------------------------------------------------------------------------------------------------

    def build(self) -> None:
        self.plan.lay_out(self.directory)
        (self.directory / "images").mkdir()
        services.prepare(self.directory, self.plan.machines(), self.listener)
        self._tell("files are laid out")
        network.build(self.plan)
        for name in self.machines:
            self._turn_on(name)
        self._tell(f"{len(self.machines)} machines are on")
        m1 = self.machines["m1"]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            broker = pool.submit(services.make_broker, self.machines["mq"])
            services.make_database(self.machines["db"])
            m1.run("brickyard", "db", "upgrade")
            self.token = services.make_token(m1)
            broker.result()
        self._tell("the database and the broker are there")
        control = [(name, part) for name in ("m1", "m2") for part in ("api", "conductor")]
        self._each(lambda each: self.machines[each[0]].start(each[1]), control)
        self.machines["proxy"].start("haproxy")
        self._tell("the APIs answer")
        hosts = [self.machines[name] for name in self.plan.host_names()]
        self._each(lambda host: services.enroll(m1, host, self.token), hosts)
        self._tell("the hosts are enrolled")

    def _each(self, do: Callable[[Any], None], those: Iterable[Any]) -> None:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(do, those))

    def _turn_on(self, name: str) -> None:
        self.machines[name].turn_on()
        network.plug(self.plan, name, self.machines[name].pid)

    def _tell(self, text: str) -> None:
        say(f"fleet: {time.monotonic() - self._began:5.1f} s  {text}")

    # orders -------------------------------------------------------------------------------------------------------

    def obey(self, order: dict[str, Any]) -> Any:
        do, what = str(order["do"]), str(order.get("what", ""))
        with self._lock:
            if do == "status":
                return self._status()
            if do == "env":
                return {"token": self.token, "plan": asdict(self.plan)}
            if do == "inside":
                return self._on(what).inside()
            if do in ("cut", "mend", "slow"):
                return self._wire(do, what, order)
            if do == "enroll":
                return self._enroll(what)
            if do in (*SIGNALS, "start"):
                return self._serve(do, what)
        raise Trouble(f"there is no order {do}")

    def _status(self) -> list[dict[str, str]]:
        above = self.plan.above()
        rows = []
        for what in (*self.machines, *dict.fromkeys(above.values())):
            if what == "core":
                continue
            machine = self.machines.get(what)
            on = machine is None or machine.is_on()
            cable = network.state(what) if on else "-"
            address = self.plan.address(what) if machine else ""
            state = machine.state() if machine else " ".join(self.plan.below(what))
            rows.append({"what": what, "in": above[what], "address": address, "cable": cable, "state": state})
        return rows

    def _wire(self, do: str, what: str, order: dict[str, Any]) -> None:
        """A cable: of a machine, a rack or a zone."""
        if what == "core" and do == "mend":
            for each in self.plan.above():
                if each not in self.machines or self.machines[each].is_on():
                    self._wire(do, each, order)
            return
        if what not in self.plan.above():
            raise Trouble(f"{what} has no cable; these have: {', '.join(self.plan.above())}")
        if what in self.machines:
            ends = [[what], ["nsenter", "-t", str(self._on(what).pid), "-n", "eth0"]]
        else:
            ends = [[what], [network.lower(what)]]
        if do == "cut":
            network.cut(what)
        elif do == "mend":
            network.mend(what, ends)
        else:
            network.slow(what, ends, int(order["rate"]), int(order["delay"]))

    def _serve(self, do: str, what: str) -> None:
        """A part of a machine, such as m1.api; a machine; all machines of a rack or zone."""
        machine, _, part = what.partition(".")
        if part:
            parts = self._on(machine).parts
            if part not in parts:
                raise Trouble(f"{machine} has no {part}; it has: {', '.join(parts)}")
            if do == "start":
                return self.machines[machine].start(part)
            return self.machines[machine].end(part, SIGNALS[do])
        names = self.plan.below(what)
        if not names:
            known = [*self.machines, *dict.fromkeys(self.plan.above().values())]
            raise Trouble(f"there is no {what}; there are: {', '.join(known)}, and parts such as m1.api")
        return self._each(lambda name: self._machine(do, name), names)

    def _enroll(self, what: str) -> None:
        """Once more, such as after it was lost."""
        host = self._on(what)
        if "agent" not in host.parts:
            raise Trouble(f"{what} is no host; these are: {', '.join(self.plan.host_names())}")
        host.end("agent", signal.SIGTERM)
        services.enroll(self._on("m1"), host, self.token)

    def _machine(self, do: str, name: str) -> None:
        machine = self.machines[name]
        if do == "kill":
            machine.turn_off()
        elif do == "start":
            if not machine.is_on():
                self._turn_on(name)
            for part in machine.parts:
                machine.start(part)
        elif machine.is_on():
            for part in machine.parts:
                machine.end(part, SIGNALS[do])

    def _on(self, name: str) -> Machine:
        machine = self.machines.get(name)
        if machine is None:
            raise Trouble(f"there is no machine {name}; there are: {', '.join(self.machines)}")
        if not machine.is_on():
            raise Trouble(f"{name} is off: start it first")
        return machine


class Orders(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    fleet: Fleet


class Order(socketserver.StreamRequestHandler):
    server: Orders

    def handle(self) -> None:
        try:
            answer = {"said": self.server.fleet.obey(json.loads(self.rfile.readline()))}
        except Trouble as error:
            answer = {"error": str(error)}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        with contextlib.suppress(BrokenPipeError):
            self.wfile.write(json.dumps(answer).encode())


def main() -> None:
    directory, listener, given = Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
    os.umask(0o022)
    fleet = Fleet(directory, Plan(**{**given, "times": Times(**given.get("times", {}))}), listener)
    try:
        fleet.build()
    except Trouble as error:
        say(f"fleet: {error}")
        sys.exit(1)
    with Orders(str(directory / "orders"), Order) as orders:
        orders.fleet = fleet
        print("up", flush=True)
        orders.serve_forever()


if __name__ == "__main__":
    main()
