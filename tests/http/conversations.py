"""Conversations: HTTP in, HTTP out, written in YAML.

A file has `about`, and `steps`; `site` says what the site in this process is made of (drivers, settings, tokens,
capabilities of its pools), and `only_here: true` that the file cannot be held with another service. A step has

    name      what it promises
    GET       the path below /v3 (or POST, PUT, DELETE); with `root: true` the path from the root
    version   the microversion; none: no header. The file's `version` is the default
    token     the name of a token of the site; `none`: no token
    headers   more request headers
    json      the body; `body`, the body as text
    status    what the answer must have
    response  path → value: the paths are keys and indexes joined by dots; `len` is the number of items
    absent    paths that must not be there
    answers   response header → value
    keep      name → path, or `path ~ regular expression`: a value for later, as $name
    until     path → value: ask again until it is so, for 20 s at most

A value that begins with `~` is a regular expression for the text; `$name` is replaced wherever it stands. $long is a
text of 256 characters, $nobody the id of nothing.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

NOBODY = "11111111-2222-3333-4444-555555555555"  # $nobody: the id of nothing
METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH")
UNTIL_S = 60.0
PAUSE_S = 0.004


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]  # with names in lower case
    body: Any
    text: str


Send = Callable[..., Answer]  # (method, path from the root, headers=, json=, body=)


class Missing(Exception):
    """There is nothing at this path."""


@dataclass
class Conversation:
    """One file against one service; `known` are the values that were kept."""

    send: Send
    version: str | None = None
    tokens: Mapping[str, str] = field(default_factory=dict)
    token: str | None = None
    known: dict[str, Any] = field(default_factory=lambda: {"long": "x" * 256, "nobody": NOBODY})

    def hold(self, steps: list[dict[str, Any]]) -> None:
        for number, step in enumerate(steps, 1):
            title = f"step {number}, {step.get('name', '?')}"
            try:
                self.step(step)
            except AssertionError as error:
                raise AssertionError(f"{title}: {error}") from None

    def step(self, step: dict[str, Any]) -> None:
        step = self.filled(step)
        answer = self.ask(step)
        deadline = time.monotonic() + UNTIL_S
        while "until" in step and not agrees(answer, step["until"]):
            assert time.monotonic() < deadline, f"never came to {step['until']}: {answer.text[:1000]}"
            time.sleep(PAUSE_S)
            answer = self.ask(step)
        assert answer.status == step.get("status", 200), f"status {answer.status}: {answer.text[:1000]}"
        for path, value in step.get("response", {}).items():
            found = at(answer.body, path)
            assert same(found, value), f"{path} is {found!r} and not {value!r}: {answer.text[:1000]}"
        for path in step.get("absent", ()):
            assert not there(answer.body, path), f"{path} is there: {answer.text[:1000]}"
        for name, value in step.get("answers", {}).items():
            found = answer.headers.get(name.lower())
            assert same(found, value), f"header {name} is {found!r} and not {value!r}"
        for name, path in step.get("keep", {}).items():
            self.known[name] = self.kept(answer, path)

    def ask(self, step: dict[str, Any]) -> Answer:
        method = next(name for name in METHODS if name in step)
        headers = dict(step.get("headers", {}))
        version = step.get("version", self.version)
        if version is not None:
            headers["OpenStack-API-Version"] = f"volume {version}"
        token = step.get("token", self.token)
        if token is not None and token != "none":
            headers["X-Auth-Token"] = self.tokens.get(token, token)
        path = step[method] if step.get("root") else f"/v3{step[method]}"
        return self.send(method, path, headers=headers, json=step.get("json"), body=step.get("body"))

    def kept(self, answer: Answer, path: str) -> Any:
        path, tilde, pattern = path.partition(" ~ ")
        found = answer.headers.get(path[7:].lower()) if path.startswith("header ") else at(answer.body, path)
        if not tilde:
            return found
        match = re.search(pattern, str(found))
        assert match, f"{path} is {found!r} and has no {pattern}"
        return match[0]

    def filled(self, value: Any) -> Any:
        """The value with every $name replaced; a whole text that is one name takes the value as it is."""
        if isinstance(value, dict):
            return {self.filled(k): v if k == "keep" else self.filled(v) for k, v in value.items()}
        if isinstance(value, list):
            return [self.filled(item) for item in value]
        if not isinstance(value, str):
            return value
        if (match := re.fullmatch(r"\$(\w+)", value)) and match[1] in self.known:
            return self.known[match[1]]
        return re.sub(r"\$(\w+)", lambda m: str(self.known.get(m[1], m[0])), value)


def at(body: Any, path: str) -> Any:
    """What stands at a path of the body."""
    found = body
    for part in path.split("."):
        try:
            if part == "len":
                found = len(found)
            elif isinstance(found, list):
                found = found[int(part)]
            else:
                found = found[part]
        except (KeyError, IndexError, TypeError, ValueError):
            raise AssertionError(f"there is no {path} in {str(body)[:1000]}") from None
    return found


def there(body: Any, path: str) -> bool:
    try:
        at(body, path)
    except AssertionError:
        return False
    return True


def same(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, str) and wanted.startswith("~"):
        return re.search(wanted[1:], str(found)) is not None
    return bool(found == wanted)


def agrees(answer: Answer, wanted: Mapping[str, Any]) -> bool:
    """Whether the answer has the values; `status_code` stands for its status."""
    for path, value in wanted.items():
        if path == "status_code":
            if answer.status != value:
                return False
        elif not there(answer.body, path) or not same(at(answer.body, path), value):
            return False
    return True
