"""Every alert has a page, every page an alert; what pages and guides tell people to type are commands that exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
import yaml

from brickyard.cli.main import main

ROOT = Path(__file__).parent.parent.parent
PAGES = {page.stem: page.read_text() for page in sorted((ROOT / "docs" / "runbooks").glob("*.md"))}
ALERTS = {
    rule["alert"]: rule
    for group in yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
}


def test_every_alert_has_a_page_and_every_page_an_alert() -> None:
    named = {name: rule["annotations"]["runbook"] for name, rule in ALERTS.items()}
    assert sorted(named.values()) == [f"docs/runbooks/{stem}.md" for stem in PAGES]
    for name, path in named.items():
        text = (ROOT / path).read_text()
        assert text.startswith(f"# {name}\n"), path
        for part in ("\n## Look\n\n```sh\n", "\n## Do\n"):
            assert part in text, f"{path} has no {part!r}"


def test_every_alert_says_how_bad_and_what() -> None:
    for name, rule in ALERTS.items():
        assert rule["labels"]["severity"] in ("critical", "warning"), name
        assert rule["annotations"]["summary"].endswith("."), name


TYPED = {
    str(page.relative_to(ROOT)): page.read_text()
    for folder in ("runbooks", "howto")
    for page in sorted((ROOT / "docs" / folder).glob("*.md"))
}


@pytest.mark.parametrize("page", TYPED)
def test_the_commands_of_a_page_are_commands_that_there_are(page: str) -> None:
    blocks = re.findall(r"^```(?:sh|console)\n(.*?)^```", TYPED[page], re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    lines += re.findall(r"`(brickyard [a-z][^`\n]*)`", TYPED[page])
    for line in lines:
        for command in re.findall(r"(?:^|[|&;(] *|\$ )(brickyard [^|&;)<>#]*)", line):
            _check(command.strip(), page)


def _check(line: str, page: str) -> None:
    """Each word is a command of the one before, an option of it, or an argument."""
    words = iter(shlex.split(re.sub(r"[…\[\]]", "", line))[1:])
    command: click.Command = main
    for word in words:
        if re.match(r"--?[a-z]", word) and word not in ("--help", "-h", "--version"):
            name, _, value = word.partition("=")
            options = [one for one in command.params if name in (*one.opts, *one.secondary_opts)]
            assert options, f"{page}: {line}: {command.name} has no option {name}"
            if isinstance(options[0], click.Option) and not options[0].is_flag and not value:
                next(words, None)
        elif isinstance(command, click.Group):
            found = command.get_command(click.Context(command), word)
            assert found is not None, f"{page}: {line}: there is no {word}"
            command = found
