"""Accounts of agents in the message broker, by RabbitMQ's management API: each may use what is its host's, and no more.

An agent reads one queue and writes to one exchange, both its own, and may make or bind nothing. Every call may be
repeated.
"""

from __future__ import annotations

import functools
import re
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import httpx

from brickyard.core import errors
from brickyard.nodes import layout

TIMEOUT_S = 15.0


@functools.cache
def reached(url: str, virtual_host: str, ca_file: str | None = None) -> Accounts:
    """The accounts of this broker; the same object for who asks again, with the connections that it has open."""
    return Accounts(url, virtual_host, ca_file)


class Accounts:
    """`url` is that of the management API, with user and password of an account that may make accounts."""

    def __init__(self, url: str, virtual_host: str, ca_file: str | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise errors.Invalid("management_url must be http(s)://user:password@host:port.", field="management_url")
        self.where = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        self._url = f"{self.where}{parts.path.rstrip('/')}/api"
        self._auth = (unquote(parts.username or "guest"), unquote(parts.password or "guest"))
        self._verify: bool | str = ca_file or True
        self._place = quote(virtual_host, safe="")
        self._http: httpx.Client | None = None

    def grant(self, host: str, password: str) -> None:
        """An account with this password for the agent of a host; who used an older password is cut off."""
        user = quote(layout.account(host), safe="")
        self._ask("PUT", f"/users/{user}", {"password": password, "tags": ""})
        rights = {
            "configure": "^$",
            "write": f"^{re.escape(layout.says(host))}$",
            "read": f"^{re.escape(layout.calls(host))}$",
        }
        self._ask("PUT", f"/permissions/{self._place}/{user}", rights)
        self._cut(user)

    def revoke(self, host: str) -> None:
        """No account, no connection, and nothing that was its own."""
        user = quote(layout.account(host), safe="")
        self._ask("DELETE", f"/users/{user}")
        self._cut(user)
        for name in (layout.calls(host), layout.reports(host), *layout.retired(host)):
            self._ask("DELETE", f"/queues/{self._place}/{quote(name, safe='')}")
        self._ask("DELETE", f"/exchanges/{self._place}/{quote(layout.says(host), safe='')}")

    def _cut(self, user: str) -> None:
        """By all its connections at once: the list of them lags behind."""
        self._ask("DELETE", f"/connections/username/{user}")

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> None:
        try:
            if self._http is None:  # one for all that follows: to read the authorities takes longer than to ask
                self._http = httpx.Client(auth=self._auth, timeout=TIMEOUT_S, verify=self._verify)
            answer = self._http.request(method, self._url + path, json=body)
        except (httpx.HTTPError, OSError) as error:
            raise errors.Unavailable(
                f"The broker's management API at {self.where} does not answer: {error}; see management_url."
            ) from error
        if answer.status_code >= 400 and not (answer.status_code == 404 and method == "DELETE"):
            raise errors.Unavailable(
                f"The broker's management API at {self.where} answers {answer.status_code} to {method} {path}: "
                f"{answer.text[:200]}; the account of management_url must be an administrator."
            )
