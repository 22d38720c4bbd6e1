"""`brickyard node`: the agent of this host. It has no database; a control plane asks it, over the message broker.

It ends and starts without touching a guest. What it serves beside its configuration it has written down, so that it
watches its pools also while nobody can tell it.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx

from brickyard.core import clock, errors, settings
from brickyard.core.settings import Broker, Settings
from brickyard.daemons import logs, notify, own_node, state_dir, tracing
from brickyard.nodes import agent, fences, layout, local, verbs

LOG = logging.getLogger(__name__)
CREDENTIALS, CA, BACKENDS, CLAIMS = "agent.json", "broker-ca.pem", "backends.json", "claims"  # in the state directory
FULL_S = 60.0  # a report that says nothing new is sent this often; in between, that this node is there
EXCHANGE_S = 60.0


def run(found: Settings, *, say: Callable[[str], None]) -> None:
    """Serve the verbs of this host until SIGTERM."""
    logs.configure(debug=found.debug)
    for warning in found.warnings:
        LOG.warning("configuration: %s", warning)
    broker, host = credentials(found)
    if not layout.HOST.fullmatch(host):
        raise errors.Invalid(
            f"host is {host!r}; allowed for an agent: letters, digits, dots, dashes, underscores", field="host"
        )
    state_dir.prepare(found.state_dir)
    with tracing.of(found.tracing, "node", host), state_dir.held(found.state_dir):
        node = own_node.make(found, list(_remembered(found.state_dir).items()))
        node.host = host
        node.on_backends = lambda: _remember(found.state_dir, node)
        _serve(node, broker, found, say)
    LOG.info("stopped")


def _serve(node: local.LocalNode, broker: Broker, found: Settings, say: Callable[[str], None]) -> None:
    stopping = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda number, frame: stopping.set())
    speaker = Speaker(node)
    reporter = own_node.Reporter(node, lambda: speaker.speak(serving), found.service.report_interval_s)

    def connected() -> None:
        speaker.forget()
        reporter.now()

    serving = agent.Agent(node, node.host, broker, connected, fences.Fences(found.state_dir / CLAIMS))
    reporter.start()
    if not reporter.wait_for_first(own_node.FIRST_REPORT_S):
        LOG.warning("a backend of this host takes long to start; it is down until then")
    serving.start()
    say(f"Agent of host {node.host}, of the message broker at {', '.join(broker.servers)}")
    notify.tell(f"READY=1\nSTATUS=agent of host {node.host}")
    stopping.wait()
    notify.tell("STOPPING=1")
    reporter.stop()
    serving.stop()


class Speaker:
    """Says how the node is: in full when that has changed and every now and then, and otherwise that it is there."""

    def __init__(self, node: local.LocalNode) -> None:
        self.node = node
        self._last: verbs.Report | None = None
        self._last_s = 0.0

    def forget(self) -> None:
        """Nobody knows whether the last report has arrived."""
        self._last = None

    def speak(self, serving: agent.Agent) -> None:
        report = self.node.report()
        if report == self._last and clock.monotonic() - self._last_s < FULL_S:
            serving.notify(None)
            return
        serving.notify(report)
        self._last, self._last_s = report, clock.monotonic()


# what was made through the API -----------------------------------------------------------------------------------


def _remembered(directory: Path) -> dict[str, Any]:
    """Name → options; nothing, with a line in the log, when that cannot be read: the control plane tells us again."""
    try:
        found = json.loads((directory / BACKENDS).read_text(encoding="utf-8"))
        return {str(name): dict(options) for name, options in found.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        LOG.error("%s cannot be read, its backends come back when the control plane asks: %s", BACKENDS, error)
        return {}


def _remember(directory: Path, node: local.LocalNode) -> None:
    made = {name: dict(one.options) for name, one in list(node.backends.items()) if one.from_api}
    _write(directory / BACKENDS, json.dumps(made, indent=1))


def _write(path: Path, text: str) -> None:
    """All of it or nothing, for nobody else to read."""
    part = path.with_name(path.name + ".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


# credentials -----------------------------------------------------------------------------------------------------


def credentials(found: Settings) -> tuple[Broker, str]:
    """The broker as this agent uses it, and the name of its host: from its enrolment, or from transport_url."""
    try:
        told = json.loads((found.state_dir / CREDENTIALS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        if found.agents is None:
            raise errors.Invalid(
                f"This host is not enrolled: `brickyard host enroll NAME` where the service runs, then `brickyard node "
                f"enroll URL TOKEN` here; or set transport_url. There is no {found.state_dir / CREDENTIALS}."
            ) from None
        return found.agents.broker, found.node.host
    except (OSError, ValueError) as error:
        raise errors.Invalid(f"{found.state_dir / CREDENTIALS} cannot be read: {error}; enroll again.") from error
    return _broker(found, told), str(told["host"])


def _broker(found: Settings, told: Mapping[str, Any]) -> Broker:
    tls = None
    if told["tls"]:
        own = found.agents.broker.tls if found.agents else None
        ca = found.state_dir / CA
        tls = own or settings.Tls(str(ca) if ca.exists() else None)
    servers = tuple(str(server) for server in told["servers"])
    return Broker(servers, told["user"], told["password"], told["virtual_host"], tls)


def enroll(found: Settings, url: str, token: str) -> str:
    """Get the credentials of this host for a token, and keep them. The name of the host."""
    state_dir.prepare(found.state_dir)
    try:
        answer = httpx.post(f"{url.rstrip('/')}/v1/agents/credentials", json={"token": token}, timeout=EXCHANGE_S)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        why = str(error) or type(error).__name__
        raise errors.Unavailable(f"{url} cannot be reached: {why}; is the URL right?") from error
    if answer.status_code != 200:
        try:
            reason = str(answer.json()["error"]["message"])
        except (ValueError, KeyError, TypeError):
            reason = f"it answers {answer.status_code}; is it Brickyard?"
        raise errors.Invalid(f"{url} gives no credentials: {reason}")
    told = answer.json()
    if told["ca"]:
        _write(found.state_dir / CA, told["ca"])
    _write(found.state_dir / CREDENTIALS, json.dumps({name: told[name] for name in told if name != "ca"}, indent=1))
    return str(told["host"])
