"""Tokens of Keystone, checked by keystonemiddleware: it asks Keystone, remembers the answer, and knows about service
tokens, expired ones that a service hands on, and the access rules of application credentials.

The middleware is a WSGI application in front of another one. Here it is called for each request that needs a token, and
the application behind it only keeps what it was told: so an answer of ours has our form, whatever it says.
"""

from __future__ import annotations

import importlib.util
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from brickyard.core import clock, errors
from brickyard.service.site import Identified

GROUP = "keystone_authtoken"
REMEMBERED = 10_000  # tokens, the oldest of which is forgotten; each is some kilobytes
MEMORY, FOUND = "brickyard.tokens", "brickyard.identified"  # keys of the environment of a request


class Keystone:
    """An identity service; `options` are those of keystonemiddleware and of its plug-in to log in, by name."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        given = {name: value for name, value in options.items() if value is not None}
        _need("keystonemiddleware", "auth_strategy", "is keystone", extra="keystone")
        shared = bool(given.get("memcached_servers"))
        if shared:
            _need("memcache", "memcached_servers", "is set", extra="memcached")
        self._memory = None if shared else Memory()
        self._middleware = _middleware({**given, "cache": MEMORY})

    def ahead(self, environ: dict[str, Any]) -> None:
        """See `service.site.Identity`: so that nobody waits for a turn while Keystone thinks."""
        if "HTTP_X_AUTH_TOKEN" in environ:
            try:
                environ[FOUND] = self._ask(environ)
            except Exception as error:  # raised where the request is answered, which has a form for it
                environ[FOUND] = error

    def identify(self, environ: Mapping[str, Any]) -> Identified:
        """See `service.site.Identity`."""
        found = environ.get(FOUND)
        if isinstance(found, Exception):
            raise found
        return found if isinstance(found, Identified) else self._ask(environ)

    def _ask(self, environ: Mapping[str, Any]) -> Identified:
        seen = {**environ, MEMORY: self._memory}
        answer: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            answer[:] = [int(status[:3]), dict(headers)]

        for _ in self._middleware(seen, start_response):
            pass  # the body of a refusal is written anew, in the form of the API
        status, headers = answer
        if status == 401:
            raise errors.Unauthorized(
                "The request you have made requires authentication.", challenge=headers.get("WWW-Authenticate")
            )
        if status != 204:
            raise errors.Unavailable("The identity service does not answer, so the token cannot be checked; try again.")
        if not seen.get("HTTP_X_USER_ID"):
            raise errors.Unauthorized("The token is of no user.")
        system = seen.get("HTTP_OPENSTACK_SYSTEM_SCOPE") == "all"
        if not system and not seen.get("HTTP_X_PROJECT_ID"):
            raise errors.Unauthorized("The token is of neither a project nor the system: log in to one of them.")
        return Identified(
            user_id=seen["HTTP_X_USER_ID"],
            project_id="" if system else seen["HTTP_X_PROJECT_ID"],
            roles=tuple(sorted(filter(None, seen.get("HTTP_X_ROLES", "").split(",")))),
            is_service=seen.get("HTTP_X_SERVICE_IDENTITY_STATUS") == "Confirmed",
            token=seen.get("HTTP_X_AUTH_TOKEN"),
            catalog=seen.get("HTTP_X_SERVICE_CATALOG"),
        )


def _need(module: str, option: str, state: str, *, extra: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise errors.Invalid(
            f"{option} {state}, and what that needs is not installed: install brickyard[{extra}]", field=option
        )


def _middleware(options: Mapping[str, Any]) -> Any:
    """The middleware with a configuration of its own; Invalid names the option that it does not take."""
    from keystoneauth1 import exceptions, loading
    from keystonemiddleware import auth_token
    from keystonemiddleware import exceptions as refusals
    from oslo_config import cfg

    config = cfg.ConfigOpts()
    config([], project="brickyard", default_config_files=[], default_config_dirs=[])
    for group, known in auth_token.list_opts():
        config.register_opts(known, group=group)
    try:
        plugin: Any = loading.get_plugin_loader(options["auth_type"])
    except exceptions.NoMatchingPlugin as error:
        raise errors.Invalid(
            f"[{GROUP}] auth_type is {options['auth_type']!r}; allowed: "
            f"{', '.join(sorted(loading.get_available_plugin_names()))}",
            field="auth_type",
        ) from error
    config.register_opts(loading.get_auth_plugin_conf_options(plugin), group=GROUP)
    for name, value in options.items():
        try:
            config.set_override(name, value, group=GROUP)
        except cfg.NoSuchOptError as error:
            raise errors.Invalid(
                f"[{GROUP}] {name} means nothing with auth_type = {options['auth_type']}: remove one of them",
                field=name,
            ) from error
    try:
        return auth_token.AuthProtocol(_reached, {"oslo_config_config": config})
    except (exceptions.MissingRequiredOptions, exceptions.ClientException) as error:
        raise errors.Invalid(f"[{GROUP}] {error}", field="auth_type") from error
    except refusals.ConfigurationError as error:  # of memcached: all else was checked before
        raise errors.Invalid(f"[{GROUP}] {error}", field="memcache_secret_key") from error


def _reached(environ: Mapping[str, Any], start_response: Any) -> list[bytes]:
    """What stands behind the middleware: who comes here has a valid token."""
    start_response("204 No Content", [])
    return []


class Memory:
    """Tokens that were checked, for as long as the middleware says; safe to use from many threads."""

    def __init__(self, size: int = REMEMBERED) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[float, Any]] = OrderedDict()

    def get(self, key: str) -> Any:
        with self._lock:
            until, value = self._kept.get(key, (0.0, None))
        return value if clock.monotonic() < until else None

    def set(self, key: str, value: Any, time: int = 0) -> None:
        """Keep it for `time` seconds."""
        with self._lock:
            self._kept[key] = (clock.monotonic() + time, value)
            self._kept.move_to_end(key)
            while len(self._kept) > self._size:
                self._kept.popitem(last=False)
