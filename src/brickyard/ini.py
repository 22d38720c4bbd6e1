"""INI files in the form that operators know: their texts, with `$references` replaced, as values of the table's kinds.

This is the only module that reads configuration files, with oslo.config.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from oslo_config import cfg, types

from brickyard import options
from brickyard.core import errors

REFERENCE = re.compile(r"(?<!\$)\$\{?([A-Za-z_][A-Za-z0-9_]*)\}?")
REFERENCES_DEEP = 8


KINDS: dict[str, Callable[[options.Option], Callable[[str], Any]]] = {
    "text": lambda option: str,
    "number": lambda option: types.Integer(min=_whole(option.minimum), max=_whole(option.maximum)),
    "ratio": lambda option: lambda text: options.finite(types.Float(min=option.minimum, max=option.maximum)(text)),
    "flag": lambda option: types.Boolean(),
    "list": lambda option: lambda text: [name.strip() for name in text.split(",") if name.strip()],
    "labels": lambda option: options.labels,
    "ports": lambda option: options.ports,
    "address": lambda option: options.address,
    "port": lambda option: types.Port(min=1),
    "choice": lambda option: types.String(choices=list(option.choices)),
    "json": lambda option: options.json_object,
    "regex": lambda option: options.regex,
    "database": lambda option: options.database_url,
    "traces": lambda option: options.traces_url,
    "broker": lambda option: options.broker_url,
    "origins": lambda option: options.origins,
}


def _whole(limit: float | None) -> int | None:
    return None if limit is None else int(limit)


@dataclass(slots=True)
class Files:
    """What the files say, as text, and where each option stands."""

    names: tuple[str, ...]
    sections: dict[str, dict[str, str]]
    warnings: list[str] = field(default_factory=list)

    def text(self, section: str, name: str) -> str | None:
        """An option with the `$references` in it replaced by the options that they name; `$$` is a dollar sign."""
        text = self.sections.get(section, {}).get(name)
        for _ in range(REFERENCES_DEEP):
            if text is None or not REFERENCE.search(text):
                return None if text is None else text.replace("$$", "$")
            text = REFERENCE.sub(lambda match: self._referred(section, name, match[1]), text)
        self.wrong(section, f"{name} refers to itself; write $$ for a dollar sign", name=name)

    def texts(self, section: str) -> dict[str, str]:
        return {name: self.text(section, name) or "" for name in self.sections.get(section, {})}

    def _referred(self, section: str, name: str, reference: str) -> str:
        table = options.of_section("DEFAULT")
        default = table[reference].default if reference in table else None
        for place in (section, "DEFAULT"):
            default = self.sections.get(place, {}).get(reference, default)
        if default is None:
            self.wrong(
                section, f"{name} refers to ${reference}, which is not set; write $$ for a dollar sign", name=name
            )
        return default

    def value(self, section: str, name: str) -> Any:
        """The value of an option of the table, or its default; None where that is None."""
        return value(self._where(section), options.of_section(section)[name], self.text(section, name))

    def wrong(self, section: str, message: str, *, name: str | None = None) -> NoReturn:
        raise errors.Invalid(f"{self._where(section)} {message}", field=name)

    def _where(self, section: str) -> str:
        return f"{', '.join(self.names) or 'defaults'}: [{section}]"


def value(where: str, option: options.Option, text: str | None) -> Any:
    """`text` as the option's kind; Invalid, beginning with `where`, unless it is allowed."""
    if text is None or (text.strip() == "" and option.kind != "json"):
        text = option.default
    if text is None:
        return None
    try:
        return KINDS[option.kind](option)(text)
    except (ValueError, TypeError, RecursionError, re.error) as error:
        raise errors.Invalid(
            f"{where} {option.name} is {options.without_password(text)!r}; allowed: {option.allowed}",
            field=option.name,
            allowed=option.allowed,
        ) from error


def read(files: Sequence[Path]) -> Files:
    """The files one over the other: what a later one says wins."""
    names = tuple(str(path) for path in files)
    sections: dict[str, dict[str, str]] = {}
    for name in names:
        found: dict[str, dict[str, list[str]]] = {}
        try:
            cfg.ConfigParser(name, found).parse()
        except OSError as error:
            raise errors.Invalid(f"The configuration file {name} cannot be read: {error.strerror}.") from error
        except (cfg.ParseError, UnicodeDecodeError) as error:
            raise errors.Invalid(f"{name} is not a configuration file: {str(error).removeprefix('at ')}") from error
        for section, values in found.items():
            texts = {option: values[-1].strip() for option, values in values.items()}
            sections.setdefault(section, {}).update(texts)
    return Files(names, sections)
