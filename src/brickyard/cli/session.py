"""The way to the API: one session per command. What goes wrong becomes one sentence and an exit code.

0 it was done, 1 it was refused or failed, 2 the command line is wrong, 3 the service cannot be reached.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import quote

import click
import httpx

from brickyard.cli import tables

UUID = re.compile(r"[0-9a-fA-F]{8}-?([0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}")
TIMEOUT_S = 90.0  # attaching waits for the guest
CONNECT_S = 5.0

F = TypeVar("F", bound=Callable[..., Any])


class Refused(click.ClickException):
    """The service says no, or the work failed."""

    exit_code = 1

    def __init__(self, message: str, refusals: list[dict[str, Any]] | None = None) -> None:
        super().__init__(message)
        self.refusals = refusals or []

    def show(self, file: Any = None) -> None:
        tables.error(self.message, self.refusals)


class Unreachable(Refused):
    """Nobody answers."""

    exit_code = 3


class Session:
    """Calls of the API, and the form in which this command shows what it gets."""

    def __init__(self, url: str, token: str | None, form: str, transport: httpx.BaseTransport | None = None) -> None:
        self.url, self.form = url.rstrip("/"), form
        headers = {"X-Auth-Token": token} if token else {}
        timeout = httpx.Timeout(TIMEOUT_S, connect=CONNECT_S)
        try:
            self.http = httpx.Client(base_url=self.url, headers=headers, timeout=timeout, transport=transport)
        except (httpx.InvalidURL, ValueError) as error:
            raise click.UsageError(f"--url {url} is not a URL: {error}") from None

    def call(self, method: str, path: str, body: Any = None, **more: Any) -> httpx.Response:
        """The answer; Refused or Unreachable otherwise."""
        if body is not None:
            more["json"] = body
        try:
            answer = self.http.request(method, path, **more)
        except httpx.UnsupportedProtocol:
            raise click.UsageError(f"--url {self.url} must begin with http:// or https://") from None
        except httpx.HTTPError as error:
            raise self.unreachable(error) from None
        self.check(answer)
        return answer

    def get(self, path: str, **params: Any) -> Any:
        given = {name: value for name, value in params.items() if value is not None}
        return self.call("GET", path, params=given).json()

    def check(self, answer: httpx.Response) -> None:
        if answer.status_code >= 400:
            raise _refused(answer)
        if answer.status_code >= 300:
            raise Unreachable(f"{self.url} answers, and is not a Brickyard service; set --url.")

    def unreachable(self, error: Exception) -> Unreachable:
        if isinstance(error, httpx.ConnectError):
            return Unreachable(
                f"cannot reach {self.url}: is `brickyard serve` running? Another address: --url or BRICKYARD_URL."
            )
        if isinstance(error, httpx.TimeoutException):
            return Unreachable(f"{self.url} does not answer in time; the work may go on: see `brickyard flow list`.")
        return Unreachable(f"the connection to {self.url} broke: {error or type(error).__name__}")


def talks(command: F) -> F:
    """Give a command its session, and the option -f after the command as well as before it."""

    @click.option("-f", "form", type=click.Choice(["table", "json"]), help="Form of the output, as --format.")
    @click.pass_context
    @functools.wraps(command)
    def wrapped(ctx: click.Context, /, *args: Any, form: str | None = None, **given: Any) -> Any:
        known: dict[str, Any] = ctx.find_root().obj
        session = Session(known["url"], known["token"], form or known["form"])
        with session.http:
            return ctx.invoke(command, session, *args, **given)

    return wrapped  # type: ignore[return-value]


def segment(name: str) -> str:
    """A name as one part of a path."""
    return quote(name, safe="")


def instance_id(session: Session, name_or_id: str) -> str:
    return _id(session, "instance", "/v1/instances", name_or_id)


def volume_id(session: Session, name_or_id: str) -> str:
    return _id(session, "volume", "/v3/volumes", name_or_id)


def _id(session: Session, noun: str, path: str, name_or_id: str) -> str:
    if UUID.fullmatch(name_or_id):
        return name_or_id
    found = [row["id"] for row in session.get(path, name=name_or_id)[f"{noun}s"]]
    if not found:
        raise Refused(f"there is no {noun} called {name_or_id}.")
    if len(found) > 1:
        raise Refused(f"{len(found)} {noun}s are called {name_or_id}; use the id of one: {', '.join(found)}")
    return str(found[0])


def _refused(answer: httpx.Response) -> Refused:
    """The message of a fault of /v1 or /v3."""
    try:
        body = answer.json()
        fault: Mapping[str, Any] = next(iter(body.values()))
        message, refusals = str(fault["message"]), list(fault.get("refusals") or [])
    except Exception:
        return Refused(f"{answer.request.url} answers {answer.status_code} {answer.reason_phrase}; is it Brickyard?")
    if answer.status_code == 401:
        message += " Set --token or BRICKYARD_TOKEN; `brickyard token create` makes one."
    return Refused(message, refusals)
