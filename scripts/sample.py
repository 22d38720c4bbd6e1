"""The sample configuration, from the table of options: `scripts/docs` writes deploy/brickyard.conf from it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from brickyard import options

WIDTH = 118
INTRODUCTION = """\
The configuration of Brickyard, with every option that there is. Put it at /etc/brickyard/brickyard.conf. A line that
begins with #name = shows the default, and needs no change: without any of it the service runs on loopback, on SQLite,
with one backend of raw files in its state directory. Passwords may be in here: the file is its owner's alone.

Written by scripts/docs; change src/brickyard/options.py instead."""
SECTIONS = {
    options.DEFAULT: "What the control plane (API and conductor) and every host read.",
    "oslo_messaging_rabbit": "The message broker: read by the control plane, and by agents that are not enrolled.",
    "agents": "Hosts beyond this one: read by the control plane only.",
    "database": "Read by the control plane only: no host needs to know it.",
    "keystone_authtoken": "The identity service: read by the control plane only, with auth_strategy = keystone.",
    "nova": "The compute service, where there is one: read by the control plane only, with auth_strategy = keystone.",
    "cors": "Browsers: read by the control plane only.",
    "oslo_middleware": "Proxies: read by the control plane only.",
    "oslo_policy": "Read by the control plane only.",
    "tracing": "Traces for OpenTelemetry: read by every process, the agents of hosts included.",
    "host": "This machine: where it stands, and what it gives to instances.",
}
OTHER = "Read where the service runs."
BACKENDS = """\
A backend on this host: the section is its name. enabled_backends = local names it; several have commas between them.
Options of its driver stand in it too, those of each driver are below."""


def sample() -> str:
    """Every option, commented out, under what it means and what is allowed."""
    lines = _comment(INTRODUCTION)
    for section in dict.fromkeys(option.section for option in options.TABLE):
        backend = section == options.BACKEND
        lines += ["", "", *_comment(BACKENDS if backend else SECTIONS.get(section, OTHER))]
        lines += ["[local]" if backend else f"[{section}]"]
        for option in options.TABLE:
            if option.section == section:
                lines += ["", *_comment(option.help), *_comment(f"Allowed: {option.allowed}."), _line(option)]
        if backend:
            lines += _drivers()
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _line(option: options.Option) -> str:
    return f"#{option.name} = {(option.default or '').replace('$', '$$')}"


def _drivers() -> Iterator[str]:
    for driver, known in options.DRIVERS.items():
        yield from ("", *_comment(f"volume_driver = {driver}"))
        for name, text in known:
            yield from ("", *_comment(text), f"#{name} =")


def _comment(text: str) -> list[str]:
    """Lines of prose; each begins with `# `, which no option does."""
    paragraphs = text.split("\n\n")
    found: list[str] = []
    for paragraph in paragraphs:
        found += ["#"] if found else []
        found += [
            f"# {line}" for line in textwrap.wrap(paragraph, WIDTH - 2, break_long_words=False, break_on_hyphens=False)
        ]
    return found
