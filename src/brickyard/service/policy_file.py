"""An operator's policy.yaml: rules that differ from the defaults, in the language of oslo.policy.

That library denies silently where it does not understand a rule, and takes any name. Here a rule that could never mean
what its author meant stops the start, and the message names the file and the rule.
"""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from brickyard.core import errors

# what a check may ask: who the caller is, and whether the resource is in the caller's project
KINDS = ("role", "rule", "project_id", "user_id", "is_admin", "is_admin_project", "system_scope")
ALLOWED = (
    "role:NAME, rule:NAME, project_id:%(project_id)s, project_id:ID, user_id:ID, is_admin:True, system_scope:all, "
    "@ (always), ! (never), joined by and, or, not and parentheses"
)
TARGET = "%(project_id)s"  # the one thing that is known of every resource
CLOSE = 0.85


@dataclass(frozen=True, slots=True)
class Overrides:
    """The rules of a file, by name, and what is odd about them without being wrong."""

    rules: Mapping[str, Any]
    warnings: tuple[str, ...] = ()


def read(file: Path, defaults: Mapping[str, str]) -> Overrides:
    """The rules of `file`, each of which can be decided; Invalid otherwise."""
    from oslo_policy import policy as oslo

    try:
        found: Any = oslo.parse_file_contents(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise errors.Invalid(f"{file} cannot be read: {error.strerror}", field="policy_file") from error
    except ValueError as error:  # which is what text in another encoding is, too
        raise errors.Invalid(f"{file} is not YAML: {' '.join(str(error).split())}", field="policy_file") from error
    if not isinstance(found, dict):
        raise errors.Invalid(f'{file} must have lines of the form "rule": "check"', field="policy_file")
    for name, text in found.items():
        if not isinstance(name, str):
            _wrong(file, name, "its name is no text; quote it")
        if not isinstance(text, str | list):
            _wrong(file, name, 'it is no text; quote it, for example "role:admin"')
    with _quiet():
        parsed = oslo.Rules.from_dict(found)
    known = {*defaults, *found}
    for name, text in found.items():
        for leaf in _leaves(parsed[name]):
            _check(file, name, leaf, known)
        if sum(str(leaf) == "!" for leaf in _leaves(parsed[name])) != _nevers(text):
            _wrong(file, name, f"{text!r} is not understood; allowed: {ALLOWED}")
    every = {**oslo.Rules.from_dict(dict(defaults)), **parsed}
    for name in found:
        _check_ends(file, name, every, ())
    return Overrides(found, tuple(_unused(file, parsed, defaults)))


def _check(file: Path, name: str, leaf: Any, known: set[str]) -> None:
    kind, match = getattr(leaf, "kind", None), str(getattr(leaf, "match", ""))
    if kind is None:
        return  # always or never
    if kind == "rule" and match not in known:
        close = difflib.get_close_matches(match, known, n=1, cutoff=CLOSE)
        _wrong(file, name, f"there is no rule {match!r}" + (f"; is {close[0]!r} meant?" if close else ""))
    if kind not in KINDS:
        _wrong(file, name, f"{leaf} cannot be decided here; allowed: {ALLOWED}")
    if "%(" in match and (kind != "project_id" or match != TARGET):
        _wrong(file, name, f"{leaf} asks for what is not known of every resource; allowed: project_id:{TARGET}")
    if kind in ("is_admin", "is_admin_project") and match not in ("True", "False"):
        _wrong(file, name, f"{leaf} is never so; allowed: {kind}:True and {kind}:False")


def _check_ends(file: Path, name: str, rules: Mapping[str, Any], way: tuple[str, ...]) -> None:
    """That a rule does not come back to itself."""
    if name in way:
        _wrong(file, name, f"it refers to itself: {' → '.join((*way[way.index(name) :], name))}")
    for leaf in _leaves(rules[name]):
        if getattr(leaf, "kind", None) == "rule":
            _check_ends(file, str(leaf.match), rules, (*way, name))


def _unused(file: Path, parsed: Mapping[str, Any], defaults: Mapping[str, str]) -> Iterator[str]:
    """Rules that no request asks and no other rule names: of another release, or misspelt."""
    asked = {
        str(leaf.match) for check in parsed.values() for leaf in _leaves(check) if getattr(leaf, "kind", "") == "rule"
    }
    for name in parsed:
        if name not in defaults and name not in asked:
            close = difflib.get_close_matches(name, defaults, n=1, cutoff=CLOSE)
            meant = f"; is {close[0]} meant?" if close else ""
            yield f"{file}: {name} is no rule of this service, so it is not used{meant}"


def _leaves(check: Any) -> Iterator[Any]:
    """The checks that a rule is made of, without and, or and not."""
    inside: Iterable[Any] = getattr(check, "rules", None) or ([check.rule] if hasattr(check, "rule") else ())
    if not inside:
        yield check
    for one in inside:
        yield from _leaves(one)


def _nevers(text: Any) -> int:
    """How often a rule itself says `!`."""
    if isinstance(text, list):
        return sum(_nevers(one) for one in text)
    return len(re.findall(r"(?<![^\s(])!(?![^\s)])", str(text)))


def _wrong(file: Path, name: Any, what: str) -> NoReturn:
    raise errors.Invalid(f"{file}: rule {name!r}: {what}", field=str(name))


class _quiet:
    """The library writes a trace of each rule that it does not understand; here that is an error of our own."""

    def __enter__(self) -> None:
        logging.getLogger("oslo_policy._parser").disabled = True

    def __exit__(self, *_: object) -> None:
        logging.getLogger("oslo_policy._parser").disabled = False
